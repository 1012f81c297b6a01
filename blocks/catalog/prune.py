"""Delete what nothing needs any more, and nothing else.

Three steps, each of which can be interrupted anywhere and repeated by anyone at the same time:

1. *trash*: points that retention gives up get a mark; nothing else happens to them until the
   undelete window is over.
2. *purge*: the documents of points whose window is over are condemned by a tombstone, and deleted.
   First the document, then, in step 3, the objects: so every point still listed is whole.
3. *sweep*: objects that no point references and no live run claims are condemned by a tombstone,
   and deleted; uploads of runs that have ended are aborted.

Between a tombstone and its deletions everything is looked at again. A tombstone stays until all its
keys are gone, so whoever finds one may finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from blocks.catalog.chain import keys_of, sidecar_key
from blocks.catalog.claims import (
    Tombstone,
    begin_intent,
    drop_intent,
    intent_key,
    tombstone_key,
    write_tombstone,
)
from blocks.catalog.document import WORKERS
from blocks.catalog.marks import (
    hold_key,
    is_given_up,
    put_hold,
    put_trash,
    trash_key,
)
from blocks.catalog.point import PointId, RestorePoint, new_id, point_key, run_of
from blocks.catalog.shelf import ShelvedPoint, read_point
from blocks.catalog.view import View, look
from blocks.errors import BrokenChain, GroupBusy, ObjectMissing, Refused
from blocks.store.base import Store

UNDELETE_WINDOW = timedelta(days=7)
"""How long a point stays in the trash, unless the profile says otherwise."""

WINDOW_MIN = timedelta(hours=1)
"""The shortest window. A write of the document that is still on its way would bring a purged point
back; S3 refuses a request 15 minutes after it was signed (RequestTimeTooSkewed), so none is."""

BATCH_KEYS = 1000
"""Keys per delete request: S3's limit."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a prune would do now."""

    trash: tuple[PointId, ...]
    """Points that retention gives up; they go into the trash."""

    purge: tuple[PointId, ...]
    """Points whose undelete window is over; their documents are deleted."""

    orphan_keys: tuple[str, ...]
    """Objects nothing references now, other than by the points to purge."""

    abandoned_uploads: int
    freed_bytes: int
    """By `purge` and the orphans; what is shared with a kept point is not counted."""


@dataclass(slots=True)
class PruneReport:
    """What a prune did."""

    trashed: list[PointId] = field(default_factory=list)
    purged: list[PointId] = field(default_factory=list)
    deleted_objects: int = 0
    freed_bytes: int = 0
    aborted_uploads: int = 0
    lost: list[PointId] = field(default_factory=list)
    """Points whose documents vanished; all they need is kept. Run `catalog rebuild`."""


def plan_prune(
    view: View, give_up: Mapping[PointId, str], *, now: datetime, window: timedelta
) -> PrunePlan:
    """Say what a prune would do; pure.

    Args:
        view: the group as it stands.
        give_up: points that retention no longer keeps, with the reason.
        now: by the store's clock, or by ours for a dry run.
        window: how long a point stays in the trash.

    Raises:
        Refused: a point document cannot be read, so what it references is unknown.
    """
    _require_readable(view)
    gone = _given_up(view, give_up)
    purge = [entry for entry in gone if _is_over(view, entry, now - window)]
    purged = {entry.point.id for entry in purge}
    kept = {
        key
        for entry in view.shelf.points
        if entry.point.id not in purged
        for key in keys_of([entry.point])
    }.union(*(intent.references for intent in view.intents))
    freed = {info.key: info.size_bytes for info in view.orphans()}
    for entry in purge:
        for key in keys_of([entry.point]):
            if key in view.objects and key not in kept and not view.is_claimed(key):
                freed[key] = view.objects[key].size_bytes
    return PrunePlan(
        trash=tuple(entry.point.id for entry in gone if entry.trashed_at is None),
        purge=tuple(entry.point.id for entry in purge),
        orphan_keys=tuple(info.key for info in view.orphans()),
        abandoned_uploads=len(view.abandoned_uploads()),
        freed_bytes=sum(freed.values()),
    )


