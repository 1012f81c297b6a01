"""Reads of an image of which every extent is compared with the map: nothing unproven is handed on.

A verify, a mount, `image cat` and tests read so. A restore proves in the same way, piece by piece
and with what it counts and gives up: `tasks.restoring.Restorer._prove` is the twin of `proven`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from blocks.catalog.point import StoredObject, VolumeImage
from blocks.errors import CorruptData
from blocks.image.cipher import Cipher
from blocks.image.digest import Digester
from blocks.image.extents import Geometry
from blocks.image.map import Page
from blocks.image.restore import Fetch, FrameReader, Piece, plan_fetches
from blocks.store.base import Store
from tasks.transfer import Pins, load_page


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
            for found, _, data in proven(reader, pins, fetch, page, first):
                _overlay(plain, found * geometry.extent_bytes - start, data)
    return bytes(plain[offset - start : offset - start + length])


def digester_of(cipher: Cipher | None) -> Digester:
    """Return what makes the digests of an image's extents."""
    return Digester() if cipher is None else Digester("blake3-keyed", cipher.digest_key)


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


def _overlay(plain: bytearray, place: int, data: memoryview) -> None:
    """Copy what falls into a buffer; `place` may lie before it, or the data reach beyond."""
    begin, end = max(place, 0), min(place + len(data), len(plain))
    plain[begin:end] = data[begin - place : end - place]
