"""Let the node compare a disk with the parent's map: only what differs crosses the wire.

The node cannot compute the digests of a map (BLAKE3, perhaps keyed), so a page of a disk read over
SSH also keeps plain SHA-256 digests of the same bytes (docs/reference/format.md §4). The node is
sent the first bytes of each and answers with whole digests of its own: equal to what is recorded,
and never sent, means equal bytes. docs/adr/0014-the-node-compares.md
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blocks.errors import CorruptData, HostError, ShortRead
from blocks.image.digest import DIGEST_BYTES
from blocks.image.extents import (
    PAGE_EXTENTS,
    Digests,
    Geometry,
    Mask,
    Sieve,
    Sifted,
    changed_mask,
)
from blocks.image.map import Page

log = logging.getLogger(__name__)

RANGE_BYTES = 4 * 1024 * 1024 * 1024
"""What one command on the node compares, at most."""


class Comparison(Protocol):
    """A node's answer over a range of its disk, taken batch by batch."""

    def take(self, buffer: memoryview) -> tuple[Mask, Mask, Digests]:
        """Take the next extents, as many as fill the buffer.

        Returns:
            Which of them are zeros, of which the buffer now holds the bytes, and the digests of
            all that are not zeros.

        Raises:
            ShortRead: the answer ended too early.
            HostError: it is not what was sent, or not of this range.
        """

    def finish(self) -> None:
        """Prove that the answer was whole, after the last extent was taken."""

    def close(self) -> None:
        """Let go."""


class ComparingSource(Protocol):
    """A disk whose node can hash; `blocks.host.base.ComparingReader` is one."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk."""

    def compare(
        self, offset: int, length: int, known: memoryview, *, extent_bytes: int, batch_extents: int
    ) -> Comparison | None:
        """Start to compare a range; None when the node cannot."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the node says of a batch. `digests` are its own, of all that are not zeros."""

    is_zero: Mask
    is_changed: Mask
    digests: Digests


class NodeCompare:
    """Asks the node about the batches of one volume, in order; used on one thread."""

    def __init__(self, source: ComparingSource, geometry: Geometry, batch_extents: int) -> None:
        assert RANGE_BYTES % (batch_extents * geometry.extent_bytes) == 0
        self._source = source
        self._geometry = geometry
        self._batch_extents = batch_extents
        self._range_extents = RANGE_BYTES // geometry.extent_bytes
        self._page_first = 0
        self._known: Digests | None = None
        self._comparison: Comparison | None = None
        self._range_end = 0
        self._is_off = False

    def enter(self, page_index: int, page: Page) -> None:
        """Say which page the next batches are in."""
        self._page_first = page_index * PAGE_EXTENTS
        try:
            self._known = None if self._is_off else page.node_digests()
        except CorruptData as error:
            log.warning("reading page=%d whole: %s", page_index, error)
            self._known = None

    def ask(self, first: int, count: int, buffer: memoryview) -> Told | None:
        """Ask for a batch; the bytes that differ are then in the buffer, in their places.

        Returns:
            None when this batch is to be read: nothing is known of its page, or the node cannot.

        Raises:
            HostError: the node's answer contradicts itself.
            Unreachable: the connection broke.
        """
        if self._known is None:
            return None
        try:
            return self._ask(first, count, buffer)
        except ShortRead as error:
            # Its program died, or the disk did: reading tells which.
            log.warning("reading the rest of the disk: %s", error)
            self._give_up()
            return None

    def close(self) -> None:
        """End what still runs on the node."""
        if self._comparison is not None:
            self._comparison.close()
            self._comparison = None

    def _ask(self, first: int, count: int, buffer: memoryview) -> Told | None:
        assert self._known is not None
        low = first - self._page_first
        if self._comparison is None and not self._start(first, low):
            self._give_up()
            return None
        assert self._comparison is not None
        is_zero, has_bytes, digests = self._comparison.take(buffer)
        known = self._known[low : low + count]
        is_same = ~is_zero & ~changed_mask(digests, known)
        missing = ~is_zero & ~is_same & ~has_bytes
        for index in np.flatnonzero(missing).tolist():
            # The first bytes of two digests are equal, the rest is not.
            at = index * self._geometry.extent_bytes
            length = self._geometry.plain_bytes(first + index, 1)
            self._source.read_into(
                (first + index) * self._geometry.extent_bytes, buffer[at : at + length]
            )
        if first + count == self._range_end:
            self._comparison.finish()
            self.close()
        return Told(is_zero, ~is_zero & ~is_same, digests)

    def _start(self, first: int, low: int) -> bool:
        assert self._known is not None
        count = min(self._range_extents, len(self._known) - low)
        self._range_end = first + count
        self._comparison = self._source.compare(
            first * self._geometry.extent_bytes,
            self._geometry.plain_bytes(first, count),
            np.ascontiguousarray(self._known[low : low + count]).reshape(-1).data,
            extent_bytes=self._geometry.extent_bytes,
            batch_extents=self._batch_extents,
        )
        return self._comparison is not None

    def _give_up(self) -> None:
        self.close()
        self._is_off = True
        self._known = None


def sift_told(
    sieve: Sieve,
    first: int,
    data: memoryview,
    told: Told,
    parent: Digests,
    geometry: Geometry,
    digest: Callable[[memoryview], bytes],
) -> Sifted:
    """Tell the fates of a batch the node was asked about; what came over is proven here.

    Raises:
        HostError: bytes that came are not those the node has hashed.
    """
    zeros = sieve.zero_digests(first, len(parent))
    digests = np.where(told.is_zero[:, None], zeros, parent)
    flat = digests.reshape(-1).data
    for index in np.flatnonzero(told.is_changed).tolist():
        at = index * geometry.extent_bytes
        with data[at : at + geometry.plain_bytes(first + index, 1)] as extent:
            if hashlib.sha256(extent).digest() != told.digests[index].tobytes():
                raise HostError(
                    f"extent {first + index} came over as other bytes than the node has hashed",
                    hint="Memory, a driver or the disk is at fault: look at the node's error log.",
                )
            flat[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest(extent)
    is_new_zero = told.is_zero & changed_mask(zeros, parent)
    return Sifted(digests, told.is_zero, told.is_changed | is_new_zero)


def node_digests(data: memoryview, is_zero: Mask, extent_bytes: int) -> Digests:
    """Return the digests the node would have computed of a batch that was read."""
    digests = np.zeros((len(is_zero), DIGEST_BYTES), dtype=np.uint8)
    flat = digests.reshape(-1).data
    for index in np.flatnonzero(~is_zero).tolist():
        at = index * extent_bytes
        flat[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = hashlib.sha256(
            data[at : at + extent_bytes]
        ).digest()
    return digests
