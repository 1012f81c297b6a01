"""One view of a group before anything is deleted: objects, intents, tombstones, points, marks.

Listings are not atomic, and a reference can move between two of them, out of an intent into a
point. So the records are collected until two collections in a row are equal, with every document
read under the ETag its listing gave. docs/explanation/crash-consistency.md argues from there.

Uploads and objects are listed before the first collection: whoever stored them had announced
itself by then, so an object without an owner in the view has none. The points' copies are listed
once more after the last collection: a run writes its copy before its document and ends its intent
after it, so a run that committed is seen by its intent, else by its document, else (somebody
deleted that) by its copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from blocks.catalog.chain import folder_of, keys_of, sidecar_key
from blocks.catalog.claims import (
    Intent,
    Tombstone,
    Void,
    intents_prefix,
    parse_document,
    tombstones_prefix,
    voids_prefix,
)
from blocks.catalog.document import WORKERS, each, is_sealed, read_sealed, unseal
from blocks.catalog.marks import Damage, Marks, group_marks, is_given_up, read_damage
from blocks.catalog.point import RestorePoint, point_key, run_of
from blocks.catalog.shelf import Shelf, Unreadable, shelve
from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, StoreUnavailable, UnknownFormat
from blocks.store.base import ObjectInfo, Store, UploadInfo

ROUNDS = 20
"""Collections tried before a busy group is left for another day."""


@dataclass(frozen=True, slots=True)
class View:
    """A group as it stood."""

    group: str
    uploads: tuple[UploadInfo, ...]
    objects: Mapping[str, ObjectInfo]
    intents: tuple[Intent, ...]
    tombstones: Mapping[str, Tombstone]
    """By key."""

    shelf: Shelf
    marks: Marks
    damage: tuple[Damage, ...] = ()
    lost: tuple[RestorePoint, ...] = ()
    """Points whose document is gone though nobody purged them: their copies are still there. They
    keep what they reference until they are rebuilt (`blocks.catalog.rebuild`)."""

    def referenced(self) -> set[str]:
        """Return the keys something may still read: of every point (also in the trash) and intent.

        Everything in the folder of a live intent is held by `is_claimed` instead.
        """
        kept = keys_of(entry.point for entry in self.shelf.points) | keys_of(self.lost)
        for intent in self.intents:
            kept.update(intent.references)
        return kept

    def is_claimed(self, key: str) -> bool:
        """Say whether a live run owns the folder of an object or upload."""
        return any(key.startswith(intent.folder) for intent in self.intents)

    def orphans(self) -> list[ObjectInfo]:
        """Return the objects nothing references and nobody claims, in order of their keys."""
        referenced = self.referenced()
        claimed = {intent.folder for intent in self.intents}
        return [
            info
            for key, info in self.objects.items()
            if key not in referenced and folder_of(key) not in claimed
        ]

    def abandoned_uploads(self) -> list[UploadInfo]:
        """Return the uploads whose run has ended."""
        return [upload for upload in self.uploads if not self.is_claimed(upload.key)]


def look(store: Store, group: str, *, workers: int = WORKERS, with_objects: bool = True) -> View:
    """Take a view of a group; without `with_objects` its objects and uploads are left out.

    Raises:
        StoreUnavailable: a listing failed, or the group changed all the time.
        CorruptData, UnknownFormat: an intent or tombstone cannot be read. Points that cannot are
            in `shelf.unreadable`; whoever deletes must refuse then.
    """
    uploads = tuple(store.uploads(f"{group}/")) if with_objects else ()
    objects = {info.key: info for info in store.list(f"{group}/")} if with_objects else {}
    collector = _Collector(store, group, workers)
    before: frozenset[tuple[str, str]] | None = None
    for _ in range(ROUNDS):
        infos = collector.list_records()
        now = frozenset((info.key, info.etag) for info in infos)
        if collector.read(infos) and now == before:
            view = collector.view(infos, uploads, objects)
            return _with_lost_points(store, view, workers) if with_objects else view
        before = now
    raise StoreUnavailable(f"{group} changed all the time while it was looked at")


def _is_condemned(view: View, run: str) -> bool:
    """Say whether a copy without a document is being deleted, and rightly so."""
    copy, document = sidecar_key(view.group, run), point_key(view.group, run)
    return any(
        document not in tombstone.keys or is_given_up(view.marks, run, tombstone.purge_before)
        for tombstone in view.tombstones.values()
        if copy in tombstone.keys
    )


def _with_lost_points(store: Store, view: View, workers: int) -> View:
    """Add what the copies tell of points that are not listed, were not purged, and not rebuilt."""
    listed = {entry.point.id for entry in view.shelf.points}
    listed |= {run_of(lost.key) for lost in view.shelf.unreadable}
    listed |= view.shelf.voids | {intent.run_id for intent in view.intents}
    copies = [
        info.key
        for info in store.list(f"{view.group}/")
        if info.key == sidecar_key(view.group, run := info.key.split("/")[1])
        and run not in listed
        and not _is_condemned(view, run)
    ]

    def read(key: str) -> RestorePoint | Unreadable | None:
        try:
            return read_sealed(store, key, RestorePoint)
        except ObjectMissing:  # purged meanwhile
            return None
        except (CorruptData, UnknownFormat) as error:
            return Unreadable(key, error)

    found = each(read, copies, workers=workers)
    known = {(entry.point.taken_at, entry.point.maps_digest) for entry in view.shelf.points}
    lost = [copy for copy in found if isinstance(copy, RestorePoint)]
    unreadable = tuple(copy for copy in found if isinstance(copy, Unreadable))
    return replace(
        view,
        lost=tuple(copy for copy in lost if (copy.taken_at, copy.maps_digest) not in known),
        shelf=replace(view.shelf, unreadable=view.shelf.unreadable + unreadable),
    )


@dataclass(slots=True)
class _Collector:
    """Reads each document of a group once, however often it is listed."""

    store: Store
    group: str
    workers: int
    seen: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def list_records(self) -> list[ObjectInfo]:
        """List claims, then points, then marks.

        In this order: a run that ends between the first two listings has committed before.
        """
        prefixes = (f"claims/{self.group}/", f"points/{self.group}/", f"marks/{self.group}/")
        return [info for prefix in prefixes for info in self.store.list(prefix)]

    def read(self, infos: list[ObjectInfo]) -> bool:
        """Read what was not read before; False if something changed meanwhile."""
        wanted = [info for info in self._documents(infos) if (info.key, info.etag) not in self.seen]
        read = each(self._read, wanted, workers=self.workers)
        for info, data in zip(wanted, read, strict=True):
            if data is not None:
                self.seen[info.key, info.etag] = data
        return all(data is not None for data in read)

    def view(
        self,
        infos: list[ObjectInfo],
        uploads: tuple[UploadInfo, ...],
        objects: Mapping[str, ObjectInfo],
    ) -> View:
        """Decode what was collected."""
        intents, tombstones, voided, marks = [], {}, set(), []
        documents: list[tuple[ObjectInfo, RestorePoint | Void | Unreadable]] = []
        for info in infos:
            key, data = info.key, self.seen.get((info.key, info.etag), b"")
            if key.startswith(intents_prefix(self.group)):
                intents.append(unseal(data, Intent, where=key))
            elif key.startswith(tombstones_prefix(self.group)):
                tombstones[key] = unseal(data, Tombstone, where=key)
            elif key.startswith(voids_prefix(self.group)):
                voided.add(run_of(key))
            elif key.startswith("points/"):
                try:
                    documents.append((info, parse_document(data, key)))
                except (CorruptData, UnknownFormat) as error:
                    documents.append((info, Unreadable(key, error)))
            else:
                marks.append(info)
        known = group_marks(self.group, marks)
        damage = tuple(read_damage(self.store, self.group, workers=1)) if known.damaged else ()
        shelf = shelve(documents, voided, known, damage)
        return View(self.group, uploads, objects, tuple(intents), tombstones, shelf, known, damage)

    def _documents(self, infos: list[ObjectInfo]) -> Iterator[ObjectInfo]:
        bare = (voids_prefix(self.group), "marks/")
        return (info for info in infos if not info.key.startswith(bare))

    def _read(self, info: ObjectInfo) -> bytes | None:
        try:
            return self._get_whole(info)
        except (ObjectMissing, ObjectChanged):
            return None

    def _get_whole(self, info: ObjectInfo) -> bytes:
        """Read a document, a second time if the first was damaged on its way."""
        data = self.store.get(info.key, etag=info.etag)
        if is_sealed(data):
            return data
        return self.store.get(info.key, etag=info.etag)
