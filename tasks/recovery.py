"""The way back of `pipeline`: a volume image onto a disk, proven; or looked at where it is.

No Prefect here, for the same reasons. The twins are `capture_volume` and `restore_volume`;
`verify_volume` reads without writing, `read_range` reads a little of an image.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blocks.catalog.point import PageRef, StoredObject, VolumeImage
from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, Stopped, TargetTooSmall
from blocks.host.base import Writer
from blocks.image.cipher import Cipher
from blocks.image.digest import Digester
from blocks.image.extents import Geometry
from blocks.image.map import Page
from blocks.image.memory import keep_freed_memory
from blocks.image.restore import Fetch, FrameReader, Piece, plan_fetches
from blocks.store.base import Store
from tasks.restoring import Bookmark, Restorer, bounded_pool, workers_for
from tasks.transfer import Pins, Progress, load_page

READ_BACK_EXTENTS = 64


@dataclass(frozen=True, slots=True)
class Restored:
    """What one restore has written. `bad` are ranges left as zeros, as (offset, length)."""

    size_bytes: int
    read_bytes: int
    """Fetched from the store."""
    written_bytes: int
    skipped_bytes: int
    """Already right on the disk, from an earlier try."""
    bad: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Damaged:
    """Stored bytes that are not those written, seen twice, or an object that is gone."""

    key: str
    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        return f"{self.key} at {self.offset}+{self.length}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is wrong."""

    checked_objects: int
    checked_extents: int
    damaged: tuple[Damaged, ...]


def restore_volume(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    writer: Writer,
    *,
    bookmark: Path | None,
    stop: threading.Event,
    progress: Progress,
    allow_bad: bool = False,
    verify_readback: bool = False,
    cipher: Cipher | None = None,
    workers: int | None = None,
) -> Restored:
    """Write a volume onto a disk, and prove it: the digest over all extents must be the map's.

    Args:
        image: what to restore.
        objects: of its restore point; they pin what is read.
        store: where from.
        writer: the disk, at least as large.
        bookmark: a file that remembers what is done, so that another try after a kill goes on; what
            it claims is read back and compared, never believed. Removed after success.
        stop: set it to stop between two reads.
        progress: polled by displays.
        allow_bad: leave zeros where the store's bytes are damaged, and list the ranges.
        verify_readback: read everything back from the disk afterwards.
        cipher: opens an encrypted image.
        workers: threads; None fits the machine.

    Raises:
        TargetTooSmall: the disk is smaller than the volume.
        CorruptData: stored bytes are damaged, or the disk reads back others than were written.
        StoreError: the store did not answer.
        Stopped: as asked.
    """
    keep_freed_memory()
    geometry = Geometry(image.size_bytes, image.extent_bytes)
    if writer.size_bytes < image.size_bytes:
        raise TargetTooSmall(
            f"the target holds {writer.size_bytes} bytes, the volume {image.size_bytes}"
        )
    digester = digester_of(cipher)
    progress.begin(progress.label or image.disk, geometry.size_bytes)
    done = Bookmark(bookmark, map_digest=image.map_digest, extent_count=geometry.extent_count)
    work = Restorer(
        FrameReader(geometry, digester, volume=image.uid, cipher=cipher),
        writer,
        pins=Pins(store, objects),
        bookmark=done,
        stop=stop,
        progress=progress,
        allow_bad=allow_bad,
    )
    whole = digester.new()
    lost: set[int] = set()
    try:
        with bounded_pool(workers_for(workers)) as pool:
            for index, ref in enumerate(image.pages):
                first, count = geometry.page(index)
                try:
                    page = load_page(store, ref, cipher)
                except (CorruptData, ObjectMissing) as error:
                    if not allow_bad:
                        raise
                    wait_all(work.give_up(pool, first, count, error), stop)
                    lost.add(index)
                    continue
                wanted = np.ones(page.extent_count, dtype=np.bool_)
                digests, futures = work.restore_page(pool, page, first, wanted)
                wait_all(futures, stop)
                whole.update(np.ascontiguousarray(digests).reshape(-1).data)
            writer.flush()
            if verify_readback:
                _read_back(pool, work, image, store, cipher, lost)
    finally:
        done.close()
    if not work.bad and whole.digest().hex() != image.map_digest:
        raise CorruptData(f"{image.disk}: the digest over the whole device is not the map's")
    if bookmark is not None and not work.bad:
        bookmark.unlink(missing_ok=True)
    return Restored(
        image.size_bytes,
        work.read_bytes,
        work.written_bytes,
        work.skipped_bytes,
        joined(work.bad),
    )


