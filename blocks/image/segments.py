"""Place frames in an object, gather them into parts, and end the object with its index.

A part is a run of whole frames and is handed out in a buffer that is used again once the part is
stored: on many machines a page fault costs more than hashing the page.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard

from blocks.errors import CorruptData
from blocks.image.codec import decompress
from blocks.image.digest import DIGEST_BYTES, Digester
from blocks.image.extents import Digests
from blocks.image.layout import (
    FRAME_HEADER_BYTES,
    ZERO_FRAME_MAX_BYTES,
    FrameHeader,
    FrameKind,
    pack_index,
    pack_object_header,
    pack_seek_table,
    unpack_index,
    zero_frame,
)

GROW_BYTES = 1024 * 1024

SEGMENT_BYTES = 64 * 1024 * 1024 * 1024
SEGMENT_EXTENTS = 262_144
"""An object's index is in memory until its end: 10 million extents in one object took 2.2 GiB."""


def segment_bytes_of(extent_bytes: int) -> int:
    """Return how much of a volume goes into one object: 64 GiB, or less where extents are small."""
    return min(SEGMENT_BYTES, SEGMENT_EXTENTS * extent_bytes)


FRAME_ROW = np.dtype(
    [
        ("first", "<u8"),
        ("offset", "<u8"),
        ("count", "<u4"),
        ("length", "<u4"),
        ("kind", "<u4"),
    ]
)
"""A frame in an object's index: header and payload are `length` bytes at `offset`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an object, ready for upload. `data` belongs to the receiver until released."""

    key: str
    number: int
    offset: int
    data: bytearray
    is_last: bool
    size_bytes: int
    """Of the whole object, with the last part only."""
    digest: str
    """BLAKE3 over the whole object, with the last part only; empty if the store copied some."""


