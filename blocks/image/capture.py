"""A volume into parts and pages: read, sift, compress, seal, place.

`Capture.outputs` is a generator: parts of objects and pages of the map, in order, as they become
complete. Who uploads them, and where to, is not known here (tasks/pipeline.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blocks.errors import Stopped
from blocks.image.cipher import Cipher, FramePlace, ObjectSealer
from blocks.image.codec import Codec, seal_frame
from blocks.image.compare import NodeCompare, node_digests, sift_told
from blocks.image.digest import Digester
from blocks.image.extents import PAGE_EXTENTS, Digests, Geometry, Mask, Sieve, Sifted, runs_of
from blocks.image.layout import FrameHeader, FrameKind
from blocks.image.map import Page, PageDraft
from blocks.image.ordered import ordered, read_ahead
from blocks.image.reading import Batch, Reading, Source
from blocks.image.segments import Buffers, Part, Segment


@dataclass(frozen=True, slots=True)
class MapPage:
    """A page of the map that is complete. `page` is None when the parent's serves unchanged."""

    index: int
    page: Page | None
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """How to cut, encode and name a capture."""

    geometry: Geometry
    name: str
    """Keys begin with this: folder and image name."""
    volume_uid: str
    document: Mapping[str, Any]
    """What every object's header says of the volume."""
    is_full: bool
    frame_extents: int = 16
    level: int = 1
    compress: bool = True
    part_bytes: int = 32 * 1024 * 1024
    part_buffers: int = 4
    segment_bytes: int = 64 * 1024 * 1024 * 1024
    encoders: int = 2
    cipher: Cipher | None = None
    digester: Digester = field(default_factory=Digester)
    notes_node: bool = False
    """Whether pages also get the digests a node can compute, to compare with next time."""

    def __post_init__(self) -> None:
        assert PAGE_EXTENTS % self.frame_extents == 0
        assert self.segment_bytes % (self.frame_extents * self.geometry.extent_bytes) == 0

    @property
    def segment_extents(self) -> int:
        """Extents of the volume in one object."""
        return self.segment_bytes // self.geometry.extent_bytes

    @property
    def segment_count(self) -> int:
        """Objects a full has."""
        return -(-self.geometry.size_bytes // self.segment_bytes)

    def key(self, segment: int) -> str:
        """Return the key of a segment's object."""
        ordinal = f".{segment:04d}" if self.segment_count > 1 else ""
        suffix = ".img" if self.is_full else ".incr"
        packed = "" if self.is_full and self.is_raw else ".zst"
        sealed = ".aead" if self.cipher is not None else ""
        return f"{self.name}{ordinal}{suffix}{packed}{sealed}"

    @property
    def is_raw(self) -> bool:
        """Whether a full is the volume's bare bytes."""
        return self.is_full and not self.compress and self.cipher is None


@dataclass(slots=True)
class CaptureCounts:
    """Bytes of the volume by fate; complete when the outputs have ended."""

    read_bytes: int = 0
    zero_bytes: int = 0
    changed_bytes: int = 0
    unchanged_bytes: int = 0
    stored_bytes: int = 0
    object_keys: list[str] = field(default_factory=list)
    map_digest: str = ""


@dataclass(slots=True)
class _Encoded:
    first: int
    digests: Digests
    is_zero: Mask
    is_changed: Mask
    frames: list[tuple[FrameHeader, bytes | memoryview]]
    read_bytes: int
    node: Digests | None


class Capture:
    """One capture of one volume. Use `outputs` once, then read `counts`."""

    def __init__(
        self,
        source: Source,
        plan: CapturePlan,
        *,
        parent: Callable[[int], Page] | None,
        stop: threading.Event,
        node: NodeCompare | None = None,
        on_read: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Prepare a capture.

        Args:
            source: the disk, of the plan's size.
            plan: how.
            parent: returns a page of the parent's map; None captures in full.
            stop: when set, `outputs` raises `Stopped`.
            node: asked what differs from the parent; what it does not know is read.
            on_read: told the plain bytes of each batch that has been given its fate.
        """
        assert source.size_bytes == plan.geometry.size_bytes
        assert plan.is_full == (parent is None)
        assert node is None or plan.notes_node
        self.counts = CaptureCounts()
        self.buffers = Buffers(
            plan.part_buffers,
            plan.part_bytes + (plan.frame_extents + 1) * plan.geometry.extent_bytes,
        )
        self._plan = plan
        self._stop = stop
        self._on_read = on_read
        self._sieve = Sieve(plan.geometry, plan.digester)
        self._local = threading.local()
        self._batches_ahead = plan.encoders + 2
        self._reading = Reading(
            source,
            plan.geometry,
            batch_extents=plan.frame_extents,
            segment_extents=plan.segment_extents,
            batches_in_flight=self._batches_ahead + plan.encoders + 2,
            parent=parent,
            node=None if parent is None else node,
            stop=stop,
        )
        self._segment: Segment | None = None
        self._segment_index = -1
        self._sealers: dict[int, ObjectSealer] = {}
        self._zeros: tuple[int, int] | None = None
        self._map_hash = plan.digester.new()

    def outputs(self) -> Iterator[Part | MapPage]:
        """Yield parts and pages in order. Give each part's buffer back to `buffers` once stored.

        Raises:
            Stopped: as asked.
            HostError: the disk cannot be read whole.
            CorruptData: a frame does not decode to its input.
        """
        plan = self._plan
        encoded = ordered(
            self._encode,
            read_ahead(self._reading.batches(), depth=2),
            workers=plan.encoders,
            ahead=self._batches_ahead,
            stop=self._stop,
        )
        draft: PageDraft | None = None
        page_index = -1
        page_changed = False
        done_in_page = 0
        for item in encoded:
            if draft is None:
                page_index = item.first // PAGE_EXTENTS
                _, page_count = plan.geometry.page(page_index)
                draft = self._draft(page_index, page_count)
                page_changed, done_in_page = self._is_to_note(page_index), 0
            yield from self._take(item, draft, page_index * PAGE_EXTENTS)
            page_changed = page_changed or bool(item.is_changed.any())
            done_in_page += len(item.digests)
            if done_in_page == plan.geometry.page(page_index)[1]:
                page = draft.finish()
                self._map_hash.update(np.ascontiguousarray(page.digests).reshape(-1).data)
                self._reading.parent_pages.pop(page_index, None)
                yield MapPage(page_index, page if page_changed else None, page.objects)
                draft = None
        assert draft is None
        assert page_index == plan.geometry.page_count - 1
        yield from self._end_segment()
        counts = self.counts
        assert (
            counts.zero_bytes + counts.changed_bytes + counts.unchanged_bytes
            == plan.geometry.size_bytes
        ), "extents were given no fate"
        counts.map_digest = self._map_hash.digest().hex()

    def _draft(self, page_index: int, page_count: int) -> PageDraft:
        plan = self._plan
        draft = PageDraft(plan.geometry.extent_bytes, plan.digester.algorithm, page_count)
        if not plan.is_full:
            draft.adopt(self._reading.parent_pages[page_index])
        return draft

    def _is_to_note(self, page_index: int) -> bool:
        """Say whether a page is written whatever has changed in it."""
        if self._plan.is_full:
            return True
        is_noted = self._reading.parent_pages[page_index].node is not None
        return self._plan.notes_node and not is_noted

    # --- encoding: on the worker threads -------------------------------------------------------

    def _encode(self, batch: Batch) -> _Encoded:
        sifted, node, read_bytes = self._sift(batch)
        frames: list[tuple[FrameHeader, bytes | memoryview]] = []
        if batch.data is not None:
            wanted = sifted.is_changed & ~sifted.is_zero
            for low, count in runs_of(wanted):
                frames.append(self._encode_run(batch, sifted.digests, low, count))
            self._reading.give_back(batch)
        return _Encoded(
            batch.first, sifted.digests, sifted.is_zero, sifted.is_changed, frames, read_bytes, node
        )

    def _sift(self, batch: Batch) -> tuple[Sifted, Digests | None, int]:
        """Tell the fates of a batch, its node's digests if they are kept, and the bytes read."""
        geometry = self._plan.geometry
        if batch.data is None:
            sifted = self._sieve.sift_hole(batch.first, batch.count, batch.parent)
            return sifted, np.zeros_like(sifted.digests) if self._plan.notes_node else None, 0
        if batch.told is None:
            sifted = self._sieve.sift(batch.first, batch.data, batch.parent)
            node = None
            if self._plan.notes_node:
                node = node_digests(batch.data, sifted.is_zero, geometry.extent_bytes)
            return sifted, node, len(batch.data)
        assert batch.parent is not None
        sifted = sift_told(
            self._sieve,
            batch.first,
            batch.data,
            batch.told,
            batch.parent,
            geometry,
            self._plan.digester.of,
        )
        came = _plain_of(geometry, batch.first, batch.told.is_changed)
        return sifted, batch.told.digests, came

    def _encode_run(
        self, batch: Batch, digests: Digests, low: int, count: int
    ) -> tuple[FrameHeader, bytes | memoryview]:
        plan = self._plan
        assert batch.data is not None
        first = batch.first + low
        at = low * plan.geometry.extent_bytes
        root = plan.digester.of(digests[low : low + count].tobytes())
        with batch.data[at : at + plan.geometry.plain_bytes(first, count)] as plain:
            if plan.is_raw:
                payload, kind = bytes(plain), FrameKind.ZSTD
            else:
                frame = self._codec().encode(plain)
                sealer = self._sealer_of(first // plan.segment_extents)
                if sealer is None:
                    payload, kind = frame, FrameKind.ZSTD
                else:
                    place = FramePlace(plan.volume_uid, first, count)
                    payload, kind = seal_frame(frame, sealer, place), FrameKind.SEALED
        return FrameHeader(kind, first, count, len(payload), root), payload

    def _codec(self) -> Codec:
        codec: Codec | None = getattr(self._local, "codec", None)
        if codec is None:
            codec = Codec(level=self._plan.level, compress=self._plan.compress)
            self._local.codec = codec
        return codec

    def _sealer_of(self, segment: int) -> ObjectSealer | None:
        cipher = self._plan.cipher
        if cipher is None:
            return None
        # Two threads may both make one: every frame carries the envelope of its own data key.
        if segment not in self._sealers:
            self._sealers[segment] = cipher.sealer(self._plan.key(segment))
        return self._sealers[segment]

    # --- placing: on the consumer's thread, in order -------------------------------------------

    def _take(self, item: _Encoded, draft: PageDraft, page_first: int) -> Iterator[Part]:
        counts, geometry = self.counts, self._plan.geometry
        count = len(item.digests)
        low = item.first - page_first
        unchanged = ~item.is_changed
        draft.keep(low, item.digests, unchanged)
        if item.node is not None:
            draft.note(low, item.node)
        is_new_zero = item.is_zero & item.is_changed
        draft.zero(low, is_new_zero)
        stored = 0
        frames = iter(item.frames)
        # Zeros and frames in the order of the disk: a stock decoder must get them so.
        spans: list[tuple[int, int, tuple[FrameHeader, bytes | memoryview] | None]]
        spans = [(at, length, None) for at, length in runs_of(is_new_zero)]
        spans += [
            (header.first_extent - item.first, header.extent_count, (header, payload))
            for header, payload in frames
        ]
        for at, length, frame in sorted(spans, key=lambda span: span[0]):
            first = item.first + at
            if frame is None:
                yield from self._add_zeros(first, length)
                continue
            header, payload = frame
            yield from self._flush_zeros()
            segment = yield from self._at(first)
            plain = geometry.plain_bytes(first, length)
            stored += plain
            if segment.is_raw:
                offset = segment.place_plain(payload)
                stored_length = len(payload)
            else:
                digests = item.digests[at : at + length].tobytes()
                offset = segment.place(header, bytes(payload), digests, plain)
                stored_length = header.payload_bytes + len(header.pack())
            draft.store(first - page_first, length, segment.key, offset, stored_length)
            if segment.is_part_full:
                yield self._count(segment.cut())
        total = geometry.plain_bytes(item.first, count)
        zeros = _plain_of(geometry, item.first, item.is_zero)
        counts.read_bytes += item.read_bytes
        counts.zero_bytes += zeros
        counts.changed_bytes += stored
        counts.unchanged_bytes += _plain_of(geometry, item.first, unchanged & ~item.is_zero)
        self._on_read(total)

    def _add_zeros(self, first: int, count: int) -> Iterator[Part]:
        if self._zeros is not None:
            start, length = self._zeros
            same_segment = (
                start // self._plan.segment_extents == first // self._plan.segment_extents
            )
            if start + length == first and same_segment:
                self._zeros = (start, length + count)
                return
            yield from self._flush_zeros()
        self._zeros = (first, count)

    def _flush_zeros(self) -> Iterator[Part]:
        if self._zeros is None:
            return
        (first, count), self._zeros = self._zeros, None
        plain = self._plan.geometry.plain_bytes(first, count)
        segment = yield from self._at(first)
        if not segment.is_raw:
            is_written = self._plan.is_full and self._plan.cipher is None
            segment.place_zeros(first, count, plain, write=is_written)
            if segment.is_part_full:
                yield self._count(segment.cut())
            return
        piece = bytes(min(plain, self._plan.frame_extents * self._plan.geometry.extent_bytes))
        while plain:
            if segment.needs_buffer:
                segment.lend(self.part_buffer())
            length = min(plain, len(piece))
            segment.place_plain(piece[:length])
            plain -= length
            if segment.is_part_full:
                yield self._count(segment.cut())

    def _at(self, first: int) -> Generator[Part, None, Segment]:
        """Return the segment an extent belongs to, ready to be written; end the one before."""
        index = first // self._plan.segment_extents
        if self._segment is None or index != self._segment_index:
            yield from self._end_segment(flush=False)
            document: dict[str, Any] | None = None
            if not self._plan.is_raw:
                document = {**self._plan.document, "segment": index}
            self._segment = Segment(
                self._plan.key(index),
                document=document,
                part_bytes=self._plan.part_bytes,
                stored=Digester(),
            )
            self._segment_index = index
        if self._segment.needs_buffer:
            self._segment.lend(self.part_buffer())
        return self._segment

    def _end_segment(self, *, flush: bool = True) -> Iterator[Part]:
        if flush:
            yield from self._flush_zeros()
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        if segment.needs_buffer:
            segment.lend(self.part_buffer())
        self._sealers.pop(self._segment_index, None)
        part = segment.finish()
        self.counts.object_keys.append(segment.key)
        yield self._count(part)

    def part_buffer(self) -> bytearray:
        """Return a free part buffer, of any length; waits until one is given back.

        Raises:
            Stopped: as asked.
        """
        while True:
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            buffer = self.buffers.take(0.5)
            if buffer is not None:
                return buffer

    def _count(self, part: Part) -> Part:
        self.counts.stored_bytes += len(part.data)
        return part


def _plain_of(geometry: Geometry, first: int, mask: Mask) -> int:
    """Bytes of the extents in a mask; only the volume's last extent may be short."""
    count = int(mask.sum())
    if count and mask[-1] and first + len(mask) == geometry.extent_count:
        return (count - 1) * geometry.extent_bytes + geometry.plain_bytes(
            geometry.extent_count - 1, 1
        )
    return count * geometry.extent_bytes
