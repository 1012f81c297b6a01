"""Several workers write the disks of one restore: who may, and when nobody does any more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from ulid import ULID

from blocks.catalog import writers
from blocks.catalog.orders import Beat
from blocks.catalog.owner import this_process
from blocks.catalog.point import PointId
from blocks.catalog.writers import (
    KEPT,
    Closed,
    OrderedTarget,
    RestoreOrder,
    begin,
    close,
    close_gone,
    closed_key,
    end_restore_order,
    holders,
    is_gone,
    keep,
    machine_id,
    new_secret,
    open_writers,
    proven,
    read_closed,
    read_restore_order,
    require_proven,
    restore_order_key,
    sign,
    sweep,
    write_restore_order,
)
from blocks.errors import CorruptData, FlashvaultError, ObjectMissing
from blocks.store.memory import MemoryStore

sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))
from faultsim.scheduler import Scheduler
from faultsim.store import FaultyStore, Rates

RUN = PointId(str(ULID()))


def order_of(volumes: int = 2) -> RestoreOrder:
    return RestoreOrder(
        owner=this_process(),
        machine=machine_id(),
        group="RG1",
        run_id=RUN,
        point=PointId(str(ULID())),
        writer="backup",
        targets=tuple(
            OrderedTarget(uid=f"V{n}", disk=f"hdisk{n}", target=f"hdisk3{n}", target_uid=f"T{n}")
            for n in range(volumes)
        ),
    )


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def order(store) -> RestoreOrder:
    made = order_of()
    write_restore_order(store, made)
    return made


def test_an_order_is_read_as_it_was_written(store, order):
    assert read_restore_order(store, "RG1", RUN) == order
    with pytest.raises(ObjectMissing):
        read_restore_order(store, "RG1", str(ULID()))


def test_who_does_not_know_the_secret_can_neither_order_nor_say_what_is_restored(store, order):
    secret, key = new_secret(), restore_order_key("RG1", RUN)
    written = proven(order, key, secret)
    require_proven(written, key, secret)
    other = order.targets[0].model_copy(update={"target_uid": "PRODUCTION"})
    forged = written.model_copy(update={"targets": (other, order.targets[1])})
    forger, elsewhere = new_secret(), restore_order_key("RG1", "B")
    refused = [
        (forged, key),
        (order, key),
        (proven(forged, key, forger), key),
        (written, elsewhere),
    ]
    for document, where in refused:
        with pytest.raises(CorruptData, match="not written by this restore"):
            require_proven(document, where, secret)


def test_a_proof_holds_when_it_comes_back_from_the_bucket(store, order):
    secret, key = new_secret(), closed_key("RG1", RUN, "V0")
    writer = begin(store, order, order.targets[0])
    said = {"bad": ((1, 2),), "seconds": 0.1 + 0.2, "sha256": None, "of": {"ä": [1.0, 2e300]}}
    close(store, writer, proven(Closed(restored=said), key, secret))
    closed = read_closed(store, order, "V0")
    require_proven(closed, key, secret)
    lied = closed.model_copy(update={"restored": {**said, "bad": ()}})
    with pytest.raises(CorruptData):
        require_proven(lied, key, secret)


def test_what_the_owner_keeps_nobody_begins_and_the_other_way_round(store, order):
    first, second = order.targets
    assert keep(store, order, first)
    assert keep(store, order, first), "asked again, it is still the owner's"
    assert begin(store, order, first) is None
    assert begin(store, order, second) is not None
    assert not keep(store, order, second)


def test_a_writer_is_open_until_it_is_closed_and_what_is_said_first_stays(store, order):
    writer = begin(store, order, order.targets[0])
    assert open_writers(store) == [writer]
    assert open_writers(store, "RG1") == open_writers(store, "RG1", RUN) == [writer]
    assert list(open_writers(store, "RG2")) == []
    close(store, writer, Closed(restored={"written_bytes": 7}))
    close(store, writer, Closed(error="late"))
    assert list(open_writers(store)) == []
    assert read_closed(store, order, writer.uid).restored == {"written_bytes": 7}


def test_an_order_that_ends_stops_its_writers_and_lets_nobody_begin(store, order):
    first, second = order.targets
    writer = begin(store, order, first)
    assert sign(store, writer, 1, Beat(worker=this_process()))
    assert end_restore_order(store, "RG1", RUN) == [writer]
    assert not sign(store, writer, 2, Beat(worker=this_process()))
    close(store, writer, Closed(error="stopped"))
    assert list(end_restore_order(store, "RG1", RUN)) == []
    write_restore_order(store, order)  # a duplicate of its PUT, under way for long
    assert begin(store, order, second) is None


def test_a_process_of_another_machine_is_not_taken_for_gone(store, order):
    writer = begin(store, order, order.targets[0])
    dead = writer.worker.model_copy(update={"started_ticks": 1})
    assert not is_gone(writer.worker, writer.machine), "it is this very process"
    assert is_gone(dead, writer.machine)
    assert not is_gone(dead.model_copy(update={"host": "another"}), writer.machine)
    # A host of the same name that has "booted since", but is another machine.
    assert not is_gone(dead.model_copy(update={"boot_id": "another"}), "another")


def test_a_restore_holds_its_disks_until_it_is_over(store, order):
    first, second = order.targets
    assert [held.run_id for held in holders(store, ["T0"])] == [RUN]
    assert list(holders(store, ["T7"])) == []
    writer = begin(store, order, first)
    end_restore_order(store, "RG1", RUN)
    assert list(holders(store, [second.target_uid])) == []
    assert list(holders(store, ["T0", "T1"])) == [writer.holder]
    close(store, writer, Closed(error="stopped"))
    assert list(holders(store, ["T0", "T1"])) == []


def test_the_order_of_an_owner_that_died_here_holds_nothing_and_lets_nobody_begin(store):
    dead = this_process().model_copy(update={"started_ticks": 1})
    order = order_of().model_copy(update={"owner": dead})
    write_restore_order(store, order)
    assert list(holders(store, ["T0"])) == []
    assert begin(store, order, order.targets[0]) is None


def test_what_was_decided_is_swept_after_a_day_and_an_open_writer_never(store, order):
    now = datetime.now(UTC)
    first, second = order.targets
    assert keep(store, order, first)
    writer = begin(store, order, second)
    sweep(store, now + 2 * KEPT)
    assert read_restore_order(store, "RG1", RUN), "the restore is going on"
    end_restore_order(store, "RG1", RUN)
    sweep(store, now + 2 * KEPT)
    assert open_writers(store) == [writer]
    close(store, writer, Closed(error="stopped"))
    sweep(store, now)
    assert list(store.list("journal/")) != []
    sweep(store, now + KEPT + timedelta(minutes=1))
    assert list(store.list("journal/")) == []


@dataclass
class Site:
    """An owner, a share for each volume on other hosts, and what clears up after the dead.

    `writing` holds, by volume, who is between begin and close. That is the law: never two at a
    time, and nobody once a restore has been called done.
    """

    seed: int
    writing: dict[str, set[str]] = field(default_factory=dict)
    is_done: bool = False
    has_ordered: bool = False
    was_handed_on: bool = False

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        rng = self.rng
        harsh = rng.choice([0.0, 0.5, 1.0])
        self.scheduler = Scheduler(
            rng,
            kill_rate=rng.choice([0, 0.01, 0.03]),
            pause_rate=rng.choice([0, 0.05, 0.2]),
            on_step=self.tick,
        )
        rates = Rates(
            refuse=0.03 * harsh,
            doubt=0.05 * harsh,
            late=0.08 * harsh,
            twice=0.1 * harsh,
            conflict=0.05 * harsh,
        )
        self.inner = MemoryStore()
        self.store = FaultyStore(self.inner, self.scheduler, rates)
        order = order_of()
        self.order = order.model_copy(update={"machine": "machine"})

    def tick(self) -> None:
        if self.store.in_flight and self.rng.random() < 0.1:
            self.store.deliver_one_late()

    def run(self) -> None:
        spawn = self.scheduler.spawn
        owner = spawn("owner", "host0", self.owner)
        self.order = self.order.model_copy(update={"owner": owner.owner})
        for number, target in enumerate(self.order.targets):
            for again in range(self.rng.choice([1, 2])):
                share = spawn(
                    f"share{number}.{again}", f"host{number + 1}", partial(self.share, target)
                )
                share.asleep_until = self.rng.choice([10, 20, 50, 200])
        for host in ("host0", "host1", "host2", "host0", "host1"):
            look = spawn(f"reconcile@{host}", host, partial(self.reconcile, owner))
            look.asleep_until = self.rng.randrange(300)
        spawn("next", self.rng.choice(["host0", "host3"]), partial(self.next_restore, owner))
        with self.patched():
            self.scheduler.run()
            self.store.end_faults()
            self.scheduler.kill_rate = 0.0
            while self.store.in_flight:
                self.store.deliver_one_late()
            for host in ("host0", "host1", "host2"):
                spawn(f"last@{host}", host, partial(self.reconcile, owner))
            self.scheduler.run()
            for host in ("host0", "host1", "host2"):
                spawn(f"last@{host}", host, partial(self.reconcile, owner))
            self.scheduler.run()
        assert list(open_writers(self.inner)) == [], "a disk is blocked for ever"

    def patched(self):
        scheduler = self.scheduler

        def alive(owner):
            return scheduler.is_owner_alive(owner, scheduler.current.host)

        return mock.patch.multiple(
            writers,
            this_process=lambda: scheduler.current.owner,
            is_alive=alive,
            machine_id=lambda: "machine",
            each=lambda function, items: [function(item) for item in items],  # no threads here
        )

    def owner(self) -> None:
        """As `tasks.restore_crew`: give up early, take back, or wait; done if all is written."""
        store, order = self.store, self.order
        try:
            write_restore_order(store, order)
            self.has_ordered = True
            for target in order.targets:
                patience = self.rng.choice([0, 2, 20])
                while not self.is_written(target):
                    patience -= 1
                    self.give_up(self.rng.random() < 0.01 or patience < -200)
                    if patience < 0 and keep(store, order, target):
                        with self.writes(target):
                            self.scheduler.yield_now()
                        break
                    self.scheduler.yield_now()
        except FlashvaultError:
            self.end_quietly()
            return
        try:
            left = end_restore_order(store, order.group, order.run_id)
        except FlashvaultError:
            return
        if not left:
            self.is_done = True
            late = {name for target in order.targets for name in self.alive_writers(target)}
            assert late <= {"next"}, f"the restore is called done, and {late} write"

    def give_up(self, is_so: bool) -> None:
        if is_so:
            raise FlashvaultError("stopped, or a share is silent for too long")

    def is_written(self, target: OrderedTarget) -> bool:
        """Say whether another has written it; one that failed is written here."""
        try:
            closed = read_closed(self.store, self.order, target.uid)
        except ObjectMissing:
            return False
        if closed.restored is None:
            with self.writes(target):
                self.scheduler.yield_now()
        return True

    def end_quietly(self) -> None:
        try:
            end_restore_order(self.store, self.order.group, self.order.run_id)
        except FlashvaultError:
            return

    def share(self, target: OrderedTarget) -> None:
        store = self.store
        if not self.has_ordered:
            return  # nobody asks for it before
        try:
            order = read_restore_order(store, "RG1", RUN)
            writer = begin(store, order, target)
        except FlashvaultError:
            return
        if writer is None:
            return
        closed = Closed(error="stopped")
        with self.writes(target):
            for number in range(self.rng.choice([1, 3])):
                self.scheduler.yield_now()
                try:
                    if not sign(store, writer, number, Beat(worker=writer.worker)):
                        break
                except FlashvaultError:
                    continue
            else:
                closed = Closed(restored={})
        try:
            close(store, writer, closed)
        except FlashvaultError:
            return

    @contextmanager
    def writes(self, target: OrderedTarget) -> Iterator[None]:
        me = self.scheduler.current
        is_late = self.is_done or (self.was_handed_on and target is self.order.targets[0])
        assert not is_late or me.name == "next", f"{me.name} writes after the restore was over"
        others = self.alive_writers(target)
        assert not others, f"{me.name} and {others} write {target.target} at once"
        self.writing.setdefault(target.uid, set()).add(me.name)
        yield
        self.writing[target.uid].discard(me.name)

    def alive_writers(self, target: OrderedTarget) -> set[str]:
        alive = {process.name for process in self.scheduler.processes if process.is_alive}
        return self.writing.get(target.uid, set()) & alive

    def reconcile(self, owner) -> None:
        with suppress(FlashvaultError):
            close_gone(self.store, open_writers(self.store))
            if not owner.is_alive and self.scheduler.current.host == owner.host:
                end_restore_order(self.store, "RG1", RUN)

    def next_restore(self, owner) -> None:
        """Somebody wants the disks for another restore: without asking what became of the first."""
        target = self.order.targets[0]
        while owner.is_alive and not (self.has_ordered and self.rng.random() < 0.05):
            self.scheduler.yield_now()
        for _ in range(300):
            self.scheduler.yield_now()
            with suppress(FlashvaultError):
                if not holders(self.store, [target.target_uid]):
                    break
        else:
            return
        with self.writes(target):
            self.scheduler.yield_now()
        self.was_handed_on = True


@pytest.mark.parametrize("first", range(0, 1500, 100))
def test_no_disk_has_two_writers_and_none_once_the_restore_is_done(first):
    for seed in range(first, first + 100):
        try:
            Site(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
