"""A restore point's objects again, without what is dead in them: a synthetic full.

A point of a long chain refers to frames in many objects, most of whose bytes may be of no use to
anybody. `compact_volume` writes the volume's live frames, in the order of the disk, into new
objects: frames are moved as they are, inside the store where runs of them are long enough, and only
a frame of which some extents were overwritten is decoded and encoded again. The result is a full
that stock tools restore; nothing that exists is changed.

Encrypted images cannot be moved like that: a sealed frame belongs to its object.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from blocks.catalog.point import PageRef, StoredObject, VolumeImage
from blocks.errors import CorruptData, Refused, Stopped, StoreError
from blocks.image.codec import Codec
from blocks.image.digest import Algorithm, Digester
from blocks.image.extents import Digests, Geometry
from blocks.image.layout import FRAME_HEADER_BYTES, FrameHeader, FrameKind, unpack_frame_header
from blocks.image.map import Page, PageDraft
from blocks.image.segments import Buffers, Segment, segment_bytes_of
from blocks.store.base import PART_MIN_BYTES, Store
from blocks.units import MIB
from tasks.live_frames import FrameWindows, PlainRuns, Run, dead_shares, live_runs
from tasks.segment_writing import SegmentWriter
from tasks.transfer import Pins, Progress, Uploader, load_page

log = logging.getLogger(__name__)

COPY_PART_BYTES = 512 * MIB
"""The store copies at most so much in one request (S3 allows 5 GiB)."""


@dataclass(frozen=True)
class CompactSettings:
    """How to write a compacted volume."""

    dead_share: float = 0.0
    """Rewrite a segment when more than this share of the objects it uses is dead; 0 rewrites all,
    which makes a full."""
    frame_extents: int = 16
    level: int = 1
    part_bytes: int = 32 * MIB
    uploads: int = 3
    segment_bytes: int | None = None
    """How much of a volume goes into one object; None leaves it to the size of an extent."""
    copy_min_bytes: int = 16 * MIB
    """A run of frames this long is copied inside the store. Large enough that copies and parts in
    turn stay below the 10,000 parts of an object."""
    part_min_bytes: int = PART_MIN_BYTES
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compacted:
    """What was written. `image` stands for the same bytes as the volume it was made from."""

    image: VolumeImage
    objects: tuple[StoredObject, ...]
    is_full: bool
    """Every segment was written anew: nothing of other points is needed."""
    copied_bytes: int
    """Copied inside the store."""
    moved_bytes: int
    """Frames read and stored again as they were."""
    encoded_bytes: int
    """Plain bytes of frames that had to be encoded again."""


def require_compactable(image: VolumeImage, objects: Sequence[StoredObject]) -> None:
    """Refuse an encrypted image.

    Raises:
        Refused: its frames are sealed for the objects they are in.
    """
    if any(stored.key.endswith(".aead") for stored in objects):
        raise Refused(
            f"{image.name} is encrypted: its frames are sealed for the objects they are in",
            hint="Take a new full instead: flashvault backup GROUP --full.",
        )


def compact_volume(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    *,
    folder: str,
    name: str,
    settings: CompactSettings,
    stop: threading.Event,
    progress: Progress,
) -> Compacted:
    """Write a volume's live frames into new objects, in the order of the disk.

    What is written is not verified here: `verify_volume` of the result does that.

    Args:
        image: the volume as its restore point describes it.
        objects: of that point.
        store: where they are, and where to.
        folder: of the new point; ends in `/` and was never used.
        name: of the new image, without suffix.
        settings: how.
        stop: set it to stop between two frames.
        progress: polled by displays.

    Raises:
        Refused: the image is encrypted.
        CorruptData: a frame that had to be read is damaged; nothing is committed.
        StoreError: the store did not answer.
        Stopped: as asked.
    """
    require_compactable(image, objects)
    progress.begin(progress.label or name, image.size_bytes)
    return _Compaction(image, objects, store, folder, name, settings, stop, progress).run()


class _Compaction:
    """One volume on its way into new objects."""

    def __init__(
        self,
        image: VolumeImage,
        objects: Sequence[StoredObject],
        store: Store,
        folder: str,
        name: str,
        settings: CompactSettings,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self._image = image
        self._objects = objects
        self._store = store
        self._folder = folder
        self._name = name
        self._settings = settings
        self._stop = stop
        self._progress = progress
        self._geometry = Geometry(image.size_bytes, image.extent_bytes)
        self._segment_bytes = settings.segment_bytes or segment_bytes_of(image.extent_bytes)
        assert self._segment_bytes % (settings.frame_extents * image.extent_bytes) == 0
        self._segment_extents = self._segment_bytes // image.extent_bytes
        self._pins = Pins(store, objects)
        frame_bytes = settings.frame_extents * image.extent_bytes
        self._buffers = Buffers(settings.uploads + 2, settings.part_bytes + frame_bytes)
        self._codec = Codec(level=settings.level)
        self._can_copy: bool | None = None
        self._algorithm: Algorithm = "blake3"
        self._keys: set[str] = set()
        self._zero_bytes = self._live_bytes = 0
        self._copied = self._moved = self._encoded = 0

    def run(self) -> Compacted:
        settings = self._settings
        shares = dead_shares(
            (self._page(ref) for ref in self._image.pages), self._objects, self._segment_extents
        )
        kept = frozenset(
            segment
            for segment, share in shares.items()
            if settings.dead_share and share <= settings.dead_share
        )
        with (
            FrameWindows(self._pins) as frames,
            Uploader(
                self._store,
                folder=f"{self._folder}{self._name}",
                uploads=settings.uploads,
                give_back=self._buffers.give_back,
                progress=self._progress,
                can_resume=False,
            ) as self._uploader,
        ):
            self._frames = frames
            self._plains = PlainRuns(self._pins, frames, self._geometry, self._image.uid)
            self._writer = SegmentWriter(
                f"{self._folder}{self._name}",
                self._geometry,
                segment_bytes=self._segment_bytes,
                part_bytes=settings.part_bytes,
                buffers=self._buffers,
                uploader=self._uploader,
                document=self._document,
                stop=self._stop,
            )
            pages = [self._compact_page(ref, kept) for ref in self._image.pages]
            self._writer.finish()
            own = self._uploader.finish()
            refs = tuple(
                PageRef(object=page.result(), first_extent=first, extent_count=count)
                for page, first, count in pages
            )
        known = {stored.key: stored for stored in [*self._objects, *own]}
        page_bytes = sum({ref.object.key: ref.object.size_bytes for ref in refs}.values())
        image = self._image.model_copy(
            update={
                "pages": refs,
                "read_bytes": 0,
                "zero_bytes": self._zero_bytes,
                "changed_bytes": self._live_bytes,
                "stored_bytes": self._copied + self._writer.stored_bytes + page_bytes,
                "image_keys": tuple(self._writer.keys),
            }
        )
        return Compacted(
            image=image,
            objects=tuple(known[key] for key in sorted(self._keys | set(self._writer.keys))),
            is_full=not kept,
            copied_bytes=self._copied,
            moved_bytes=self._moved,
            encoded_bytes=self._encoded,
        )

    def _page(self, ref: PageRef) -> Page:
        return load_page(self._store, ref, None)

    def _compact_page(
        self, ref: PageRef, kept: frozenset[int]
    ) -> tuple[Future[StoredObject], int, int]:
        page, page_first = self._page(ref), ref.first_extent
        geometry = self._geometry
        if page.algorithm not in ("blake3", "sha256"):
            raise Refused(f"{self._image.name} has digests made with a key: it is encrypted")
        self._algorithm = "sha256" if page.algorithm == "sha256" else "blake3"
        draft = PageDraft(page.extent_bytes, page.algorithm, page.extent_count)
        draft.adopt(page)
        segments = (page_first + np.arange(page.extent_count)) // self._segment_extents
        stays = np.isin(segments, np.fromiter(kept, dtype=np.int64, count=len(kept)))
        draft.keep(0, page.digests, stays)
        runs = [
            run
            for run in live_runs(page, page_first, self._segment_extents)
            if run.first // self._segment_extents not in kept
        ]
        groups = list(self._stretches(runs))
        read = [group for group in groups if not self._is_copied(group)]
        self._frames.plan(run for group in read for run in group)
        for group in groups:
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            self._take(group, page, page_first, draft)
            for run in group:
                self._progress.add(geometry.plain_bytes(run.first, run.count))
        if page_first + page.extent_count == geometry.extent_count:
            self._writer.flush_zeros()  # others may go on in the next page
        done = replace(draft.finish(), node=page.node)
        self._keys.update(done.objects)
        plain = done.pack()
        key = f"{self._folder}{self._name}.{Digester().of(plain).hex()[:32]}.map"
        return self._uploader.put_page(key, plain), page_first, page.extent_count

    def _document(self, index: int) -> Mapping[str, object]:
        return {
            "volume": self._image.uid,
            "name": self._name,
            "folder": self._folder,
            "size_bytes": self._geometry.size_bytes,
            "extent_bytes": self._geometry.extent_bytes,
            "segment_bytes": self._segment_bytes,
            "kind": "full",
            "digest": self._algorithm,
            "codec": f"zstd-{self._settings.level}",
            "labels": dict(self._settings.labels),
            "segment": index,
        }

    def _stretches(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """Group frames that lie behind each other where they are, and are whole."""
        group: list[Run] = []
        for run in runs:
            if group and not (
                run.is_whole
                and group[-1].is_whole
                and run.key == group[-1].key
                and run.offset == group[-1].offset + group[-1].length
                and run.first // self._segment_extents == group[-1].first // self._segment_extents
            ):
                yield group
                group = []
            group.append(run)
        if group:
            yield group

    def _is_copied(self, group: Sequence[Run]) -> bool:
        """Say whether the store is asked to copy a stretch."""
        long_enough = _length(group) >= self._settings.copy_min_bytes
        return self._can_copy is not False and group[0].is_whole and long_enough

    def _take(self, group: list[Run], page: Page, page_first: int, draft: PageDraft) -> None:
        [first, *_] = group
        plain = sum(self._geometry.plain_bytes(run.first, run.count) for run in group)
        if first.is_zero:
            self._zero_bytes += plain
            draft.zero(first.first - page_first, np.ones(first.count, dtype=np.bool_))
            self._writer.add_zeros(first.first, first.count)
            return
        self._live_bytes += plain
        self._writer.flush_zeros()
        rest = group
        while rest and self._is_copied(rest):
            segment = self._writer.at(rest[0].first)
            if 0 < segment.unsent_bytes < self._settings.part_min_bytes:
                self._move(rest[0], page, page_first, draft)
                rest = rest[1:]
                continue
            if not self._copy(segment, rest, page, page_first, draft):
                break
            rest = []
        for run in rest:
            if run.is_whole:
                self._move(run, page, page_first, draft)
            else:
                self._encode(run, page, page_first, draft)

    # --- the three ways of a frame ---------------------------------------------------------------

    def _copy(
        self, segment: Segment, group: list[Run], page: Page, page_first: int, draft: PageDraft
    ) -> bool:
        """Let the store copy frames that lie together; False if it cannot."""
        if segment.unsent_bytes:
            self._writer.cut(segment)
        key, start, length = group[0].key, group[0].offset, _length(group)
        pieces = -(-length // COPY_PART_BYTES)
        edges = [start + length * step // pieces for step in range(pieces + 1)]
        for step, (low, high) in enumerate(pairwise(edges)):
            answer = self._uploader.copy(
                segment.key,
                segment.next_part + step,
                key,
                low,
                high - low,
                etag=self._pins.etag(key),
            )
            if self._can_copy is None:
                try:
                    answer.result()
                except StoreError as error:
                    if error.transient:
                        raise
                    log.warning("the store copies no parts, frames are read instead: %s", error)
                    self._uploader.forget(segment.key, answer)
                    self._can_copy = False
                    return False
                self._can_copy = True
        frames = [
            (
                FrameHeader(
                    FrameKind.ZSTD, run.first, run.count, run.length - FRAME_HEADER_BYTES, b""
                ),
                _digests(page, page_first, run).tobytes(),
                self._geometry.plain_bytes(run.first, run.count),
            )
            for run in group
        ]
        offsets = segment.place_copied(frames, pieces)
        for run, offset in zip(group, offsets, strict=True):
            draft.store(run.first - page_first, run.count, segment.key, offset, run.length)
        self._copied += length
        return True

    def _move(self, run: Run, page: Page, page_first: int, draft: PageDraft) -> None:
        """Store a frame again as it is."""
        data = self._frames.read(run)
        header = unpack_frame_header(data)
        if (header.kind, header.first_extent, header.extent_count, header.payload_bytes) != (
            FrameKind.ZSTD,
            run.first,
            run.count,
            run.length - FRAME_HEADER_BYTES,
        ):
            raise CorruptData(f"{run.key}: the frame at {run.offset} is not the one the map names")
        self._moved += run.length
        digests = _digests(page, page_first, run)
        self._writer.place(header, bytes(data[FRAME_HEADER_BYTES:]), digests, page_first, draft)

    def _encode(self, run: Run, page: Page, page_first: int, draft: PageDraft) -> None:
        """Store what is left of a frame, or of bare bytes, as frames of its own."""
        digester = Digester(self._algorithm)
        expected = _digests(page, page_first, run)
        plain = self._plains.read(run, expected, digester)
        extent_bytes = self._geometry.extent_bytes
        for low in range(0, run.count, self._settings.frame_extents):
            count = min(self._settings.frame_extents, run.count - low)
            piece = plain[low * extent_bytes : (low + count) * extent_bytes]
            frame = self._codec.encode(piece)
            digests = expected[low : low + count]
            root = digester.of(digests.tobytes())
            header = FrameHeader(FrameKind.ZSTD, run.first + low, count, len(frame), root)
            self._writer.place(header, frame, digests, page_first, draft)
        self._encoded += len(plain)


def _length(group: Sequence[Run]) -> int:
    return sum(run.length for run in group)


def _digests(page: Page, page_first: int, run: Run) -> Digests:
    low = run.first - page_first
    return page.digests[low : low + run.count]
