"""Read an image object by what it says of itself, without a map.

Its end holds the seek table and, before it, the index: every frame with its place, and the digest
of every extent. So a few small reads tell what an object holds (`catalog rebuild`), and a deep
check knows what each frame must decode to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from blocks.errors import CorruptData
from blocks.image.layout import (
    INDEX_TAIL_BYTES,
    SEEK_FOOT_BYTES,
    FrameKind,
    index_bytes,
    object_header_bytes,
    seek_table_bytes,
    unpack_object_header,
    unpack_seek_table,
)
from blocks.image.segments import FrameIndex, unpack_frame_index

GetRange = Callable[[int, int], bytes | bytearray | memoryview]
"""(offset, length) → exactly those bytes of the object."""

HEAD_BYTES = 4096
TAIL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """What an object says of itself."""

    key: str
    document: dict[str, Any]
    """The header: volume, name, folder, size, extent size, kind, labels."""
    index: FrameIndex
    header_bytes: int
    """Length of the header: the first frame follows."""

    def digest_starts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return where each frame's digests begin in the index; a zero run has none."""
        stored = self.index.frames["kind"] != FrameKind.ZERO
        counts = np.where(stored, self.index.frames["count"], 0).astype(np.int64)
        starts: np.ndarray[Any, np.dtype[np.int64]] = np.cumsum(counts) - counts
        return starts


def scan_object(key: str, size_bytes: int, get_range: GetRange) -> ScannedImage:
    """Read an object's header, seek table and index.

    Raises:
        UnknownFormat: not an image of ours (a raw `.img` has no index).
        CorruptData: its own parts contradict each other.
    """
    head = bytes(get_range(0, min(HEAD_BYTES, size_bytes)))
    header_bytes = object_header_bytes(head)
    if header_bytes > size_bytes:
        raise CorruptData(f"{key}: the object header is cut off")
    if header_bytes > len(head):
        head = bytes(get_range(0, header_bytes))
    document = unpack_object_header(head)
    tail = bytes(get_range(size_bytes - min(TAIL_BYTES, size_bytes), min(TAIL_BYTES, size_bytes)))

    def last(length: int) -> bytes:
        if length > size_bytes:
            raise CorruptData(f"{key}: the end of the object is damaged")
        if length <= len(tail):
            return tail[len(tail) - length :]
        return bytes(get_range(size_bytes - length, length))

    table_bytes = seek_table_bytes(last(SEEK_FOOT_BYTES))
    entries = unpack_seek_table(last(table_bytes))
    index_length = index_bytes(last(table_bytes + INDEX_TAIL_BYTES)[:INDEX_TAIL_BYTES])
    packed = last(table_bytes + index_length)[:index_length]
    index = unpack_frame_index(packed)
    end = size_bytes - table_bytes - index_length
    _check_layout(key, index, header_bytes, end, index_length, entries)
    return ScannedImage(key, document, index, header_bytes)


def _check_layout(
    key: str,
    index: FrameIndex,
    header_bytes: int,
    end: int,
    index_length: int,
    entries: list[tuple[int, int]],
) -> None:
    """Frames must follow each other without a gap, and the seek table say the same."""
    frames = index.frames
    offsets = frames["offset"].astype(np.int64)
    ends = offsets + frames["length"]
    begins = np.concatenate(([header_bytes], ends))
    stored = int(frames["count"][frames["kind"] != FrameKind.ZERO].sum())
    if (
        bool((begins[:-1] != offsets).any())
        or begins[-1] != end
        or stored != len(index.digests)
        or sum(length for length, _ in entries) != end + index_length
    ):
        raise CorruptData(f"{key}: index and seek table contradict each other")
