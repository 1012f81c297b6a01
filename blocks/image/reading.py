"""The disk's share of a capture: batches of extents, read ahead and in order.

The twin of the fetches of a restore. What becomes of a batch is for `blocks.image.capture`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from blocks.errors import Stopped
from blocks.image.compare import NodeCompare, Told
from blocks.image.extents import PAGE_EXTENTS, Digests, Geometry
from blocks.image.map import Page


class Source(Protocol):
    """A disk to read; `blocks.host.base.Reader` is one."""

    @property
    def size_bytes(self) -> int:
        """The disk's size."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk."""

    def data_runs(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of runs that may hold data; the rest reads as zero."""


@dataclass(slots=True)
class Batch:
    """Adjacent extents: as many as a frame has at most, or a hole up to a page's end."""

    first: int
    count: int
    data: memoryview | None
    """None in a hole. Where a node has `told`, only the extents it calls changed are filled in."""
    buffer: bytearray | None
    parent: Digests | None
    told: Told | None = None


class Reading:
    """One disk, read once in batches. `batches` runs on a thread of its own."""

    def __init__(
        self,
        source: Source,
        geometry: Geometry,
        *,
        batch_extents: int,
        segment_extents: int,
        batches_in_flight: int,
        parent: Callable[[int], Page] | None,
        node: NodeCompare | None,
        stop: threading.Event,
    ) -> None:
        """Prepare to read.

        Args:
            source: the disk.
            geometry: how it is cut.
            batch_extents: extents in a batch that is read.
            segment_extents: no batch lies in two segments.
            batches_in_flight: buffers there are; give each back.
            parent: returns a page of the parent's map, by its index.
            node: asked what differs from the parent; what it does not know is read.
            stop: when set, waiting for a buffer raises `Stopped`.
        """
        self._source = source
        self._geometry = geometry
        self._batch_extents = batch_extents
        self._segment_extents = segment_extents
        self._parent = parent
        self._node = node
        self._stop = stop
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._batches_in_flight = batches_in_flight
        self.parent_pages: dict[int, Page] = {}
        """Pages of the parent's map read so far, by index. Whoever is done with one removes it."""

    def batches(self) -> Iterator[Batch]:
        """Cut the disk into batches of one frame, and holes into runs up to a page's end.

        Raises:
            Stopped: as asked.
            HostError: the disk cannot be read whole.
        """
        for _ in range(self._batches_in_flight):
            self._buffers.put(bytearray(self._batch_extents * self._geometry.extent_bytes))
        try:
            yield from self._all_batches()
        finally:
            if self._node is not None:
                self._node.close()

    def give_back(self, batch: Batch) -> None:
        """Let a batch's buffer be filled again."""
        if batch.data is not None:
            batch.data.release()
            assert batch.buffer is not None
            self._buffers.put(batch.buffer)

    def _all_batches(self) -> Iterator[Batch]:
        geometry = self._geometry
        parent: Digests | None = None
        page_end = 0
        for first, count, has_data in self._stretches():
            if first >= page_end:
                page_index = first // PAGE_EXTENTS
                page_first, page_count = geometry.page(page_index)
                page_end = page_first + page_count
                if self._parent is not None:
                    page = self._parent(page_index)
                    self.parent_pages[page_index] = page
                    parent = page.digests
                    if self._node is not None:
                        self._node.enter(page_index, page)
            low = first % PAGE_EXTENTS
            mine = None if parent is None else parent[low : low + count]
            if not has_data:
                yield Batch(first, count, None, None, mine)
                continue
            buffer = self._take_buffer()
            data = memoryview(buffer)[: geometry.plain_bytes(first, count)]
            told = self._node.ask(first, count, data) if self._node is not None else None
            if told is None:
                self._source.read_into(first * geometry.extent_bytes, data)
            yield Batch(first, count, data, buffer, mine, told)

    def _take_buffer(self) -> bytearray:
        while True:
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            try:
                return self._buffers.get(timeout=0.5)
            except queue.Empty:
                continue

    def _stretches(self) -> Iterator[tuple[int, int, bool]]:
        """Yield (first extent, count, may hold data), cut at batches, pages and segments."""
        geometry, batch = self._geometry, self._batch_extents
        position = 0

        def hole(end: int) -> Iterator[tuple[int, int, bool]]:
            nonlocal position
            while position < end:
                limit = min(
                    end,
                    (position // PAGE_EXTENTS + 1) * PAGE_EXTENTS,
                    (position // self._segment_extents + 1) * self._segment_extents,
                )
                yield position, limit - position, False
                position = limit

        # A node is asked about every extent, in order.
        whole = [(0, geometry.size_bytes)]
        for offset, length in self._source.data_runs() if self._node is None else whole:
            # Whole batches: an extent that a run only touches is read in full.
            first = offset // geometry.extent_bytes // batch * batch
            end = min(-(-(offset + length) // geometry.extent_bytes), geometry.extent_count)
            yield from hole(max(first, position))
            while position < end:
                limit = min((position // batch + 1) * batch, geometry.extent_count)
                yield position, limit - position, True
                position = limit
        yield from hole(geometry.extent_count)