def sweep(
    store: Store,
    group: str,
    give_up: Mapping[PointId, str],
    *,
    minimum: int,
    window: timedelta = UNDELETE_WINDOW,
    workers: int = WORKERS,
) -> PruneReport:
    """Prune a group; safe to repeat, to interrupt, and to run twice at once.

    Args:
        store: where the group is.
        group: the resource group.
        give_up: points that retention no longer keeps, with the reason; it is obeyed only for
            points that are not held. A point in the trash that is not among them stays there.
        minimum: restorable points that must be left outside the trash, whatever `give_up` says.
        window: how long a point stays in the trash, by the store's clock.
        workers: requests in flight.

    Raises:
        Refused: fewer than `minimum` restorable points would be left, or a point document cannot
            be read.
        StoreUnavailable: a listing failed; nothing was deleted on the strength of it.
    """
    report = PruneReport()
    view = look(store, group, workers=workers)
    _require_readable(view)
    _require_floor(view, give_up, minimum)
    before = store_now(store, group) - max(window, WINDOW_MIN)
    for tombstone in view.tombstones.values():
        _bury(store, tombstone, view, report, workers)
    for entry in _given_up(view, give_up):
        if entry.trashed_at is None:
            put_trash(store, group, entry.point.id, give_up[entry.point.id])
            report.trashed.append(entry.point.id)
    over = [
        key_of(group, entry.point.id)
        for entry in _given_up(view, give_up)
        if _is_over(view, entry, before)
        for key_of in (point_key, sidecar_key)
    ]
    _condemn(store, view, over, before, report, workers)
    view = look(store, group, workers=workers)
    _require_readable(view)
    report.lost = [point.id for point in view.lost]
    orphans = [info.key for info in view.orphans()]
    _condemn(store, view, orphans, before, report, workers)
    for tombstone in view.tombstones.values():  # its last key may have gone as an orphan just now
        _end_if_done(store, tombstone, view)
    _abort_uploads(store, view, report)
    _forget_marks(store, view)
    return report


def store_now(store: Store, group: str) -> datetime:
    """Ask the store what time it is: how old a mark is, is told by the clock that dated it."""
    key = f"probe/clock/{group}"
    store.put(key, b"")
    return store.head(key).stored_at


def undelete(store: Store, group: str, point_id: str, *, reason: str) -> RestorePoint:
    """Bring a point back out of the trash, and hold it: retention will not give it up again.

    Raises:
        PointMissing: it is gone.
        BrokenChain: it is being deleted at this moment.
        GroupBusy: somebody cleared the claim meanwhile; repeat it.
    """
    with _protected(store, group, point_id) as point:
        put_hold(store, group, point.id, reason)
        store.delete([trash_key(group, point.id)])
    return point


def hold(store: Store, group: str, point_id: str, *, reason: str) -> RestorePoint:
    """Keep a point whatever retention says, until `release`; errors as for `undelete`."""
    with _protected(store, group, point_id) as point:
        put_hold(store, group, point.id, reason)
    return point


def release(store: Store, group: str, point_id: str) -> None:
    """Let retention decide about a point again."""
    store.delete([hold_key(group, point_id)])


@contextmanager
def _protected(store: Store, group: str, point_id: str) -> Iterator[RestorePoint]:
    """Claim a point and all it needs, as a backup claims its parent."""
    point = read_point(store, group, point_id)
    document = point_key(group, point.id)
    run_id = new_id()
    try:
        begin_intent(store, group, run_id, parent=point, references=[document])
        yield point
        # Whoever ended the intent meanwhile ended the protection: what was promised may be gone.
        if not _is_there(store, intent_key(group, run_id)):
            raise GroupBusy(
                f"the claim on restore point {point_id} was cleared meanwhile, by another process",
                hint="It is not certain that the point stays: give the same command again.",
            )
    except BrokenChain as error:
        raise BrokenChain(
            f"restore point {point_id} cannot be kept any more: {error}",
            hint="A prune deletes it, its time in the trash being over. Choose another point; if"
            " that prune has died, run `flashvault prune` to its end and try again.",
        ) from error
    finally:
        drop_intent(store, group, run_id)


def _condemn(
    store: Store,
    view: View,
    keys: Iterable[str],
    purge_before: datetime,
    report: PruneReport,
    workers: int,
) -> None:
    condemned = list(keys)
    if condemned:
        tombstone = write_tombstone(store, view.group, new_id(), condemned, purge_before)
        _bury(store, tombstone, view, report, workers)


def _bury(
    store: Store, tombstone: Tombstone, listed: View, report: PruneReport, workers: int
) -> None:
    """Delete what a tombstone condemns and nothing needs; the tombstone goes when all is gone.

    Whether a key is free is told by a new look, which must still see the tombstone: a run that
    begins to reference one of its keys after that look sees it too. What `listed` saw referenced
    stays as well: a point seen then may have lost its document to somebody else since.
    """
    group = tombstone.group
    key = tombstone_key(group, tombstone.id)
    view = look(store, group, workers=workers, with_objects=False)
    _require_readable(view)
    if key not in view.tombstones:
        return  # another prune has finished it
    is_free = _freedom(view, listed, tombstone)
    free = [condemned for condemned in tombstone.keys if is_free(condemned)]
    # Documents last: a copy that is left without its document would tell of a lost point.
    free.sort(key=lambda condemned: condemned.startswith("points/"))
    for start in range(0, len(free), BATCH_KEYS):
        if not _is_there(store, key):
            return
        batch = free[start : start + BATCH_KEYS]
        store.delete(batch)
        gone = [listed.objects[name] for name in batch if name in listed.objects]
        report.deleted_objects += len(gone)
        report.freed_bytes += sum(info.size_bytes for info in gone)
    deleted = set(free)
    report.purged += [
        entry.point.id for entry in view.shelf.points if point_key(group, entry.point.id) in deleted
    ]
    _end_if_done(store, tombstone, view, deleted)


