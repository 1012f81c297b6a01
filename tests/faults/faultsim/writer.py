"""Images in miniature: objects, pages and points of the engine's shape, a few bytes each.

The seam to the engine is two functions, `capture` and `restore`. Everything else, from claims to
the commit, is the real catalog.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from blake3 import blake3

from blocks.catalog.marks import Damage, read_damage
from blocks.catalog.point import (
    Kind,
    PageRef,
    PointId,
    RestorePoint,
    StoredObject,
    VolumeImage,
    image_folder,
)
from blocks.errors import BrokenChain, CorruptData, ObjectChanged, ObjectMissing
from blocks.store.base import Store

EXTENT_BYTES = 8
EXTENTS_PER_PAGE = 2

Content = tuple[int, ...]
"""A disk: one number per extent; 0 is an extent of zeros."""

Fate = tuple[str, str, int]
"""Of one extent: digest, key of the object ("" for zeros), offset."""


def extent_of(version: int) -> bytes:
    return version.to_bytes(EXTENT_BYTES, "big")


def capture(
    store: Store,
    group: str,
    run_id: str,
    content: Content,
    parent: RestorePoint | None,
    taken_at: datetime,
    *,
    parts: int,
    compact: bool = False,
) -> RestorePoint:
    """Store what the parent does not have (or, to compact, everything) and describe the point."""
    old = read_map(store, parent) if parent and not compact else []
    bad = _damaged_ranges(read_damage(store, group, workers=1)) if old else {}
    folder = image_folder(group, run_id)
    image_key = f"{folder}hdisk1.img.zst"
    fates, fresh = place(content, old, bad, image_key)
    objects = {}
    if fresh:
        objects[image_key] = put_image(store, image_key, fresh, parts)
    if parent:
        used = {fate[1] for fate in fates}
        objects |= {named.key: named for named in parent.objects if named.key in used}
    pages = tuple(
        put_page(store, folder, start, fates[start : start + EXTENTS_PER_PAGE], parent)
        for start in range(0, len(fates), EXTENTS_PER_PAGE)
    )
    digest = map_digest(fates)
    volume = VolumeImage(
        name="vol1",
        uid="60050768" + "0" * 24,
        size_bytes=len(content) * EXTENT_BYTES,
        disk="hdisk1",
        extent_bytes=EXTENT_BYTES,
        map_digest=digest,
        pages=pages,
        read_bytes=0,
        zero_bytes=0,
        changed_bytes=len(fresh),
        stored_bytes=len(fresh),
        image_keys=(image_key,) if fresh else (),
    )
    return RestorePoint(
        id=PointId(run_id),
        group=group,
        cluster="cl",
        storage_system="svc",
        consistency_group="cg",
        kind=Kind.INCREMENTAL if old else Kind.FULL,
        parent=parent.id if old and parent else None,
        taken_at=taken_at,
        committed_at=taken_at,
        reading_host="node1",
        volumes=(volume,),
        objects=tuple(objects.values()),
        maps_digest=digest,
        codec="none",
        tool_version="0",
    )


def place(
    content: Content,
    old: list[Fate],
    bad: dict[str, list[tuple[int, int]]],
    image_key: str,
) -> tuple[list[Fate], bytes]:
    """Give every extent a fate, and gather the bytes that must be stored."""
    fates: list[Fate] = []
    fresh = bytearray()
    for index, version in enumerate(content):
        data = extent_of(version)
        digest = blake3(data).hexdigest()
        if version == 0:
            fates.append((digest, "", 0))
        elif old and old[index][0] == digest and old[index][1] and old[index][1] not in bad:
            fates.append(old[index])
        else:
            fates.append((digest, image_key, len(fresh)))
            fresh += data
    return fates, bytes(fresh)


def put_image(store: Store, key: str, data: bytes, parts: int) -> StoredObject:
    if parts <= 1:
        info = store.put(key, data, if_absent=True)
    else:
        upload = store.begin_upload(key)
        size = -(-len(data) // parts)
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        done = [upload.put_part(number, chunk) for number, chunk in enumerate(chunks, start=1)]
        info = upload.complete(done)
    return stored(key, data, info.etag)


def put_page(
    store: Store, folder: str, start: int, fates: list[Fate], parent: RestorePoint | None
) -> PageRef:
    """Store a page, unless the parent has the same one."""
    data = json.dumps(fates).encode()
    digest = blake3(data).hexdigest()
    for page in parent.volumes[0].pages if parent else ():
        if page.object.digest == digest and page.first_extent == start:
            return page
    info = store.put(f"{folder}maps/{start}", data, if_absent=True)
    named = stored(info.key, data, info.etag)
    return PageRef(object=named, first_extent=start, extent_count=len(fates))


def stored(key: str, data: bytes, etag: str) -> StoredObject:
    return StoredObject(key=key, size_bytes=len(data), etag=etag, digest=blake3(data).hexdigest())


def read_map(store: Store, point: RestorePoint) -> list[Fate]:
    """Read a point's map; damage is seen twice before it is believed."""
    fates: list[Fate] = []
    for page in point.volumes[0].pages:
        data = read_twice(store, page.object)
        fates += [(digest, key, offset) for digest, key, offset in json.loads(data)]
    if map_digest(fates) != point.volumes[0].map_digest:
        raise CorruptData(f"the map of {point.id} is not the one recorded")
    return fates


