"""What must hold, whatever happens. Checked at every write and delete, and at the end.

1. Nothing referenced is deleted.
2. No key is written twice with different bytes.
3. Every point that is listed restores bit-exact, or is reported damaged where bytes were damaged
   at rest.
4. A point whose backup reported success is there until it was in the trash for the whole window.
5. A point somebody holds is never removed.
6. Nothing is left behind once every process is dead and one prune has run.
7. What is marked damaged was damaged at rest; no mark goes while the damage is there, unless
   another says the same; and after a verify no damaged point is offered as whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from faultsim.writer import Content, restore

from blocks.catalog import claims
from blocks.catalog.chain import keys_of, sidecar_key
from blocks.catalog.claims import Void, parse_document
from blocks.catalog.document import unseal
from blocks.catalog.marks import Damage, read_damage
from blocks.catalog.point import RestorePoint, run_of
from blocks.catalog.shelf import read_shelf
from blocks.errors import BrokenChain, CorruptData
from blocks.store.base import ObjectInfo
from blocks.store.memory import MemoryStore

GROUP = "RG1"
TRASH = f"marks/{GROUP}/trash/"
DAMAGED = f"marks/{GROUP}/damaged/"
WINDOW = timedelta(days=7)


class LawBroken(AssertionError):
    """Data was lost, or could have been."""


class WatchedStore(MemoryStore):
    """The bucket itself: sees every change, in the order they happen."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime], conditional: bool) -> None:
        super().__init__(now=now, conditional_put=conditional, part_min_bytes=0)
        self.ledger = ledger

    def _store(self, key: str, content: bytes, etag: str) -> ObjectInfo:
        self.ledger.latest = max(self.ledger.latest, self._now())
        if key.startswith((f"{GROUP}/", "points/")):
            self.ledger.on_write(key, content)
        if key.startswith(TRASH):
            self.ledger.trashed_at.setdefault(run_of(key), self._now())
        if key.startswith(DAMAGED):
            self.ledger.on_mark(unseal(content, Damage, where=key))
        return super()._store(key, content, etag)

    def _delete(self, key: str) -> None:
        if self._is_live(key):
            self.ledger.on_delete(self, key)
        super()._delete(key)


