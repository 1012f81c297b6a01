"""What a lens shows is the volume, whatever is read in whatever order, and little is fetched."""

import random
from concurrent.futures import ThreadPoolExecutor

import captured
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk

from blocks.errors import CorruptData, StoreUnavailable
from blocks.store.memory import MemoryStore
from tasks.lens import Lens
from tasks.pipeline import CaptureSettings

EXTENT = 4096
FRAME = 4 * EXTENT


class Counting:
    """A store that counts what is read of each object."""

    def __init__(self, store):
        self._store = store
        self.reads = []
        self.is_down = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    def get_range(self, key, offset, length, **pin):
        if self.is_down:
            raise StoreUnavailable("down")
        self.reads.append((key, offset, length))
        return self._store.get_range(key, offset, length, **pin)

    @property
    def bytes(self):
        return sum(length for _, _, length in self.reads)


def taken(store, data, *, folder="RG/1/", parent=None, compress=True):
    settings = CaptureSettings(
        extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, compress=compress
    )
    made, _ = captured.capture(MemoryDisk(data), store, folder, settings=settings, parent=parent)
    return made


@pytest.fixture
def lens_of():
    lenses = []

    def make(point, store, **how):
        lenses.append(Lens(*point, store, **how))
        return lenses[-1]

    yield make
    for lens in lenses:
        lens.close()


def mixed(dice, size):
    data = bytearray(dice.randbytes(size))
    for _ in range(6):
        at = dice.randrange(size)
        length = min(dice.randrange(20 * EXTENT), size - at)
        data[at : at + length] = bytes(length)
    return data


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80 * EXTENT), st.booleans(), st.integers(0, 9 * FRAME))
def test_any_read_of_any_point_of_a_chain_is_the_volume(seed, size, compress, cache_bytes):
    dice = random.Random(seed)
    store = MemoryStore()
    data, parent, points = mixed(dice, size), None, []
    for number in range(4):
        parent = taken(store, bytes(data), folder=f"RG/{number}/", parent=parent, compress=compress)
        points.append((bytes(data), parent))
        for _ in range(5):
            at = dice.randrange(size)
            data[at : at + 3000] = dice.randbytes(min(3000, size - at))
    for expected, point in points:
        lens = Lens(*point, store, cache_bytes=cache_bytes)
        try:
            for _ in range(12):
                at, length = dice.randrange(size + 5000), dice.randrange(40 * EXTENT)
                assert lens.read(at, length) == expected[at : at + length]
        finally:
            lens.close()


def test_one_byte_costs_one_frame_and_a_second_one_costs_nothing(lens_of):
    data = random.Random(1).randbytes(200 * FRAME)
    store = Counting(MemoryStore())
    lens = lens_of(taken(store, data), store)
    assert lens.read(100 * FRAME + 5, 1) == data[100 * FRAME + 5 : 100 * FRAME + 6]
    assert len(store.reads) == 1
    assert store.bytes < 1.1 * FRAME
    assert lens.read(101 * FRAME - 9, 9) == data[101 * FRAME - 9 : 101 * FRAME]
    assert len(store.reads) == 1


def test_a_frame_cut_into_runs_by_later_changes_is_fetched_once(lens_of):
    data = bytearray(random.Random(2).randbytes(8 * FRAME))
    store = Counting(MemoryStore())
    full = taken(store, bytes(data))
    data[EXTENT : EXTENT + 10] = b"x" * 10
    lens = lens_of(taken(store, bytes(data), folder="RG/2/", parent=full), store)
    store.reads.clear()
    for extent in range(4):
        assert lens.read(extent * EXTENT, 100) == data[extent * EXTENT :][:100]
    assert len(store.reads) == 2, "the frame of the full, and the one of the incremental"


def test_zeros_cost_nothing(lens_of):
    store = Counting(MemoryStore())
    lens = lens_of(taken(store, b"x" * EXTENT + bytes(300 * EXTENT)), store)
    assert lens.read(2 * EXTENT, 200 * EXTENT) == bytes(200 * EXTENT)
    assert not store.reads


def test_the_cache_is_bounded(lens_of):
    data = random.Random(3).randbytes(400 * FRAME)
    store = MemoryStore()
    lens = lens_of(taken(store, data), store, cache_bytes=10 * FRAME)
    for at in range(0, len(data), FRAME):
        assert lens.read(at, FRAME) == data[at : at + FRAME]
        assert lens._cached_bytes <= 10 * FRAME
        assert lens._cached_bytes == sum(len(d) for runs in lens._frames.values() for _, d in runs)


def test_many_readers_get_the_right_bytes_and_fetch_each_frame_once(lens_of):
    data = random.Random(4).randbytes(150 * FRAME)
    store = Counting(MemoryStore())
    lens = lens_of(taken(store, data), store)
    store.reads.clear()

    def look(seed):
        dice = random.Random(seed)
        starts = list(range(0, len(data), FRAME))
        dice.shuffle(starts)
        return all(lens.read(at, FRAME) == data[at : at + FRAME] for at in starts)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(8)))
    assert store.bytes < 1.1 * len(data)


def test_a_reader_that_goes_straight_on_causes_few_requests(lens_of):
    data = random.Random(5).randbytes(1024 * FRAME)
    store = Counting(MemoryStore())
    lens = lens_of(taken(store, data), store)
    store.reads.clear()
    step = 128 * 1024
    read = b"".join(lens.read(at, step) for at in range(0, len(data), step))
    assert read == data
    assert len(store.reads) < len(data) / step / 2, store.reads
    assert store.bytes < 1.2 * len(data)


def test_damage_is_never_shown_and_the_rest_can_be_read(lens_of):
    data = random.Random(6).randbytes(40 * FRAME)
    store = MemoryStore()
    image, objects = taken(store, data)
    [key] = image.image_keys
    body = bytearray(store.get(key))
    body[len(body) // 2] ^= 1
    store.delete([key])
    etag = store.put(key, bytes(body)).etag
    pinned = [stored.model_copy(update={"etag": etag}) for stored in objects]
    lens = lens_of((image, pinned), store)
    refused = 0
    for at in range(0, len(data), EXTENT):
        try:
            assert lens.read(at, EXTENT) == data[at : at + EXTENT]
        except CorruptData:
            refused += 1
    assert refused == 4, "the extents of one frame"


def test_a_store_that_was_down_is_asked_again(lens_of):
    data = random.Random(7).randbytes(10 * FRAME)
    store = Counting(MemoryStore())
    lens = lens_of(taken(store, data), store)
    lens.read(0, 1)
    store.is_down = True
    with pytest.raises(StoreUnavailable):
        lens.read(5 * FRAME, 10)
    store.is_down = False
    assert lens.read(5 * FRAME, 10) == data[5 * FRAME : 5 * FRAME + 10]
