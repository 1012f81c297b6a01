"""The catalog is rebuilt from what lies beside the images, with the real engine's images."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import captured
import pytest
from memory_disk import MemoryDisk

from blocks.catalog.chain import sidecar_key
from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.labels import Labels
from blocks.catalog.marks import read_marks
from blocks.catalog.point import (
    Kind,
    RestorePoint,
    VolumeImage,
    image_folder,
    image_name,
    new_id,
    point_key,
)
from blocks.catalog.prune import hold, sweep
from blocks.catalog.rebuild import RebuildReport, rebuild
from blocks.catalog.shelf import points, publish
from blocks.errors import Refused
from blocks.image.digest import Digester
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.recovery import restore_volume
from tasks.transfer import Progress

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EXTENT = 4096
UIDS = ("60050768" + "0" * 23 + "A", "60050768" + "0" * 23 + "B")
SEGMENT = 32 * EXTENT


class Machine:
    """Two disks that change, and the backups that are made of them."""

    def __init__(
        self, store: MemoryStore, *, extents: int = 24, segment_bytes: int = 1 << 30
    ) -> None:
        self.store = store
        self.dice = random.Random(1)
        self.disks = [MemoryDisk(self.dice.randbytes(extents * EXTENT)) for _ in UIDS]
        self.segment_bytes = segment_bytes
        self.contents: dict[datetime, list[bytes]] = {}
        self.day = 0

    def change(self) -> None:
        """Rewrite one extent, clear another, fill a third, on each disk."""
        for disk in self.disks:
            for data in (self.dice.randbytes(EXTENT), bytes(EXTENT), b"x" * EXTENT):
                disk.write(self.dice.randrange(disk.size_bytes // EXTENT) * EXTENT, data)

    def backup(self, parent: RestorePoint | None = None, *, commit: bool = True) -> RestorePoint:
        self.day += 1
        taken_at = EPOCH + timedelta(days=self.day)
        self.contents[taken_at] = [bytes(disk.data) for disk in self.disks]
        run = new_id()
        intent = begin_intent(self.store, "RG1", run, parent=parent)
        made = [self.capture(run, number, taken_at, parent) for number in range(len(self.disks))]
        digests = b"".join(bytes.fromhex(image.map_digest) for image, _ in made)
        objects = {named.key: named for _, found in made for named in found}
        point = RestorePoint(
            id=run,
            group="RG1",
            cluster="cl",
            storage_system="svc",
            consistency_group="cg",
            kind=Kind.INCREMENTAL if parent else Kind.FULL,
            parent=parent.id if parent else None,
            taken_at=taken_at,
            committed_at=taken_at,
            reading_host="node1",
            volumes=tuple(image for image, _ in made),
            objects=tuple(objects[key] for key in sorted(objects)),
            maps_digest=Digester().of(digests).hex(),
            codec="zstd-1",
            tool_version="0",
        )
        if commit:
            publish(self.store, point)
        end_intent(self.store, intent)
        return point

    def capture(
        self, run: str, number: int, taken_at: datetime, parent: RestorePoint | None
    ) -> tuple[VolumeImage, Any]:
        labels = Labels(
            point=run,
            group="RG1",
            cluster="cl",
            parent=parent.id if parent else "",
            taken_at=taken_at,
            volumes=",".join(UIDS),
            name=f"vol{number}",
            disk=f"hdisk{number}",
        )
        taken, _ = captured.capture(
            self.disks[number],
            self.store,
            image_folder("RG1", run),
            settings=CaptureSettings(
                extent_bytes=EXTENT,
                frame_extents=4,
                encoders=1,
                segment_bytes=self.segment_bytes,
                labels=labels.as_header(),
            ),
            parent=(parent.volumes[number], parent.objects) if parent else None,
            name=image_name("cl", "RG1", "vg", f"hdisk{number}", taken_at),
            volume=f"vol{number}",
            uid=UIDS[number],
            disk=f"hdisk{number}",
        )
        return taken

    def require_restorable(self, point: RestorePoint) -> None:
        for number, volume in enumerate(point.volumes):
            target = MemoryDisk(b"\xaa" * volume.size_bytes)
            restore_volume(
                volume,
                point.objects,
                self.store,
                target,
                bookmark=None,
                stop=threading.Event(),
                progress=Progress(),
            )
            assert bytes(target.data) == self.contents[point.taken_at][number]


def chain_of(machine: Machine, count: int) -> list[RestorePoint]:
    made = [machine.backup()]
    for _ in range(count - 1):
        machine.change()
        made.append(machine.backup(made[-1]))
    return made


def lose(
    store: MemoryStore, *, points: bool = True, maps: bool = False, copies: bool = False
) -> None:
    gone = [info.key for info in store.list("points/")] if points else []
    if maps:
        gone += [info.key for info in store.list("RG1/") if info.key.endswith(".map")]
    if copies:
        gone += [info.key for info in store.list("RG1/") if info.key.endswith("/point.json")]
    store.delete(gone)


def run_rebuild(store: MemoryStore, **options: Any) -> RebuildReport:
    before = {info.key: info.etag for info in store.list()}
    report = rebuild(store, "RG1", now=EPOCH + timedelta(days=99), **options)
    after = {info.key: info.etag for info in store.list()}
    assert before.items() <= after.items()  # nothing is written over, nothing deleted
    return report


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param({}, id="points"),
        pytest.param({"maps": True}, id="points and maps"),
        pytest.param({"maps": True, "copies": True}, id="all but the images"),
    ],
)
def test_every_point_is_rebuilt_and_restores_bit_exact(lost: dict[str, bool]) -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store)
    made = chain_of(machine, 5)
    lose(store, **lost)
    assert points(store) == []
    report = run_rebuild(store)
    found = points(store)
    assert report.left == {}
    assert [point.taken_at for point in found] == [point.taken_at for point in made]
    assert [point.maps_digest for point in found] == [point.maps_digest for point in made]
    for point in found:
        machine.require_restorable(point)
    assert run_rebuild(store).rebuilt == []  # a second time there is nothing to do
    # And the next backup and prune go on from there.
    machine.change()
    newest = machine.backup(found[-1])
    sweep(store, "RG1", {}, minimum=1)
    for point in [*found, newest]:
        machine.require_restorable(point)


def test_an_image_of_which_no_extent_is_needed_is_still_the_points() -> None:
    """A disk that has become all zeros: no page names its newest image, but verify looks at it."""
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store, extents=80, segment_bytes=SEGMENT)
    (full,) = chain_of(machine, 1)
    machine.disks[0].write(0, bytes(machine.disks[0].size_bytes))
    machine.backup(full)
    lose(store, maps=True, copies=True)
    run_rebuild(store)
    for point in points(store):
        listed = {stored.key for stored in point.objects}
        for volume in point.volumes:
            assert volume.image_keys
            assert listed.issuperset(volume.image_keys)
        machine.require_restorable(point)


def test_a_dry_run_tells_and_writes_nothing() -> None:
    store = MemoryStore(part_min_bytes=0)
    chain_of(Machine(store), 3)
    lose(store, maps=True)
    before = [info.key for info in store.list()]
    report = run_rebuild(store, dry_run=True)
    assert [rebuilt.remade_pages for rebuilt in report.rebuilt] == [2, 2, 2]
    assert [info.key for info in store.list()] == before


def test_a_volume_of_several_segments_is_rebuilt_from_its_copy() -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store, extents=80, segment_bytes=SEGMENT)
    made = chain_of(machine, 4)
    lose(store, maps=True)
    run_rebuild(store)
    found = points(store)
    assert len(found) == len(made)
    for point in found:
        machine.require_restorable(point)


def test_what_cannot_be_proven_complete_is_reported_and_not_rebuilt() -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store, extents=80, segment_bytes=SEGMENT)
    full, child = chain_of(machine, 2)
    unfinished = machine.backup(commit=False)
    lose(store, maps=True, copies=True)
    store.delete([next(info.key for info in store.list(image_folder("RG1", unfinished.id)))])
    report = run_rebuild(store)
    assert [rebuilt.from_run for rebuilt in report.rebuilt] == [full.id]
    assert "may lack images" in report.left[child.id]
    assert "lacks images" in report.left[unfinished.id]


def test_a_run_that_gave_up_or_still_goes_on_is_left_alone() -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store)
    machine.backup()
    void = machine.backup(commit=False)
    running = new_id()
    begin_intent(store, "RG1", running)
    machine.capture(running, 0, EPOCH, None)
    report = run_rebuild(store)
    assert report.rebuilt == []
    assert "gave up" in report.left[void.id]
    assert "not ended" in report.left[running]


def test_a_damaged_copy_is_not_believed_the_images_are() -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store)
    point = machine.backup()
    key = sidecar_key("RG1", point.id)
    store.put(key, store.get(key).replace(b"hdisk0", b"hdisk9"))
    lose(store)
    with pytest.raises(Refused, match="cannot be read"):
        sweep(store, "RG1", {}, minimum=1)
    run_rebuild(store)
    (found,) = points(store)
    assert found.volumes[0].disk == "hdisk0"
    machine.require_restorable(found)


def test_images_of_which_some_are_gone_do_not_add_up() -> None:
    store = MemoryStore(part_min_bytes=0)
    machine = Machine(store)
    _full, child, last = chain_of(machine, 3)
    lose(store, maps=True)
    store.delete(
        [info.key for info in store.list(image_folder("RG1", child.id)) if "incr" in info.key]
    )
    report = run_rebuild(store)
    assert set(report.left) >= {child.id, last.id}
    for point in points(store):
        machine.require_restorable(point)


def ten_thousand() -> MemoryStore:
    """Make a catalog of 10,000 points an hour apart, that share their images."""
    store = MemoryStore(part_min_bytes=0, now=lambda: EPOCH)
    machine = Machine(store, extents=8)
    first = machine.backup()
    for hour in range(1, 10_000):
        run = new_id()
        intent = begin_intent(store, "RG1", run, parent=first)
        taken_at = EPOCH + timedelta(hours=hour)
        publish(store, first.model_copy(update={"id": run, "taken_at": taken_at}), workers=1)
        end_intent(store, intent)
    return store


@pytest.mark.slow
def test_ten_thousand_points_are_listed_and_rebuilt_within_a_minute() -> None:
    """Against a store that answers each request in memory: what our own code costs, in CPU time."""
    store = ten_thousand()
    began = time.process_time()
    assert len(points(store)) == 10_000
    assert time.process_time() - began < 60
    lose(store)
    began = time.process_time()
    assert len(run_rebuild(store).rebuilt) == 10_000
    assert time.process_time() - began < 60


@pytest.mark.slow
def test_half_of_ten_thousand_points_are_pruned_within_a_minute() -> None:
    moment = EPOCH
    store = ten_thousand()
    store._now = lambda: moment
    given = {point.id: "no rule keeps it" for point in points(store)[:5_000]}
    began = time.process_time()
    assert len(sweep(store, "RG1", given, minimum=1).trashed) == 5_000
    moment += timedelta(days=8)
    report = sweep(store, "RG1", given, minimum=1)
    assert len(report.purged) == 5_000
    assert time.process_time() - began < 60
    assert len(points(store)) == 5_000


def test_a_rebuilt_point_is_held_as_the_lost_one_was() -> None:
    machine = Machine(MemoryStore(part_min_bytes=0))
    full = machine.backup()
    hold(machine.store, "RG1", full.id, reason="audit")
    machine.store.delete([point_key("RG1", full.id)])
    sweep(machine.store, "RG1", {}, minimum=1)
    (found,) = rebuild(machine.store, "RG1", now=EPOCH).rebuilt
    assert read_marks(machine.store, "RG1").held >= {found.point.id}
