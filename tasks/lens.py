"""A volume of a restore point, read where it is: any bytes, in any order, nothing restored.

No Prefect here. What is fetched is a frame; it is compared with the map before a byte of it is
handed out, and kept for a while, because a file system reads the same places again and again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from blocks.catalog.point import StoredObject, VolumeImage
from blocks.errors import FlashvaultError
from blocks.image.cipher import Cipher
from blocks.image.extents import PAGE_EXTENTS, Geometry
from blocks.image.map import ZERO_OBJECT, Page
from blocks.image.restore import Fetch, FrameReader, plan_fetches
from blocks.store.base import Store
from blocks.units import MIB
from tasks.proven_reads import digester_of, proven
from tasks.transfer import Pins, load_page

log = logging.getLogger(__name__)

CACHE_BYTES = 256 * MIB
"""Plain bytes of frames kept for each volume."""

PAGES_KEPT = 32
"""Pages of the map kept for each volume, of about 2 MiB; with 256 KiB extents each maps 16 GiB."""

AHEAD_BYTES = 16 * MIB
"""How far ahead of a reader that goes straight on frames are fetched, at most."""

AHEAD_FROM_BYTES = MIB // 2
"""Nothing is fetched ahead of a reader that has read less than this in one go."""

AHEAD_FETCH_BYTES = 4 * MIB
AHEAD_FETCHES = 4

STRIDE_BYTES = MIB
"""A read this close to the last one goes straight on: a kernel reads ahead out of order."""

Place = tuple[int, int]
"""A frame: the page that names it, and its number among the page's frames."""

Runs = list[tuple[int, bytes]]
"""What a page has in a frame: (first extent, plain bytes) of each run."""


