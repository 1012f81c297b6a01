"""Which objects a restore point needs.

A point has no chain of metadata: its maps are complete. But it shares image objects and map pages
with earlier points, so an object stays as long as any point references it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from blocks.catalog.point import RestorePoint, StoredObject, image_folder
from blocks.errors import BrokenChain


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


def _named(point: RestorePoint) -> Iterator[StoredObject]:
    yield from point.objects
    for volume in point.volumes:
        for page in volume.pages:
            yield page.object
