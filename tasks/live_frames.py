"""Which stored frames a map still needs, and reading them in the order of the disk.

The order of the disk jumps between the objects of a chain. So reads are gathered per object into
windows, a few of them are read ahead, and so many are kept as memory allows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from blocks.catalog.point import StoredObject
from blocks.errors import CorruptData
from blocks.image.digest import Digester
from blocks.image.extents import Digests, Geometry
from blocks.image.map import ZERO_OBJECT, Page
from blocks.image.restore import GAP_BYTES, FrameReader, Piece, is_raw_key
from blocks.units import MIB
from tasks.transfer import Pins

WINDOW_BYTES = 4 * MIB
WINDOWS_KEPT = 32
WINDOWS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Extents of one fate within one segment. Zeros have no key."""

    first: int
    count: int
    key: str
    offset: int
    length: int
    frame_first: int
    frame_count: int

    @property
    def is_zero(self) -> bool:
        """Whether nothing is stored of it."""
        return not self.key

    @property
    def is_whole(self) -> bool:
        """Whether it is one whole frame, so that the stored bytes can be used as they are."""
        return bool(self.key) and self.count == self.frame_count and not is_raw_key(self.key)


def live_runs(page: Page, page_first: int, segment_extents: int) -> Iterator[Run]:
    """Yield a page's runs in the order of the disk, cut where a segment ends."""
    for first, count, number, skip, frame_count, length, offset in page.runs.tolist():
        at, end = page_first + first, page_first + first + count
        is_zero = number == ZERO_OBJECT
        frame_first = at - skip
        while at < end:
            limit = min(end, (at // segment_extents + 1) * segment_extents)
            if is_zero:
                yield Run(at, limit - at, "", 0, 0, at, 0)
            else:
                key = page.objects[number]
                yield Run(at, limit - at, key, offset, length, frame_first, frame_count)
            at = limit


def dead_shares(
    pages: Iterable[Page], objects: Sequence[StoredObject], segment_extents: int
) -> dict[int, float]:
    """Say for each segment what share of the bytes of the objects it uses nobody needs.

    A frame counts as live as a whole while one extent of it is. An object is counted in every
    segment that uses it, with what that segment uses of it: objects belong to one segment.
    """
    sizes = {stored.key: stored.size_bytes for stored in objects}
    used: dict[int, set[str]] = {}
    live: dict[int, int] = {}
    last: tuple[int, str, int] | None = None
    page_first = 0
    for page in pages:
        seen: set[tuple[int, str, int]] = set() if last is None else {last}
        for run in live_runs(page, page_first, segment_extents):
            segment = run.first // segment_extents
            used.setdefault(segment, set())
            live.setdefault(segment, 0)
            frame = (segment, run.key, run.offset)
            if run.is_zero or frame in seen:
                continue
            seen.add(frame)
            last = frame
            used[segment].add(run.key)
            live[segment] += run.length
        page_first += page.extent_count
    shares = {}
    for segment, keys in used.items():
        total = sum(sizes.get(key, 0) for key in keys)
        shares[segment] = 1 - min(live[segment] / total, 1.0) if total else 0.0
    return shares


Window = tuple[str, int, int]
"""Key, offset, length."""


class FrameWindows:
    """Reads planned frames through windows; use as a context manager, from one thread."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._pool = ThreadPoolExecutor(WINDOWS_AHEAD, thread_name_prefix="frames")
        self._window_of: dict[tuple[str, int], Window] = {}
        self._order: list[Window] = []
        self._place: dict[Window, int] = {}
        self._held: OrderedDict[Window, Future[memoryview]] = OrderedDict()

    def __enter__(self) -> FrameWindows:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def plan(self, runs: Iterable[Run]) -> None:
        """Say what is read next, in this order."""
        frames = {(run.key, run.offset): run.length for run in runs if not run.is_zero}
        self._window_of = {}
        window: list[tuple[str, int]] = []
        end = 0

        def close() -> None:
            if window:
                key, start = window[0]
                for frame in window:
                    self._window_of[frame] = (key, start, end - start)

        for key, offset in sorted(frames):
            length = frames[key, offset]
            if window and not (
                key == window[0][0]
                and offset - end <= GAP_BYTES
                and offset + length - window[0][1] <= WINDOW_BYTES
            ):
                close()
                window = []
            window.append((key, offset))
            end = offset + length
        close()
        self._order = list(dict.fromkeys(self._window_of[frame] for frame in frames))
        self._place = {each: index for index, each in enumerate(self._order)}

    def read(self, run: Run) -> memoryview:
        """Return a frame's stored bytes; one that was not planned is read by itself."""
        window = self._window_of.get((run.key, run.offset))
        if window is None:
            return self._fetch((run.key, run.offset, run.length))
        place = self._place[window]
        for each in self._order[place : place + WINDOWS_AHEAD]:
            if each not in self._held:
                self._held[each] = self._pool.submit(self._fetch, each)
        self._held.move_to_end(window)
        data = self._held[window].result()
        while len(self._held) > WINDOWS_KEPT:
            _, oldest = self._held.popitem(last=False)
            oldest.cancel()
        at = run.offset - window[1]
        return data[at : at + run.length]

    def _fetch(self, window: Window) -> memoryview:
        return memoryview(self._pins.read(*window))


class PlainRuns:
    """The plain bytes of runs of which only some extents live, each proven by the map."""

    def __init__(self, pins: Pins, frames: FrameWindows, geometry: Geometry, volume: str) -> None:
        self._pins = pins
        self._frames = frames
        self._geometry = geometry
        self._volume = volume
        self._last: tuple[str, int, memoryview] | None = None

    def read(self, run: Run, expected: Digests, digester: Digester) -> memoryview:
        """Return the bytes of a run; what is wrong is read twice.

        Raises:
            CorruptData: they are not those the map tells of.
        """
        reader = FrameReader(self._geometry, digester, volume=self._volume)
        piece = Piece(run.offset, run.length, run.frame_first, run.frame_count, ())
        at = (run.first - run.frame_first) * self._geometry.extent_bytes
        end = at + self._geometry.plain_bytes(run.first, run.count)
        for is_again in (False, True):
            try:
                plain = self._frame(reader, run, piece, is_again=is_again)[at:end]
            except CorruptData:
                if is_again:
                    raise
                continue
            if np.array_equal(reader.digests(plain), expected):
                return plain
            self._last = None
        raise CorruptData(f"{run.key}: extents from {run.first} on are not those stored")

    def _frame(self, reader: FrameReader, run: Run, piece: Piece, *, is_again: bool) -> memoryview:
        if self._last is not None and self._last[:2] == (run.key, run.offset):
            return self._last[2]
        data = (
            memoryview(self._pins.read(run.key, run.offset, run.length))
            if is_again
            else self._frames.read(run)
        )
        raw = is_raw_key(run.key)
        plain = data if raw else memoryview(reader.decode_frame(run.key, piece, data))
        self._last = (run.key, run.offset, plain)
        return plain
