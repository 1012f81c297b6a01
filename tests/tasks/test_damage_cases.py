"""Every way a stored volume can be damaged, and what a restore makes of it."""

import random
import threading

import captured
import pytest
from memory_disk import MemoryDisk

from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, StoreUnavailable
from blocks.host.local import LocalReader, LocalWriter
from blocks.image.extents import PAGE_EXTENTS
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.recovery import joined, restore_volume
from tasks.transfer import Progress

EXTENT = 4096
HOW = CaptureSettings(extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20)
SIZE = 40 * EXTENT


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def data():
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def taken(store, data):
    image_and_objects, _ = captured.capture(MemoryDisk(data), store, "RG/1/", settings=HOW)
    return image_and_objects


def restored(taken, store, *, target=None, allow_bad=False, verify_readback=False):
    """Restore; return what was bad, and before it the bytes of a dirty disk if none is given."""
    image, objects = taken
    dirty = MemoryDisk(b"\xaa" * image.size_bytes) if target is None else None
    done = restore_volume(
        image,
        objects,
        store,
        target or dirty,
        bookmark=None,
        stop=threading.Event(),
        progress=Progress(),
        allow_bad=allow_bad,
        verify_readback=verify_readback,
    )
    return (bytes(dirty.data), done.bad) if dirty else done.bad


def replaced(store, key, change):
    body = change(bytearray(store.get(key)))
    store.delete([key])
    store.put(key, bytes(body))


def flipped(body):
    body[len(body) // 2] ^= 1
    return body


def all_but_the_bad_is_there(found, data, bad):
    assert bad
    for offset, length in bad:
        assert found[offset : offset + length] == bytes(length), "no old bytes"
    lost = {i for offset, length in bad for i in range(offset, offset + length)}
    assert all(found[i] == data[i] for i in range(len(data)) if i not in lost)


def test_a_flipped_bit_in_an_image_is_an_error_or_the_one_frame_is_listed(store, data, taken):
    replaced(store, taken[0].image_keys[0], flipped)
    with pytest.raises(CorruptData) as caught:
        restored(taken, store)
    assert "--allow-bad" in caught.value.hint
    found, bad = restored(taken, store, allow_bad=True, verify_readback=True)
    all_but_the_bad_is_there(found, data, bad)
    assert sum(length for _, length in bad) <= 4 * EXTENT


def test_an_object_that_is_gone_is_an_error_or_all_of_it_is_listed(store, data, taken):
    store.delete([taken[0].image_keys[0]])
    with pytest.raises(ObjectMissing):
        restored(taken, store)
    found, bad = restored(taken, store, allow_bad=True)
    assert (found, bad) == (bytes(SIZE), ((0, SIZE),))


def test_an_object_cut_short_is_an_error_or_listed(store, data, taken):
    replaced(store, taken[0].image_keys[0], lambda body: body[: len(body) // 2])
    with pytest.raises(ObjectChanged):
        restored(taken, store)
    found, bad = restored(taken, store, allow_bad=True)
    all_but_the_bad_is_there(found, data, bad)


def test_another_object_of_the_same_size_is_found_by_the_digests(store, data, taken):
    replaced(store, taken[0].image_keys[0], lambda body: random.Random(9).randbytes(len(body)))
    with pytest.raises(CorruptData):
        restored(taken, store)
    found, bad = restored(taken, store, allow_bad=True)
    assert (found, bad) == (bytes(SIZE), ((0, SIZE),))


def test_two_frames_in_each_others_place_are_found(store, data, taken):
    def swap(body):
        middle = len(body) // 2
        return body[middle:] + body[:middle]

    replaced(store, taken[0].image_keys[0], swap)
    with pytest.raises(CorruptData):
        restored(taken, store)


def test_a_damaged_page_of_the_map_is_an_error_or_its_extents_are_listed(store, data, taken):
    replaced(store, taken[0].pages[0].object.key, flipped)
    with pytest.raises(CorruptData):
        restored(taken, store)
    found, bad = restored(taken, store, allow_bad=True, verify_readback=True)
    assert (found, bad) == (bytes(SIZE), ((0, SIZE),))


def test_a_page_of_the_map_that_is_gone_costs_its_own_extents_only(store, tmp_path):
    page_bytes = PAGE_EXTENTS * EXTENT
    end = random.Random(8).randbytes(3 * EXTENT)
    source, path = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(page_bytes)
        file.seek(page_bytes)
        file.write(end)
    taken, _ = captured.capture(LocalReader(source), store, "RG/2/", settings=HOW)
    store.delete([taken[0].pages[0].object.key])
    target = LocalWriter(path, create_bytes=page_bytes + len(end))
    target.write(EXTENT, b"old")
    with pytest.raises(ObjectMissing):
        restored(taken, store, target=target)
    bad = restored(taken, store, target=target, allow_bad=True, verify_readback=True)
    assert bad == ((0, page_bytes),)
    with path.open("rb") as file:
        assert file.read(2 * EXTENT) == bytes(2 * EXTENT)
        file.seek(page_bytes)
        assert file.read() == end


def test_bytes_garbled_once_on_the_way_are_read_again(store, data, taken, monkeypatch):
    read, garbled = store.get_range, []

    def once(key, offset, length, **pin):
        body = bytearray(read(key, offset, length, **pin))
        if not garbled:
            garbled.append(key)
            body[length // 2] ^= 1
        return bytes(body)

    monkeypatch.setattr(store, "get_range", once)
    assert restored(taken, store) == (data, ())
    assert garbled


def test_a_store_that_does_not_answer_is_never_taken_for_damage(store, taken, monkeypatch):
    def away(*args, **pin):
        raise StoreUnavailable("503")

    monkeypatch.setattr(store, "get_range", away)
    with pytest.raises(StoreUnavailable):
        restored(taken, store, allow_bad=True)


def test_ranges_that_touch_are_told_as_one():
    assert joined([(8, 4), (0, 4), (4, 2), (20, 1)]) == ((0, 6), (8, 4), (20, 1))
