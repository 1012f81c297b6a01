"""Restore points in a store: list them, find one, publish one.

A point exists when `points/<group>/<id>.json` holds it. That document is written last, after every
object it names has answered, and read back; so a run that ends at any instant leaves a whole point
or none (docs/adr/0003-commit-last.md).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from blocks.catalog.chain import check_objects, objects_of, sidecar_key
from blocks.catalog.claims import (
    Fate,
    Intent,
    Void,
    intent_key,
    read_document,
    read_fate,
)
from blocks.catalog.document import WORKERS, each, read_sealed, seal, write_once
from blocks.catalog.marks import Damage, Marks, distrusted, read_damage, read_marks
from blocks.catalog.point import (
    PointId,
    RestorePoint,
    image_folder,
    point_key,
    require_group_name,
    run_of,
)
from blocks.catalog.readme import put_readme
from blocks.errors import (
    BrokenChain,
    CorruptData,
    ObjectChanged,
    ObjectMissing,
    PointMissing,
    RunFenced,
    StoreError,
    StoreUnavailable,
    UnknownFormat,
)
from blocks.store.base import ObjectInfo, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShelvedPoint:
    """A restore point and what the store and its marks say about it."""

    point: RestorePoint
    stored_at: datetime
    """When the store says the document was written; a clock that is not the backup host's."""

    trashed_at: datetime | None = None
    """When retention gave it up, by the store's clock; until purged it can be brought back."""

    is_held: bool = False
    is_damaged: bool = False

    @property
    def effective_at(self) -> datetime:
        """The moment it is ordered by: when it was taken, but never after it was stored.

        So neither a backup host whose clock is ahead nor a bucket that was copied (all objects
        stored today) puts a point in the wrong place.
        """
        return min(self.point.taken_at, self.stored_at)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A point document that is there and cannot be read: no reason to forget it."""

    key: str
    error: CorruptData | UnknownFormat


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that is at a group's point keys, from one complete listing."""

    points: tuple[ShelvedPoint, ...]
    unreadable: tuple[Unreadable, ...] = ()
    voids: frozenset[PointId] = frozenset()


def groups(store: Store) -> list[str]:
    """List the groups that have restore points."""
    return [prefix.split("/")[1] for prefix in store.prefixes("points/")]


def read_shelf(store: Store, group: str, *, workers: int = WORKERS) -> Shelf:
    """Read every point of a group, in order of `effective_at`; incomplete listings raise."""
    infos = list(store.list(f"points/{group}/"))
    # After the points: a document written by a run that was void before is then known for what
    # it is.
    voided = {run_of(info.key) for info in store.list(f"claims/{group}/voids/")}
    marks = read_marks(store, group)
    found = each(lambda info: _read(store, info), infos, workers=workers)
    documents = [(info, entry) for info, entry in zip(infos, found, strict=True) if entry]
    damage = read_damage(store, group, workers=workers) if marks.damaged else ()
    return shelve(documents, voided, marks, damage)


def shelve(
    documents: Sequence[tuple[ObjectInfo, RestorePoint | Void | Unreadable]],
    voided: Collection[PointId],
    marks: Marks,
    damage: Sequence[Damage],
) -> Shelf:
    """Put what was read in order: which documents are points, and what is marked on them."""
    bad = distrusted((entry for _, entry in documents if isinstance(entry, RestorePoint)), damage)
    voids = frozenset(voided) | {entry.run_id for _, entry in documents if isinstance(entry, Void)}
    points = [
        ShelvedPoint(
            entry,
            info.stored_at,
            marks.trashed_at.get(entry.id),
            entry.id in marks.held,
            entry.id in marks.damaged or entry.id in bad,
        )
        for info, entry in documents
        if isinstance(entry, RestorePoint) and entry.id not in voids
    ]
    points.sort(key=lambda entry: (entry.effective_at, entry.point.id))
    unreadable = tuple(entry for _, entry in documents if isinstance(entry, Unreadable))
    return Shelf(tuple(points), unreadable, voids)


def points(store: Store, group: str | None = None, *, workers: int = WORKERS) -> list[RestorePoint]:
    """List the restore points of a group, or of all; oldest first within a group.

    Those in the trash are not listed, though `read_point` still reads them by id.
    A document that cannot be read is logged as an error, and the others are listed: on the worst
    day one damaged record must not hide the rest. Whoever deletes uses `read_shelf` and refuses.
    """
    found: list[RestorePoint] = []
    for name in [group] if group is not None else groups(store):
        shelf = read_shelf(store, name, workers=workers)
        for lost in shelf.unreadable:
            log.error("restore point not listed: %s", lost.error)
        found += [entry.point for entry in shelf.points if entry.trashed_at is None]
    return found


def read_point(store: Store, group: str, point_id: str) -> RestorePoint:
    """Read one restore point.

    Raises:
        PointMissing: there is none with this id.
    """
    fate = read_fate(store, group, point_id)
    if fate.point is None or fate.is_void:
        raise PointMissing(f"{group} has no restore point {point_id}")
    return fate.point


