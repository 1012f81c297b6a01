"""An incremental by the node's comparison is, byte for byte, the incremental by reading."""

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime

import captured
import numpy as np
import pytest
from captured import restore as restored
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk

from blocks.errors import FlashvaultError, HostError, ShortRead
from blocks.host import dd
from blocks.host.remote import RemoteReader
from blocks.image import compare, keys
from blocks.image.cipher import Cipher
from blocks.runner import LocalRunner
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.transfer import load_page

EXTENT = 4096
FRAME = 4
UID = "6005076400810000000000000000000A"
SMALL = CaptureSettings(
    extent_bytes=EXTENT, frame_extents=FRAME, part_bytes=5 << 20, encoders=2, uploads=2
)


class CountedDisk(MemoryDisk):
    """A disk that counts what came of it."""

    def __init__(self, data):
        super().__init__(data)
        self.came_bytes = 0

    def read_into(self, offset, buffer):
        super().read_into(offset, buffer)
        self.came_bytes += len(buffer)


class Comparing(CountedDisk):
    """A disk whose node compares; it can be told to fail, or to lie."""

    def __init__(self, data, *, dies_after=None, lies=None):
        super().__init__(data)
        self.dies_after = dies_after
        self.lies = lies or (lambda index, row: row)
        self.asked = []

    def can_compare(self):
        return True

    def compare(self, offset, length, known, *, extent_bytes, batch_extents):
        assert offset % (extent_bytes * batch_extents) == 0
        self.asked.append((offset, length))
        return Comparison(self, offset, length, bytes(known), extent_bytes)


class Comparison:
    def __init__(self, disk, offset, length, known, extent_bytes):
        self.disk, self.at, self.end = disk, offset, offset + length
        self.known, self.extent_bytes, self.index = known, extent_bytes, 0

    def take(self, buffer):
        rows = []
        for start in range(0, len(buffer), self.extent_bytes):
            if self.disk.dies_after is not None and self.index >= self.disk.dies_after:
                raise ShortRead("the program was killed")
            length = min(self.extent_bytes, len(buffer) - start)
            extent = bytes(self.disk.data[self.at : self.at + length])
            digest = hashlib.sha256(extent).digest() if any(extent) else bytes(32)
            differs = digest[:8] != self.known[self.index * 32 : self.index * 32 + 8]
            row = self.disk.lies(
                self.at // self.extent_bytes,
                (not any(extent), any(extent) and differs, digest, extent),
            )
            if row[1]:
                buffer[start : start + length] = row[3]
                self.disk.came_bytes += length
            rows.append(row)
            self.at += length
            self.index += 1
        is_zero, has_bytes, digests, _ = zip(*rows, strict=True)
        table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
        return np.array(is_zero, dtype=bool), np.array(has_bytes, dtype=bool), table

    def finish(self):
        assert self.at == self.end

    def close(self):
        pass


def capture(disk, store, folder, parent=None, how=SMALL):
    return captured.capture(disk, store, folder, settings=how, parent=parent)


def volume(dice, count):
    """Make a volume of extents of zeros, text and noise; the last one may be short."""
    made = bytearray()
    for _ in range(count):
        kinds = (bytes(EXTENT), (b"text " * EXTENT)[:EXTENT], dice.randbytes(EXTENT))
        made += kinds[dice.randrange(3)]
    return bytes(made[: len(made) - dice.choice([0, 512, 1536])])


def changed(dice, data):
    """Change some of a volume: bytes, whole runs, and runs that become zero or stop being it."""
    new = bytearray(data)
    for _ in range(dice.randrange(6)):
        at = dice.randrange(len(new))
        length = min(dice.choice([1, EXTENT, 5 * EXTENT]), len(new) - at)
        new[at : at + length] = dice.choice([bytes(length), dice.randbytes(length)])
    return bytes(new)


