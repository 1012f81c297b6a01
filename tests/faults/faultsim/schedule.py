"""A simulator that tries to lose data: many processes, one bucket, every fault, all from one seed.

Start here, at `run`: one seed is one schedule, of one world. `scheduler` interleaves processes at
every call to the store; `store` is where calls fail, arrive late, or twice; `writer` makes and
restores images in miniature; `actors` are the processes, which use the real catalog; `law` is what
must hold. Nothing here knows threads, clocks or the operating system: a seed replays exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from unittest import mock

from faultsim import actors
from faultsim.law import GROUP, LawBroken, Ledger, WatchedStore
from faultsim.scheduler import Scheduler
from faultsim.store import FaultyStore, Rates
from faultsim.writer import Content

from blocks.catalog import claims, prune, rebuild, shelf
from blocks.catalog.owner import Owner
from blocks.catalog.point import PointId, RestorePoint
from blocks.errors import FlashvaultError

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("node1", "node2")
EXTENTS = 4
NOBODY = Owner(host="node1", boot_id="boot", pid_namespace="pid", pid=0, started_ticks=0)
"""Who cleans up when every process is dead."""


def commit_last(world: World, run_id: str, make: Callable[[], RestorePoint]) -> None:
    """The order that is right: everything is stored, then the point is published."""
    point = make()
    actors.again(lambda: shelf.publish(world.store, point, workers=1))


@dataclass
class World:
    """Everything of one schedule."""

    seed: int
    notes: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    """What was begun, by the name of the process."""

    def __post_init__(self) -> None:
        self.rng = rng = Random(self.seed)
        self.ids = 0
        self.clock = EPOCH
        self.offsets = {host: timedelta() for host in HOSTS}
        self.disk = [rng.randrange(3) for _ in range(EXTENTS)]
        self.versions = 3
        self.ledger = Ledger()
        # A third of the schedules have no faults but interleaving: what those break is the
        # protocol itself, and their traces are short enough to read.
        harsh = rng.choice([0.0, 0.3, 1.0])
        self.scheduler = Scheduler(
            rng,
            kill_rate=rng.choice([0, 0.003, 0.01]) * harsh,
            pause_rate=rng.choice([0, 0.01, 0.05]),
            on_step=self.tick,
        )
        self.force_rate = rng.choice([0, 0, 0.2])
        self.long_rate = rng.choice([0, 0.1, 0.5])
        self.jump_rate = rng.choice([0, 0.01, 0.03])
        self.rot_rate = rng.choice([0, 0, 0.001, 0.01]) * harsh
        self.outage_rate = rng.choice([0, 0, 0.004]) * harsh
        rates = Rates(
            refuse=rng.choice([0, 0.01, 0.04]) * harsh,
            doubt=rng.choice([0, 0.01, 0.04]) * harsh,
            late=rng.choice([0, 0.02, 0.08]) * harsh,
            twice=rng.choice([0, 0.1]) * harsh,
            conflict=rng.choice([0, 0.02, 0.2]) * harsh,
            garble=rng.choice([0, 0.01]) * harsh,
            kill=rng.choice([0, 0.005]) * harsh,
            slow=rng.choice([0, 0, 0.05]) * harsh,
        )
        self.inner = WatchedStore(self.ledger, lambda: self.clock, rng.random() < 0.7)
        self.store = FaultyStore(self.inner, self.scheduler, rates)
        self.spawn_all()

    def spawn_all(self) -> None:
        """Two or three backups side by side, again and again, and everybody who deletes."""
        rng = self.rng
        plans: list[tuple[str, Callable[[World, str], None], int]] = [
            ("backup", actors.backup, rng.randrange(1, 5)),
            ("backup", actors.backup, rng.randrange(1, 5)),
            ("prune", actors.retain, rng.randrange(2, 7)),
            ("reconcile", actors.reconcile, rng.randrange(1, 4)),
        ]
        maybe: list[tuple[str, Callable[[World, str], None], int]] = [
            ("prune", actors.retain, rng.randrange(1, 4)),
            ("compaction", lambda w, h: actors.backup(w, h, compact=True), 1),
            ("verify", actors.verify, 2),
            ("verify", actors.verify, 2),
            ("undelete", actors.bring_back, rng.randrange(1, 6)),
            ("reconcile", actors.reconcile, 2),
            ("rebuild", actors.rebuild_catalog, 2),
        ]
        if rng.random() < 0.25:
            plans.append(("vandal", actors.vandalise, 12))
        plans += [plan for plan in maybe if rng.random() < 0.5]
        for number, (name, act, times) in enumerate(plans):
            host = rng.choice(HOSTS)
            self.scheduler.spawn(f"{name}{number}", host, self.life(name, act, host, times))

    def life(
        self, name: str, act: Callable[[World, str], None], host: str, times: int
    ) -> Callable[[], None]:
        def body() -> None:
            for _ in range(times):
                self.runs[name] += 1
                try:
                    act(self, host)
                except FlashvaultError as error:
                    self.note(f"{type(error).__name__}: {error}")

        return body

    commit_order = staticmethod(commit_last)

    def run(self) -> None:
        """Live, then die, then clean up; the law holds at every stage."""
        with self.patched():
            self.scheduler.run()
            self.ledger.check_points(self.inner)
            self.finish()

    def finish(self) -> None:
        """Everybody is dead; what is still on its way arrives before, between or after."""
        self.arrive(0.5)
        self.store.end_faults()
        actors.verify(self, HOSTS[0], share=1)
        self.ledger.check_marked(self.inner)
        if any(key.startswith("points/") for key in self.ledger.damaged_keys):
            return  # while a point cannot be read nothing is deleted, so nothing gets tidy
        for _ in range(2):
            for host in HOSTS:
                actors.reconcile(self, host)
            self.arrive(0.5)
        actors.rebuild_catalog(self, HOSTS[0])
        self.ledger.check_rebuilt()
        if any(self.ledger.is_past_help(point) for point in self.ledger.vandalised.values()):
            return
        self.pass_time(40)
        prune.sweep(self.store, GROUP, {}, minimum=1, workers=1)
        self.ledger.check_points(self.inner)
        self.ledger.check_tidy(self.inner)
        self.arrive(1)
        self.ledger.check_points(self.inner)

    def arrive(self, share: float) -> None:
        for _ in range(round(len(self.store.in_flight) * share)):
            self.store.deliver_one_late()

    def tick(self) -> None:
        """Before every step: time passes, late requests arrive, bytes rot."""
        rng = self.rng
        self.clock += timedelta(seconds=1)
        if self.store.in_flight and rng.random() < 0.05:
            self.store.deliver_one_late()
        if rng.random() < self.jump_rate:
            self.scheduler.count("clock")
            if rng.random() < 0.5:
                self.clock += timedelta(days=rng.choice([1, 4, 8, 8, 30, -2]))
            else:
                host = rng.choice(HOSTS)
                self.offsets[host] += timedelta(days=rng.choice([1, -1, 400, -400]))
        if rng.random() < self.outage_rate:
            self.store.begin_outage()
        if rng.random() < self.rot_rate:
            self.rot()

    def rot(self) -> None:
        """Flip a bit of an image, a page or a point at rest; size and ETag stay as they are."""
        prefix = self.rng.choice([f"{GROUP}/"] * 9 + ["points/"])
        keys = [info.key for info in self.inner.list(prefix)]
        keys = [key for key in keys if prefix != "points/" or key in self.ledger.documents]
        if keys:
            key = self.rng.choice(keys)
            version = self.inner._versions[key][-1]
            if version.data:
                self.scheduler.count("rot")
                bad = bytes([version.data[0] ^ 1]) + version.data[1:]
                self.inner._versions[key][-1] = type(version)(version.info, bad)
                self.ledger.damaged_keys.add(key)

    # What the actors ask for.

    def snapshot(self) -> Content:
        """Take the disk as it is now; then it changes."""
        content = tuple(self.disk)
        for _ in range(self.rng.randrange(3)):
            self.versions += 1
            place = self.rng.randrange(EXTENTS)
            self.disk[place] = self.rng.choice([0, self.versions, self.versions])
        return content

    def commit(self, run_id: str, make: Callable[[], RestorePoint]) -> None:
        type(self).commit_order(self, run_id, make)

    def new_id(self) -> PointId:
        """Make ids in an order that need not be that of time: clocks differ."""
        self.ids += 1
        return PointId(f"01{self.rng.randrange(10**6):06d}{self.ids:018d}")

    def owner(self) -> Owner:
        current = self.scheduler.current
        return current.owner if current else NOBODY

    def pass_time(self, days: float) -> None:
        self.clock += timedelta(days=days)

    def take_long(self) -> None:
        """Let much happen between two steps of a process, more often than by chance."""
        if self.rng.random() < self.long_rate:
            self.scheduler.sleep_now(self.rng.choice([50, 200, 600]))

    def host_now(self, host: str) -> datetime:
        return self.clock + self.offsets[host]

    def require_same(self, point: RestorePoint, content: Content) -> None:
        if content != self.ledger.attempted.get(point.id):
            raise LawBroken(f"{point.id} restored other content, silently")

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.store.trace.append(f"  {text}")

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Ids and owners of this world instead of the machine's."""
        with (
            mock.patch.object(prune, "new_id", self.new_id),
            mock.patch.object(rebuild, "new_id", self.new_id),
            mock.patch.object(claims, "this_process", self.owner),
        ):
            yield


def run(seed: int) -> World:
    """Run one schedule; raises `LawBroken` with the seed in its notes."""
    world = World(seed)
    try:
        world.run()
    except BaseException as error:
        error.add_note(f"seed {seed}: make faults SEED={seed} N=1")
        error.add_note("\n".join(world.store.trace[-60:]))
        raise
    return world
