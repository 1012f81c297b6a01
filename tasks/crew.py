"""Several workers do the volumes of one run: what capture and restore have in common.

The run that owns the group does some volumes itself and hands others to runs of its own on any
worker of the pool `flashvault-capture`. What they tell each other goes through the bucket; Prefect
starts them, and its states are a hint. With no worker, and no server, everything is done here.
What becomes of a worker that dies is for each kind to say (`tasks.capture_crew`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

from blocks.errors import FlashvaultError
from blocks.store.base import Store
from tasks.retries import is_transient
from tasks.run import Run
from tasks.steps import SIDE_BY_SIDE, Outcome, run_log

LOOK_S = 2.0
"""Between two looks at what the others have done."""

START_S = 120.0
"""A share that nobody has begun by then is taken back: no worker is free, or there is none."""

BEAT_LOST_S = 100.0
"""Without a sign of life for so long a worker is silent: five of `tasks.beats.BEAT_S`."""

BLIND_S = 1800.0
"""A store that shows nothing of the others for so long ends the run."""

Item = TypeVar("Item")
Done = TypeVar("Done")


class Colleagues(Protocol):
    """What starts the runs of other workers, and knows how they stand."""

    def start(self, uid: str, take: int) -> str:
        """Start a share's run; return its id. Any error means: not now."""

    def has_ended(self, run: str) -> bool:
        """Say whether a run will do no more, as far as anybody knows."""

    def cancel(self, run: str) -> None:
        """End a run that nobody waits for; best effort."""


@dataclass(slots=True)
class Share(Generic[Item]):
    """One volume that another worker does: which try, and when it last gave a sign."""

    item: Item
    uid: str
    take: int
    run: str
    heard_at: float
    beats: int = 0
    is_ended: bool = False


@dataclass
class Crew(ABC, Generic[Item, Done]):
    """Hands out the volumes of one order, and collects them."""

    run: Run
    store: Store
    folder: str
    """Where the order is, and all that is said about it."""
    colleagues: Colleagues
    begin_here: Callable[[Item, int], Outcome[Done]]
    size: int
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Any] = time.sleep
    waiting: deque[tuple[Item, int]] = field(default_factory=deque)
    """Volumes nobody has, and the number of their next take."""
    shares: list[Share[Item]] = field(default_factory=list)
    here: dict[Future[Done], Item] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    has_colleagues: bool = True
    looked_at: float = 0.0

    @abstractmethod
    def uid_of(self, item: Item) -> str:
        """Return the UID of a volume."""

    @abstractmethod
    def may_share(self, item: Item, take: int) -> bool:
        """Say whether another worker may be asked for this take."""

    def may_begin(self, item: Item, take: int) -> bool:
        """Say whether the owner may do a volume now; if not, it must be somewhere else by then."""
        return True

    @abstractmethod
    def look_at(self, share: Share[Item], keys: set[str]) -> None:
        """See what has become of a share, given what is in the order's folder."""

    def work(self, items: Sequence[Item]) -> dict[str, Done]:
        """Return every volume by its UID, or raise the first error of one done here."""
        self.waiting.extend((item, 1) for item in items)
        self.looked_at = self.clock()
        lanes = min(SIDE_BY_SIDE, ceil(len(items) / self.size))
        with ThreadPoolExecutor(lanes, thread_name_prefix="wait") as pool:
            try:
                while len(self.done) < len(items):
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
                    for number, (item, take) in enumerate(self.waiting)
                    if number >= keep and self.may_share(item, take)
                ),
                None,
            )
            if index is None:
                return
            item, take = self.waiting[index]
            uid = self.uid_of(item)
            try:
                started = self.colleagues.start(uid, take)
            except Exception as error:  # noqa: BLE001 - whatever it is, the work is done here
                run_log().warning("no other worker can be asked: %s", error)
                self.has_colleagues = False
                # It may have been asked all the same: that take is not ours any more.
                self.waiting[index] = (item, take + 1)
                return
            del self.waiting[index]
            self.shares.append(Share(item, uid, take, started, self.clock()))

    def _take_up(self, pool: ThreadPoolExecutor, lanes: int) -> None:
        """Begin volumes here, as many at once as there are lanes."""
        while self.waiting and len(self.here) < lanes:
            item, take = self.waiting.popleft()
            if self.may_begin(item, take):
                self.here[pool.submit(self.begin_here(item, take).result)] = item

    def _collect_here(self) -> None:
        for finished in [future for future in self.here if future.done()]:
            item = self.here.pop(finished)
            self.done[self.uid_of(item)] = finished.result()

    def _look_at_shares(self) -> None:
        if not self.shares:
            return
        try:
            keys = {found.key for found in self.store.list(self.folder)}
        except FlashvaultError as error:  # says nothing about them
            run_log().warning("no look at the other workers: %s", error)
            if self.clock() - self.looked_at > BLIND_S:
                raise
            return
        self.looked_at = self.clock()
        for share in list(self.shares):
            try:
                self.look_at(share, keys)
            except FlashvaultError as error:
                if not is_transient(error):
                    raise
                run_log().warning("no look at the share %s: %s", share.uid, error)

    def hear(self, share: Share[Item], keys: set[str], prefix: str) -> float:
        """Return for how long, in seconds, nothing has been heard of a share.

        Only our own clock is asked, about what we saw: no two machines' clocks are compared.
        """
        beats = sum(key.startswith(prefix) for key in keys)
        if beats != share.beats:
            share.beats, share.heard_at = beats, self.clock()
        return self.clock() - share.heard_at

    def _dismiss(self) -> None:
        """Tell whoever still works that nobody waits; removing the order tells them again."""
        for share in self.shares:
            if share.run:
                self.colleagues.cancel(share.run)