def both_ways(old, new, how=SMALL, **node):
    """Capture `old` and then `new` twice: by reading, and by comparing on the node."""
    reading, comparing = MemoryStore(), MemoryStore()
    parent, _ = capture(MemoryDisk(old), reading, "g/a/", how=how)
    read, by_reading = capture(MemoryDisk(new), reading, "g/b/", parent=parent, how=how)
    parent, _ = capture(Comparing(old), comparing, "g/a/", how=how)
    disk = Comparing(new, **node)
    told, by_comparing = capture(disk, comparing, "g/b/", parent=parent, how=how)
    return (read, by_reading, reading), (told, by_comparing, comparing), disk


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
def test_an_incremental_by_comparing_is_the_one_by_reading(seed, count, dies):
    dice = random.Random(seed)
    old = volume(dice, count)
    new = changed(dice, old)
    dies_after = dice.randrange(count) if dies else None
    one, other, _ = both_ways(old, new, dies_after=dies_after)
    assert not other[1].is_full
    for name in ("map_digest", "zero_bytes", "changed_bytes", "image_keys", "is_full"):
        assert getattr(one[1], name) == getattr(other[1], name)
    for key in one[1].image_keys:
        assert one[2].get(key) == other[2].get(key)
    assert restored(other[0], other[2]) == new


def test_only_what_differs_comes_over():
    old = random.Random(1).randbytes(400 * EXTENT)
    new = bytearray(old)
    new[7 * EXTENT] ^= 1
    new[100 * EXTENT : 102 * EXTENT] = bytes(2 * EXTENT)
    new[-1] ^= 1
    _, (told, captured, store), disk = both_ways(old, bytes(new))
    assert disk.came_bytes == captured.read_bytes == 2 * EXTENT
    assert restored(told, store) == new


def test_a_range_at_a_time_is_asked_for(monkeypatch):
    monkeypatch.setattr(compare, "RANGE_BYTES", 8 * EXTENT)
    old = random.Random(1).randbytes(19 * EXTENT - 512)
    _, (told, _, store), disk = both_ways(old, old)
    size = 8 * EXTENT
    assert disk.asked == [(0, size), (size, size), (2 * size, len(old) - 2 * size)]
    assert disk.came_bytes == 0
    assert restored(told, store) == old


def test_a_parent_that_was_read_in_place_is_read_whole_once_and_compared_from_then_on():
    data = random.Random(2).randbytes(20 * EXTENT)
    store = MemoryStore()
    parent, _ = capture(MemoryDisk(data), store, "g/a/")
    first = Comparing(data)
    parent, captured = capture(first, store, "g/b/", parent=parent)
    assert (first.came_bytes, captured.changed_bytes, captured.is_full) == (len(data), 0, False)
    again = Comparing(data)
    _, captured = capture(again, store, "g/c/", parent=parent)
    assert (again.came_bytes, captured.stored_bytes) == (0, 0)


def test_a_disk_read_in_place_in_between_does_not_confuse_the_next_comparison():
    dice = random.Random(3)
    states = [volume(dice, 30)]
    for _ in range(4):
        states.append(changed(dice, states[-1]))
    store, parent = MemoryStore(), None
    for number, data in enumerate(states):
        disk = (Comparing, MemoryDisk)[number % 2](data)
        parent, _ = capture(disk, store, f"g/{number}/", parent=parent)
        assert restored(parent, store) == data


def test_a_volume_that_grew_is_captured_in_full():
    data = random.Random(4).randbytes(20 * EXTENT)
    for new in (data + bytes(EXTENT), data[:-EXTENT]):
        store = MemoryStore()
        parent, _ = capture(Comparing(data), store, "g/a/")
        taken, captured = capture(Comparing(new), store, "g/b/", parent=parent)
        assert captured.is_full
        assert restored(taken, store) == new


def test_an_empty_volume_is_not_noted_again_and_again():
    store = MemoryStore()
    parent, _ = capture(Comparing(bytes(20 * EXTENT)), store, "g/a/")
    _, captured = capture(Comparing(bytes(20 * EXTENT)), store, "g/b/", parent=parent)
    assert captured.stored_bytes == 0


def lie(index, **changes):
    def told(at, row):
        if at != index:
            return row
        is_zero, has_bytes, digest, extent = row
        return (
            changes.get("is_zero", is_zero),
            changes.get("has_bytes", has_bytes),
            changes.get("digest", digest),
            changes.get("extent", extent),
        )

    return told


def test_bytes_that_are_not_what_was_hashed_are_refused():
    old = random.Random(5).randbytes(20 * EXTENT)
    new = old[:EXTENT] + bytes(EXTENT - 1) + b"x" + old[2 * EXTENT :]
    with pytest.raises(HostError, match="extent 1 came over as other bytes"):
        both_ways(old, new, lies=lie(1, extent=random.Random(6).randbytes(EXTENT)))


