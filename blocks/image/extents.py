"""Cut a volume into extents and sift them: zero, unchanged, or to be stored.

numpy over whole batches; an extent is never a Python object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blocks.image.digest import DIGEST_BYTES, Digester

PAGE_EXTENTS = 65_536
"""Extents in one page of a map."""

Digests = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a volume is cut."""

    size_bytes: int
    extent_bytes: int

    def __post_init__(self) -> None:
        assert self.size_bytes > 0
        assert self.extent_bytes >= 4096
        assert self.extent_bytes & (self.extent_bytes - 1) == 0

    @property
    def extent_count(self) -> int:
        """Extents of the volume, the last of which may be short."""
        return -(-self.size_bytes // self.extent_bytes)

    @property
    def page_count(self) -> int:
        """Pages of the volume's map."""
        return -(-self.extent_count // PAGE_EXTENTS)

    def plain_bytes(self, first: int, count: int) -> int:
        """Bytes in a run of extents."""
        end = min((first + count) * self.extent_bytes, self.size_bytes)
        return end - first * self.extent_bytes

    def page(self, index: int) -> tuple[int, int]:
        """First extent and count of a page."""
        first = index * PAGE_EXTENTS
        return first, min(PAGE_EXTENTS, self.extent_count - first)


@dataclass(frozen=True, slots=True)
class Sifted:
    """The fate of each extent of a batch."""

    digests: Digests
    is_zero: Mask
    is_changed: Mask


class Sieve:
    """Sifts batches of one volume; safe to call from several threads."""

    def __init__(self, geometry: Geometry, digester: Digester) -> None:
        self._geometry = geometry
        self._digester = digester
        self._zero = digester.of_zeros(geometry.extent_bytes)
        tail = geometry.size_bytes % geometry.extent_bytes
        self._zero_tail = digester.of_zeros(tail) if tail else self._zero

    def zero_digests(self, first: int, count: int) -> Digests:
        """Return the digests of a run of extents that are zero."""
        digests = np.frombuffer(self._zero * count, dtype=np.uint8).reshape(count, DIGEST_BYTES)
        if first + count == self._geometry.extent_count and self._zero_tail != self._zero:
            digests = digests.copy()
            digests[-1] = np.frombuffer(self._zero_tail, dtype=np.uint8)
        return digests

    def sift(self, first: int, data: memoryview, parent: Digests | None) -> Sifted:
        """Tell the fates of the extents in `data`, which begins at extent `first`."""
        extent_bytes = self._geometry.extent_bytes
        is_zero = zero_mask(data, extent_bytes)
        count = len(is_zero)
        digests = self.zero_digests(first, count).copy()
        flat = digests.reshape(-1).data
        for index in np.flatnonzero(~is_zero).tolist():
            at = index * extent_bytes
            flat[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = self._digester.of(
                data[at : at + extent_bytes]
            )
        return Sifted(digests, is_zero, changed_mask(digests, parent))

    def sift_hole(self, first: int, count: int, parent: Digests | None) -> Sifted:
        """Tell the fates of extents that are known to be zero without reading them."""
        digests = self.zero_digests(first, count)
        return Sifted(digests, np.ones(count, dtype=np.bool_), changed_mask(digests, parent))


def zero_mask(data: memoryview, extent_bytes: int) -> Mask:
    """Say for each extent whether all its bytes are zero."""
    count = -(-len(data) // extent_bytes)
    whole = len(data) // extent_bytes
    mask = np.zeros(count, dtype=np.bool_)
    if whole:
        words = np.frombuffer(data[: whole * extent_bytes], dtype=np.uint64)
        table = words.reshape(whole, extent_bytes // 8)
        # Most extents with data show it in a few words: only the others are read whole.
        candidates = np.flatnonzero(~table[:, :: extent_bytes // 64].any(axis=1))
        mask[candidates] = [not table[index].any() for index in candidates.tolist()]
    if whole < count:
        mask[whole] = not np.frombuffer(data[whole * extent_bytes :], dtype=np.uint8).any()
    return mask


def changed_mask(digests: Digests, parent: Digests | None) -> Mask:
    """Say for each extent whether its digest differs from the parent's."""
    if parent is None:
        return np.ones(len(digests), dtype=np.bool_)
    mine = np.ascontiguousarray(digests).view(np.uint64)
    return np.asarray((mine != np.ascontiguousarray(parent).view(np.uint64)).any(axis=1))


def runs_of(mask: Mask) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    for first, end in edges.reshape(-1, 2).tolist():
        yield first, end - first
