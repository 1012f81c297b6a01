"""One restore of one volume: fetch, decode, prove, write in place, and remember what is done."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, Stopped
from blocks.host.base import Writer
from blocks.image.extents import Digests, Geometry, Mask, Sieve, runs_of
from blocks.image.map import Page
from blocks.image.restore import Extents, Fetch, FrameReader, Piece, plan_fetches, zero_runs
from tasks.journal import keeping
from tasks.transfer import Pins, Progress

log = logging.getLogger(__name__)

ZERO_EXTENTS = 1024
"""Zeros are written in runs of this many extents, so that a stop is heard."""

CLAIM_EXTENTS = 16
"""What an earlier try claims to have written is read back in runs of this many."""


class Bookmark:
    """Which extents a restore has written, in a file that outlives the process.

    A claim in it is never believed: the extent is read back and its digest compared.
    """

    def __init__(self, path: Path | None, *, map_digest: str, extent_count: int) -> None:
        """Open or begin a bookmark. One of another image is begun anew."""
        self._lock = threading.Lock()
        self._claims: list[tuple[int, int]] = []
        self._file: TextIO | None = None
        self._path = path
        if path is None:
            return
        with keeping(path):
            self._begin(path, map_digest, extent_count)

    def _begin(self, path: Path, map_digest: str, extent_count: int) -> None:
        head = json.dumps({"format": 1, "map_digest": map_digest, "extents": extent_count})
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        if lines and lines[0] == head:
            for line in lines[1:]:
                first, _, count = line.partition(" ")
                # The last line may be cut off where the process was killed.
                if first.isdigit() and count.isdigit() and int(first) + int(count) <= extent_count:
                    self._claims.append((int(first), int(count)))
            self._file = path.open("a")
            self._file.write("\n")
        else:
            self._file = path.open("w")
            self._file.write(head + "\n")
        self._file.flush()

    def claimed(self, page_first: int, page_count: int) -> Mask:
        """Say which extents of a page an earlier try claims to have written."""
        mask = np.zeros(page_count, dtype=np.bool_)
        for first, count in self._claims:
            low, high = max(first - page_first, 0), min(first + count - page_first, page_count)
            if low < high:
                mask[low:high] = True
        return mask

    def add(self, runs: Sequence[tuple[int, int]]) -> None:
        """Claim runs of extents as written."""
        if self._file is None or self._path is None or not runs:
            return
        text = "".join(f"{first} {count}\n" for first, count in runs)
        with self._lock, keeping(self._path):
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None and self._path is not None:
            with keeping(self._path):
                self._file.close()


class Restorer:
    """Writes the extents of a volume, page by page, on a few threads."""

    def __init__(
        self,
        reader: FrameReader,
        writer: Writer,
        *,
        pins: Pins,
        bookmark: Bookmark,
        stop: threading.Event,
        progress: Progress,
        allow_bad: bool,
    ) -> None:
        """Prepare; `pins` reads the objects."""
        self._reader = reader
        self._geometry: Geometry = reader.geometry
        self._writer = writer
        self._pins = pins
        self._bookmark = bookmark
        self._stop = stop
        self._progress = progress
        self._allow_bad = allow_bad
        self._sieve = Sieve(reader.geometry, reader.digester)
        self._lock = threading.Lock()
        self.bad: list[tuple[int, int]] = []
        self.read_bytes = 0
        self.written_bytes = 0
        self.skipped_bytes = 0

    def restore_page(
        self, pool: ThreadPoolExecutor, page: Page, page_first: int, wanted: Mask
    ) -> tuple[Digests, list[Future[None]]]:
        """Begin to restore a page; the digests are complete when the futures are done."""
        actual = np.zeros_like(page.digests)
        done = self._believe(pool, page, page_first, actual)
        skip = done | ~wanted
        self._skipped(page_first, done & wanted)
        waiting = [
            pool.submit(self._write_zeros, page_first, first, count, actual)
            for first, count in _zeros_left(page, skip)
        ]
        waiting += [
            pool.submit(self._fetch, fetch, page, page_first, actual)
            for fetch in plan_fetches(page, page_first, skip=skip)
        ]
        return actual, waiting

    def give_up(
        self, pool: ThreadPoolExecutor, first: int, count: int, error: Exception
    ) -> list[Future[None]]:
        """Begin to record a run of extents as lost: the page that says where they are is."""
        end = first + count
        return [
            pool.submit(self._give_up, [(at, min(ZERO_EXTENTS, end - at))], error)
            for at in range(first, end, ZERO_EXTENTS)
        ]

    def read_back(self, page: Page, page_first: int, first: int, count: int) -> bool:
        """Read a run of extents from the disk and say whether it is as the map says."""
        digests = self._on_disk(page_first + first, count)
        return np.array_equal(digests, page.digests[first : first + count])

    def _believe(
        self, pool: ThreadPoolExecutor, page: Page, page_first: int, actual: Digests
    ) -> Mask:
        """Read back what an earlier try claims, and keep what is right."""
        claimed = self._bookmark.claimed(page_first, page.extent_count)
        done = np.zeros_like(claimed)

        def look(first: int, count: int) -> None:
            self._check_stop()
            digests = self._on_disk(page_first + first, count)
            right = (digests == page.digests[first : first + count]).all(axis=1)
            done[first : first + count] = right
            actual[first : first + count][right] = digests[right]

        pieces = [
            (at, min(CLAIM_EXTENTS, first + count - at))
            for first, count in runs_of(claimed)
            for at in range(first, first + count, CLAIM_EXTENTS)
        ]
        for future in [pool.submit(look, *piece) for piece in pieces]:
            future.result()
        return done

    def _on_disk(self, first: int, count: int) -> Digests:
        buffer = memoryview(bytearray(self._geometry.plain_bytes(first, count)))
        self._writer.read_into(first * self._geometry.extent_bytes, buffer)
        return self._reader.digests(buffer)

    def _write_zeros(self, page_first: int, first: int, count: int, actual: Digests) -> None:
        self._check_stop()
        start = page_first + first
        length = self._geometry.plain_bytes(start, count)
        self._writer.zero(start * self._geometry.extent_bytes, length)
        actual[first : first + count] = self._sieve.zero_digests(start, count)
        self._bookmark.add([(start, count)])
        self._progress.add(length)
        with self._lock:
            self.written_bytes += length

    def _fetch(self, fetch: Fetch, page: Page, page_first: int, actual: Digests) -> None:
        self._check_stop()
        try:
            data = memoryview(self._read(fetch.key, fetch.offset, fetch.length))
        except (ObjectMissing, ObjectChanged) as error:
            if not self._allow_bad:
                raise
            for piece in fetch.pieces:
                self._give_up(piece.wanted, error)
            return
        for piece in fetch.pieces:
            at = piece.offset - fetch.offset
            try:
                found = self._prove(
                    fetch.key, piece, data[at : at + piece.length], page, page_first
                )
            except CorruptData as error:
                if not self._allow_bad:
                    raise
                self._give_up(piece.wanted, error)
                continue
            for extents in found:
                self._write(extents, page_first, actual)
            self._bookmark.add(piece.wanted)

    def _prove(
        self, key: str, piece: Piece, data: memoryview, page: Page, page_first: int
    ) -> list[Extents]:
        """Decode a frame and compare it with the map; a mismatch is read a second time.

        The twin of `tasks.proven_reads.proven`, which counts nothing and gives nothing up.
        """
        for attempt in (1, 2):
            try:
                found = self._reader.decode(key, piece, data)
                for extents in found:
                    low = extents.first - page_first
                    expected = page.digests[low : low + extents.count]
                    if not np.array_equal(extents.digests, expected):
                        raise CorruptData(  # noqa: TRY301 - this loop is the second reading
                            f"{key}: extents {extents.first} to "
                            f"{extents.first + extents.count - 1} are not those that were stored"
                        )
            except CorruptData:
                if attempt == 2:
                    raise
                data = memoryview(self._read(key, piece.offset, piece.length))
            else:
                return found
        raise AssertionError("unreachable")

    def _read(self, key: str, offset: int, length: int) -> Any:
        data = self._pins.read(key, offset, length)
        self._progress.add(stored_bytes=length)
        with self._lock:
            self.read_bytes += length
        return data

    def _write(self, extents: Extents, page_first: int, actual: Digests) -> None:
        self._writer.write(extents.first * self._geometry.extent_bytes, extents.plain)
        low = extents.first - page_first
        actual[low : low + extents.count] = extents.digests
        self._progress.add(len(extents.plain))
        with self._lock:
            self.written_bytes += len(extents.plain)

    def _give_up(self, runs: Sequence[tuple[int, int]], error: Exception) -> None:
        """Record what cannot be restored, and leave zeros there rather than old bytes."""
        self._check_stop()
        for first, count in runs:
            offset = first * self._geometry.extent_bytes
            length = self._geometry.plain_bytes(first, count)
            log.warning("left zeros at offset=%d length=%d because %s", offset, length, error)
            self._writer.zero(offset, length)
            self._progress.add(length)
            with self._lock:
                self.bad.append((offset, length))

    def _skipped(self, page_first: int, mask: NDArray[np.bool_]) -> None:
        for first, count in runs_of(mask):
            length = self._geometry.plain_bytes(page_first + first, count)
            self.skipped_bytes += length
            self._progress.add(length)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped("stopped as asked")


def _zeros_left(page: Page, skip: Mask) -> Iterator[tuple[int, int]]:
    for first, count in zero_runs(page):
        for low, length in runs_of(~skip[first : first + count]):
            for at in range(first + low, first + low + length, ZERO_EXTENTS):
                yield at, min(ZERO_EXTENTS, first + low + length - at)
