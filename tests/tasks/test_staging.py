"""An image that waits in files is the image, is sent without its disk, and is never believed."""

import random
import resource
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime

import captured
import pytest

from blocks.errors import CorruptData, HostError, ShortRead, StoreUnavailable
from blocks.host.local import LocalReader, LocalWriter
from blocks.image import envelope, keys
from blocks.image.cipher import Cipher
from blocks.image.keyring import Role
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.recovery import restore_volume
from tasks.staging import Staging
from tasks.transfer import Progress

EXTENT = 4096
SIZE = 3001 * EXTENT - 512
UID = "6005076400810000000000000000000A"
PLAIN = CaptureSettings(extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, uploads=2)


class Gone:
    """A snapshot that has been dropped since."""

    size_bytes = SIZE

    def read_into(self, offset, buffer):
        raise ShortRead("the snapshot is gone")

    def data_runs(self):
        raise ShortRead("the snapshot is gone")
        yield


class Offline(MemoryStore):
    """A store that takes no images for a while."""

    is_away = True

    def begin_upload(self, key):
        if self.is_away:
            raise StoreUnavailable("away")
        return super().begin_upload(key)

    def put(self, key, data, *, if_absent=False):
        if self.is_away:
            raise StoreUnavailable("away")
        return super().put(key, data, if_absent=if_absent)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    dice = random.Random(7)
    data = dice.randbytes(6 << 20) + bytes(2 << 20) + b"some text " * (SIZE // 10)
    path.write_bytes(data[:SIZE])
    return path


def capture(reader, store, place, *, parent=None, settings=PLAIN, folder="RG/1/"):
    staging = Staging(place) if place else None
    taken, _ = captured.capture(
        reader, store, folder, settings=settings, parent=parent, staging=staging
    )
    return taken


def restore(taken, store, path, cipher=None):
    writer = LocalWriter(path, create_bytes=SIZE)
    restore_volume(
        *taken,
        store,
        writer,
        bookmark=None,
        stop=threading.Event(),
        progress=Progress(),
        cipher=cipher,
    )
    writer.close()
    return path.read_bytes()


def objects(store):
    return {info.key: bytes(store.get(info.key)) for info in store.list("")}


def test_a_staged_image_is_the_streamed_one_byte_for_byte(disk, tmp_path):
    streamed, staged = MemoryStore(), MemoryStore()
    capture(LocalReader(disk), streamed, None)
    taken = capture(LocalReader(disk), staged, tmp_path / "flashvault.x")
    assert objects(staged) == objects(streamed)
    assert restore(taken, staged, tmp_path / "back") == disk.read_bytes()


def test_a_staged_incremental_stores_what_changed(disk, tmp_path):
    store = MemoryStore()
    full = capture(LocalReader(disk), store, tmp_path / "flashvault.x")
    with disk.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed" * 1000)
    place = tmp_path / "flashvault.y"
    taken = capture(LocalReader(disk), store, place, parent=full, folder="RG/2/")
    assert 0 < taken[0].changed_bytes < 10 * EXTENT
    assert restore(taken, store, tmp_path / "back") == disk.read_bytes()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_another_try_sends_what_is_staged_without_the_disk(disk, tmp_path, is_sealed):
    cipher = None
    if is_sealed:
        public = envelope.public_key_of(bytes(range(32)))
        reader = keys.PublicKeyRecipient("r", Role.READER, public)
        cipher = Cipher(keys.create_keyring([reader], now=datetime(2026, 11, 26, tzinfo=UTC))[1])
    how = replace(PLAIN, cipher=cipher)
    store, place = Offline(), tmp_path / "flashvault.x"
    with pytest.raises(StoreUnavailable):
        capture(LocalReader(disk), store, place, settings=how)
    store.is_away = False
    taken = capture(Gone(), store, place, settings=how)
    assert restore(taken, store, tmp_path / "back", cipher) == disk.read_bytes()


def test_a_capture_that_broke_off_is_staged_anew(disk, tmp_path):
    place, store = tmp_path / "flashvault.x", MemoryStore()
    with pytest.raises(ShortRead):
        capture(Gone(), store, place)
    assert not list(store.list(""))
    taken = capture(LocalReader(disk), store, place)
    assert restore(taken, store, tmp_path / "back") == disk.read_bytes()


def test_what_was_staged_for_another_parent_is_not_sent(disk, tmp_path):
    store, place = MemoryStore(), tmp_path / "flashvault.x"
    full = capture(LocalReader(disk), store, place)
    again = capture(LocalReader(disk), store, place, parent=full, folder="RG/2/")
    assert again[0].changed_bytes == 0


def test_a_byte_changed_in_a_staged_file_is_found_and_the_next_try_reads_the_disk(disk, tmp_path):
    store, place = Offline(), tmp_path / "flashvault.x"
    with pytest.raises(StoreUnavailable):
        capture(LocalReader(disk), store, place)
    store.is_away = False
    first = sorted(path for path in place.iterdir() if path.name != "index.jsonl")[0]
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    with pytest.raises(CorruptData, match="is not what was written there"):
        capture(Gone(), store, place)
    taken = capture(LocalReader(disk), store, place)
    assert restore(taken, store, tmp_path / "back") == disk.read_bytes()


def test_a_full_target_location_is_one_clear_error_and_nothing_is_stored(disk, tmp_path):
    store = MemoryStore()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        with pytest.raises(HostError, match=r"TARGET_LOCATION .* cannot be used: File too large"):
            capture(LocalReader(disk), store, tmp_path / "flashvault.x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert not list(store.list(""))
