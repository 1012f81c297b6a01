"""What version 1 stored is read for ever. The files are never made again (their README)."""

import importlib.util
import json
import struct
import threading
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from contradictions import contradictions

from blocks.catalog import shelf
from blocks.catalog.rebuild import rebuild
from blocks.image.scan import scan_object
from blocks.store.memory import MemoryStore
from tasks.proven_reads import read_range
from tasks.recovery import restore_volume
from tasks.transfer import Progress, load_page
from tasks.verification import verify_volume

GOLDEN = Path(__file__).parents[2] / "golden" / "image"
FACTS = json.loads((GOLDEN / "manifest.json").read_text())
GROUP = FACTS["group"]
_spec = importlib.util.spec_from_file_location("golden_plain", GOLDEN / "plain.py")
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)
PLAIN = {"full": plain.first_day(), "incremental": plain.second_day(), "raw": plain.second_day()}


class Target:
    """A disk in memory that held other bytes."""

    def __init__(self, size_bytes):
        self.data = bytearray(b"\xaa" * size_bytes)
        self.size_bytes = size_bytes

    def read_into(self, offset, buffer):
        buffer[:] = self.data[offset : offset + len(buffer)]

    def data_runs(self):
        yield 0, self.size_bytes

    def write(self, offset, data):
        self.data[offset : offset + len(data)] = data

    def zero(self, offset, length):
        self.write(offset, bytes(length))

    def flush(self):
        pass

    def close(self):
        pass


@pytest.fixture(scope="module")
def bucket():
    store = MemoryStore()
    for key, name in FACTS["objects"].items():
        store.put(key, (GOLDEN / name).read_bytes())
    return store


def point_of(bucket, name):
    """Return a point with the ETags this store gives its objects."""
    point = shelf.read_point(bucket, GROUP, FACTS["points"][name]["id"])

    def pinned(stored):
        return stored.model_copy(update={"etag": bucket.head(stored.key).etag})

    objects = tuple(pinned(stored) for stored in point.objects)
    return point.model_copy(update={"objects": objects})


def test_the_plain_bytes_are_those_of_the_day():
    for name, facts in FACTS["points"].items():
        assert sha256(PLAIN[name]).hexdigest() == facts["plain_sha256"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_point_of_version_1_is_restored_byte_for_byte(bucket, name):
    point = point_of(bucket, name)
    [volume] = point.volumes
    target = Target(volume.size_bytes)
    restore_volume(
        volume,
        point.objects,
        bucket,
        target,
        bookmark=None,
        stop=threading.Event(),
        progress=Progress(),
        verify_readback=True,
    )
    assert sha256(target.data).hexdigest() == FACTS["points"][name]["plain_sha256"]
    assert read_range(volume, point.objects, bucket, 5000, 70_000) == PLAIN[name][5000:75_000]


@pytest.mark.parametrize("name", PLAIN)
def test_a_point_of_version_1_is_verified_whole(bucket, name):
    point = point_of(bucket, name)
    [volume] = point.volumes
    looked = verify_volume(
        volume,
        point.objects,
        bucket,
        deep=True,
        sample=None,
        stop=threading.Event(),
        progress=Progress(),
    )
    assert looked.damaged == ()
    assert looked.checked_extents > 0


@pytest.mark.parametrize("name", ["full", "incremental"])
def test_an_image_of_version_1_says_itself_what_it_holds(bucket, name):
    point = point_of(bucket, name)
    [volume] = point.volumes
    [page] = [load_page(bucket, ref, None) for ref in volume.pages]
    for key in volume.image_keys:
        size = bucket.head(key).size_bytes
        image = scan_object(
            key, size, lambda offset, length, key=key: bucket.get_range(key, offset, length)
        )
        assert image.document["format"] == 1
        assert image.document["kind"] == name
        assert image.document["volume"] == volume.uid
        assert not contradictions(image, page, 0)
        assert len(image.index.frames) > 0


def test_a_full_of_version_1_is_rebuilt_from_its_images_alone(bucket):
    store = MemoryStore()
    for info in bucket.list():
        if info.key.endswith(".img.zst"):
            store.put(info.key, bucket.get(info.key))
    full = point_of(bucket, "full")
    report = rebuild(store, GROUP, now=full.committed_at)
    [rebuilt] = report.rebuilt
    assert rebuilt.point.maps_digest == full.maps_digest
    assert rebuilt.point.taken_at == full.taken_at


def test_a_reader_written_from_the_specification_alone_gets_the_same_bytes(bucket):
    """By §2, §4 and §5 of docs/reference/format.md: struct, json, zstd, BLAKE3; nothing of ours."""
    for name, expected in PLAIN.items():
        document = json.loads(bucket.get(f"points/{GROUP}/{FACTS['points'][name]['id']}.json"))
        [volume] = document["volumes"]
        disk = bytearray(b"\xaa" * volume["size_bytes"])
        digests = b""
        for page in volume["pages"]:
            digests += apply_page(bucket, page, volume["extent_bytes"], disk)
        assert bytes(disk) == expected
        assert blake3(digests).hexdigest() == volume["map_digest"]


def apply_page(bucket, ref, extent, disk):
    data = bucket.get(ref["object"]["key"])
    assert data[:8] == b"FVMAP\0\0\0"
    [length] = struct.unpack_from("<I", data, 8)
    head = json.loads(data[12 : 12 + length])
    decoder = zstandard.ZstdDecompressor().decompressobj()
    digests = decoder.decompress(data[12 + length :])
    columns = zstandard.ZstdDecompressor().decompress(decoder.unused_data)
    table, at = [], 0
    for code in "IIiIIIQ":
        width = struct.calcsize(code) * head["runs"]
        table.append(struct.unpack(f"<{head['runs']}{code}", columns[at : at + width]))
        at += width
    for first, count, number, skip, frame_count, stored, offset in zip(*table, strict=True):
        begin = (ref["first_extent"] + first) * extent
        end = min(begin + count * extent, len(disk))
        if number == -1:
            disk[begin:end] = bytes(end - begin)
            continue
        key = head["objects"][number]
        piece = bucket.get_range(key, offset, stored)
        disk[begin:end] = (
            piece
            if key.endswith(".img")
            else frame_extents(piece, extent, skip, count, frame_count)
        )
    for number in range(head["extents"]):
        begin = (ref["first_extent"] + number) * extent
        digest = blake3(bytes(disk[begin : begin + extent])).digest()
        assert digest == digests[number * 32 : number * 32 + 32]
    return digests


def frame_extents(piece, extent, skip, count, frame_count):
    magic, length, tag, kind, _, _, extents, payload, _ = struct.unpack("<II4sHHQII32s", piece[:64])
    assert (magic, length, tag, kind) == (0x184D2A5D, 56, b"FVF1", 0)
    assert (extents, payload) == (frame_count, len(piece) - 64)
    plain_bytes = zstandard.ZstdDecompressor().decompress(piece[64:])
    return plain_bytes[skip * extent : (skip + count) * extent]
