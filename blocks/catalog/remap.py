"""Make a volume's map again from its images, without any map.

Every image tells its frames and the digests of the extents in them (`blocks.image.scan`), and which
extents became zero. Laid over each other in the order they were taken, the images of a volume from
its full on give the fate of every extent. The digest over the result is the proof, where it is
known what it must be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blocks.errors import BrokenChain
from blocks.image.digest import Digester
from blocks.image.extents import Digests, Geometry, Sieve
from blocks.image.layout import FrameKind
from blocks.image.map import RUN, ZERO_OBJECT, Page
from blocks.image.scan import ScannedImage


@dataclass(frozen=True, slots=True)
class Layer:
    """The images one run stored of one volume, in disk order."""

    run_id: str
    is_full: bool
    images: tuple[ScannedImage, ...]


def remap(geometry: Geometry, layers: Sequence[Layer], digester: Digester) -> Iterator[Page]:
    """Yield the pages of a map, from layers in the order they were taken.

    Raises:
        BrokenChain: an extent is in none of the layers.
    """
    sieve = Sieve(geometry, digester)
    images = [image for layer in layers for image in layer.images]
    starts = [image.digest_starts() for image in images]
    for index in range(geometry.page_count):
        first, count = geometry.page(index)
        yield _page(geometry, digester, sieve, images, starts, first, count)


def map_digest(pages: Sequence[Page], digester: Digester) -> str:
    """Return the digest over all extents' digests, in order."""
    running = digester.new()
    for page in pages:
        running.update(np.ascontiguousarray(page.digests).tobytes())
    return running.digest().hex()


def is_whole(geometry: Geometry, layer: Layer) -> bool:
    """Say whether a full covers every extent of its volume, so that no object of it is missing."""
    covered = sum(int(image.index.frames["count"].sum()) for image in layer.images)
    return layer.is_full and covered == geometry.extent_count


def _page(
    geometry: Geometry,
    digester: Digester,
    sieve: Sieve,
    images: Sequence[ScannedImage],
    starts: Sequence[np.ndarray[Any, np.dtype[np.int64]]],
    page_first: int,
    page_count: int,
) -> Page:
    page_end = page_first + page_count
    row_of = np.full(page_count, -1, dtype=np.int64)
    digests: Digests = sieve.zero_digests(page_first, page_count).copy()
    zeros = digests.copy()
    rows: list[tuple[int, int, int, int, int]] = []
    for number, image in enumerate(images):
        frames = image.index.frames
        firsts = frames["first"].astype(np.int64)
        ends = firsts + frames["count"]
        for at in np.flatnonzero((firsts < page_end) & (ends > page_first)).tolist():
            frame = frames[at]
            first, count = int(frame["first"]), int(frame["count"])
            low, high = max(first, page_first), min(first + count, page_end)
            place = slice(low - page_first, high - page_first)
            if frame["kind"] == FrameKind.ZERO:
                row_of[place] = 0
                digests[place] = zeros[place]
                rows = rows or [(0, 0, 0, 0, ZERO_OBJECT)]
                continue
            rows = rows or [(0, 0, 0, 0, ZERO_OBJECT)]
            row_of[place] = len(rows)
            rows.append((first, count, int(frame["length"]), int(frame["offset"]), number))
            begin = int(starts[number][at]) + low - first
            digests[place] = image.index.digests[begin : begin + high - low]
    if (row_of < 0).any():
        extent = page_first + int(np.flatnonzero(row_of < 0)[0])
        raise BrokenChain(f"extent {extent} is in none of the images")
    return _assemble(geometry, digester, digests, row_of, rows, images, page_first)


def _assemble(
    geometry: Geometry,
    digester: Digester,
    digests: Digests,
    row_of: np.ndarray[Any, np.dtype[np.int64]],
    rows: Sequence[tuple[int, int, int, int, int]],
    images: Sequence[ScannedImage],
    page_first: int,
) -> Page:
    edges = np.flatnonzero(np.diff(row_of)) + 1
    firsts = np.concatenate(([0], edges)).astype(np.int64)
    counts = np.diff(np.concatenate((firsts, [len(row_of)])))
    used = sorted({rows[row][4] for row in row_of[firsts].tolist()} - {ZERO_OBJECT})
    renumber = {number: place for place, number in enumerate(used)}
    runs = np.zeros(len(firsts), dtype=RUN)
    for place, (low, count) in enumerate(zip(firsts.tolist(), counts.tolist(), strict=True)):
        first, frame_count, length, offset, number = rows[int(row_of[low])]
        if number == ZERO_OBJECT:
            runs[place] = (low, count, ZERO_OBJECT, 0, 0, 0, 0)
        else:
            skip = page_first + low - first
            runs[place] = (low, count, renumber[number], skip, frame_count, length, offset)
    keys = tuple(images[number].key for number in used)
    page = Page(geometry.extent_bytes, digester.algorithm, digests, runs, keys)
    page.check()
    return page
