"""The bytes of an image object, as docs/reference/format.md §2 specifies them; pure.

An object is a sequence of zstd frames, so stock tools read it: ours are *skippable* frames around
the data frames, and the seek table of the zstd seekable format ends it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

from blocks.errors import CorruptData, UnknownFormat

FORMAT_VERSION = 1

SKIPPABLE = 0x184D2A5D
"""The skippable frame of everything that is ours."""
SEEK_TABLE = 0x184D2A5E
"""The skippable frame of the zstd seekable format's table."""
SEEKABLE_END = 0x8F92EAB1
ZSTD_MAGIC = 0xFD2FB528

OBJECT_TAG = b"FVO1"
FRAME_TAG = b"FVF1"
INDEX_TAG = b"FVX1"

_SKIP = struct.Struct("<II")
_FRAME = struct.Struct("<II4sHHQII32s")
_INDEX_HEAD = struct.Struct("<4sIII32s")
_INDEX_TAIL = struct.Struct("<I4s")
_SEEK_FOOT = struct.Struct("<IBI")
_SEEK_ENTRY = struct.Struct("<II")

FRAME_HEADER_BYTES = _FRAME.size
SEEK_FOOT_BYTES = _SEEK_FOOT.size
SKIP_BYTES = _SKIP.size
INDEX_TAIL_BYTES = _INDEX_TAIL.size

ZERO_FRAME_MAX_BYTES = 64 * 1024 * 1024
_ZSTD_BLOCK = 128 * 1024


