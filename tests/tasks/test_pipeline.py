"""restore∘capture is the identity, and nothing damaged is ever restored in silence."""

import random
import shutil
import subprocess
import threading

import captured
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk, changed, volume

from blocks.errors import CorruptData, FlashvaultError, ShortRead
from blocks.image.segments import SEGMENT_EXTENTS, segment_bytes_of
from blocks.store.base import PARTS_MAX
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.proven_reads import read_range
from tasks.recovery import restore_volume
from tasks.transfer import Progress
from tasks.verification import verify_volume

EXTENT = 4096
UID = "6005076400810000000000000000000A"
SMALL = CaptureSettings(
    extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, encoders=2, uploads=2
)


def capture(data, store, folder, parent=None, how=SMALL, disk=None):
    return captured.capture(disk or MemoryDisk(data), store, folder, settings=how, parent=parent)


def restore(taken, store, *, dirty=b"\xaa", bookmark=None, **how):
    image, objects = taken
    target = MemoryDisk(dirty * image.size_bytes)
    done = restore_volume(
        image,
        objects,
        store,
        target,
        bookmark=bookmark,
        stop=threading.Event(),
        progress=Progress(),
        **how,
    )
    return bytes(target.data), done


def verify(taken, store, *, deep=True):
    return verify_volume(
        *taken, store, deep=deep, sample=None, stop=threading.Event(), progress=Progress()
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60 * EXTENT), st.booleans())
def test_what_was_captured_is_restored(seed, size, compress):
    data = volume(random.Random(seed), size)
    store = MemoryStore()
    how = CaptureSettings(
        extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, encoders=2, compress=compress
    )
    taken, _ = capture(data, store, "RG/1/", how=how)
    assert restore(taken, store)[0] == data
    assert not verify(taken, store).damaged
    assert read_range(*taken, store, size // 3, size // 2) == data[size // 3 :][: size // 2]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40 * EXTENT))
def test_every_point_of_a_chain_comes_back(seed, size):
    dice = random.Random(seed)
    data = volume(dice, size)
    store = MemoryStore()
    chain, parent = [], None
    for number in range(20):
        taken, _ = capture(data, store, f"RG/{number:02}/", parent)
        chain.append((data, taken))
        parent, data = taken, changed(dice, data)
    dice.shuffle(chain)
    for expected, taken in chain:
        assert restore(taken, store, dirty=dice.randbytes(1))[0] == expected


def test_nothing_changed_stores_no_frame():
    data = volume(random.Random(1), 50 * EXTENT)
    store = MemoryStore()
    first, _ = capture(data, store, "RG/1/")
    before = {info.key for info in store.list()}
    second, counts = capture(data, store, "RG/2/", first)
    assert counts.changed_bytes == 0
    assert counts.image_keys == ()
    assert {info.key for info in store.list()} == before
    assert second[0].map_digest == first[0].map_digest


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_flipped_byte_anywhere_is_found(data):
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    store = MemoryStore()
    first, _ = capture(volume(dice, 30 * EXTENT), store, "RG/1/")
    taken, _ = capture(changed(dice, volume(dice, 30 * EXTENT)), store, "RG/2/", first)
    keys = sorted({item.key for item in taken[1]} | {page.object.key for page in taken[0].pages})
    key = data.draw(st.sampled_from(keys))
    body = bytearray(store.get(key))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= 1 << data.draw(st.integers(0, 7))
    store.delete([key])
    store.put(key, bytes(body))
    assert verify(taken, store).damaged


def test_an_image_of_which_no_extent_is_needed_is_looked_at_too():
    """The disk has become all zeros: its incremental image holds a head and no frame."""
    store = MemoryStore()
    first, _ = capture(random.Random(5).randbytes(30 * EXTENT), store, "RG/1/")
    taken, _ = capture(bytes(30 * EXTENT), store, "RG/2/", first)
    (key,) = taken[0].image_keys
    assert not verify(taken, store, deep=False).damaged
    body = bytearray(store.get(key))
    body[0] ^= 1
    store.delete([key])
    store.put(key, bytes(body))
    (found,) = verify(taken, store, deep=False).damaged
    assert found.key == key
    store.delete([key])
    (found,) = verify(taken, store, deep=False).damaged
    assert found.reason == "it is gone"


def damage(store, taken, at_share):
    """Change one byte of the image object, under the ETag the point has recorded."""
    image, objects = taken
    key = image.image_keys[0]
    body = bytearray(store.get(key))
    body[int(len(body) * at_share)] ^= 1
    store.delete([key])
    info = store.put(key, bytes(body))
    pinned = tuple(
        item.model_copy(update={"etag": info.etag}) if item.key == key else item for item in objects
    )
    return image, pinned


def test_damaged_bytes_are_never_restored_in_silence():
    data = random.Random(2).randbytes(40 * EXTENT)
    store = MemoryStore()
    taken, _ = capture(data, store, "RG/1/")
    damaged = damage(store, taken, 0.5)
    with pytest.raises(CorruptData):
        restore(damaged, store)
    restored, done = restore(damaged, store, allow_bad=True)
    assert done.bad
    bad = set()
    for offset, length in done.bad:
        bad |= set(range(offset, offset + length))
        assert restored[offset : offset + length] == bytes(length)
    assert all(restored[i] == data[i] for i in range(len(data)) if i not in bad)
    assert len(bad) <= 4 * EXTENT, "one frame, not more"


def test_a_restore_goes_on_where_it_was_killed(tmp_path):
    data = random.Random(3).randbytes(64 * EXTENT)
    store = MemoryStore()
    (image, objects), _ = capture(data, store, "RG/1/")
    target = MemoryDisk(b"\xaa" * len(data))
    bookmark = tmp_path / "bookmark"
    full, half = target.write, []

    def until_half(offset, piece):
        if len(half) > 7:
            raise FlashvaultError("killed")
        half.append(offset)
        full(offset, piece)

    target.write = until_half
    common = {"bookmark": bookmark, "stop": threading.Event(), "progress": Progress(), "workers": 1}
    with pytest.raises(FlashvaultError, match="killed"):
        restore_volume(image, objects, store, target, **common)
    target.write = full
    target.data[half[0]] ^= 1  # what the bookmark claims is not believed
    done = restore_volume(image, objects, store, target, **common)
    assert bytes(target.data) == data
    assert done.skipped_bytes >= (len(half) - 2) * 4 * EXTENT
    assert done.read_bytes < image.stored_bytes
    assert not bookmark.exists()


def test_a_parent_of_another_size_makes_a_full_and_says_why():
    store = MemoryStore()
    first, _ = capture(bytes(10 * EXTENT), store, "RG/1/")
    _, counts = capture(b"x" * 11 * EXTENT, store, "RG/2/", first)
    assert counts.is_full
    assert "bytes" in counts.warning


def test_a_parent_whose_object_is_gone_makes_a_full_and_says_why():
    data = random.Random(4).randbytes(10 * EXTENT)
    store = MemoryStore()
    first, _ = capture(data, store, "RG/1/")
    store.delete(first[0].image_keys)
    second, counts = capture(data, store, "RG/2/", first)
    assert counts.is_full
    assert counts.warning
    assert restore(second, store)[0] == data


def test_a_disk_that_ends_early_is_an_error():
    class Shorter(MemoryDisk):
        size_bytes = 20 * EXTENT

    with pytest.raises(ShortRead):
        capture(b"", MemoryStore(), "RG/1/", disk=Shorter(bytes(19 * EXTENT)))


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_stock_zstd_restores_a_full(tmp_path):
    data = volume(random.Random(5), 100 * EXTENT + 17)
    store = MemoryStore()
    (image, _), _ = capture(data, store, "RG/1/")
    [key] = image.image_keys
    path = tmp_path / "image.zst"
    path.write_bytes(store.get(key))
    subprocess.run(["zstd", "-tq", str(path)], check=True)
    done = subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True)
    assert done.stdout == data


