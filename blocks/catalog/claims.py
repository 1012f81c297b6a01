"""Intents and tombstones: why a backup and a prune never race to a lost object.

An *intent* says "run R writes into its folder and may reference these objects"; a *tombstone*
says "these objects will be deleted". Each side first writes its record and then reads the other's,
so at least one of two that collide sees the other and gives way. No record ever expires by age, and
no clock is asked: a run is fenced by its id. docs/explanation/crash-consistency.md has the
argument; tests/faults tries to break it.

A run ends in one of two ways, decided once: its restore point's key holds the point (committed), or
the run is *void*, for ever. On a store with conditional writes both are a `PUT if absent` of the
same key, so exactly one wins, whoever was paused and however long. No such decision can be made
with plain reads and writes. There the void has a key of its own, which readers obey, and only the
run itself, or somebody who knows that its process is dead, may write it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from blocks.catalog.chain import check_objects, objects_of, sidecar_key
from blocks.catalog.document import (
    WORKERS,
    each,
    is_sealed,
    read_sealed,
    seal,
    unseal,
    write_once,
)
from blocks.catalog.marks import is_given_up, read_marks
from blocks.catalog.owner import Owner, is_alive, this_process
from blocks.catalog.point import (
    PointId,
    RestorePoint,
    image_folder,
    point_key,
    require_group_name,
)
from blocks.errors import (
    BrokenChain,
    CorruptData,
    GroupBusy,
    ObjectChanged,
    ObjectMissing,
    StoreUnavailable,
    UnknownFormat,
)
from blocks.store.base import Store


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1


log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=_Record)

_VOID_BEGINS = b'{"format_version":1,"void":true,'


class Intent(_Record):
    """A run that writes into its folder, and what else it may reference."""

    group: str
    run_id: PointId
    owner: Owner
    references: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The folder all the run's objects are in."""
        return image_folder(self.group, self.run_id)


class Tombstone(_Record):
    """Keys that are to be deleted. From now on nothing new may reference them."""

    group: str
    id: str
    keys: tuple[str, ...]
    purge_before: AwareDatetime
    """Documents of points among the keys go only if they were put into the trash before."""


class Void(_Record):
    """A run that was declared dead, or gave up: it never becomes a restore point."""

    void: Literal[True] = True
    group: str
    run_id: PointId
    reason: str


def intents_prefix(group: str) -> str:
    """Return the folder of a group's intents."""
    return f"claims/{group}/intents/"


def tombstones_prefix(group: str) -> str:
    """Return the folder of a group's tombstones."""
    return f"claims/{group}/tombstones/"


def voids_prefix(group: str) -> str:
    """Return the folder of a group's voids, on stores without conditional writes."""
    return f"claims/{group}/voids/"


def intent_key(group: str, run_id: str) -> str:
    """Return the key of a run's intent."""
    return f"{intents_prefix(group)}{run_id}.json"


def tombstone_key(group: str, tombstone_id: str) -> str:
    """Return the key of a tombstone."""
    return f"{tombstones_prefix(group)}{tombstone_id}.json"


def void_key(group: str, run_id: str) -> str:
    """Return the key of a run's void, on stores without conditional writes."""
    return f"{voids_prefix(group)}{run_id}.json"


def has_conditional_put(store: Store) -> bool:
    """Say whether `put(if_absent=True)` is one atomic step on this store.

    A store that knows says so by its attribute `conditional_put`; one that does not is taken at
    its weakest.
    """
    return bool(getattr(store, "conditional_put", False))


def begin_intent(
    store: Store,
    group: str,
    run_id: str,
    *,
    owner: Owner | None = None,
    parent: RestorePoint | None = None,
    references: Iterable[str] = (),
) -> Intent:
    """Announce a run before it stores anything, and protect what it will reference.

    Args:
        store: where the group's images are.
        group: the resource group.
        run_id: a new ULID; it becomes the restore point's id.
        owner: the process the run lives in; this one, if not given.
        parent: the restore point an incremental builds on.
        references: further objects of other runs that the point will name (a rebuild's).

    Safe to repeat with the same arguments.

    Raises:
        BrokenChain: the parent was pruned meanwhile, or something referenced is being deleted.
            The intent stays, but references nothing: call again without a parent to make a full,
            or end it.
    """
    require_group_name(group)
    folder = image_folder(group, run_id)
    wanted = set(references) | (set(objects_of(parent)) if parent else set())
    foreign = tuple(sorted(key for key in wanted if not key.startswith(folder)))
    intent = Intent(
        group=group,
        run_id=PointId(run_id),
        owner=owner or this_process(),
        references=foreign,
    )
    _write_intent(store, intent)
    # Only now look for what forbids it: a prune that has not seen the intent wrote its tombstone
    # before it looked for intents, so that tombstone is there to be seen.
    try:
        _refuse_condemned(store, intent, parent)
    except BrokenChain:
        # Narrowed in place: a delete that arrives late could take a later claim of the run away.
        narrowed = intent.model_copy(update={"references": ()})
        store.put(intent_key(group, run_id), seal(narrowed))
        raise
    return intent


