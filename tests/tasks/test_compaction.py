"""A compacted point is the same disk, and needs nothing but its own objects."""

import random
import shutil
import subprocess
import threading

import captured
import pytest
from contradictions import contradictions
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import changed, volume

from blocks.catalog import shelf
from blocks.catalog.point import Kind, image_folder
from blocks.errors import CorruptData, Refused, StoreError
from blocks.image.scan import scan_object
from blocks.store.memory import MemoryStore
from tasks.compact_point import compact_point
from tasks.compaction import CompactSettings, compact_volume
from tasks.pipeline import CaptureSettings
from tasks.transfer import Progress, load_page
from tasks.verification import verify_volume

EXTENT = 4096
UID = "6005076400810000000000000000000A"
SEGMENT = 32 * EXTENT


def how(**changes):
    """Copy inside the store what is longer than a few frames; parts of any size."""
    common = {
        "frame_extents": 4,
        "part_bytes": 6 * EXTENT,
        "segment_bytes": SEGMENT,
        "copy_min_bytes": 5 * EXTENT,
        "part_min_bytes": EXTENT,
        "uploads": 2,
    }
    return CompactSettings(**{**common, **changes})


def small_store():
    return MemoryStore(part_min_bytes=0)


def backup(store, data, parent=None, *, compress=True, segment_bytes=SEGMENT):
    settings = CaptureSettings(
        extent_bytes=EXTENT,
        frame_extents=4,
        part_bytes=5 << 20,
        encoders=2,
        uploads=2,
        compress=compress,
        segment_bytes=segment_bytes,
    )
    return captured.back_up(store, data, parent, settings=settings)


def compact(store, point, **changes):
    return compact_point(
        store, point, stop=threading.Event(), progress=Progress(), settings=how(**changes)
    )


def restore(store, point):
    return captured.restore((point.volumes[0], point.objects), store)


def plain_of(store, point):
    """Decode the images of a full, one after the other, with zstd and nothing of ours."""
    import zstandard

    plain = b""
    for key in point.volumes[0].image_keys:
        reader = zstandard.ZstdDecompressor().stream_reader(store.get(key), read_across_frames=True)
        plain += reader.read()
    return plain


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(1, 100 * EXTENT), st.booleans())
def test_every_point_of_a_chain_with_compactions_in_between_comes_back(seed, size, compress):
    dice = random.Random(seed)
    data = volume(dice, size)
    store = small_store()
    chain, parent = [], None
    for _ in range(20):
        parent = backup(store, data, parent, compress=compress)
        chain.append((data, parent))
        if dice.random() < 0.25:
            share = dice.choice([0.0, 0.3, 0.7])
            parent = compact(store, parent, dead_share=share).point
            chain.append((data, parent))
        data = changed(dice, data)
    dice.shuffle(chain)
    for expected, point in chain:
        assert restore(store, point) == expected


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 100 * EXTENT))
def test_a_compacted_point_stands_alone_and_stock_zstd_reads_it(seed, size):
    dice = random.Random(seed)
    data = volume(dice, size)
    store = small_store()
    point = backup(store, data)
    for _ in range(4):
        data = changed(dice, data)
        point = backup(store, data, point)
    done = compact(store, point).point
    assert done.kind is Kind.FULL
    assert done.parent == point.id
    assert done.taken_at == point.taken_at
    assert done.maps_digest == point.maps_digest
    assert plain_of(store, done) == data
    own = image_folder("RG", done.id)
    needed = {stored.key for stored in done.objects} | {
        page.object.key for page in done.volumes[0].pages
    }
    assert all(key.startswith(own) for key in needed)
    for info in list(store.list("RG/")):
        if not info.key.startswith(own):
            store.delete([info.key])
    assert restore(store, done) == data


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_what_was_there_is_not_touched(seed):
    dice = random.Random(seed)
    store = small_store()
    data = volume(dice, 50 * EXTENT)
    first = backup(store, data)
    second = backup(store, changed(dice, data), first)
    before = {info.key: (info.etag, info.stored_at) for info in store.list()}
    compact(store, second)
    after = {info.key: (info.etag, info.stored_at) for info in store.list()}
    assert before.items() <= after.items()


def chain_with_a_long_stretch(store):
    """Make a point of two segments, most of the first in one piece of the first full."""
    dice = random.Random(9)
    data = dice.randbytes(60 * EXTENT + 9)
    first = backup(store, data)
    after = bytearray(data)
    after[20 * EXTENT : 21 * EXTENT] = dice.randbytes(EXTENT)
    return bytes(after), backup(store, bytes(after), first)


def test_long_stretches_are_copied_inside_the_store():
    store = small_store()
    data, point = chain_with_a_long_stretch(store)
    done = compact(store, point)
    [volume] = done.volumes
    assert volume.copied_bytes > 20 * EXTENT
    assert volume.moved_bytes > 0
    assert 0 < volume.encoded_bytes < 4 * EXTENT
    assert restore(store, done.point) == data
    assert plain_of(store, done.point) == data


