"""Several workers capture the volumes of one group: one snapshot, one claim, one restore point.

The run that owns the group captures some volumes itself and hands others to runs of its own on any
worker of the pool `flashvault-capture`. What they tell each other goes through the bucket
(`blocks.catalog.orders`); Prefect starts them, and its states are a hint that only makes a redo
quicker. A share that dies or falls silent is fenced and redone under other names, in the end by the
owner itself: with no worker, and no server, everything is captured here (docs/adr/0017).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal, Protocol

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
from tasks.decide import Decision
from tasks.open import configuration, store
from tasks.preflight import Pair, Seen
from tasks.protection import profile_store
from tasks.run import Run
from tasks.snapshot import Snapshot
from tasks.steps import SIDE_BY_SIDE, Outcome, run_log

ORDERED = "ordered"
"""Journalled while other workers may work for the run."""

LOOK_S = 2.0
"""Between two looks at what the others have done."""

START_S = 120.0
"""A share that nobody has begun by then is taken back: no worker is free, or there is none."""

BEAT_LOST_S = 100.0
"""A share without a sign of life for so long is given up: five of `tasks.share.BEAT_S`."""

TAKES = 3
"""Tries by others, before the owner captures a volume itself."""


class Colleagues(Protocol):
    """What starts the runs of other workers, and knows how they stand."""

    def start(self, uid: str, take: int) -> str:
        """Start a share's run; return its id. Any error means: not now."""

    def has_ended(self, run: str) -> bool:
        """Say whether a run will do no more, as far as anybody knows."""

    def cancel(self, run: str) -> None:
        """End a run that nobody waits for; best effort."""


@dataclass(slots=True)
class Share:
    """One volume that another worker captures: which try, and when it last gave a sign."""

    pair: Pair
    take: int
    run: str
    heard_at: float
    beats: int = 0
    is_ended: bool = False


Verdict = Literal["wait", "dead", "never began"]


def judge(share: Share, now: float) -> Verdict:
    """Say what has become of a share that has delivered nothing yet; pure.

    Only our own clock is asked, and only about what we saw: no two machines' clocks are compared.
    """
    if share.is_ended:
        return "dead"
    silent = now - share.heard_at
    if not share.beats:
        return "never began" if silent > START_S else "wait"
    return "dead" if silent > BEAT_LOST_S else "wait"


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
        crew = Crew(run, bucket, order, colleagues, begin_here, size=profile.capture_workers)
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
class Crew:
    """Hands out the volumes of one order, and collects them."""

    run: Run
    store: Store
    order: Order
    colleagues: Colleagues
    begin_here: Callable[[Pair, int], Outcome[CapturedVolume]]
    size: int
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    waiting: deque[tuple[Pair, int]] = field(default_factory=deque)
    """Volumes nobody has, and the number of their next take."""
    shares: list[Share] = field(default_factory=list)
    here: dict[Future[CapturedVolume], Pair] = field(default_factory=dict)
    done: dict[str, CapturedVolume] = field(default_factory=dict)
    has_colleagues: bool = True
    has_lost_takes: bool = False

    def work(self, pairs: Sequence[Pair]) -> dict[str, CapturedVolume]:
        """Return every volume by its UID, or raise the first error of one captured here."""
        self.waiting.extend((pair, 1) for pair in pairs)
        lanes = min(SIDE_BY_SIDE, ceil(len(pairs) / self.size))
        with ThreadPoolExecutor(lanes, thread_name_prefix="wait") as pool:
            try:
                while len(self.done) < len(pairs):
                    self.run.check()
                    self._hand_out(lanes * (self.size - 1))
                    self._take_up(pool, lanes)
                    self.pause(LOOK_S)
                    self._collect_here()
                    self._look_at_shares()
            except BaseException:
                self.run.stop.set()  # or the pool would wait for volumes nobody wants
                self._dismiss()
                raise
        return self.done

    def _hand_out(self, places: int) -> None:
        """Give volumes to other workers, while they take them; the first is always kept here."""
        while self.has_colleagues and len(self.shares) < places:
            keep = 0 if self.here else 1
            index = next(
                (
                    number
                    for number, (_, take) in enumerate(self.waiting)
                    if number >= keep and take <= TAKES
                ),
                None,
            )
            if index is None:
                return
            pair, take = self.waiting[index]
            try:
                started = self.colleagues.start(pair.source.uid, take)
            except Exception as error:  # noqa: BLE001 - whatever it is, the work is done here
                run_log().warning("no other worker can be asked: %s", error)
                self.has_colleagues = False
                return
            del self.waiting[index]
            self.shares.append(Share(pair, take, started, self.clock()))

    def _take_up(self, pool: ThreadPoolExecutor, lanes: int) -> None:
        """Begin volumes here, as many at once as there are lanes."""
        while self.waiting and len(self.here) < lanes:
            pair, take = self.waiting.popleft()
            self.here[pool.submit(self.begin_here(pair, take).result)] = pair

    def _collect_here(self) -> None:
        for finished in [future for future in self.here if future.done()]:
            pair = self.here.pop(finished)
            self.done[pair.source.uid] = finished.result()

    def _look_at_shares(self) -> None:
        if not self.shares:
            return
        try:
            keys = {found.key for found in self.store.list(self.order.folder)}
        except FlashvaultError as error:  # says nothing about them
            run_log().warning("no look at the other workers: %s", error)
            return
        for share in list(self.shares):
            self._look_at(share, keys)

    def _look_at(self, share: Share, keys: set[str]) -> None:
        order, uid = self.order, share.pair.source.uid
        where = (order.group, order.run_id, uid, share.take)
        if outcome_key(*where) in keys:
            outcome = read_outcome(self.store, order, uid, share.take)
            if isinstance(outcome, Delivered):
                self._receive(share, outcome)
                return
        beats = sum(key.startswith(beat_prefix(*where)) for key in keys)
        if beats != share.beats:
            share.beats, share.heard_at = beats, self.clock()
        share.is_ended = self.colleagues.has_ended(share.run)
        verdict = judge(share, self.clock())
        if verdict != "wait":
            self._give_up(share, verdict)

    def _receive(self, share: Share, outcome: Delivered) -> None:
        self.shares.remove(share)
        self.done[share.pair.source.uid] = CapturedVolume(
            outcome.image, outcome.objects, outcome.is_full, outcome.warning
        )
        run_log().info("%s was captured by %s", share.pair.source.name, outcome.worker)

    def _give_up(self, share: Share, why: str) -> None:
        """Fence a take, and let the volume be redone under another number."""
        late = fence(self.store, self.order, share.pair.source.uid, share.take, why)
        if late is not None:
            self._receive(share, late)
            return
        self.shares.remove(share)
        self.has_lost_takes = True
        self.colleagues.cancel(share.run)
        if why == "never began":
            self.has_colleagues = False
        self.waiting.append((share.pair, share.take + 1))
        run_log().warning(
            "%s: take %d by run %s is given up (%s), another follows",
            share.pair.source.name,
            share.take,
            share.run,
            why,
        )

    def _dismiss(self) -> None:
        """Tell whoever still works that nobody waits; removing the order tells them again."""
        for share in self.shares:
            self.colleagues.cancel(share.run)


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
