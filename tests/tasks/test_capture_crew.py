"""Several workers on one group, with workers that deliver, die, fall silent or are not there."""

import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from ulid import ULID

from blocks.catalog.orders import (
    Beat,
    Delivered,
    Fenced,
    Order,
    OrderedVolume,
    beat,
    deliver,
    order_folder,
    read_outcome,
    remove_order,
    write_order,
)
from blocks.catalog.owner import this_process
from blocks.catalog.point import PageRef, PointId, StoredObject, VolumeImage, image_folder
from blocks.errors import HostError, Stopped
from blocks.store.memory import MemoryStore
from tasks.capture import CapturedVolume
from tasks.capture_crew import TAKES, CaptureCrew, judge
from tasks.capture_share import pair_of, remove_take
from tasks.crew import BEAT_LOST_S, START_S, Share
from tasks.run import Run

RUN = PointId(str(ULID()))


def uid(number: int) -> str:
    return f"60050768{number:024}"


def image(number: int, take: int) -> VolumeImage:
    key = f"{image_folder('RG1', RUN)}vol{number}.take{take}"
    stored = StoredObject(key=key, size_bytes=1, etag="e")
    return VolumeImage(
        name=f"vol{number}",
        uid=uid(number),
        size_bytes=1 << 20,
        disk="hdisk1",
        extent_bytes=1 << 18,
        map_digest="0" * 64,
        pages=(PageRef(object=stored, first_extent=0, extent_count=4),),
        read_bytes=0,
        zero_bytes=0,
        changed_bytes=0,
        stored_bytes=0,
        image_keys=(),
    )


@pytest.fixture
def order() -> Order:
    return Order(
        group="RG1",
        run_id=RUN,
        storage_system="storage1",
        consistency_group="cg",
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        array_start_time="",
        owner="node1",
        reader="backup1",
        volumes=tuple(
            OrderedVolume(
                mapping="m",
                name=f"vol{number}",
                uid=uid(number),
                target_name="t",
                target_uid="",
                size_bytes=1 << 20,
            )
            for number in range(4)
        ),
    )


class Time:
    """A clock that only a pause moves, far enough that nobody waits in vain."""

    def __init__(self, *, step_s: float = 5.0) -> None:
        self.now = 0.0
        self.step_s = step_s
        self.at_pause: list = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        time.sleep(0.001)  # or threads would get no turn
        self.now += self.step_s
        for act in self.at_pause:
            act()
        assert self.now < 10_000, "the crew waits for ever"


class Workers:
    """Other workers, as `behaviour(number, take)` says: deliver, die, silent, absent, refuse."""

    def __init__(self, store, order, behaviour, clock):
        self.store, self.order, self.behaviour = store, order, behaviour
        self.runs: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.started: list[tuple[int, int]] = []
        self.silent: list[tuple[str, int]] = []
        clock.at_pause.append(self._go_on)
        self.begun: list[tuple[str, int]] = []

    def start(self, uid_: str, take: int) -> str:
        number = int(uid_[-4:])
        what = self.behaviour(number, take)
        if what == "refuse":
            raise ConnectionError("no server")
        self.started.append((number, take))
        run = f"{number}.{take}"
        self.runs[run] = what
        if what in {"deliver", "silent"}:
            beat(self.store, self.order, uid_, take, 1, Beat(worker=this_process()))
        if what == "deliver":
            self.begun.append((uid_, take))
        if what == "silent":
            self.silent.append((uid_, take))
        return run

    def _go_on(self):
        for uid_, take in self.begun:
            number = int(uid_[-4:])
            found = Delivered(
                worker=this_process(), image=image(number, take), objects=(), is_full=True
            )
            assert deliver(self.store, self.order, take, found)
        self.begun.clear()

    def has_ended(self, run: str) -> bool:
        return self.runs[run] == "die"

    def cancel(self, run: str) -> None:
        self.cancelled.append(run)


class Here:
    """What is captured by the run itself."""

    def __init__(self, error=None):
        self.begun: list[tuple[str, int]] = []
        self.error = error

    def __call__(self, pair, take):
        self.begun.append((pair.source.name, take))
        outcome: Future = Future()
        if self.error is not None:
            outcome.set_exception(self.error)
        else:
            number = int(pair.source.uid[-4:])
            outcome.set_result(CapturedVolume(image(number, take), (), True))
        return outcome


def crew_of(run, store, order, workers, here, clock, size=2):
    return CaptureCrew(
        run,
        store,
        order.folder,
        workers,
        here,
        size=size,
        clock=clock,
        pause=clock.pause,
        order=order,
    )


def work(order, behaviour, here=None, size=2, store=None):
    store = store or MemoryStore()
    write_order(store, order)
    clock = Time()
    workers = Workers(store, order, behaviour, clock)
    here = here or Here()
    run = Run(RUN, "RG1", "backup", journal=None, stop=threading.Event())
    crew = crew_of(run, store, order, workers, here, clock, size)
    done = crew.work([pair_of(volume) for volume in order.volumes])
    assert set(done) == {volume.uid for volume in order.volumes}
    return crew, done, workers, here


def test_volumes_are_shared_and_every_one_is_captured_once(order):
    _, done, workers, here = work(order, lambda number, take: "deliver")
    assert len(workers.started) + len(here.begun) == 4
    assert workers.started
    assert here.begun, "the owner works too"
    assert all(volume.image.uid == found for found, volume in done.items())
    assert workers.cancelled == []