class Lens:
    """Reads a volume's image at any offset, from any thread. Close it after use.

    Two readers of one frame cause one fetch. `fetched_bytes` counts what the store was asked for.
    """

    def __init__(
        self,
        image: VolumeImage,
        objects: Sequence[StoredObject],
        store: Store,
        *,
        cipher: Cipher | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            image: the volume.
            objects: of its restore point; they pin what is read.
            store: where from.
            cipher: opens an encrypted image.
            cache_bytes: bounds the frames kept in memory; one frame is kept in any case.
        """
        self.size_bytes = image.size_bytes
        self.fetched_bytes = 0
        self._image = image
        self._store = store
        self._cipher = cipher
        self._geometry = Geometry(image.size_bytes, image.extent_bytes)
        self._reader = FrameReader(
            self._geometry, digester_of(cipher), volume=image.uid, cipher=cipher
        )
        self._pins = Pins(store, objects)
        self._sheets: OrderedDict[int, _Sheet] = OrderedDict()
        self._sheet_lock = threading.Lock()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._frames: OrderedDict[Place, Runs] = OrderedDict()
        self._coming: set[Place] = set()
        self._arrived = threading.Condition()
        self._straight_to = 0
        self._straight_bytes = 0
        self._ahead_to = 0
        self._pool = ThreadPoolExecutor(AHEAD_FETCHES, thread_name_prefix="lens")

    def close(self) -> None:
        """Let everything go; waits for what is under way. Nobody may be reading."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset, fewer where the volume ends.

        Raises:
            CorruptData: the store's bytes are not those that were stored, read twice.
            StoreError: the store did not answer.
        """
        end = min(offset + length, self.size_bytes)
        if offset >= end:
            return b""
        ahead = self._ahead(offset, end)
        plain = bytearray(end - offset)
        for sheet, places in self._touched(offset, end):
            for runs in self._take(sheet, places):
                for first, data in runs:
                    _lay(plain, first * self._geometry.extent_bytes - offset, data)
        if ahead:
            self._prepare(*ahead)
        return bytes(plain)

    def _touched(self, offset: int, end: int) -> list[tuple[_Sheet, list[Place]]]:
        """Return the frames that hold these bytes, by page; zeros are in none."""
        low = offset // self._geometry.extent_bytes
        high = (end - 1) // self._geometry.extent_bytes
        touched = []
        for index in range(low // PAGE_EXTENTS, high // PAGE_EXTENTS + 1):
            sheet = self._sheet(index)
            touched.append((sheet, sheet.places(low - sheet.first, high - sheet.first)))
        return touched

    def _sheet(self, index: int) -> _Sheet:
        with self._sheet_lock:
            sheet = self._sheets.get(index)
            if sheet is None:
                ref = self._image.pages[index]
                page = load_page(self._store, ref, self._cipher)
                with self._arrived:
                    self.fetched_bytes += ref.object.size_bytes
                sheet = self._sheets[index] = _Sheet(index, self._geometry.page(index)[0], page)
                if len(self._sheets) > PAGES_KEPT:
                    self._sheets.popitem(last=False)
            self._sheets.move_to_end(index)
            return sheet

    def _take(self, sheet: _Sheet, wanted: Sequence[Place]) -> list[Runs]:
        """Return frames: from the cache, from whoever is fetching them, or from the store."""
        found: dict[Place, Runs] = {}
        while len(found) < len(wanted):
            mine = self._claim(wanted, found)
            if mine:
                for fetch in plan_fetches(sheet.only(mine), sheet.first):
                    found |= self._fetch(sheet, fetch, mine)
        return [found[place] for place in wanted]

    def _claim(self, wanted: Sequence[Place], found: dict[Place, Runs]) -> list[Place]:
        """Gather what is there and return what this thread has to fetch; wait if that is none.

        Nobody waits who has claimed anything, so claims cannot lock each other up.
        """
        with self._arrived:
            for place in wanted:
                if place not in found and place in self._frames:
                    self._frames.move_to_end(place)
                    found[place] = self._frames[place]
            missing = [place for place in wanted if place not in found]
            mine = [place for place in missing if place not in self._coming]
            self._coming.update(mine)
            if missing and not mine:
                self._arrived.wait()
            return mine

    def _fetch(self, sheet: _Sheet, fetch: Fetch, claimed: Sequence[Place]) -> dict[Place, Runs]:
        """Fetch and prove frames, and keep them; whatever happens, their claims are given back."""
        got: dict[Place, Runs] = {}
        try:
            for first, _, data in proven(self._reader, self._pins, fetch, sheet.page, sheet.first):
                got.setdefault(sheet.place(first - sheet.first), []).append((first, bytes(data)))
        except BaseException:
            with self._arrived:
                self._coming.difference_update(claimed)
                self._arrived.notify_all()
            raise
        with self._arrived:
            self.fetched_bytes += fetch.length
            for place, runs in got.items():
                self._forget(place)
                self._frames[place] = runs
                self._cached_bytes += _size(runs)
            while self._cached_bytes > self._cache_bytes and len(self._frames) > 1:
                self._forget(next(iter(self._frames)))
            self._coming.difference_update(got)
            self._arrived.notify_all()
        return got

    def _forget(self, place: Place) -> None:
        runs = self._frames.pop(place, None)
        if runs is not None:
            self._cached_bytes -= _size(runs)

    def _ahead(self, offset: int, end: int) -> tuple[int, int] | None:
        """Say what to fetch ahead of a reader that goes straight on: as much as it has read."""
        with self._arrived:
            if abs(offset - self._straight_to) > STRIDE_BYTES:
                self._straight_bytes = self._ahead_to = 0
            self._straight_to = end
            self._straight_bytes += end - offset
            if self._straight_bytes < AHEAD_FROM_BYTES:
                return None
            reach = min(self._straight_bytes, AHEAD_BYTES, self._cache_bytes // 4)
            start, stop = max(end, self._ahead_to), min(end + reach, self.size_bytes)
            if stop - start < min(reach // 2, self.size_bytes - end) or start >= stop:
                return None
            self._ahead_to = stop
            return start, stop

    def _prepare(self, start: int, stop: int) -> None:
        """Begin to fetch what will be read next."""
        for sheet, places in self._touched(start, stop):
            with self._arrived:
                mine = [p for p in places if p not in self._frames and p not in self._coming]
                self._coming.update(mine)
            for fetch in plan_fetches(sheet.only(mine), sheet.first, fetch_bytes=AHEAD_FETCH_BYTES):
                claimed = [sheet.place(p.wanted[0][0] - sheet.first) for p in fetch.pieces]
                self._pool.submit(self._fetch_ahead, sheet, fetch, claimed)

    def _fetch_ahead(self, sheet: _Sheet, fetch: Fetch, claimed: Sequence[Place]) -> None:
        try:
            self._fetch(sheet, fetch, claimed)
        except FlashvaultError as error:
            # Whoever really reads there will try again, and be told.
            log.debug("not read ahead: %s", error)


class _Sheet:
    """A page of the map, and which frames its runs are in."""

    def __init__(self, index: int, first: int, page: Page) -> None:
        self.index = index
        self.first = first
        self.page = page
        runs = page.runs
        order = np.lexsort((runs["offset"], runs["object"]))
        ordered = runs[order]
        is_next = np.zeros(len(runs), dtype=np.int64)
        is_next[1:] = (ordered["offset"][1:] != ordered["offset"][:-1]) | (
            ordered["object"][1:] != ordered["object"][:-1]
        )
        self._frame_of = np.empty(len(runs), dtype=np.int64)
        self._frame_of[order] = np.cumsum(is_next)
        self._frame_of[runs["object"] == ZERO_OBJECT] = -1

    def places(self, low: int, high: int) -> list[Place]:
        """Return the frames of the extents from `low` to `high`, counted from the page's first."""
        firsts = self.page.runs["first"]
        start = int(np.searchsorted(firsts, max(low, 0), side="right")) - 1
        stop = int(np.searchsorted(firsts, max(high, 0), side="right"))
        frames = dict.fromkeys(self._frame_of[start:stop].tolist())
        return [(self.index, frame) for frame in frames if frame >= 0]

    def place(self, extent: int) -> Place:
        """Return the frame of one extent."""
        row = int(np.searchsorted(self.page.runs["first"], extent, side="right")) - 1
        return self.index, int(self._frame_of[row])

    def only(self, places: Sequence[Place]) -> Page:
        """Return the page with nothing but the runs in these frames, to plan fetches from."""
        kept = np.isin(self._frame_of, [frame for _, frame in places])
        return replace(self.page, runs=self.page.runs[kept])


def _size(runs: Runs) -> int:
    return sum(len(data) for _, data in runs)


def _lay(plain: bytearray, at: int, data: bytes) -> None:
    """Lay bytes over a buffer, as far as they reach into it."""
    low, high = max(at, 0), min(at + len(data), len(plain))
    if low < high:
        plain[low:high] = data[low - at : high - at]
