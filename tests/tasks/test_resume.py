"""Another try of a capture on the same snapshot goes on from the last part, re-verified."""

import random
from dataclasses import replace

import captured
import pytest
from memory_disk import MemoryDisk

from blocks.errors import CorruptData, StoreUnavailable
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings

FOLDER = "RG/run/"
PART = 1 << 20
HOW = CaptureSettings(
    extent_bytes=4096, frame_extents=4, part_bytes=PART, encoders=2, uploads=1, compress=False
)


class Interrupted(MemoryStore):
    """A store that stops answering after some parts, and counts those it takes."""

    def __init__(self):
        super().__init__(part_min_bytes=0)
        self.answers = 4
        self.sent = []

    def begin_upload(self, key):
        return self._counted(super().begin_upload(key))

    def resume_upload(self, key, upload_id):
        upload, parts = super().resume_upload(key, upload_id)
        return self._counted(upload), parts

    def _counted(self, upload):
        put = upload.put_part

        def put_part(number, data):
            if len(self.sent) >= self.answers:
                raise StoreUnavailable("503")
            self.sent.append(number)
            return put(number, data)

        upload.put_part = put_part
        return upload


@pytest.fixture
def data():
    return random.Random(5).randbytes(10 * PART)


@pytest.fixture
def store(data):
    """A bucket in which a first try broke off after four parts."""
    store = Interrupted()
    with pytest.raises(StoreUnavailable):
        capture(data, store)
    assert store.sent == [1, 2, 3, 4]
    store.sent.clear()
    store.answers = 1000
    return store


def capture(data, store):
    return captured.capture(MemoryDisk(data), store, FOLDER, settings=HOW)


def test_only_what_is_missing_is_sent(store, data):
    taken, told = capture(data, store)
    assert min(store.sent) == 5
    assert told.kept_bytes >= 4 * PART
    assert captured.restore(taken, store) == data
    assert list(store.uploads()) == []
    (untouched, _) = capture(data, MemoryStore(part_min_bytes=0))
    assert untouched[0].map_digest == taken[0].map_digest


def test_a_part_that_is_not_what_the_disk_holds_is_sent_again(store, data):
    changed = bytearray(data)
    changed[2 * PART + PART // 2] ^= 1  # what a snapshot never does; in part 3
    taken, _ = capture(changed, store)
    assert 3 in store.sent
    assert not {1, 2, 4} & set(store.sent)
    assert captured.restore(taken, store) == changed


def test_an_object_that_was_complete_is_compared_and_kept(store, data):
    capture(data, store)
    store.sent.clear()
    taken, told = capture(data, store)
    assert store.sent == []
    assert told.kept_bytes >= 10 * PART - PART
    assert captured.restore(taken, store) == data


def test_a_complete_object_of_other_bytes_is_an_error_and_stays_as_it_is(store, data):
    (image, objects), _ = capture(data, store)
    key = image.image_keys[0]
    before = store.get(key)
    changed = bytearray(data)
    changed[PART] ^= 1
    with pytest.raises(CorruptData, match="is another object"):
        capture(changed, store)
    assert store.get(key) == before
    assert objects


def test_a_part_of_which_the_store_says_something_else_is_sent_again(store, data):
    (pending,) = store._pending.values()
    info, content = pending.parts[2]
    pending.parts[2] = (replace(info, etag="0" * 32), content)
    taken, _ = capture(data, store)
    assert 2 in store.sent
    assert captured.restore(taken, store) == data
