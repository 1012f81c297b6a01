"""Several workers write one restore, with workers that write, fail, die, vanish or never come."""

import threading
import time
from concurrent.futures import Future
from dataclasses import asdict

import pytest
from ulid import ULID

from blocks.catalog.orders import Beat
from blocks.catalog.owner import this_process
from blocks.catalog.point import PointId
from blocks.catalog.writers import (
    Closed,
    OrderedTarget,
    RestoreOrder,
    begin,
    close,
    closed_key,
    machine_id,
    new_secret,
    open_writers,
    proven,
    sign,
    write_restore_order,
)
from blocks.errors import CorruptData, TargetInUse
from blocks.host.base import Disk
from blocks.policy.recovery import Placement, RestorePlan
from blocks.store.memory import MemoryStore
from tasks import restore_crew
from tasks.crew import START_S
from tasks.plan import Asked
from tasks.restore import RestoredDisk
from tasks.restore_crew import ASKED_MAX, LOST_S, RestoreCrew
from tasks.run import Run

RUN = PointId(str(ULID()))
VOLUMES = 4


class Volume:
    def __init__(self, number):
        self.uid, self.disk = f"V{number}", f"hdisk{number}"


class Placed:
    """A placement, as far as a crew looks at it."""

    def __init__(self, number):
        self.volume = Volume(number)


def restored(uid: str, by: str) -> RestoredDisk:
    bad = ((0, 2),) if uid == "V0" else ()
    return RestoredDisk(by, f"hdisk{uid[1:]}", uid, "hdisk30", "/dev/x", 1, 1, 1, 0, bad)


class Time:
    """A clock that only a pause moves, far enough that nobody waits in vain."""

    def __init__(self):
        self.now = 0.0
        self.at_pause = []

    def __call__(self):
        return self.now

    def pause(self, seconds):
        time.sleep(0.001)  # or threads would get no turn
        self.now += 5.0
        for act in self.at_pause:
            act()
        assert self.now < 10_000, "the crew waits for ever"


class Site:
    """A crew of two, its workers as `behaviour(uid, take)` says, and who wrote what when."""

    def __init__(self, behaviour, store=None):
        self.store = store or MemoryStore()
        self.order = RestoreOrder(
            group="RG1",
            run_id=RUN,
            point=PointId(str(ULID())),
            writer="backup",
            owner=this_process(),
            machine=machine_id(),
            targets=tuple(
                OrderedTarget(
                    uid=f"V{n}", disk=f"hdisk{n}", target=f"hdisk3{n}", target_uid=f"T{n}"
                )
                for n in range(VOLUMES)
            ),
        )
        self.secret = new_secret()
        write_restore_order(self.store, self.order)
        self.behaviour = behaviour
        self.clock = Time()
        self.clock.at_pause.append(self.go_on)
        self.started, self.cancelled, self.here = [], [], []
        self.writing, self.runs = {}, {}
        self.run = Run(RUN, "RG1", "restore", journal=None, stop=threading.Event())
        self.crew = RestoreCrew(
            self.run,
            self.store,
            self.order.folder,
            self,
            self.begin_here,
            size=2,
            clock=self.clock,
            pause=self.clock.pause,
            order=self.order,
            secret=self.secret,
        )

    def work(self):
        return self.crew.work([Placed(number) for number in range(VOLUMES)])

    def target(self, uid):
        return next(target for target in self.order.targets if target.uid == uid)

    def begin_here(self, placement, take):
        uid = placement.volume.uid
        assert uid not in self.writing, f"{uid} is written by two"
        self.here.append((uid, take))
        outcome = Future()
        outcome.set_result(restored(uid, "here"))
        return outcome

    # What Prefect starts.

    def start(self, uid, take):
        what = self.behaviour(uid, take)
        if what == "refuse":
            raise ConnectionError("no server")
        self.started.append((uid, take))
        self.runs[f"{uid}.{take}"] = what
        if what in {"write", "lie", "fail", "die", "vanish"}:
            writer = begin(self.store, self.order, self.target(uid))
            assert writer is not None
            sign(self.store, writer, 1, Beat(worker=this_process()))
            self.writing[uid] = (writer, what)
        if what == "find it gone":
            (writer, _) = self.writing.pop(uid)
            close(self.store, writer, Closed(error="its process died"))
        return f"{uid}.{take}"

    def go_on(self):
        for uid, (writer, what) in list(self.writing.items()):
            if what in {"write", "lie"}:
                closed = Closed(restored=asdict(restored(uid, "there")))
                if what == "write":
                    closed = proven(closed, closed_key("RG1", RUN, uid), self.secret)
                close(self.store, writer, closed)
                del self.writing[uid]
            if what == "fail":
                close(self.store, writer, Closed(error="no such disk"))
                del self.writing[uid]

    def has_ended(self, run):
        return self.runs[run] in {"die", "fail", "never ran", "looked"}

    def cancel(self, run):
        self.cancelled.append(run)


