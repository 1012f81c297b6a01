"""The new objects of a compaction: frames and zeros, in the order of the disk, into parts.

One object a segment of the volume. Which frames, and where they come from, is for `compaction`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from blocks.errors import Stopped
from blocks.image.digest import Digester
from blocks.image.extents import Digests, Geometry
from blocks.image.layout import FRAME_HEADER_BYTES, FrameHeader
from blocks.image.map import PageDraft
from blocks.image.segments import Buffers, Segment
from tasks.transfer import Uploader


class SegmentWriter:
    """The objects of one volume, written from its first extent to its last."""

    def __init__(
        self,
        stem: str,
        geometry: Geometry,
        *,
        segment_bytes: int,
        part_bytes: int,
        buffers: Buffers,
        uploader: Uploader,
        document: Callable[[int], Mapping[str, object]],
        stop: threading.Event,
    ) -> None:
        """Prepare to write.

        Args:
            stem: folder and name of the objects, without number and suffix.
            geometry: how the volume is cut.
            segment_bytes: of the volume, in one object.
            part_bytes: of the object, in one part.
            buffers: memory for parts; the uploader gives it back.
            uploader: takes the parts.
            document: returns what the object of a segment, by its index, says about itself.
            stop: when set, waiting for a buffer raises `Stopped`.
        """
        self._stem = stem
        self._geometry = geometry
        self._segment_extents = segment_bytes // geometry.extent_bytes
        self._segment_count = -(-geometry.size_bytes // segment_bytes)
        self._part_bytes = part_bytes
        self._buffers = buffers
        self._uploader = uploader
        self._document = document
        self._stop = stop
        self._segment: Segment | None = None
        self._segment_index = -1
        self._zeros: tuple[int, int] | None = None
        self.keys: list[str] = []
        """Of the objects that are complete."""
        self.stored_bytes = 0
        """Sent in parts; what the store copied is not among them."""

    def place(
        self,
        header: FrameHeader,
        payload: bytes,
        digests: Digests,
        page_first: int,
        draft: PageDraft,
    ) -> None:
        """Write a frame, and note in the draft of its page where it is."""
        self.flush_zeros()
        first, count = header.first_extent, header.extent_count
        segment = self.at(first)
        plain = self._geometry.plain_bytes(first, count)
        offset = segment.place(header, payload, digests.tobytes(), plain)
        length = FRAME_HEADER_BYTES + header.payload_bytes
        draft.store(first - page_first, count, segment.key, offset, length)
        if segment.is_part_full:
            self.cut(segment)

    def add_zeros(self, first: int, count: int) -> None:
        """Note zeros; those that lie behind each other in one segment are written as one run."""
        if self._zeros is not None:
            start, length = self._zeros
            same = start // self._segment_extents == first // self._segment_extents
            if start + length == first and same:
                self._zeros = (start, length + count)
                return
            self.flush_zeros()
        self._zeros = (first, count)

    def flush_zeros(self) -> None:
        """Write the zeros that are noted."""
        if self._zeros is None:
            return
        (first, count), self._zeros = self._zeros, None
        segment = self.at(first)
        segment.place_zeros(first, count, self._geometry.plain_bytes(first, count), write=True)
        if segment.is_part_full:
            self.cut(segment)

    def at(self, first: int) -> Segment:
        """Return the segment an extent belongs to, ready to be written; end the one before.

        Raises:
            Stopped: as asked.
        """
        index = first // self._segment_extents
        if self._segment is None or index != self._segment_index:
            self.finish()
            ordinal = f".{index:04d}" if self._segment_count > 1 else ""
            self._segment = Segment(
                f"{self._stem}{ordinal}.img.zst",
                document=self._document(index),
                part_bytes=self._part_bytes,
                stored=Digester(),
            )
            self._segment_index = index
        if self._segment.needs_buffer:
            self._segment.lend(self._part_buffer())
        return self._segment

    def cut(self, segment: Segment) -> None:
        """Send what is unsent of a segment as one part."""
        self._send(segment, is_last=False)

    def finish(self) -> None:
        """End the segment that is being written, if there is one."""
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        if segment.needs_buffer:
            segment.lend(self._part_buffer())
        self.keys.append(segment.key)
        self._send(segment, is_last=True)

    def _send(self, segment: Segment, *, is_last: bool) -> None:
        part = segment.finish() if is_last else segment.cut()
        self.stored_bytes += len(part.data)
        self._uploader.put(part)

    def _part_buffer(self) -> bytearray:
        while True:
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            buffer = self._buffers.take(0.5)
            if buffer is not None:
                return buffer