def verify_volume(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    *,
    deep: bool,
    sample: float | None,
    stop: threading.Event,
    progress: Progress,
    cipher: Cipher | None = None,
    workers: int | None = None,
) -> Verified:
    """Look whether an image can be restored, without writing anything.

    Structure: every object answers with the size and ETag recorded, every page of the map is whole,
    and all of them together are the map. Deep: every frame is read, decoded and compared. An error
    of the store is an error, never damage; a mismatch is read twice.

    Args:
        image: what to look at.
        objects: of its restore point.
        store: where it is.
        deep: read the frames too.
        sample: with `deep`, only about so many percent of the reads, chosen by chance.
        stop: set it to stop between two reads.
        progress: polled by displays.
        cipher: opens an encrypted image.
        workers: threads; None fits the machine.
    """
    keep_freed_memory()
    progress.begin(progress.label or image.disk, image.size_bytes)
    with bounded_pool(workers_for(workers)) as pool:
        looker = Looker(image, objects, store, stop, progress, cipher)
        looker.look_at_pages(pool, deep=deep, sample=sample)
    return Verified(looker.checked_objects, looker.checked_extents, tuple(looker.damaged))


def read_range(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    offset: int,
    length: int,
    *,
    cipher: Cipher | None = None,
) -> bytes:
    """Read some bytes of an image, each extent verified; nothing else is fetched.

    Raises:
        CorruptData: they are not those that were stored.
    """
    geometry = Geometry(image.size_bytes, image.extent_bytes)
    assert 0 <= offset <= offset + length <= geometry.size_bytes
    if not length:
        return b""
    reader = FrameReader(geometry, digester_of(cipher), volume=image.uid, cipher=cipher)
    pins = Pins(store, objects)
    low, high = offset // geometry.extent_bytes, (offset + length - 1) // geometry.extent_bytes
    start = low * geometry.extent_bytes
    plain = bytearray(geometry.plain_bytes(low, high - low + 1))
    for index, ref in enumerate(image.pages):
        first, count = geometry.page(index)
        if first > high or first + count <= low:
            continue
        page = load_page(store, ref, cipher)
        skip = np.ones(count, dtype=np.bool_)
        skip[max(low - first, 0) : high - first + 1] = False
        for fetch in plan_fetches(page, first, skip=skip):
            for found, at, data in proven(reader, pins, fetch, page, first):
                place = found * geometry.extent_bytes - start
                _overlay(plain, place, data, at)
    return bytes(plain[offset - start : offset - start + length])


def digester_of(cipher: Cipher | None) -> Digester:
    """Return what makes the digests of an image's extents."""
    return Digester() if cipher is None else Digester("blake3-keyed", cipher.digest_key)


class Looker:
    """Verifies one volume, page by page."""

    def __init__(
        self,
        image: VolumeImage,
        objects: Sequence[StoredObject],
        store: Store,
        stop: threading.Event,
        progress: Progress,
        cipher: Cipher | None,
    ) -> None:
        self._image = image
        self._objects = {item.key: item for item in objects}
        self._pins = Pins(store, objects)
        self._store = store
        self._stop = stop
        self._progress = progress
        self._cipher = cipher
        self._geometry = Geometry(image.size_bytes, image.extent_bytes)
        self._digester = digester_of(cipher)
        self._reader = FrameReader(self._geometry, self._digester, volume=image.uid, cipher=cipher)
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self.checked_objects = 0
        self.checked_extents = 0
        self.damaged: list[Damaged] = []

    def look_at_pages(self, pool: ThreadPoolExecutor, *, deep: bool, sample: float | None) -> None:
        """Look at the whole volume."""
        dice = random.Random()  # noqa: S311 - which frames a sample reads need not be secret
        whole = self._digester.new()
        is_complete = True
        for index, ref in enumerate(self._image.pages):
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            page = self.page(ref)
            if page is None:
                is_complete = False
                continue
            whole.update(np.ascontiguousarray(page.digests).reshape(-1).data)
            first, _ = self._geometry.page(index)
            futures = [pool.submit(self.head, key) for key in set(page.objects) - self._asked]
            self._asked.update(page.objects)
            fetches = plan_fetches(page, first) if deep else []
            if sample is not None:
                fetches = [fetch for fetch in fetches if dice.random() * 100 < sample]
            futures += [pool.submit(self.read, fetch, page, first) for fetch in fetches]
            wait_all(futures, self._stop)
            if not deep:
                self._progress.add(self._geometry.plain_bytes(first, page.extent_count))
        # An image of which no extent is needed, as where a disk has become all zeros.
        unread = [key for key in self._image.image_keys if key not in self._asked]
        wait_all([pool.submit(self.head, key) for key in unread], self._stop)
        if is_complete and whole.digest().hex() != self._image.map_digest:
            self._note("map", 0, 0, "the pages together are not the map of the restore point")

    def first_extent(self, index: int) -> int:
        """Return the first extent of a page."""
        return self._geometry.page(index)[0]

    def page(self, ref: PageRef) -> Page | None:
        """Read a page of the map, or note that it is damaged."""
        try:
            page = load_page(self._store, ref, self._cipher)
        except (CorruptData, ObjectMissing, ObjectChanged) as error:
            self._note(ref.object.key, 0, ref.object.size_bytes, str(error))
            return None
        self.checked_objects += 1
        return page

    def head(self, key: str) -> None:
        """Ask for an object: is it the one that was stored?"""
        recorded = self._objects.get(key)
        if recorded is None:
            self._note(key, 0, 0, "the restore point does not list it")
            return
        try:
            found = self._store.head(key)
        except ObjectMissing:
            self._note(key, 0, recorded.size_bytes, "it is gone")
            return
        if (found.size_bytes, found.etag) != (recorded.size_bytes, recorded.etag):
            self._note(key, 0, recorded.size_bytes, "it is another object than was stored")
            return
        with self._lock:
            self.checked_objects += 1

    def read(self, fetch: Fetch, page: Page, page_first: int) -> None:
        """Read some frames and compare them with the map."""
        if self._stop.is_set():
            raise Stopped("stopped as asked")
        for piece in fetch.pieces:
            single = Fetch(fetch.key, piece.offset, piece.length, (piece,))
            count = sum(extents for _, extents in piece.wanted)
            try:
                for _ in proven(self._reader, self._pins, single, page, page_first):
                    pass
            except (CorruptData, ObjectMissing, ObjectChanged) as error:
                self._note(fetch.key, piece.offset, piece.length, str(error))
            with self._lock:
                self.checked_extents += count
            for first, extents in piece.wanted:
                self._progress.add(self._geometry.plain_bytes(first, extents))

    def _note(self, key: str, offset: int, length: int, reason: str) -> None:
        with self._lock:
            self.damaged.append(Damaged(key, offset, length, reason))