def test_pyzstd_reads_random_ranges_of_a_full(tmp_path):
    pyzstd = pytest.importorskip("pyzstd")
    dice = random.Random(6)
    data = volume(dice, 80 * EXTENT)
    store = MemoryStore()
    (image, _), _ = capture(data, store, "RG/1/")
    path = tmp_path / "image.zst"
    path.write_bytes(store.get(image.image_keys[0]))
    with pyzstd.SeekableZstdFile(str(path)) as file:
        for _ in range(30):
            at = dice.randrange(len(data))
            file.seek(at)
            assert file.read(5000) == data[at : at + 5000]


def test_without_compression_the_image_is_the_disk(tmp_path):
    data = volume(random.Random(7), 33 * EXTENT + 5)
    store = MemoryStore()
    how = CaptureSettings(extent_bytes=EXTENT, frame_extents=4, compress=False)
    (image, _), _ = capture(data, store, "RG/1/", how=how)
    assert image.image_keys[0].endswith(".img")
    assert store.get(image.image_keys[0]) == data


def test_a_disk_of_many_small_extents_goes_into_objects_that_fit_in_memory():
    class Empty(MemoryDisk):
        size_bytes = 5 * SEGMENT_EXTENTS * EXTENT // 2

        def data_runs(self):
            return iter(())

    (_, objects), _ = capture(b"", MemoryStore(), "RG/1/", disk=Empty(b""))
    assert len(objects) == 3


@pytest.mark.parametrize("extent_bytes", [64 << 10, 256 << 10, 1 << 20, 4 << 20])
def test_no_object_needs_more_parts_than_a_store_takes(extent_bytes):
    part_bytes = 1 << 20
    how = CaptureSettings(
        extent_bytes=extent_bytes, frame_extents=1, part_bytes=part_bytes, uploads=1
    )
    noise = random.Random(2).randbytes(12 << 20)
    (image, objects), _ = capture(noise, MemoryStore(part_min_bytes=0), "RG/run/", how=how)
    stored = next(item.size_bytes for item in objects if item.key == image.image_keys[0])
    swell = stored / len(noise)  # what does not shrink, with every frame's header and index
    smallest = 16 << 20  # of `tasks.capture.settings_of`, however many volumes
    assert segment_bytes_of(extent_bytes) * swell / smallest + 1 < PARTS_MAX / 2