def existing_points(store: Store, group: str) -> list[RestorePoint]:
    """List the points of a group that must have some, as `points` does.

    Raises:
        PointMissing: it has none.
    """
    if found := points(store, group):
        return found
    raise no_points(store, group)


def no_points(store: Store, group: str) -> PointMissing:
    """Return the error about a group without restore points, with what there is instead."""
    others = groups(store)
    if group in others:
        hint = "What is there is in the trash (`flashvault catalog undelete`) or cannot be read."
    elif others:
        hint = f"It has those of {', '.join(others)}."
    else:
        hint = (
            "Are bucket and prefix right? Images without points: `flashvault catalog rebuild"
            f" --bucket {store.url} --dry-run`."
        )
    return PointMissing(f"{store.url} holds no restore point of {group}", hint=hint)


def find_point(
    points: Sequence[RestorePoint], *, point_id: str | None = None, at: datetime | None = None
) -> RestorePoint:
    """Choose a point: by id, the newest taken at or before a moment, or the newest.

    Args:
        points: of one group, oldest first.
        point_id: the id, or so much of its beginning or end that it is the only one.
        at: the moment.

    Raises:
        PointMissing: there is none, or more than one fits the id.
    """
    if point_id is not None:
        exact = [point for point in points if point.id == point_id]
        fits = exact or [
            point
            for point in points
            if len(point_id) >= 4
            and (point.id.startswith(point_id.upper()) or point.id.endswith(point_id.upper()))
        ]
        if len(fits) != 1:
            count = f"{len(fits)} restore points fit" if fits else "there is no restore point"
            raise PointMissing(f"{count} {point_id}")
        return fits[0]
    fits = [point for point in points if at is None or point.taken_at <= at]
    if not fits:
        if at is None or not points:
            raise PointMissing("there is no restore point")
        oldest = min(points, key=lambda point: point.taken_at)
        raise PointMissing(
            f"there is no restore point at or before {at}",
            hint=f"The oldest is {oldest.id}, taken {oldest.taken_at}.",
        )
    return fits[-1]


def publish(store: Store, point: RestorePoint, *, workers: int = WORKERS) -> RestorePoint:
    """Commit: check that every object is there, then write the point, then read it back.

    The run's intent must have been begun, and must name every object of other runs. Safe to repeat
    with the same point, also when an earlier try ended in doubt.

    Returns:
        The point as stored (an earlier try may have committed it first).

    Raises:
        BrokenChain: an object is missing or not as recorded; nothing was written.
        RunFenced: the run was declared dead meanwhile; there is no restore point and never will be.
        StoreUnavailable: whether the point is there is not known; repeat, or leave it to reconcile.
    """
    require_group_name(point.group)
    fate = read_fate(store, point.group, point.id)
    if not fate.is_committed and not fate.is_void:
        _require_intent(store, point)
        check_objects(store, point, workers=workers)
        fate = _commit(store, point)
        _leave_readme(store)
    if fate.is_void:
        raise RunFenced(f"run {point.id} of {point.group} was declared dead before it committed")
    if fate.point is None:
        raise StoreUnavailable(f"{point_key(point.group, point.id)} is not there after its write")
    if fate.point.model_copy(update={"committed_at": point.committed_at}) != point:
        raise ObjectChanged(f"{point_key(point.group, point.id)} holds another point")
    return fate.point


def _require_intent(store: Store, point: RestorePoint) -> None:
    try:
        intent = read_sealed(store, intent_key(point.group, point.id), Intent)
    except ObjectMissing as error:
        raise RunFenced(f"run {point.id} of {point.group} has no intent any more") from error
    folder = image_folder(point.group, point.id)
    foreign = {key for key in objects_of(point) if not key.startswith(folder)}
    bare = foreign.difference(intent.references)
    if bare:
        raise BrokenChain(f"{min(bare)} is not claimed by run {point.id} ({len(bare)} objects)")


def _commit(store: Store, point: RestorePoint) -> Fate:
    """Write the point where nothing may be yet, and say what is there afterwards."""
    key = point_key(point.group, point.id)
    document = seal(point)
    # A copy beside the images first, for the day the points are lost (blocks.catalog.rebuild).
    write_once(store, sidecar_key(point.group, point.id), document)
    try:
        store.put(key, document, if_absent=True)
    except (ObjectChanged, StoreUnavailable) as error:
        # An earlier or doubtful try may have succeeded: what is there now decides.
        log.warning("writing %s: %s", key, error)
    return read_fate(store, point.group, point.id)


def _leave_readme(store: Store) -> None:
    """Tell whoever finds the bucket how to restore; no reason to fail a backup."""
    try:
        put_readme(store)
    except StoreError as error:
        log.warning("README.txt could not be written: %s", error)


def _read(store: Store, info: ObjectInfo) -> RestorePoint | Void | Unreadable | None:
    try:
        return read_document(store, info.key)
    except ObjectMissing:
        return None  # pruned between the listing and now
    except (CorruptData, UnknownFormat) as error:
        return Unreadable(info.key, error)