class FrameKind(IntEnum):
    """What follows a frame header."""

    ZSTD = 0
    ZERO = 1
    SEALED = 2


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What precedes every frame: which extents it holds, and the digest over their digests."""

    kind: FrameKind
    first_extent: int
    extent_count: int
    payload_bytes: int
    root: bytes

    def pack(self) -> bytes:
        """Return the 64 bytes."""
        return _FRAME.pack(
            SKIPPABLE,
            FRAME_HEADER_BYTES - SKIP_BYTES,
            FRAME_TAG,
            self.kind,
            0,
            self.first_extent,
            self.extent_count,
            self.payload_bytes,
            self.root,
        )


def unpack_frame_header(data: bytes | memoryview) -> FrameHeader:
    """Read a frame header.

    Raises:
        CorruptData: these bytes are none.
    """
    if len(data) < FRAME_HEADER_BYTES:
        raise CorruptData(f"a frame header has {FRAME_HEADER_BYTES} bytes, here are {len(data)}")
    magic, length, tag, kind, reserved, first, count, payload, root = _FRAME.unpack_from(data)
    if (magic, length, tag, reserved) != (
        SKIPPABLE,
        FRAME_HEADER_BYTES - SKIP_BYTES,
        FRAME_TAG,
        0,
    ) or kind not in list(FrameKind):
        raise CorruptData("the bytes where a frame header should be are none")
    return FrameHeader(FrameKind(kind), first, count, payload, root)


def skippable(payload: bytes, magic: int = SKIPPABLE) -> bytes:
    """Wrap bytes so that a zstd decoder passes over them."""
    return _SKIP.pack(magic, len(payload)) + payload


def pack_object_header(document: dict[str, Any]) -> bytes:
    """Return the first frame of an object, which says what the object is."""
    text = json.dumps({"format": FORMAT_VERSION, **document}, sort_keys=True, ensure_ascii=False)
    return skippable(OBJECT_TAG + text.encode())


def object_header_bytes(head: bytes | memoryview) -> int:
    """Return the length of the object header whose first 12 bytes these are.

    Raises:
        UnknownFormat: the object is not ours.
    """
    if len(head) < SKIP_BYTES + 4:
        raise UnknownFormat("the object is too short to be an image")
    magic, length = _SKIP.unpack_from(head)
    if magic != SKIPPABLE or bytes(head[SKIP_BYTES : SKIP_BYTES + 4]) != OBJECT_TAG:
        raise UnknownFormat("the object does not begin as an image of this tool")
    return SKIP_BYTES + int(length)


def unpack_object_header(data: bytes | memoryview) -> dict[str, Any]:
    """Read the object header.

    Raises:
        UnknownFormat: not ours, or of a newer version.
        CorruptData: ours, but damaged.
    """
    length = object_header_bytes(data)
    if len(data) < length:
        raise CorruptData("the object header is cut off")
    try:
        document = json.loads(bytes(data[SKIP_BYTES + 4 : length]))
    except (ValueError, RecursionError) as error:
        raise CorruptData("the object header is no JSON document") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_VERSION:
        found = document.get("format") if isinstance(document, dict) else None
        raise UnknownFormat(f"the image has format {found}, this tool reads {FORMAT_VERSION}")
    return document


@lru_cache(maxsize=64)
def zero_frame(length: int) -> bytes:
    """Return the zstd frame that decodes to `length` zero bytes: 4 bytes for each 128 KiB.

    Written by hand so that it is the same with every zstd, and costs no compression.
    """
    assert 0 < length <= ZERO_FRAME_MAX_BYTES
    # RFC 8878 §3.1.1: content size in 4 bytes, no checksum, window of 128 KiB.
    head = struct.pack("<IBBI", ZSTD_MAGIC, 0x80, 0x38, length)
    full, rest = divmod(length, _ZSTD_BLOCK)
    sizes = [_ZSTD_BLOCK] * full + ([rest] if rest else [])
    blocks = bytearray()
    for index, size in enumerate(sizes):
        is_last = index == len(sizes) - 1
        blocks += (size << 3 | 1 << 1 | is_last).to_bytes(3, "little") + b"\0"
    return head + bytes(blocks)


def pack_seek_table(entries: list[tuple[int, int]]) -> bytes:
    """Return the seek table for (stored, plain) lengths of the frames in order."""
    table = b"".join(_SEEK_ENTRY.pack(stored, plain) for stored, plain in entries)
    return skippable(table + _SEEK_FOOT.pack(len(entries), 0, SEEKABLE_END), SEEK_TABLE)


def seek_table_bytes(foot: bytes | memoryview) -> int:
    """Return the length of the seek table whose last 9 bytes these are.

    Raises:
        CorruptData: they are none.
    """
    if len(foot) < SEEK_FOOT_BYTES:
        raise CorruptData("the object is too short for a seek table")
    count, flags, magic = _SEEK_FOOT.unpack_from(foot)
    if magic != SEEKABLE_END or flags != 0:
        raise CorruptData("the object does not end in a seek table")
    return SKIP_BYTES + int(count) * _SEEK_ENTRY.size + SEEK_FOOT_BYTES


def unpack_seek_table(table: bytes | memoryview) -> list[tuple[int, int]]:
    """Read the whole seek table.

    Raises:
        CorruptData: it is none.
    """
    if len(table) < SKIP_BYTES + SEEK_FOOT_BYTES:
        raise CorruptData("the seek table is cut off")
    magic, length = _SKIP.unpack_from(table)
    wanted = seek_table_bytes(table[-SEEK_FOOT_BYTES:])
    if magic != SEEK_TABLE or SKIP_BYTES + length != len(table) or wanted != len(table):
        raise CorruptData("the seek table is damaged")
    return list(_SEEK_ENTRY.iter_unpack(table[SKIP_BYTES:-SEEK_FOOT_BYTES]))


def pack_index(frames: int, extents: int, plain_bytes: int, digest: bytes, body: bytes) -> bytes:
    """Return the index frame: how many frames and extents, the digest of the plain body, it."""
    head = _INDEX_HEAD.pack(INDEX_TAG, frames, extents, plain_bytes, digest)
    length = SKIP_BYTES + len(head) + len(body) + INDEX_TAIL_BYTES
    return skippable(head + body + _INDEX_TAIL.pack(length, INDEX_TAG))


def index_bytes(tail: bytes | memoryview) -> int:
    """Return the length of the index frame whose last 8 bytes these are.

    Raises:
        CorruptData: they are none.
    """
    if len(tail) < INDEX_TAIL_BYTES:
        raise CorruptData("the object is too short for an index")
    length, tag = _INDEX_TAIL.unpack_from(tail)
    if tag != INDEX_TAG:
        raise CorruptData("the object has no index before its seek table")
    return int(length)


def unpack_index(data: bytes | memoryview) -> tuple[int, int, int, bytes, memoryview]:
    """Read the index frame: what `pack_index` was given.

    Raises:
        CorruptData: it is none.
    """
    view = memoryview(data)
    least = SKIP_BYTES + _INDEX_HEAD.size + INDEX_TAIL_BYTES
    if len(view) < least:
        raise CorruptData("the index is cut off")
    magic, length = _SKIP.unpack_from(view)
    tag, frames, extents, plain_bytes, digest = _INDEX_HEAD.unpack_from(view, SKIP_BYTES)
    if (
        (magic, tag) != (SKIPPABLE, INDEX_TAG)
        or SKIP_BYTES + length != len(view)
        or index_bytes(view[-INDEX_TAIL_BYTES:]) != len(view)
    ):
        raise CorruptData("the index is damaged")
    body = view[SKIP_BYTES + _INDEX_HEAD.size : -INDEX_TAIL_BYTES]
    return frames, extents, plain_bytes, digest, body
