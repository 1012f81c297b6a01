"""Does an object hold what a page of the map says of it?"""

from __future__ import annotations

import numpy as np

from blocks.image.extents import Digests
from blocks.image.layout import FrameKind
from blocks.image.map import Page
from blocks.image.scan import ScannedImage


def contradictions(image: ScannedImage, page: Page, page_first: int) -> list[tuple[int, int]]:
    """Return the runs (first, count) of a page which this object does not hold as the map says."""
    if image.key not in page.objects:
        return []
    number = page.objects.index(image.key)
    rows = page.runs[page.runs["object"] == number]
    offsets = image.index.frames["offset"]
    at = np.searchsorted(offsets, rows["offset"])
    starts = image.digest_starts()
    wrong = []
    for frame, row in zip(at.tolist(), rows.tolist(), strict=True):
        first, count, _, skip, frame_count, length, offset = row
        run = (page_first + first, count)
        if frame >= len(offsets):
            wrong.append(run)
            continue
        found = image.index.frames[frame]
        expected = (offset, length, frame_count, page_first + first - skip)
        if (
            expected
            != (
                int(found["offset"]),
                int(found["length"]),
                int(found["count"]),
                int(found["first"]),
            )
            or found["kind"] == FrameKind.ZERO
        ):
            wrong.append(run)
            continue
        begin = int(starts[frame]) + skip
        held: Digests = image.index.digests[begin : begin + count]
        if not np.array_equal(held, page.digests[first : first + count]):
            wrong.append(run)
    return wrong
