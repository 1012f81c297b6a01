"""The parent of an incremental: its map, page by page, and whether it can be built on at all.

What the catalogue knows of a parent is judged before (`blocks.policy.mode.unfit`); here its map is
read and its objects are asked for. No Prefect, as in `tasks.pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence

from blocks.catalog.point import PageRef, StoredObject, VolumeImage
from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, UnknownFormat
from blocks.image.cipher import Cipher
from blocks.image.digest import Digester
from blocks.image.extents import Geometry
from blocks.image.map import Page
from blocks.store.base import Store
from tasks.transfer import load_page

Parent = tuple[VolumeImage, Sequence[StoredObject]]
"""A volume in its parent point, and that point's objects."""


def why_unusable(
    parent: Parent,
    geometry: Geometry,
    uid: str,
    store: Store,
    digester: Digester,
    cipher: Cipher | None,
) -> str:
    """Say why a parent cannot be built on; empty if it can.

    Args:
        parent: the volume in the parent point, and that point's objects.
        geometry: of the volume now.
        uid: vdisk UID of the volume now.
        store: where the parent's map and objects are.
        digester: makes the digests of this capture, which the parent's must be like.
        cipher: opens the pages of an encrypted map.
    """
    image, objects = parent
    if image.uid != uid:
        return f"the parent is of volume {image.uid}"
    if image.size_bytes != geometry.size_bytes:
        return f"the volume had {image.size_bytes} bytes and has {geometry.size_bytes}"
    if image.extent_bytes != geometry.extent_bytes:
        return f"the extent size was {image.extent_bytes} and is {geometry.extent_bytes}"
    try:
        return _why_unreadable(image, objects, geometry, store, digester, cipher)
    except (CorruptData, ObjectMissing, ObjectChanged, UnknownFormat) as error:
        return str(error)


def _why_unreadable(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    geometry: Geometry,
    store: Store,
    digester: Digester,
    cipher: Cipher | None,
) -> str:
    """Say what is wrong with a parent's map and objects; empty if nothing is."""
    running = digester.new()
    known = {stored.key: stored for stored in objects}
    wanted: set[str] = set()
    read = PageReader(image.pages, store, cipher)
    if len(image.pages) != geometry.page_count:
        return "the parent's map is not complete"
    for index in range(geometry.page_count):
        page = read(index)
        if (image.pages[index].first_extent, page.extent_count) != geometry.page(index):
            return "the parent's map is not complete"
        if page.algorithm != digester.algorithm:
            return f"the parent's digests are {page.algorithm}"
        running.update(page.digests.tobytes())
        wanted |= set(page.objects)
    if running.digest().hex() != image.map_digest:
        return "the parent's map has another digest than its point says"
    for key in sorted(wanted):
        if key not in known:
            return f"the parent's point does not list {key}"
        info = store.head(key)
        if (info.size_bytes, info.etag) != (known[key].size_bytes, known[key].etag):
            return f"{key} is not the object the parent's point lists"
    return ""


class PageReader:
    """Pages of a map by index. Pages that are one object are read once in a row."""

    def __init__(self, refs: Sequence[PageRef], store: Store, cipher: Cipher | None) -> None:
        self._refs = refs
        self._store = store
        self._cipher = cipher
        self._last: tuple[str, Page] | None = None

    def __call__(self, index: int) -> Page:
        """Return a page of the map."""
        ref = self._refs[index]
        last = self._last
        if (
            last is not None
            and last[0] == ref.object.key
            and (last[1].extent_count == ref.extent_count)
        ):
            return last[1]
        page = load_page(self._store, ref, self._cipher)
        self._last = (ref.object.key, page)
        return page
