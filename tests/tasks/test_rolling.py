"""Rolling deep verify: every frame read once, damage found, told, and stored again."""

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import captured
import pytest

from blocks.catalog import shelf
from blocks.catalog.chain import sidecar_key
from blocks.catalog.marks import read_damage
from blocks.catalog.point import new_id, point_key
from blocks.catalog.readings import proven_since, read_readings
from blocks.catalog.shelf import read_shelf
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.rolling import images_by_volume, read_slice, remember, remember_all, slice_of
from tasks.verify import verify_image, write_findings

EXTENT = 4096
UID = "6005076400810000000000000000000A"
DAY = timedelta(days=1)


class CountingStore(MemoryStore):
    """Counts the bytes of images that are read."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def get_range(self, key, offset, length, **pins):
        self.fetched.append((key, offset, length))
        return super().get_range(key, offset, length, **pins)


def back_up(store, data, parent=None):
    settings = CaptureSettings(
        extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, segment_bytes=32 * EXTENT
    )
    return captured.back_up(store, data, parent, settings=settings)


@pytest.fixture
def store():
    return CountingStore()


@pytest.fixture
def chain(store):
    """A full of six segments and five incrementals on it."""
    dice = random.Random(7)
    data = bytearray(dice.randbytes(180 * EXTENT))
    points = [back_up(store, data)]
    for _ in range(5):
        for _ in range(6):
            at = dice.randrange(180) * EXTENT
            data[at : at + 500] = dice.randbytes(500)
        points.append(back_up(store, data, points[-1]))
    store.fetched.clear()
    return points


def run():
    return SimpleNamespace(id=new_id(), group="RG", stop=threading.Event(), check=lambda: None)


def rolling(store, points, now, within_days=30):
    """Do what the flow does in one run; return the slice, what was found and the coverage."""
    own = run()
    chosen = slice_of(store, "RG", points, now, within_days)
    ciphers = {point.id: None for point in points}
    read = [
        read_slice.plain(own, uid, images, chosen.due, store, ciphers)
        for uid, images in images_by_volume(points).items()
    ]
    looked = [row for volume in read for row in volume.looked]
    pruned = write_findings(store, own, chosen.marks, points, looked).pruned
    return chosen, read, remember(store, own, chosen, points, read, pruned, now, within_days)


def deep(store, points, **changes):
    own, known = run(), read_damage(store, "RG")
    looked = [
        verify_image.plain(own, point, volume, store, True, None)
        for point in points
        for volume in point.volumes
    ]
    write_findings(store, own, known, points, looked, **changes)
    return looked


def flip(store, key, offset):
    """Let a bit rot where it lies: the same object to the store, other bytes."""
    versions = store._versions[key]
    data = bytearray(versions[-1].data)
    data[offset] ^= 1
    versions[-1] = replace(versions[-1], data=bytes(data))


def objects_of(points):
    return {item.key for point in points for item in point.objects}


def test_every_object_is_read_within_the_days_by_daily_runs(store, chain):
    began = datetime.now(UTC)
    read = set()
    for day in range(1, 31):
        chosen, _, covered = rolling(store, chain, began + day * DAY)
        assert covered.is_complete
        read |= chosen.due
    assert read == objects_of(chain)
    assert len(list(store.list("readings/RG/"))) == 1, "each run carries on what was known"


def test_a_frame_that_many_points_share_is_read_once(store, chain):
    _, _, covered = rolling(store, chain, datetime.now(UTC) + DAY, within_days=1)
    images = [fetch for fetch in store.fetched if fetch[0].startswith("RG/") and "img" in fetch[0]]
    assert images
    assert len(images) == len(set(images))
    assert covered.is_complete


def test_a_flipped_bit_is_found_and_told_of_every_point_that_needs_it(store, chain):
    key = chain[0].volumes[0].image_keys[0]
    size = next(item.size_bytes for item in chain[0].objects if item.key == key)
    flip(store, key, size // 2)
    _, read, covered = rolling(store, chain, datetime.now(UTC) + DAY, within_days=1)
    (volume,) = read
    assert key not in volume.whole()
    found = {row.point for row in volume.looked if row.found.damaged}
    by_point = {
        point.id for point in chain if any(row.found.damaged for row in deep(store, [point]))
    }
    assert found == by_point >= {chain[0].id}
    assert not covered.is_complete
    assert {mark.key for mark in read_damage(store, "RG")} == {key}
    # The object is known to be bad: it is not read daily, and never counts as proven.
    chosen, _, covered = rolling(store, chain, datetime.now(UTC) + 2 * DAY, within_days=1)
    assert key not in chosen.due
    assert covered.late == 1
    damaged = [entry for entry in read_shelf(store, "RG").points if entry.is_damaged]
    assert {entry.point.id for entry in damaged} >= found


def test_an_object_behind_a_damaged_page_does_not_count_as_read(store, chain):
    page = chain[-1].volumes[0].pages[0].object.key
    flip(store, page, 40)
    _, read, _ = rolling(store, chain, datetime.now(UTC) + DAY, within_days=1)
    assert read[0].whole() == frozenset()
    assert any(row.found.damaged for row in read[0].looked)


def test_a_store_that_does_not_answer_is_no_damage_and_nothing_is_remembered(store, chain):
    from blocks.errors import StoreUnavailable

    before = read_readings(store, "RG")

    def down(*_args, **_more):
        raise StoreUnavailable("503")

    store.get_range = down
    own = run()
    chosen = slice_of(store, "RG", chain, datetime.now(UTC) + DAY, 1)
    with pytest.raises(StoreUnavailable):
        read_slice.function(
            own, UID, images_by_volume(chain)[UID], chosen.due, store, {p.id: None for p in chain}
        )
    assert read_readings(store, "RG") == before
    assert list(read_damage(store, "RG")) == []


def test_a_sample_does_not_forget_what_another_sample_found(store, chain):
    key = chain[0].volumes[0].image_keys[0]
    size = next(item.size_bytes for item in chain[0].objects if item.key == key)
    flip(store, key, size // 4)
    deep(store, chain[:1])
    first = {tuple(where) for item in read_damage(store, "RG") for where in item.ranges}
    flip(store, key, size // 4)
    flip(store, key, 3 * size // 4)
    deep(store, chain[:1])
    both = {tuple(where) for item in read_damage(store, "RG") for where in item.ranges}
    assert first < both


def test_a_point_read_whole_and_right_loses_its_marks(store, chain):
    key = chain[0].volumes[0].image_keys[0]
    flip(store, key, 500)
    deep(store, chain[:1])
    assert read_damage(store, "RG")
    flip(store, key, 500)
    deep(store, chain[:1])
    assert read_damage(store, "RG"), "only who read everything may say that all is well"
    deep(store, chain[:1], read_whole=[chain[0].id])
    assert list(read_damage(store, "RG")) == []


def test_a_whole_deep_verify_counts_as_a_reading_of_everything(store, chain):
    now = datetime.now(UTC) + 3 * DAY
    looked = deep(store, chain)
    remember_all(store, run(), chain, looked, now)
    since = proven_since(chain, read_readings(store, "RG"), now)
    assert set(since.values()) == {now}


def test_a_reading_from_the_future_is_not_believed(store, chain):
    now = datetime.now(UTC)
    remember_all(store, run(), chain, deep(store, chain), now + 400 * DAY)
    since = proven_since(chain, read_readings(store, "RG"), now + 31 * DAY)
    assert max(since.values()) <= now
    assert set(since) == objects_of(chain)


def test_two_runs_at_once_lose_nothing(store, chain):
    now = datetime.now(UTC) + DAY
    known = read_readings(store, "RG")
    from blocks.catalog.readings import write_readings

    one, two, *_ = sorted(objects_of(chain))
    write_readings(store, "RG", new_id(), known, [one], objects_of(chain), now)
    write_readings(store, "RG", new_id(), known, [two], objects_of(chain), now)
    assert set(read_readings(store, "RG").read_at) == {one, two}


def test_the_oldest_point_is_what_a_frame_is_read_for(store, chain):
    assert [point.id for point, _ in images_by_volume(shelf.points(store, "RG"))[UID]] == [
        point.id for point in chain
    ]


def test_a_page_pruned_while_the_slice_was_read_neither_is_damage_nor_undoes_the_reading(
    store, chain
):
    # As a purge does, after the points were listed: copy and document, then what only it needs.
    page = chain[0].volumes[0].pages[0].object.key
    assert all(page != each.volumes[0].pages[0].object.key for each in chain[1:])
    store.delete([sidecar_key("RG", chain[0].id), point_key("RG", chain[0].id), page])
    now = datetime.now(UTC) + DAY
    _, _, covered = rolling(store, chain, now, within_days=1)
    assert list(read_damage(store, "RG")) == []
    live = objects_of(chain[1:])
    assert {key for key, at in read_readings(store, "RG").read_at.items() if at == now} == live
    assert covered.is_complete
    assert covered.objects == len(live)
