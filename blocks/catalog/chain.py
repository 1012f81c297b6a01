"""Which objects a restore point needs.

A point has no chain of metadata: its maps are complete. But it shares image objects and map pages
with earlier points, so an object stays as long as any point references it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from blocks.catalog.document import WORKERS, each
from blocks.catalog.point import RestorePoint, StoredObject, image_folder
from blocks.errors import BrokenChain, ObjectMissing
from blocks.store.base import Store


def objects_of(point: RestorePoint) -> Mapping[str, StoredObject]:
    """Return every object a restore of the point reads, by key: images and map pages.

    Raises:
        BrokenChain: the point names one key as two different objects.
    """
    found: dict[str, StoredObject] = {}
    for named in _named(point):
        known = found.setdefault(named.key, named)
        if (known.size_bytes, known.etag) != (named.size_bytes, named.etag):
            raise BrokenChain(f"restore point {point.id} names {named.key} as two objects")
    return found


def keys_of(points: Iterable[RestorePoint]) -> set[str]:
    """Return the keys of all objects that any of the points needs, and of the points' copies."""
    keys: set[str] = set()
    for point in points:
        keys.update(named.key for named in _named(point))
        keys.add(sidecar_key(point.group, point.id))
    return keys


def sidecar_key(group: str, point_id: str) -> str:
    """Return the key of the copy of a point's document that lies beside its images.

    A catalog is rebuilt from it; it is not what makes the point exist.
    """
    return f"{image_folder(group, point_id)}point.json"


def folder_of(key: str) -> str:
    """Return the folder `<group>/<run>/` of an image or page object's key."""
    return "/".join(key.split("/")[:2]) + "/"


def check_objects(store: Store, point: RestorePoint, *, workers: int = WORKERS) -> None:
    """Ask the store for every object of a point, and compare size, ETag and version.

    Raises:
        BrokenChain: some are missing or other than recorded; the message counts and names them.
    """
    wanted = objects_of(point)

    def fault(key: str) -> str:
        try:
            info = store.head(key)
        except ObjectMissing:
            return f"{key} is missing"
        named = wanted[key]
        if info.size_bytes != named.size_bytes:
            return f"{key} has {info.size_bytes} bytes, not {named.size_bytes}"
        is_same = info.etag == named.etag and named.version_id in (None, info.version_id)
        return "" if is_same else f"{key} is another object"

    faults = [line for line in each(fault, sorted(wanted), workers=workers) if line]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BrokenChain(f"restore point {point.id}: " + "; ".join(faults[:3]) + more)


def _named(point: RestorePoint) -> Iterator[StoredObject]:
    yield from point.objects
    for volume in point.volumes:
        for page in volume.pages:
            yield page.object