def end_intent(store: Store, intent: Intent, *, reason: str = "ended without a commit") -> bool:
    """End a run, committed or not; safe to repeat. True if it is committed.

    For the run itself to call. A run that had stored everything but the point's document is
    committed by that write. Any other becomes void first, so that no commit of it still in flight,
    nor one by a process taken for dead, can succeed afterwards.
    """
    return _end(store, intent, reason, is_over=True)


def _end(store: Store, intent: Intent, reason: str, *, is_over: bool) -> bool:
    is_committed = _settle(store, intent, reason, is_over=is_over)
    store.delete([intent_key(intent.group, intent.run_id)])
    return is_committed


def drop_intent(store: Store, group: str, run_id: str) -> None:
    """End an intent that only protected something: its run never tries to commit."""
    store.delete([intent_key(group, run_id)])


def clear_intent(
    store: Store,
    intent: Intent,
    *,
    force: bool = False,
    alive: Callable[[Owner], bool | None] = is_alive,
) -> bool:
    """End the intent of a run whose process is dead. True if the run had committed.

    Args:
        store: where it is.
        intent: what to clear.
        force: an operator says the process is dead, or must not go on. On a store with conditional
            writes a process that is alive after all loses its work, never data: its commit is
            refused. On other stores the operator must be right.
        alive: tells whether a process lives; the simulator has its own.

    Raises:
        GroupBusy: the process lives, or this machine cannot tell and `force` is not given.
    """
    answer = alive(intent.owner)
    if not force and answer is not False:
        what = "is alive" if answer else "may be alive"
        raise GroupBusy(
            f"run {intent.run_id} of {intent.group} {what}: {intent.owner}",
            hint="Clear it on that machine, or use --force if you know that it is dead.",
        )
    # Without conditional writes force means that the operator knows the process to be dead.
    is_over = answer is False or (force and not has_conditional_put(store))
    return _end(store, intent, "declared dead", is_over=is_over)


def read_intents(store: Store, group: str, *, workers: int = WORKERS) -> Sequence[Intent]:
    """Read all intents of a group, oldest first. Any that cannot be read raises."""
    return _read_all(store, intents_prefix(group), Intent, workers)


def read_tombstones(store: Store, group: str, *, workers: int = WORKERS) -> Sequence[Tombstone]:
    """Read all tombstones of a group. Any that cannot be read raises."""
    return _read_all(store, tombstones_prefix(group), Tombstone, workers)


def write_tombstone(
    store: Store, group: str, tombstone_id: str, keys: Iterable[str], purge_before: datetime
) -> Tombstone:
    """Condemn keys. Before deleting any, everything is looked at again (`blocks.catalog.prune`)."""
    tombstone = Tombstone(
        group=group, id=tombstone_id, keys=tuple(sorted(keys)), purge_before=purge_before
    )
    store.put(tombstone_key(group, tombstone_id), seal(tombstone), if_absent=True)
    return tombstone


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a run: its point if the commit key holds one, and whether it is void."""

    point: RestorePoint | None
    is_void: bool

    @property
    def is_committed(self) -> bool:
        """Whether the point counts."""
        return self.point is not None and not self.is_void


def read_fate(store: Store, group: str, run_id: str) -> Fate:
    """Read whether a run has committed or is void; anything doubtful raises."""
    try:
        document = read_document(store, point_key(group, run_id))
    except ObjectMissing:
        document = None
    if isinstance(document, Void):
        return Fate(None, is_void=True)
    # The separate void is written by stores without conditional writes. It is asked for on every
    # store, since one bucket may be reached through different gateways.
    return Fate(document, is_void=_has_void(store, group, run_id))


def read_document(store: Store, key: str) -> RestorePoint | Void:
    """Read what is at a point's key; twice, if the first reading is damaged."""
    try:
        return parse_document(store.get(key), key)
    except CorruptData:
        return parse_document(store.get(key), key)