def test_the_index_of_what_was_copied_agrees_with_the_map():
    store = small_store()
    _, point = chain_with_a_long_stretch(store)
    done = compact(store, point).point
    [page] = [load_page(store, ref, None) for ref in done.volumes[0].pages]
    for key in done.volumes[0].image_keys:
        size = store.head(key).size_bytes
        image = scan_object(
            key, size, lambda offset, length, key=key: store.get_range(key, offset, length)
        )
        assert not contradictions(image, page, 0)


def test_a_store_that_copies_no_parts_gets_them_by_hand():
    class NoCopy(MemoryStore):
        def copy_parts(self, *_args, **_kwargs):
            raise StoreError("NotImplemented")

    store = NoCopy(part_min_bytes=0)
    data, point = chain_with_a_long_stretch(store)
    done = compact(store, point)
    assert done.volumes[0].copied_bytes == 0
    assert done.volumes[0].moved_bytes > 40 * EXTENT
    assert restore(store, done.point) == data


def test_copies_obey_the_smallest_part_of_s3():
    store = MemoryStore()
    dice = random.Random(11)
    data = dice.randbytes(40 << 20)
    first = backup(store, data, segment_bytes=64 << 20)
    after = bytearray(data)
    for at in (9 << 20, 30 << 20):
        after[at : at + EXTENT] = bytes(EXTENT)
    second = backup(store, bytes(after), first, segment_bytes=64 << 20)
    done = compact_point(
        store,
        second,
        stop=threading.Event(),
        progress=Progress(),
        settings=CompactSettings(frame_extents=4, segment_bytes=64 << 20, copy_min_bytes=6 << 20),
    )
    assert done.volumes[0].copied_bytes > 15 << 20
    assert restore(store, done.point) == bytes(after)


def test_only_segments_with_much_dead_in_them_are_written_again():
    store = small_store()
    dice = random.Random(12)
    data = bytearray(dice.randbytes(3 * SEGMENT))
    point = backup(store, bytes(data))
    for _ in range(6):
        data[SEGMENT : 2 * SEGMENT] = dice.randbytes(SEGMENT)
        point = backup(store, bytes(data), point)
    data[SEGMENT + EXTENT : 2 * SEGMENT] = dice.randbytes(SEGMENT - EXTENT)
    point = backup(store, bytes(data), point)
    done = compact(store, point, dead_share=0.3)
    assert done.point.kind is Kind.INCREMENTAL
    [key] = done.volumes[0].image.image_keys
    assert ".0001." in key
    assert restore(store, done.point) == bytes(data)
    assert not verify_volume(
        done.point.volumes[0],
        done.point.objects,
        store,
        deep=True,
        sample=None,
        stop=threading.Event(),
        progress=Progress(),
    ).damaged


def test_damage_in_the_old_point_never_becomes_a_new_one():
    store = small_store()
    _, point = chain_with_a_long_stretch(store)
    key = point.volumes[0].pages and next(k.key for k in point.objects if ".0000.img" in k.key)
    body = bytearray(store.get(key))
    body[len(body) // 4] ^= 1
    store.delete([key])
    store.put(key, bytes(body))
    with pytest.raises(CorruptData):
        compact(store, point)
    assert [found.id for found in shelf.points(store, "RG")][-1] == point.id
    assert not list(store.list("claims/RG/intents/"))


def test_an_encrypted_image_is_refused_and_told_what_to_do():
    store = small_store()
    point = backup(store, volume(random.Random(1), 9 * EXTENT))
    sealed = tuple(
        stored.model_copy(update={"key": stored.key + ".aead"}) for stored in point.objects
    )
    with pytest.raises(Refused, match="encrypted") as refusal:
        compact_volume(
            point.volumes[0],
            sealed,
            store,
            folder="RG/x/",
            name="n",
            settings=how(),
            stop=threading.Event(),
            progress=Progress(),
        )
    assert "--full" in refusal.value.hint


def test_an_incremental_builds_on_a_compacted_point():
    store = small_store()
    data, point = chain_with_a_long_stretch(store)
    compacted = compact(store, point).point
    after = b"\1" * EXTENT + data[EXTENT:]
    child = backup(store, after, compacted)
    assert child.kind is Kind.INCREMENTAL
    assert child.volumes[0].changed_bytes == EXTENT
    assert restore(store, child) == after


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_the_zstd_program_reads_a_compacted_full(tmp_path):
    store = small_store()
    data, point = chain_with_a_long_stretch(store)
    done = compact(store, point).point
    path = tmp_path / "image.zst"
    path.write_bytes(b"".join(store.get(key) for key in done.volumes[0].image_keys))
    subprocess.run(["zstd", "-tq", str(path)], check=True)
    read = subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True)
    assert read.stdout == data