def test_a_digest_that_only_begins_alike_is_no_proof():
    """The node sent no bytes, since the beginning was right: they are read."""
    old = random.Random(7).randbytes(20 * EXTENT)
    new = bytearray(old)
    new[3 * EXTENT] ^= 1
    right = hashlib.sha256(old[3 * EXTENT : 4 * EXTENT]).digest()
    echo = right[:8] + bytes(24)
    real = hashlib.sha256(new[3 * EXTENT : 4 * EXTENT]).digest()
    with pytest.raises(HostError, match="other bytes"):
        both_ways(old, bytes(new), lies=lie(3, has_bytes=False, digest=echo))
    _, (told, _, store), _ = both_ways(old, bytes(new), lies=lie(3, has_bytes=False, digest=real))
    assert restored(told, store) == new


def test_with_a_key_of_our_own_no_plain_digest_is_in_the_bucket():
    words = "correct horse battery staple"
    recipient = keys.PassphraseRecipient("r", keys.Role.READER, words, keys.ScryptCost(log2_n=4))
    ring, _ = keys.create_keyring([recipient], now=datetime(2026, 11, 26, tzinfo=UTC))
    cipher = Cipher(keys.open_keyring(ring, keys.Identity(passphrase=words)))
    how = replace(SMALL, cipher=cipher)
    old = random.Random(8).randbytes(20 * EXTENT)
    new = bytes(EXTENT) + old[EXTENT:-1] + b"?"
    _, (told, captured, store), disk = both_ways(old, new, how=how)
    assert disk.came_bytes == EXTENT
    assert restored(told, store, cipher=cipher) == new
    page = load_page(store, captured.pages[0], cipher)
    known = page.node_digests()
    assert known[5].tobytes() == hashlib.sha256(old[5 * EXTENT : 6 * EXTENT]).digest()
    for info in store.list("g/"):
        data = store.get(info.key)
        assert known[5].tobytes() not in data
        assert page.node[:40].encode() not in data


def node_reader(path, size):
    return RemoteReader(LocalRunner(), str(path), size, read_command=dd.gnu_read)


def test_a_real_program_over_a_real_file_finds_what_changed(tmp_path):
    dice = random.Random(9)
    old = volume(dice, 90)
    store, path = MemoryStore(), tmp_path / "disk"
    path.write_bytes(old)
    parent, _ = capture(node_reader(path, len(old)), store, "g/a/")
    for number in range(5):
        new = changed(dice, path.read_bytes())
        path.write_bytes(new)
        parent, captured = capture(
            node_reader(path, len(new)), store, f"g/b{number}/", parent=parent
        )
        assert captured.read_bytes == captured.changed_bytes
        assert restored(parent, store) == new


class Killed(LocalRunner):
    """A node whose Python is killed in the middle, and whose dd works."""

    def stream_out(self, command, *, timeout_s=60.0, stdin=None):
        if "python3" in command:
            command = f"({command}) | head -c 100000"
        return super().stream_out(command, timeout_s=timeout_s, stdin=stdin)


def test_a_program_that_dies_midway_leaves_the_rest_to_dd(tmp_path, caplog):
    old = random.Random(10).randbytes(200 * EXTENT)
    new = random.Random(11).randbytes(200 * EXTENT)
    store, path = MemoryStore(), tmp_path / "disk"
    path.write_bytes(old)
    parent, _ = capture(node_reader(path, len(old)), store, "g/a/")
    path.write_bytes(new)
    reader = RemoteReader(Killed(), str(path), len(new), read_command=dd.gnu_read)
    taken, captured = capture(reader, store, "g/b/", parent=parent)
    assert "reading the rest of the disk" in caplog.text
    assert not captured.is_full
    assert restored(taken, store) == new


def test_a_disk_that_ended_midway_is_an_error(tmp_path):
    old = random.Random(12).randbytes(200 * EXTENT)
    store, path = MemoryStore(), tmp_path / "disk"
    path.write_bytes(old)
    parent, _ = capture(node_reader(path, len(old)), store, "g/a/")
    path.write_bytes(old[: 90 * EXTENT])
    with pytest.raises(FlashvaultError, match=str(path)):
        capture(node_reader(path, len(old)), store, "g/b/", parent=parent)