def parse_document(data: bytes, key: str) -> RestorePoint | Void:
    """Decode what is at a point's key, and check that it belongs there.

    Raises:
        CorruptData: the seal does not fit, or it is another run's document.
        UnknownFormat: this version cannot read it.
    """
    document: RestorePoint | Void
    if data.startswith(_VOID_BEGINS):
        document = unseal(data, Void, where=key)
    else:
        document = unseal(data, RestorePoint, where=key)
    run_id = document.run_id if isinstance(document, Void) else document.id
    if key != point_key(document.group, run_id):
        raise CorruptData(f"{key} holds the document of {document.group}/{run_id}")
    return document


def _settle(store: Store, intent: Intent, reason: str, *, is_over: bool) -> bool:
    """Decide a run: commit what only lacked its last write, else void it. True if committed.

    A run that may go on (`is_over` is false) is never committed by others: it could wake up when
    the point has long been pruned, and write the document once more. A void is for ever.
    """
    group, run_id = intent.group, intent.run_id
    fate = read_fate(store, group, run_id)
    if fate.point is not None or fate.is_void:
        return fate.is_committed
    is_decided_at_once = has_conditional_put(store)
    document = _last_write(store, group, run_id) if is_over else None
    key = point_key(group, run_id)
    if document is None:
        document = seal(Void(group=group, run_id=run_id, reason=reason))
        key = key if is_decided_at_once else void_key(group, run_id)
    with suppress(ObjectChanged):  # also S3's answer when two writes met and neither was done
        store.put(key, document, if_absent=is_decided_at_once)
    fate = read_fate(store, group, run_id)
    if fate.point is None and not fate.is_void:
        raise StoreUnavailable(f"the fate of run {run_id} is not decided yet")
    return fate.is_committed


def _last_write(store: Store, group: str, run_id: str) -> bytes | None:
    """Return the document of a run that had stored everything, copy included, but for that.

    Either it was killed just before, or somebody deleted the document since: nobody can tell, and
    both want it written. All the objects are there, since the intent still claims them; they are
    asked for all the same.
    """
    key = sidecar_key(group, run_id)
    try:
        data = store.get(key)
        data = data if is_sealed(data) else store.get(key)
        copy = unseal(data, RestorePoint, where=key)
        check_objects(store, copy, workers=1)
    except (ObjectMissing, CorruptData, UnknownFormat, BrokenChain) as error:
        log.info("run %s is not committed from its copy: %s", run_id, error)
        return None
    document = point_key(group, run_id)
    marks = read_marks(store, group)
    is_condemned = any(
        document in found.keys and is_given_up(marks, run_id, found.purge_before)
        for found in read_tombstones(store, group, workers=1)
    )
    is_own = document == point_key(copy.group, copy.id)
    return data if is_own and not is_condemned else None


def _has_void(store: Store, group: str, run_id: str) -> bool:
    try:
        store.head(void_key(group, run_id))
    except ObjectMissing:
        return False
    return True


def _write_intent(store: Store, intent: Intent) -> None:
    """Write an intent; one that is there already, from a try whose answer was lost, is fine."""
    key, data = intent_key(intent.group, intent.run_id), seal(intent)
    if write_once(store, key, data) != data:
        raise ObjectChanged(f"{key} holds another intent")


def _refuse_condemned(store: Store, intent: Intent, parent: RestorePoint | None) -> None:
    if not intent.references:
        return
    if parent is not None:
        try:
            store.head(point_key(parent.group, parent.id))
        except ObjectMissing as error:
            raise BrokenChain(f"restore point {parent.id} was pruned meanwhile") from error
    wanted = set(intent.references)
    for tombstone in read_tombstones(store, intent.group, workers=1):
        condemned = wanted.intersection(tombstone.keys)
        if condemned:
            raise BrokenChain(f"{min(condemned)} is being deleted ({len(condemned)} objects)")


def _read_all(store: Store, prefix: str, kind: type[Record], workers: int) -> Sequence[Record]:
    def read(key: str) -> Record | None:
        try:
            return read_sealed(store, key, kind)
        except ObjectMissing:  # ended between the listing and now
            return None

    keys = [info.key for info in store.list(prefix)]
    return [record for record in each(read, keys, workers=workers) if record is not None]