@dataclass
class Ledger:
    """What was attempted, what was acknowledged, and what ever was written."""

    attempted: dict[str, Content] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)
    damaged_keys: set[str] = field(default_factory=set)
    written: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, RestorePoint] = field(default_factory=dict)
    """By key: every document that is now at a point's key."""

    by_digest: dict[str, Content] = field(default_factory=dict)
    vandalised: dict[str, RestorePoint] = field(default_factory=dict)
    """Points whose documents somebody deleted: all they need must stay until they are rebuilt."""

    held_and_vandalised: set[tuple[datetime, str]] = field(default_factory=set)
    """What tells a point whatever its id: a rebuilt one is held as the lost one was."""

    rebuilt_and_purged: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    """Runs an operator said must not go on: void, though somebody had deleted their commit."""

    trashed_at: dict[str, datetime] = field(default_factory=dict)
    """When a point came into the trash, if it has been there ever since."""

    latest: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """The latest the store's clock has shown; it may have been set back since."""

    checked_points: int = 0
    marks: int = 0
    """Of damage that were written."""

    def on_write(self, key: str, content: bytes) -> None:
        document = parse_document(content, key) if key.startswith("points/") else None
        before = self.written.setdefault(key, content)
        is_void_after_purge = isinstance(document, Void) and key not in self.documents
        if before != content and not is_void_after_purge:
            raise LawBroken(f"{key} was written twice, with different bytes")
        if isinstance(document, Void) and document.run_id in self.vandalised:
            run = document.run_id
            if run in self.forced or self.is_given_up(run):
                self._remember_purge(self.vandalised.pop(run))
                self.held.discard(run)
        if isinstance(document, RestorePoint):
            self.documents[key] = document
            self._remember(document)

    def _remember(self, point: RestorePoint) -> None:
        """Know what a point must restore; a rebuilt one has a new id and the old digest."""
        if (point.taken_at, point.maps_digest) in self.held_and_vandalised:
            self.held.add(point.id)
        content = self.attempted.get(point.id)
        if content is None:
            content = self.by_digest.get(point.maps_digest)
            if content is None:
                raise LawBroken(f"{point.id} is a point nobody made")
            self.attempted[point.id] = content
        self.by_digest[point.maps_digest] = content

    def vandalise(self, store: MemoryStore, key: str) -> None:
        """Delete a point's document as no program of ours would."""
        point = self.documents.pop(key)
        if not store._is_live(sidecar_key(GROUP, point.id)) and self.is_given_up(point.id):
            self.purged.add(point.id)  # a purge has deleted the copy, and would have done this next
        else:
            self.vandalised[point.id] = point
            if point.id in self.held:
                self.held_and_vandalised.add((point.taken_at, point.maps_digest))
        MemoryStore._delete(store, key)

    def is_given_up(self, point_id: str) -> bool:
        """Whether the point was in the trash for its whole window, and nobody was promised it."""
        trashed_at = self.trashed_at.get(point_id)
        return (
            trashed_at is not None
            and trashed_at <= self.latest - WINDOW
            and point_id not in self.held
        )

    def on_delete(self, store: MemoryStore, key: str) -> None:
        self.latest = max(self.latest, store._now())
        if key.startswith(TRASH):
            self.trashed_at.pop(run_of(key), None)
        elif key.startswith(DAMAGED):
            self._on_unmark(store, key)
        elif key.startswith("points/"):
            self._on_purge(key)
        elif key.startswith(f"{GROUP}/"):
            self._on_object(store, key)

    def on_mark(self, mark: Damage) -> None:
        self.marks += 1
        if mark.key not in self.damaged_keys:
            raise LawBroken(f"{mark.key} is marked damaged in {mark.point_id}, by nobody")

    def _on_unmark(self, store: MemoryStore, key: str) -> None:
        going = unseal(store.get(key), Damage, where=key)
        if not self._is_rotten(store, going.key):
            return
        said = {
            place
            for mark in read_damage(store, GROUP, workers=1)
            if mark.own_key != key and mark.key == going.key
            for place in mark.ranges
        }
        if not said.issuperset(going.ranges):
            raise LawBroken(f"{key} is taken away, though {going.key} is damaged")

    def _is_rotten(self, store: MemoryStore, key: str) -> bool:
        """Whether the bytes are other than were written: rot in the same place undoes itself."""
        return (
            key in self.damaged_keys and store._is_live(key) and store.get(key) != self.written[key]
        )

    def _on_object(self, store: MemoryStore, key: str) -> None:
        run = key.split("/")[1]
        if key == sidecar_key(GROUP, run) and self.is_given_up(run):
            # A purge begins with the copy. It goes on though somebody else deletes the document.
            if point := self.vandalised.pop(run, None):
                self._remember_purge(point)
            return
        if key == sidecar_key(GROUP, run) and self._has_another_copy(store, run):
            return
        # A run that is void keeps nothing; a document that has rotten still does.
        voids = {info.key for info in store.list(claims.voids_prefix(GROUP))}
        points = [
            point
            for point in [*self.documents.values(), *self._not_rebuilt()]
            if claims.void_key(GROUP, point.id) not in voids
        ]
        if key in keys_of(points):
            raise LawBroken(f"{key} is deleted, though a point references it")

    def _has_another_copy(self, store: MemoryStore, run: str) -> bool:
        """Whether the same moment has been rebuilt under another id, and has a copy there."""
        point = self.vandalised.get(run)
        known = [*self.documents.values(), *self.vandalised.values()]
        return point is not None and any(
            other.id != run
            and (other.taken_at, other.maps_digest) == (point.taken_at, point.maps_digest)
            and store._is_live(sidecar_key(GROUP, other.id))
            for other in known
        )

    def _on_purge(self, key: str) -> None:
        point = self.documents.pop(key, None)
        if point is None:
            raise LawBroken(f"{key} is deleted: a void is for ever")
        if not self.is_given_up(point.id):
            raise LawBroken(f"{key} is deleted: not in the trash for its whole window, or held")
        self._remember_purge(point)

    def _remember_purge(self, point: RestorePoint) -> None:
        self.purged.add(point.id)
        self.rebuilt_and_purged |= {
            lost.id
            for lost in self.vandalised.values()
            if (lost.taken_at, lost.maps_digest) == (point.taken_at, point.maps_digest)
        }

    def check_points(self, store: MemoryStore) -> None:
        """Restore every point that is listed, also those in the trash."""
        shelf = read_shelf(store, GROUP, workers=1)
        rotten = {lost.key for lost in shelf.unreadable}
        if rotten - self.damaged_keys:
            raise LawBroken(f"unreadable, though nothing was done to it: {rotten}")
        for entry in shelf.points:
            self.check_point(store, entry.point)
        there = {entry.point.id for entry in shelf.points}
        there |= {point.id for key, point in self.documents.items() if key in rotten}
        there |= self.vandalised.keys()
        for point_id in self.acked - self.purged - there:
            raise LawBroken(f"{point_id} reported success and is not there")
        for point_id in self.held - there:
            raise LawBroken(f"{point_id} is held and is not there")

    def check_point(self, store: MemoryStore, point: RestorePoint) -> None:
        """One point: bit-exact, or reported where damage was done at rest."""
        self.checked_points += 1
        try:
            content = restore(store, point)
        except BrokenChain as error:
            raise LawBroken(f"{point.id} needs what is gone: {error}") from error
        except CorruptData as error:
            if not self.damaged_keys & keys_of([point]):
                raise LawBroken(f"{point.id} is damaged by nobody: {error}") from error
            return
        if content != self.attempted.get(point.id):
            raise LawBroken(f"{point.id} restores other content")

    def check_marked(self, store: MemoryStore) -> None:
        """After a verify: what is offered as whole restores bit-exact."""
        for entry in read_shelf(store, GROUP, workers=1).points:
            if entry.is_damaged or entry.trashed_at is not None:
                continue
            try:
                restore(store, entry.point)
            except CorruptData as error:
                raise LawBroken(f"{entry.point.id} is offered as whole: {error}") from error

    def check_rebuilt(self) -> None:
        """After a rebuild every point is listed that somebody had deleted, whatever its id."""
        for point in self._not_rebuilt():
            if self.is_past_help(point) or self.is_given_up(point.id):
                continue
            raise LawBroken(f"{point.id} was deleted by a vandal and is not rebuilt")

    def is_past_help(self, point: RestorePoint) -> bool:
        """Whether the copy of a deleted document rotted too: that is reported, and no more."""
        return any(
            sidecar_key(GROUP, other.id) in self.damaged_keys
            for other in self.vandalised.values()
            if (other.taken_at, other.maps_digest) == (point.taken_at, point.maps_digest)
        )

    def _not_rebuilt(self) -> list[RestorePoint]:
        there = {(point.taken_at, point.maps_digest) for point in self.documents.values()}
        return [
            point
            for point in self.vandalised.values()
            if (point.taken_at, point.maps_digest) not in there
            and point.id not in self.rebuilt_and_purged
        ]

    def check_tidy(self, store: MemoryStore) -> None:
        """After everybody died and one prune ran, only what points need is left."""
        wanted = keys_of(entry.point for entry in read_shelf(store, GROUP, workers=1).points)
        there = {info.key for info in store.list(f"{GROUP}/")}
        if there != wanted:
            raise LawBroken(f"left behind or missing: {sorted(there ^ wanted)[:3]}")
        if list(store.uploads()):
            raise LawBroken("an upload was left behind")
        intents = list(store.list(claims.intents_prefix(GROUP)))
        if intents:
            raise LawBroken(f"left behind: {intents[0].key}")
        # A tombstone stays only for what was saved from it: held, or claimed in the last moment.
        kept = wanted | self.documents.keys()
        for tombstone in claims.read_tombstones(store, GROUP, workers=1):
            if not kept & set(tombstone.keys):
                raise LawBroken(f"left behind: tombstone {tombstone.id}")