def test_disks_are_shared_and_each_is_written_once():
    site = Site(lambda uid, take: "write")
    done = site.work()
    assert site.started
    assert site.here, "the owner works too"
    assert len(site.started) + len(site.here) == VOLUMES
    assert {disk.uid for disk in done.values()} == set(done)
    assert {disk.volume for disk in done.values()} == {"here", "there"}
    assert done["V0"].bad == ((0, 2),), "damage found elsewhere is not lost on the way"


def test_a_disk_that_somebody_in_the_bucket_calls_restored_is_not_believed():
    site = Site(lambda uid, take: "lie")
    with pytest.raises(CorruptData, match="not written by this restore"):
        site.work()


def test_what_a_worker_could_not_write_is_written_here():
    site = Site(lambda uid, take: "fail")
    site.work()
    assert {uid for uid, _ in site.here} == {f"V{n}" for n in range(VOLUMES)}
    assert {take for _, take in site.started} == {1}, "nobody is asked twice for the same disk"


def test_what_a_dead_worker_held_is_written_here_once_its_machine_says_so():
    site = Site(lambda uid, take: "die" if take == 1 else "looked" if take < 4 else "find it gone")
    done = site.work()
    lost = [uid for uid, take in site.started if take == 1]
    assert lost
    assert all(done[uid].volume == "here" for uid in lost)
    assert max(take for _, take in site.started) == 4


def test_a_worker_that_vanished_is_not_overtaken_and_the_restore_fails():
    site = Site(lambda uid, take: "vanish" if take == 1 else "never ran")
    with pytest.raises(TargetInUse, match=r"hdisk3\d may still be written by process") as raised:
        site.work()
    assert "flashvault reconcile" in raised.value.hint
    assert f"--clear {RUN} --force" in raised.value.hint
    assert site.clock.now > LOST_S
    lost = {uid for uid, take in site.started if take == 1}
    assert lost
    assert not lost & {uid for uid, _ in site.here}
    assert {writer.uid for writer in open_writers(site.store)} == lost
    assert len([take for _, take in site.started if take > 1]) <= ASKED_MAX * len(lost)


def test_an_operator_who_says_that_the_machine_is_off_lets_the_restore_go_on():
    site = Site(lambda uid, take: "vanish" if take == 1 else "never ran")

    def operator():
        if site.clock.now > 500:
            for writer in open_writers(site.store):
                site.writing.pop(writer.uid)
                close(site.store, writer, Closed(error="declared dead by an operator"))

    site.clock.at_pause.append(operator)
    assert len(site.work()) == VOLUMES
    assert site.clock.now < LOST_S


def test_workers_that_never_come_are_not_waited_for_and_cannot_begin_later():
    site = Site(lambda uid, take: "absent")
    site.work()
    assert len(site.here) == VOLUMES
    assert len(site.cancelled) == len(site.started) <= 2
    assert site.clock.now < 2 * START_S
    for target in site.order.targets:
        assert begin(site.store, site.order, target) is None


def test_a_run_that_was_asked_for_in_doubt_and_comes_late_finds_the_disk_kept():
    site = Site(lambda uid, take: "refuse")
    site.work()
    assert len(site.here) == VOLUMES
    assert all(begin(site.store, site.order, each) is None for each in site.order.targets)


def test_a_disk_that_is_begun_behind_our_back_is_waited_for():
    """Asking failed as far as we know, but the run was made."""
    site = Site(lambda uid, take: "refuse")
    writer = begin(site.store, site.order, site.target("V2"))
    site.writing["V2"] = (writer, "write")
    done = site.work()
    assert done["V2"].volume == "there"
    assert "V2" not in {uid for uid, _ in site.here}


def test_an_error_here_ends_the_restore_and_lets_the_others_go():
    site = Site(lambda uid, take: "absent")

    def broken(placement, take):
        outcome = Future()
        outcome.set_exception(CorruptData("damaged"))
        return outcome

    site.crew.begin_here = broken
    with pytest.raises(CorruptData):
        site.work()
    assert site.run.stop.is_set()
    assert site.cancelled == [f"{uid}.{take}" for uid, take in site.started]


@pytest.mark.parametrize(
    ("is_run", "bucket", "uids", "conditional", "reason"),
    [
        (False, "", ["T0", "T1"], True, "no Prefect server"),
        (True, "s3://b", ["T0", "T1"], True, "bucket of the profile"),
        (True, "", ["T0", ""], True, "a file is on one machine"),
        (True, "", ["T0", "T1"], False, "no conditional writes"),
        (True, "", ["T0", "T1"], True, ""),
    ],
)
def test_why_one_worker_writes_everything_is_said(
    monkeypatch, is_run, bucket, uids, conditional, reason
):
    monkeypatch.setattr(restore_crew.FlowRunContext, "get", lambda: is_run or None)
    disks = [Disk(name="d", path="/dev/d", size_bytes=1, uid=uid) for uid in uids]
    plan = RestorePlan(None, tuple(Placement(None, disk) for disk in disks), ())
    store = MemoryStore(conditional_put=conditional)
    said = restore_crew.why_alone(Asked("RG1", {}, bucket=bucket), plan, store)
    assert reason in said
    assert bool(said) == bool(reason)