class Buffers:
    """A fixed number of part buffers, which bounds the memory of an upload."""

    def __init__(self, count: int, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._free: queue.LifoQueue[bytearray | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)

    def take(self, timeout_s: float) -> bytearray | None:
        """Return a free buffer of any length, or None if none came free in time."""
        try:
            buffer = self._free.get(timeout=timeout_s)
        except queue.Empty:
            return None
        return bytearray(self._size_bytes) if buffer is None else buffer

    def give_back(self, buffer: bytearray) -> None:
        """Let a buffer be used again. Nobody may hold a view of it."""
        self._free.put(buffer)


class Segment:
    """One object being written: frames in, parts out."""

    def __init__(
        self, key: str, *, document: Mapping[str, Any] | None, part_bytes: int, stored: Digester
    ) -> None:
        """Begin an object.

        Args:
            key: of the object.
            document: what the object's header says; None writes the volume's bare bytes.
            part_bytes: a part is cut after the frame with which it reaches this.
            stored: makes the digest over the stored bytes.
        """
        self.key = key
        self.is_raw = document is None
        self._part_bytes = part_bytes
        self._hash = stored.new()
        self._buffer: bytearray | None = None
        self._fill = 0
        self._offset = 0
        self._number = 1
        self._was_copied_to = False
        self._entries: list[tuple[int, int]] = []
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._digests: list[bytes] = []
        self._head = b"" if document is None else pack_object_header(dict(document))

    @property
    def needs_buffer(self) -> bool:
        """Whether `lend` must be called before anything else is placed."""
        return self._buffer is None

    def lend(self, buffer: bytearray) -> None:
        """Give the segment memory for its next part."""
        assert self._buffer is None
        self._buffer = buffer
        self._fill = 0
        if self._head:
            head, self._head = self._head, b""
            self._write(head)
            self._entries.append((len(head), 0))

    def place(self, header: FrameHeader, payload: bytes, digests: bytes, plain: int) -> int:
        """Append a frame; return its offset in the object."""
        offset = self._offset
        self._write(header.pack())
        self._write(payload)
        self._note(header, offset, plain if header.kind is not FrameKind.SEALED else 0)
        self._digests.append(digests)
        return offset

    def place_zeros(self, first: int, count: int, plain: int, *, write: bool) -> None:
        """Record a run of zeros; with `write` a stock decoder gets them too."""
        frames = []
        left = plain if write else 0
        while left:
            length = min(left, ZERO_FRAME_MAX_BYTES)
            frames.append((zero_frame(length), length))
            left -= length
        payload = sum(len(frame) for frame, _ in frames)
        header = FrameHeader(FrameKind.ZERO, first, count, payload, bytes(DIGEST_BYTES))
        offset = self._offset
        self._write(header.pack())
        for frame, _ in frames:
            self._write(frame)
        self._rows.append((first, offset, count, FRAME_HEADER_BYTES + payload, FrameKind.ZERO))
        self._entries.append((FRAME_HEADER_BYTES, 0))
        self._entries.extend((len(frame), length) for frame, length in frames)

    def place_plain(self, plain: bytes | memoryview) -> int:
        """Append the volume's bytes as they are (COMPRESSION=disable); return their offset."""
        assert self.is_raw
        offset = self._offset
        self._write(plain)
        return offset

    def place_copied(
        self, frames: Sequence[tuple[FrameHeader, bytes, int]], part_count: int
    ) -> list[int]:
        """Note frames that the store itself copied behind what was handed out, in whole parts.

        Args:
            frames: header, digests and plain length of each, in order; of the header only the
                place counts, its digest was copied with the frame.
            part_count: parts of the object they became.

        Returns:
            The offset of each.
        """
        assert self._fill == 0
        offsets = []
        for header, digests, plain in frames:
            offsets.append(self._offset)
            self._note(header, self._offset, plain)
            self._digests.append(digests)
            self._offset += FRAME_HEADER_BYTES + header.payload_bytes
        self._number += part_count
        self._was_copied_to = True
        return offsets

    @property
    def next_part(self) -> int:
        """The number of the part that is cut next."""
        return self._number

    @property
    def unsent_bytes(self) -> int:
        """Bytes placed and not handed out."""
        return self._fill

    @property
    def is_part_full(self) -> bool:
        """Whether `cut` should be called."""
        return self._buffer is not None and self._fill >= self._part_bytes

    def cut(self) -> Part:
        """Hand out the part gathered so far; more follows."""
        return self._hand_out(is_last=False)

    def finish(self) -> Part:
        """Append index and seek table, and hand out the last part."""
        if not self.is_raw:
            index = pack_frame_index(np.array(self._rows, dtype=FRAME_ROW), b"".join(self._digests))
            self._entries.append((len(index), 0))
            self._write(index)
            self._write(pack_seek_table(self._entries))
        return self._hand_out(is_last=True)

    def _note(self, header: FrameHeader, offset: int, plain: int) -> None:
        length = FRAME_HEADER_BYTES + header.payload_bytes
        self._rows.append((header.first_extent, offset, header.extent_count, length, header.kind))
        self._entries.append((length, plain))

    def _write(self, data: bytes | memoryview) -> None:
        assert self._buffer is not None
        end = self._fill + len(data)
        if end > len(self._buffer):
            # A buffer that served a short part grows as needed: zeroing it whole for each object
            # would cost more than a sparse disk's objects themselves.
            self._buffer.extend(bytes(max(end - len(self._buffer), GROW_BYTES)))
        self._buffer[self._fill : end] = data
        self._fill = end
        self._offset += len(data)

    def _hand_out(self, *, is_last: bool) -> Part:
        buffer, self._buffer = self._buffer, None
        assert buffer is not None
        del buffer[self._fill :]
        self._hash.update(buffer)
        self._fill = 0
        # Bytes the store copied were never here, so there is no digest over the whole object.
        digest = self._hash.digest().hex() if is_last and not self._was_copied_to else ""
        part = Part(
            key=self.key,
            number=self._number,
            offset=self._offset - len(buffer),
            data=buffer,
            is_last=is_last,
            size_bytes=self._offset if is_last else 0,
            digest=digest,
        )
        self._number += 1
        return part


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """What an object holds: its frames in order, and the digests of the extents stored."""

    frames: np.ndarray[Any, np.dtype[np.void]]
    digests: Digests


def pack_frame_index(frames: np.ndarray[Any, np.dtype[np.void]], digests: bytes) -> bytes:
    """Return the index frame of an object."""
    columns = [np.ascontiguousarray(frames[name]).tobytes() for name in FRAME_ROW.names or ()]
    body = b"".join(columns) + digests
    packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(body)
    digest = Digester().of(body)
    return pack_index(len(frames), len(digests) // DIGEST_BYTES, len(body), digest, packed)


def unpack_frame_index(data: bytes | memoryview) -> FrameIndex:
    """Read the index frame of an object.

    Raises:
        CorruptData: it is damaged.
    """
    count, extents, plain_bytes, digest, body = unpack_index(data)
    if plain_bytes != count * FRAME_ROW.itemsize + extents * DIGEST_BYTES:
        raise CorruptData("the index of an image contradicts itself")
    plain = decompress(body, plain_bytes)
    if Digester().of(plain) != digest:
        raise CorruptData("the index of an image is damaged")
    frames = np.empty(count, dtype=FRAME_ROW)
    at = 0
    for name in FRAME_ROW.names or ():
        width = FRAME_ROW[name].itemsize * count
        frames[name] = np.frombuffer(plain[at : at + width], dtype=FRAME_ROW[name])
        at += width
    digests = np.frombuffer(plain[at:], dtype=np.uint8).reshape(extents, DIGEST_BYTES)
    return FrameIndex(frames, digests)
