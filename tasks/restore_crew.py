"""Several workers write the volumes of one restore; the owner alone says that it is done.

A disk that a worker has begun to write is written by nobody else, and the restore is not done,
before that worker is known to write no more (`blocks.catalog.writers`, docs/adr/0022). So silence
only makes the owner ask: another run of the same part, which finds out on whatever machine it
lands whether the first one's process is gone there. What nobody has begun is taken back at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from prefect.context import FlowRunContext

from blocks.catalog.claims import has_conditional_put
from blocks.catalog.owner import this_process
from blocks.catalog.writers import (
    OrderedTarget,
    RestoreOrder,
    Writer,
    close_gone,
    closed_key,
    end_restore_order,
    keep,
    machine_id,
    new_secret,
    open_writers,
    proven,
    read_closed,
    require_proven,
    restore_order_key,
    sign_prefix,
    write_restore_order,
    writer_key,
)
from blocks.errors import FlashvaultError, GroupBusy
from blocks.host.base import Host
from blocks.image.cipher import Cipher
from blocks.policy.recovery import Placement, RestorePlan
from blocks.store.base import Store
from tasks.crew import BEAT_LOST_S, START_S, Colleagues, Crew, Share
from tasks.open import configuration, store
from tasks.plan import Asked
from tasks.restore import RestoredDisk, restore_disk
from tasks.retries import RETRIES, with_retries
from tasks.run import Run
from tasks.steps import Outcome, run_log
from tasks.targets import still_written

RESTORING = "restoring"
"""Journalled while other workers may write for the run."""

ASK_S = 30.0
"""Between two runs that are to find out whether a silent worker is gone."""

ASKED_MAX = 40
LOST_S = 1800.0
"""A worker that has begun and is silent for so long makes the restore fail."""

STOP_S = 90.0
"""Whoever writes for a restore that ends hears of it at the next sign of life, and stops."""


def why_alone(asked: Asked, plan: RestorePlan, source: Store) -> str:
    """Say why no other worker can be asked; an empty string if they can."""
    reason = ""
    if FlowRunContext.get() is None:
        reason = "no Prefect server starts them"
    elif asked.bucket:
        reason = "they know the bucket of the profile only"
    elif sum(bool(placement.disk.uid) for placement in plan.placements) < 2:
        reason = "a file is on one machine, and there are no two disks to share out"
    elif not has_conditional_put(source):
        reason = "the bucket has no conditional writes to decide who writes a disk"
    return reason


def restore_with_crew(
    run: Run,
    asked: Asked,
    plan: RestorePlan,
    source: Store,
    writers: Mapping[str, Host],
    *,
    allow_bad: bool,
    read_back: bool,
    cipher: Cipher | None,
    colleagues: Callable[[str], Colleagues],
    workers: int,
) -> list[RestoredDisk]:
    """Restore every volume, here and on other workers; results in order.

    Raises:
        TargetInUse: a worker has begun a disk, and nobody can say that it writes no more.
    """
    bucket = configuration().profile(asked.group).bucket_name
    secret = new_secret()
    order = order_of(run, plan, writers, allow_bad=allow_bad, read_back=read_back)
    order = proven(order, restore_order_key(order.group, order.run_id), secret)

    def begin_here(placement: Placement, _take: int) -> Outcome[RestoredDisk]:
        machine = writers[placement.volume.uid]
        return restore_disk.submit(
            run, plan, placement, source, machine, allow_bad, read_back, cipher
        )

    with _ordered_in(source, run, bucket, order):
        crew = RestoreCrew(
            run,
            source,
            order.folder,
            colleagues(secret),
            begin_here,
            size=workers,
            order=order,
            secret=secret,
        )
        done = crew.work(plan.placements)
    return [done[placement.volume.uid] for placement in plan.placements]


def order_of(
    run: Run,
    plan: RestorePlan,
    writers: Mapping[str, Host],
    *,
    allow_bad: bool,
    read_back: bool,
) -> RestoreOrder:
    """Return what the others must know. A file of this machine is not among it."""
    shared = [placement for placement in plan.placements if placement.disk.uid]
    return RestoreOrder(
        group=run.group,
        run_id=run.id,
        point=plan.point.id,
        writer=writers[shared[0].volume.uid].name,
        owner=this_process(),
        machine=machine_id(),
        allow_bad=allow_bad,
        read_back=read_back,
        targets=tuple(
            OrderedTarget(
                uid=placement.volume.uid,
                disk=placement.volume.disk,
                target=placement.disk.name,
                target_uid=placement.disk.uid,
            )
            for placement in shared
        ),
    )


@contextmanager
def _ordered_in(source: Store, run: Run, bucket: str, order: RestoreOrder) -> Iterator[None]:
    """Have an order in the bucket for as long as the work lasts; no way out leaves a writer."""
    made = run.journal.made(RESTORING, bucket=bucket, group=run.group, run=run.id)
    try:
        write_restore_order(source, order)
        yield
    except BaseException:
        with suppress(FlashvaultError):  # what is left stays in the journal, and is looked at again
            _end(source, order)
        raise
    try:
        left = _end(source, order)
    except FlashvaultError as error:  # every disk is ours or closed: only the records stay
        run_log().warning("the order of restore %s stays for now: %s", order.run_id, error)
        return
    if left:
        raise still_written(left[0].holder)
    run.journal.unmade(made)


def _end(source: Store, order: RestoreOrder) -> list[Writer]:
    """End an order, and wait a while for its writers; return those that are still open."""
    until = time.monotonic() + STOP_S
    while True:
        left = list(end_restore_order(source, order.group, order.run_id))
        if not left or time.monotonic() > until:
            return left
        time.sleep(1.0)


def withdraw_restore(facts: dict[str, Any]) -> None:
    """End the order of a restore that died: whoever still writes for it stops.

    Raises:
        GroupBusy: somebody may still write; looked at again by the next reconcile.
    """
    bucket = store(configuration(), facts["bucket"])
    left = end_restore_order(bucket, facts["group"], facts["run"])
    if left and close_gone(bucket, left):
        left = end_restore_order(bucket, facts["group"], facts["run"])
    if left:
        raise GroupBusy(f"{left[0].target} may still be written by {left[0].holder}")


@dataclass
class RestoreCrew(Crew[Placement, RestoredDisk]):
    """Writes the volumes of one restore."""

    order: RestoreOrder = field(kw_only=True)
    secret: str = field(kw_only=True)
    asked: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By UID, how often others were asked whether a silent worker is gone, and when last."""
    warned: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    """UIDs of volumes that nobody else can begin, or writes any more."""

    def uid_of(self, item: Placement) -> str:
        """Return the UID of the volume."""
        return item.volume.uid

    def may_share(self, item: Placement, take: int) -> bool:
        """Ask others once, and for disks only."""
        return take == 1 and self.order.target(item.volume.uid) is not None

    def may_begin(self, item: Placement, take: int) -> bool:
        """Keep a disk before it is written here: a run that was asked for may yet begin it."""
        target = self.order.target(item.volume.uid)
        if target is None or target.uid in self.free or self._keep(target):
            return True
        self.shares.append(Share(item, item.volume.uid, take, "", self.clock()))
        return False

    def look_at(self, share: Share[Placement], keys: set[str]) -> None:
        """Receive what is done, take back what nobody began, and ask after who is silent."""
        order, uid = self.order, share.uid
        where = (order.group, order.run_id, uid)
        if closed_key(*where) in keys:
            self._receive(share)
            return
        silent_s = self.hear(share, keys, sign_prefix(*where))
        share.is_ended = bool(share.run) and self.colleagues.has_ended(share.run)
        if writer_key(*where) not in keys:
            if share.is_ended or silent_s > START_S:
                self._take_back(share)
        elif share.is_ended or silent_s > BEAT_LOST_S:
            self._ask_after(share, silent_s)

    def _receive(self, share: Share[Placement]) -> None:
        closed = read_closed(self.store, self.order, share.uid)
        self.shares.remove(share)
        if closed.restored is not None:
            key = closed_key(self.order.group, self.order.run_id, share.uid)
            require_proven(closed, key, self.secret)
            self.done[share.uid] = restored_from(closed.restored)
            run_log().info("%s was restored by another worker", share.item.volume.disk)
            return
        self.free.add(share.uid)
        self.waiting.append((share.item, share.take + 1))
        run_log().warning(
            "%s was not restored by another worker (%s): it is written here",
            share.item.volume.disk,
            closed.error,
        )

    def _take_back(self, share: Share[Placement]) -> None:
        """Keep what nobody has begun; whoever begins it now finds that out."""
        target = self.order.target(share.uid)
        assert target is not None
        if not self._keep(target):
            return  # begun at the last moment
        self.shares.remove(share)
        self.waiting.append((share.item, share.take + 1))
        if not share.is_ended:
            self.has_colleagues = False
            self.colleagues.cancel(share.run)
        run_log().warning(
            "%s was begun by no other worker: it is written here", share.item.volume.disk
        )

    def _keep(self, target: OrderedTarget) -> bool:
        kept: bool = with_retries(
            lambda: keep(self.store, self.order, target),
            retries=RETRIES,
            wait=self.pause,
            note=run_log().warning,
        )
        if kept:
            self.free.add(target.uid)
        return kept

    def _ask_after(self, share: Share[Placement], silent_s: float) -> None:
        left = open_writers(self.store, self.order.group, self.order.run_id)
        writer = next((found for found in left if found.uid == share.uid), None)
        if writer is None:
            return  # closed meanwhile
        if silent_s > LOST_S:
            raise still_written(writer.holder)
        if share.uid not in self.warned:
            self.warned.add(share.uid)
            run_log().warning(
                "nothing is heard of %s, which writes %s. %s",
                writer.holder,
                writer.target,
                still_written(writer.holder).hint,
            )
        times, last = self.asked.get(share.uid, (0, -ASK_S))
        if times < ASKED_MAX and self.clock() - last >= ASK_S:
            self.asked[share.uid] = (times + 1, self.clock())
            close_gone(self.store, [writer])  # it may have been on this machine
            try:
                self.colleagues.start(share.uid, share.take + times + 1)
            except Exception as error:  # noqa: BLE001 - a hint that is not given; we wait
                run_log().warning("nobody can be asked after %s: %s", writer.worker, error)


def restored_from(told: Mapping[str, Any]) -> RestoredDisk:
    """Return what another worker has recorded of a volume."""
    bad = tuple((int(first), int(count)) for first, count in told["bad"])
    return RestoredDisk(**{**told, "bad": bad})