def restore(store: Store, point: RestorePoint) -> Content:
    """Read every extent back and compare its digest.

    Raises:
        CorruptData: bytes are not those written (read twice).
        BrokenChain: an object is gone.
    """
    etags = {named.key: named.etag for named in point.objects}
    content = []
    try:
        for digest, key, offset in read_map(store, point):
            content.append(read_extent(store, key, offset, digest, etags) if key else 0)
    except (ObjectMissing, ObjectChanged) as error:
        raise BrokenChain(f"{point.id}: {error}") from error
    return tuple(content)


def look(store: Store, point: RestorePoint) -> tuple[Content | None, set[tuple[str, int, int]]]:
    """Read a point as verify does: its content, or what is wrong as (key, offset, length)."""
    etags = {named.key: named.etag for named in point.objects}
    fates: list[Fate] = []
    wrong: set[tuple[str, int, int]] = set()
    for page in point.volumes[0].pages:
        try:
            data = read_twice(store, page.object)
        except (CorruptData, ObjectMissing, ObjectChanged):
            wrong.add((page.object.key, 0, page.object.size_bytes))
        else:
            fates += [(digest, key, offset) for digest, key, offset in json.loads(data)]
    content = []
    for digest, key, offset in fates:
        try:
            content.append(read_extent(store, key, offset, digest, etags) if key else 0)
        except (CorruptData, ObjectMissing, ObjectChanged):
            wrong.add((key, offset, EXTENT_BYTES))
    return (None if wrong else tuple(content)), wrong


def read_extent(store: Store, key: str, offset: int, digest: str, etags: dict[str, str]) -> int:
    for _ in range(2):
        data = bytes(store.get_range(key, offset, EXTENT_BYTES, etag=etags[key]))
        if blake3(data).hexdigest() == digest:
            return int.from_bytes(data, "big")
    raise CorruptData(f"{key} at {offset}")


def read_twice(store: Store, named: StoredObject) -> bytes:
    for _ in range(2):
        data = store.get(named.key, etag=named.etag)
        if blake3(data).hexdigest() == named.digest:
            return data
    raise CorruptData(f"{named.key} is damaged")


def map_digest(fates: list[Fate]) -> str:
    return blake3("".join(digest for digest, _, _ in fates).encode()).hexdigest()


def _damaged_ranges(damage: Sequence[Damage]) -> Mapping[str, list[tuple[int, int]]]:
    """Gather damaged ranges by object: extents that live there are to be stored again."""
    ranges: dict[str, set[tuple[int, int]]] = {}
    for mark in damage:
        ranges.setdefault(mark.key, set()).update(mark.ranges)
    return {key: sorted(found) for key, found in ranges.items()}