def test_a_share_that_dies_is_fenced_and_redone_under_another_name(order):
    store = MemoryStore()
    crew, done, workers, _ = work(
        order, lambda number, take: "die" if take == 1 else "deliver", store=store
    )
    lost = [number for number, take in workers.started if take == 1]
    assert lost
    for number in lost:
        assert isinstance(read_outcome(store, order, uid(number), 1), Fenced)
        (again,) = {page.object.key for page in done[uid(number)].image.pages}
        assert not again.endswith(".take1")
    assert crew.has_lost_takes


def test_a_share_without_a_sign_of_life_is_given_up(order):
    _, _, workers, _ = work(order, lambda number, take: "silent" if take == 1 else "deliver")
    assert workers.cancelled


def test_workers_that_never_come_do_not_hold_a_backup_up(order):
    _, _, workers, here = work(order, lambda number, take: "absent")
    assert len(here.begun) == 4
    assert len(workers.cancelled) == len(workers.started)
    assert len(workers.started) <= 2, "nobody is asked again"


def test_without_a_server_everything_is_captured_here(order):
    _, _, workers, here = work(order, lambda number, take: "refuse")
    assert len(here.begun) == 4
    assert workers.started == []
    # The one that was asked for in vain: its first take may be under way all the same.
    assert sorted(take for _, take in here.begun) == [1, 1, 1, 2]


def test_who_always_dies_is_asked_so_often_and_no_more(order):
    _, _, workers, here = work(order, lambda number, take: "die")
    assert max(take for _, take in workers.started) <= TAKES
    assert len(here.begun) == 4


def test_what_was_delivered_at_the_last_moment_counts(order):
    """The fence and the delivery meet: whichever came first is what both believe."""
    store = MemoryStore()

    def behaviour(number, take):
        if take > 1:
            return "deliver"
        late = Delivered(worker=this_process(), image=image(number, 1), objects=(), is_full=True)
        deliver(store, order, 1, late)
        return "die"

    _, _, workers, here = work(order, behaviour, store=store)
    assert {take for _, take in workers.started} == {1}, "nothing is redone"
    assert len(workers.started) + len(here.begun) == 4


def test_an_error_here_ends_the_run_and_lets_the_others_go(order):
    store = MemoryStore()
    write_order(store, order)
    clock = Time()
    workers = Workers(store, order, lambda number, take: "silent", clock)
    run = Run(RUN, "RG1", "backup", journal=None, stop=threading.Event())
    here = Here(HostError("cannot read"))
    crew = crew_of(run, store, order, workers, here, clock)
    with pytest.raises(HostError, match="cannot read"):
        crew.work([pair_of(volume) for volume in order.volumes])
    assert run.stop.is_set()
    assert len(workers.cancelled) == len(workers.started) > 0


def test_a_run_that_is_stopped_stops_the_others(order):
    store = MemoryStore()
    write_order(store, order)
    clock = Time()
    workers = Workers(store, order, lambda number, take: "silent", clock)
    run = Run(RUN, "RG1", "backup", journal=None, stop=threading.Event())

    class UntilStopped:
        def result(self):
            assert run.stop.wait(30)
            raise Stopped("stopped")

    crew = crew_of(run, store, order, workers, lambda *_: UntilStopped(), clock)
    clock.at_pause.append(run.stop.set)
    with pytest.raises(Stopped):
        crew.work([pair_of(volume) for volume in order.volumes])
    assert workers.cancelled


def test_a_share_that_has_begun_may_be_silent_for_less_than_one_that_has_not():
    share = Share(item=None, uid="", take=1, run="r", heard_at=0.0)
    assert judge(share, START_S) == "wait"
    assert judge(share, START_S + 1) == "never began"
    share.beats = 1
    assert judge(share, BEAT_LOST_S) == "wait"
    assert judge(share, BEAT_LOST_S + 1) == "dead"
    share.is_ended = True
    assert judge(share, 0.0) == "dead"


def test_a_take_that_was_given_up_removes_its_own_and_nothing_of_another():
    store = MemoryStore()
    for key in (
        "f/c_RG_VG_hdisk1.T.img",
        "f/c_RG_VG_hdisk1.T.take2.img",
        "f/c_RG_VG_hdisk12.T.img",
    ):
        store.put(key, b"x")
    mine = store.begin_upload("f/c_RG_VG_hdisk1.T.0001.img")
    other = store.begin_upload("f/c_RG_VG_hdisk1.T.take2.0001.img")
    remove_take(store, "f/c_RG_VG_hdisk1.T")
    assert [found.key for found in store.list("f/")] == [
        "f/c_RG_VG_hdisk1.T.take2.img",
        "f/c_RG_VG_hdisk12.T.img",
    ]
    assert {found.upload_id for found in store.uploads()} == {other.upload_id}
    assert mine.upload_id != other.upload_id


def test_an_order_that_is_gone_ends_every_take(order):
    store = MemoryStore()
    write_order(store, order)
    remove_order(store, "RG1", RUN)
    assert list(store.list(order_folder("RG1", RUN))) == []
    assert not beat(store, order, uid(0), 1, 1, Beat(worker=this_process()))
