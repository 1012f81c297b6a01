"""Several workers capture the volumes of one group: one snapshot, one claim, one restore point.

A share that dies or falls silent is fenced and redone under other names, in the end by the owner
itself (`tasks.crew`, `blocks.catalog.orders`, docs/adr/0017). Prefect's word that a share has ended
only makes a redo quicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect.context import FlowRunContext

from blocks.catalog.leftovers import remove_uncommitted
from blocks.catalog.orders import (
    Delivered,
    Order,
    OrderedVolume,
    beat_prefix,
    fence,
    outcome_key,
    read_outcome,
    remove_order,
    write_order,
)
from blocks.catalog.point import image_folder
from blocks.errors import FlashvaultError
from blocks.profile.model import BackupProfile, Configuration
from blocks.store.base import Store
from tasks.capture import CapturedVolume, capture
from tasks.crew import BEAT_LOST_S, START_S, Colleagues, Crew, Share
from tasks.decide import Decision
from tasks.open import configuration, store
from tasks.preflight import Pair, Seen
from tasks.protection import profile_store
from tasks.run import Run
from tasks.snapshot import Snapshot
from tasks.steps import Outcome, run_log

ORDERED = "ordered"
"""Journalled while other workers may work for the run."""

TAKES = 3
"""Tries by others, before the owner captures a volume itself."""


Verdict = Literal["wait", "dead", "never began"]


def judge(share: Share[Pair], silent_s: float) -> Verdict:
    """Say what has become of a share that has delivered nothing yet; pure."""
    if share.is_ended:
        return "dead"
    if not share.beats:
        return "never began" if silent_s > START_S else "wait"
    return "dead" if silent_s > BEAT_LOST_S else "wait"


def wants_crew(profile: BackupProfile, seen: Seen) -> bool:
    """Say whether a run may hand volumes to other workers."""
    is_under_prefect = FlowRunContext.get() is not None
    return profile.capture_workers > 1 and len(seen.pairs) > 1 and is_under_prefect


def order_of(
    run: Run, profile: BackupProfile, decision: Decision, seen: Seen, snapshot: Snapshot
) -> Order:
    """Return what the others must know."""
    return Order(
        group=profile.name,
        run_id=run.id,
        parent=decision.parent.id if decision.parent else None,
        storage_system=snapshot.storage_system,
        consistency_group=snapshot.consistency_group,
        taken_at=snapshot.taken_at,
        array_start_time=snapshot.array_start_time,
        owner=seen.owner,
        reader=seen.reader,
        volumes=tuple(_ordered(seen, pair) for pair in seen.pairs),
    )


def _ordered(seen: Seen, pair: Pair) -> OrderedVolume:
    disk = seen.sources.get(pair.source.uid)
    return OrderedVolume(
        mapping=pair.mapping,
        name=pair.source.name,
        uid=pair.source.uid,
        target_name=pair.target.name,
        target_uid=pair.target.uid,
        size_bytes=pair.source.size_bytes,
        disk=disk.name if disk else "",
        pvid=disk.pvid if disk else "",
        volume_group=disk.volume_group if disk else "",
    )


def capture_with_crew(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    decision: Decision,
    seen: Seen,
    snapshot: Snapshot,
    colleagues: Colleagues,
) -> list[CapturedVolume]:
    """Capture every volume of the group, here and on other workers; results in order."""
    bucket = profile_store(wanted, profile)
    order = order_of(run, profile, decision, seen, snapshot)

    def begin_here(pair: Pair, take: int) -> Outcome[CapturedVolume]:
        return capture.submit(run, wanted, profile, decision, seen, snapshot, pair, take)

    with _ordered_in(bucket, run, profile, order):
        size = profile.capture_workers
        crew = CaptureCrew(
            run, bucket, order.folder, colleagues, begin_here, size=size, order=order
        )
        done = crew.work(seen.pairs)
    if crew.has_lost_takes:
        _remove_lost_takes(bucket, order, done)
    return [done[pair.source.uid] for pair in seen.pairs]


@contextmanager
def _ordered_in(store: Store, run: Run, profile: BackupProfile, order: Order) -> Iterator[None]:
    """Have an order in the bucket for as long as the work lasts, whatever happens."""
    made = run.journal.made(
        ORDERED, bucket=profile.bucket_name, group=profile.name, run=order.run_id
    )
    write_order(store, order)
    try:
        yield
    finally:
        try:
            remove_order(store, order.group, order.run_id)
            run.journal.unmade(made)
        except FlashvaultError as error:  # stays in the journal, for the end of the run
            run_log().warning("the order of run %s stays for now: %s", order.run_id, error)


@dataclass
class CaptureCrew(Crew[Pair, CapturedVolume]):
    """Captures the volumes of one snapshot."""

    order: Order = field(kw_only=True)
    has_lost_takes: bool = False

    def uid_of(self, item: Pair) -> str:
        """Return the UID of the source."""
        return item.source.uid

    def may_share(self, item: Pair, take: int) -> bool:
        """Ask others so often, then no more."""
        return take <= TAKES

    def look_at(self, share: Share[Pair], keys: set[str]) -> None:
        """Receive what was delivered; fence a take that is dead or silent."""
        order = self.order
        where = (order.group, order.run_id, share.uid, share.take)
        if outcome_key(*where) in keys:
            outcome = read_outcome(self.store, order, share.uid, share.take)
            if isinstance(outcome, Delivered):
                self._receive(share, outcome)
                return
        silent_s = self.hear(share, keys, beat_prefix(*where))
        share.is_ended = self.colleagues.has_ended(share.run)
        verdict = judge(share, silent_s)
        if verdict != "wait":
            self._give_up(share, verdict)

    def _receive(self, share: Share[Pair], outcome: Delivered) -> None:
        self.shares.remove(share)
        self.done[share.uid] = CapturedVolume(
            outcome.image, outcome.objects, outcome.is_full, outcome.warning
        )
        run_log().info("%s was captured by %s", share.item.source.name, outcome.worker)

    def _give_up(self, share: Share[Pair], why: str) -> None:
        """Fence a take, and let the volume be redone under another number."""
        late = fence(self.store, self.order, share.uid, share.take, why)
        if late is not None:
            self._receive(share, late)
            return
        self.shares.remove(share)
        self.has_lost_takes = True
        self.colleagues.cancel(share.run)
        if why == "never began":
            self.has_colleagues = False
        self.waiting.append((share.item, share.take + 1))
        run_log().warning(
            "%s: take %d by run %s is given up (%s), another follows",
            share.item.source.name,
            share.take,
            share.run,
            why,
        )


def _remove_lost_takes(store: Store, order: Order, done: dict[str, CapturedVolume]) -> None:
    """Remove what takes that were given up have stored so far: it is in nobody's results.

    A take that is still alive removes its own; `flashvault prune` whatever comes after that.
    """
    folder = image_folder(order.group, order.run_id)
    kept = {item.key for volume in done.values() for item in volume.objects}
    kept |= {page.object.key for volume in done.values() for page in volume.image.pages}
    try:
        remove_uncommitted(store, folder, keep=kept)
    except FlashvaultError as error:  # a role that may not delete: the prune role does it
        run_log().warning("what lost tries have stored stays for prune: %s", error)


def withdraw_order(facts: dict[str, Any]) -> None:
    """Remove the order of a run that died: whoever still works for it stops."""
    remove_order(store(configuration(), facts["bucket"]), facts["group"], facts["run"])