def _end_if_done(
    store: Store, tombstone: Tombstone, view: View, deleted: Container[str] = ()
) -> None:
    """Take a tombstone away when nothing it condemns is left, but voids, which are for ever."""
    voids = {point_key(tombstone.group, run) for run in view.shelf.voids}
    kept = [key for key in tombstone.keys if key not in deleted and key not in voids]
    if not any(_is_there(store, key) for key in kept):
        store.delete([tombstone_key(tombstone.group, tombstone.id)])


def _is_there(store: Store, key: str) -> bool:
    try:
        store.head(key)
    except ObjectMissing:
        return False
    return True


def _freedom(view: View, listed: View, tombstone: Tombstone) -> Callable[[str], bool]:
    """Return whether a condemned key may go.

    A document and its copy go together, by the point's marks, or not at all.
    """
    group = view.group
    runs = {run_of(key) for key in tombstone.keys if key.startswith("points/")}
    pairs = {key_of(group, run): run for run in runs for key_of in (point_key, sidecar_key)}
    # The document of a run that has not ended its intent stays: while it is there, whoever ends
    # the intent sees that the run has committed.
    claimed = {intent.run_id for intent in view.intents}
    wanted = {key for intent in view.intents for key in intent.references}
    referenced = view.referenced() | listed.referenced()

    def is_free(key: str) -> bool:
        run = pairs.get(key)
        if run is None:
            return not (key in referenced or view.is_claimed(key) or listed.is_claimed(key))
        if run in claimed or point_key(group, run) in wanted:
            return False
        if run in view.shelf.voids:  # a void is for ever
            return key != point_key(group, run)
        return is_given_up(view.marks, run, tombstone.purge_before)

    return is_free


def _is_over(view: View, entry: ShelvedPoint, purge_before: datetime) -> bool:
    return is_given_up(view.marks, entry.point.id, purge_before)


def _given_up(view: View, give_up: Mapping[PointId, str]) -> list[ShelvedPoint]:
    return [entry for entry in view.shelf.points if entry.point.id in give_up and not entry.is_held]


def _require_readable(view: View) -> None:
    if view.shelf.unreadable:
        lost = view.shelf.unreadable[0]
        raise Refused(
            f"nothing of {view.group} is deleted while a point cannot be read: {lost.error}",
            hint="What it references is unknown. Repair or remove that document by hand first.",
        )


def _require_floor(view: View, give_up: Mapping[PointId, str], minimum: int) -> None:
    gone = {entry.point.id for entry in _given_up(view, give_up)}
    left = [
        entry
        for entry in view.shelf.points
        if entry.trashed_at is None and not entry.is_damaged and entry.point.id not in gone
    ]
    if gone and len(left) < minimum:
        raise Refused(
            f"{len(left)} restorable points of {view.group} would be left, fewer than {minimum}"
        )


def _abort_uploads(store: Store, view: View, report: PruneReport) -> None:
    for abandoned in view.abandoned_uploads():
        try:
            upload, _ = store.resume_upload(abandoned.key, abandoned.upload_id)
        except ObjectMissing:
            continue  # another prune was first
        upload.abort()
        report.aborted_uploads += 1


def _forget_marks(store: Store, view: View) -> None:
    """Take away the marks of points that are gone, once nothing asks for them any more.

    While a copy is left, or a tombstone that names the document, they tell whether the point was
    given up or lost, and a rebuild carries a hold over. A run being rebuilt may be held before it
    is a point. And a damaged object may be shared: its mark stays as long as the object.
    """
    there = {entry.point.id for entry in view.shelf.points} | {point.id for point in view.lost}
    there |= {intent.run_id for intent in view.intents}
    named = {key for tombstone in view.tombstones.values() for key in tombstone.keys}
    there |= {run_of(key) for key in named if key.startswith("points/")}
    marked = view.marks.keys.items()
    there |= {run for _, run in marked if sidecar_key(view.group, run) in view.objects}
    bad = {found.own_key for found in view.damage if found.key in view.objects}
    store.delete(key for key, run in sorted(marked) if run not in there and key not in bad)
