"""Stored frames back into extents: which bytes to fetch, and what they must decode to.

The twin of `capture`. Nothing here touches a store or a disk: `plan_fetches` says what to read,
`FrameReader.decode` turns it into verified extents.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from blocks.errors import CorruptData
from blocks.image.cipher import Cipher, ObjectOpener
from blocks.image.codec import Codec, extent_digests, open_frame
from blocks.image.digest import DIGEST_BYTES, Digester
from blocks.image.extents import Digests, Geometry, Mask
from blocks.image.layout import FRAME_HEADER_BYTES, unpack_frame_header
from blocks.image.map import ZERO_OBJECT, Page

FETCH_BYTES = 16 * 1024 * 1024
"""A ranged read grows to this: small enough to spread over threads, large for the latency and for
the store, which reads whole chunks of its own (4 to 8 MiB) to answer a range between two."""

GAP_BYTES = 128 * 1024
"""Reading through a gap of this length is cheaper than another request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A frame, and the extents wanted of it as (first, count)."""

    offset: int
    length: int
    first_extent: int
    extent_count: int
    wanted: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """One ranged read, and the frames in it."""

    key: str
    offset: int
    length: int
    pieces: tuple[Piece, ...]


def is_raw_key(key: str) -> bool:
    """Say whether an object is a volume's bare bytes, without frames."""
    return key.endswith(".img")


def zero_runs(page: Page) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of the page's zero extents, counted from its first."""
    rows = page.runs[page.runs["object"] == ZERO_OBJECT]
    yield from zip(rows["first"].tolist(), rows["count"].tolist(), strict=True)


def plan_fetches(
    page: Page, page_first: int, *, skip: Mask | None = None, fetch_bytes: int = FETCH_BYTES
) -> list[Fetch]:
    """Say what to read for the extents of a page that are stored, each object in its own order.

    Args:
        page: the page.
        page_first: its first extent.
        skip: extents, counted from the page's first, that are not wanted.
        fetch_bytes: a read grows to about this.
    """
    rows = page.runs[page.runs["object"] != ZERO_OBJECT]
    rows = rows[np.lexsort((rows["first"], rows["offset"], rows["object"]))]
    fetches: list[Fetch] = []
    pieces: list[Piece] = []
    key, start, end = "", 0, 0

    def close() -> None:
        if pieces:
            fetches.append(Fetch(key, start, end - start, tuple(pieces)))
            pieces.clear()

    for first, count, number, skipped, frame_count, length, offset in rows.tolist():
        if skip is not None and skip[first : first + count].all():
            continue
        run = (page_first + first, count)
        object_key = page.objects[number]
        last = pieces[-1] if pieces else None
        if last is not None and object_key == key and last.offset == offset:
            pieces[-1] = Piece(offset, length, last.first_extent, frame_count, (*last.wanted, run))
            continue
        reaches = offset + length - start
        if object_key != key or not 0 <= offset - end <= GAP_BYTES or reaches > fetch_bytes:
            close()
            key, start = object_key, offset
        pieces.append(Piece(offset, length, page_first + first - skipped, frame_count, (run,)))
        end = offset + length
    close()
    fetches.sort(key=lambda fetch: fetch.pieces[0].wanted[0])
    return fetches


@dataclass(frozen=True, slots=True)
class Extents:
    """A run of extents that decoded; `digests` are computed from `plain`."""

    first: int
    count: int
    plain: memoryview
    digests: Digests


class FrameReader:
    """Decodes the frames of one volume; safe to call from several threads."""

    def __init__(
        self,
        geometry: Geometry,
        digester: Digester,
        *,
        volume: str = "",
        cipher: Cipher | None = None,
    ) -> None:
        """Prepare to decode.

        Args:
            geometry: of the volume.
            digester: of its extents.
            volume: the vdisk UID the frames were sealed for.
            cipher: opens sealed frames.
        """
        self.geometry = geometry
        self.digester = digester
        self._volume = volume
        self._cipher = cipher
        self._openers: dict[str, ObjectOpener] = {}
        self._local = threading.local()

    def decode(self, key: str, piece: Piece, data: memoryview) -> list[Extents]:
        """Return the wanted extents of a frame, with the digests of what was decoded.

        Whether those are the digests of the map is for the caller to compare.

        Raises:
            CorruptData: the frame is damaged or another than the map says.
        """
        geometry = self.geometry
        plain_bytes = geometry.plain_bytes(piece.first_extent, piece.extent_count)
        plain: memoryview
        if is_raw_key(key):
            if len(data) != plain_bytes:
                raise CorruptData(f"{key}: a run at {piece.offset} has another length")
            plain = data
        else:
            plain = memoryview(self.decode_frame(key, piece, data))
        found = []
        for first, count in piece.wanted:
            at = (first - piece.first_extent) * geometry.extent_bytes
            part = plain[at : at + geometry.plain_bytes(first, count)]
            found.append(Extents(first, count, part, self.digests(part)))
        return found

    def decode_frame(self, key: str, piece: Piece, data: memoryview) -> bytes:
        """Return the plain bytes of a whole frame, its header compared with the map.

        Raises:
            CorruptData: damaged, or another frame than the map says.
        """
        header = unpack_frame_header(data)
        claims = (header.first_extent, header.extent_count, header.payload_bytes)
        if claims != (piece.first_extent, piece.extent_count, piece.length - FRAME_HEADER_BYTES):
            raise CorruptData(f"{key}: the frame at {piece.offset} is not the one the map names")
        payload = data[FRAME_HEADER_BYTES : piece.length]
        frame = open_frame(header, payload, self._opener(key), self._volume)
        plain_bytes = self.geometry.plain_bytes(piece.first_extent, piece.extent_count)
        try:
            return self._codec().decode(frame, plain_bytes)
        except CorruptData as error:
            last = piece.first_extent + piece.extent_count - 1
            where = f"extents {piece.first_extent} to {last}"
            raise CorruptData(f"{key}: {where} are damaged: {error}") from error

    def digests(self, plain: memoryview) -> Digests:
        """Return the digests of consecutive extents."""
        packed = extent_digests(self.digester, plain, self.geometry.extent_bytes)
        return np.frombuffer(packed, dtype=np.uint8).reshape(-1, DIGEST_BYTES)

    def _opener(self, key: str) -> ObjectOpener | None:
        if self._cipher is None:
            return None
        if key not in self._openers:
            self._openers[key] = self._cipher.opener(key)
        return self._openers[key]

    def _codec(self) -> Codec:
        codec: Codec | None = getattr(self._local, "codec", None)
        if codec is None:
            codec = Codec()
            self._local.codec = codec
        return codec