def _read_back(
    pool: ThreadPoolExecutor,
    work: Restorer,
    image: VolumeImage,
    store: Store,
    cipher: Cipher | None,
    lost: Collection[int],
) -> None:
    geometry = Geometry(image.size_bytes, image.extent_bytes)
    for index, ref in enumerate(image.pages):
        if index in lost:
            continue
        page = load_page(store, ref, cipher)
        first, count = geometry.page(index)
        starts = range(0, count, READ_BACK_EXTENTS)
        answers = [
            pool.submit(work.read_back, page, first, at, min(READ_BACK_EXTENTS, count - at))
            for at in starts
        ]
        for at, answer in zip(starts, answers, strict=True):
            offset = (first + at) * geometry.extent_bytes
            if not answer.result() and not _is_known_bad(work, offset, geometry):
                raise CorruptData(f"{image.disk} reads back other bytes at {offset}")


def _is_known_bad(work: Restorer, offset: int, geometry: Geometry) -> bool:
    end = offset + READ_BACK_EXTENTS * geometry.extent_bytes
    return any(start < end and offset < start + length for start, length in work.bad)


def proven(
    reader: FrameReader,
    pins: Pins,
    fetch: Fetch,
    page: Page,
    page_first: int,
) -> Iterator[tuple[int, int, memoryview]]:
    """Yield (first extent, count, bytes) of a read, each compared with the map; read twice."""
    data = memoryview(pins.read(fetch.key, fetch.offset, fetch.length))
    for piece in fetch.pieces:
        at = piece.offset - fetch.offset
        part = data[at : at + piece.length]
        try:
            found = list(_compared(reader, fetch.key, piece, part, page, page_first))
        except CorruptData:
            again = pins.read(fetch.key, piece.offset, piece.length)
            part = memoryview(again)
            found = list(_compared(reader, fetch.key, piece, part, page, page_first))
        yield from found


def _compared(
    reader: FrameReader, key: str, piece: Piece, data: memoryview, page: Page, page_first: int
) -> Iterator[tuple[int, int, memoryview]]:
    for extents in reader.decode(key, piece, data):
        low = extents.first - page_first
        if not np.array_equal(extents.digests, page.digests[low : low + extents.count]):
            last = extents.first + extents.count - 1
            raise CorruptData(f"{key}: extents {extents.first} to {last} are not those stored")
        yield extents.first, extents.count, extents.plain


def _overlay(plain: bytearray, place: int, data: memoryview, _count: int) -> None:
    begin, end = max(place, 0), min(place + len(data), len(plain))
    plain[begin:end] = data[begin - place : end - place]


def joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return (offset, length) in order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if found and found[-1][0] + found[-1][1] == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return tuple(found)


def wait_all(futures: Sequence[Future[None]], stop: threading.Event) -> None:
    """Wait for all; the first error stops the others from beginning."""
    for future in futures:
        try:
            future.result()
        except BaseException:
            for other in futures:
                other.cancel()
            raise
    if stop.is_set():
        raise Stopped("stopped as asked")
