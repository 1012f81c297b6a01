"""Marks on restore points: in the trash, held, damaged.

A mark is a small document beside the points, so the point's own document is never touched: keys are
written once, and a locked bucket stays locked. Taking a mark away undoes it.

- *trash*: retention gave the point up. It is no longer offered, but everything it needs stays until
  the undelete window is over by the store's own clock; until then `undelete` brings it back.
- *hold*: never remove this point, whatever retention says.
- *damaged*: verify found bytes that are not those written; twice. The next backup stores the
  extents behind them again from the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from blake3 import blake3
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from blocks.catalog.chain import keys_of
from blocks.catalog.document import WORKERS, each, read_sealed, seal
from blocks.catalog.point import PointId, RestorePoint
from blocks.errors import ObjectMissing
from blocks.store.base import ObjectInfo, Store


class _Mark(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    group: str
    point_id: PointId


class Trash(_Mark):
    """Retention gave the point up."""

    reason: str


class Hold(_Mark):
    """Somebody wants the point kept."""

    reason: str


class Damage(_Mark):
    """Stored bytes that are not those written, seen in a complete answer, twice."""

    run_id: PointId = Field(description="the run that found it")
    key: str = Field(description="the damaged object")
    ranges: tuple[tuple[int, int], ...] = Field(description="(offset, length) in the object, bytes")
    found_at: AwareDatetime

    @property
    def own_key(self) -> str:
        """Return the key of the mark itself: no two runs write the same one."""
        name = blake3(self.key.encode()).hexdigest(length=16)
        return f"marks/{self.group}/damaged/{self.point_id}/{name}-{self.run_id}.json"


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a group's points, from complete listings."""

    trashed_at: Mapping[PointId, datetime]
    """By the store's clock."""

    held: frozenset[PointId]
    damaged: frozenset[PointId]
    keys: Mapping[str, PointId]
    """Every mark's own key, and the point it is on."""


def trash_key(group: str, point_id: str) -> str:
    """Return the key of the mark that a point is in the trash."""
    return f"marks/{group}/trash/{point_id}.json"


def hold_key(group: str, point_id: str) -> str:
    """Return the key of the mark that a point is held."""
    return f"marks/{group}/holds/{point_id}.json"


def read_marks(store: Store, group: str) -> Marks:
    """List the marks of a group."""
    return group_marks(group, store.list(f"marks/{group}/"))


def group_marks(group: str, infos: Iterable[ObjectInfo]) -> Marks:
    """Read marks off their keys and times; only the damaged ranges are in the documents."""
    trashed_at: dict[PointId, datetime] = {}
    held: set[PointId] = set()
    damaged: set[PointId] = set()
    keys: dict[str, PointId] = {}
    for info in infos:
        kind, name = info.key.removeprefix(f"marks/{group}/").split("/")[:2]
        point_id = PointId(name.removesuffix(".json"))
        keys[info.key] = point_id
        if kind == "trash":
            trashed_at[point_id] = info.stored_at
        elif kind == "holds":
            held.add(point_id)
        elif kind == "damaged":
            damaged.add(point_id)
    return Marks(trashed_at, frozenset(held), frozenset(damaged), keys)


def is_given_up(marks: Marks, point_id: str, purge_before: datetime) -> bool:
    """Say whether a point was in the trash for its whole window, and nobody holds it.

    The marks tell, and not the document: that may be gone already, by a purge or by somebody else.
    """
    trashed_at = marks.trashed_at.get(PointId(point_id))
    is_over = trashed_at is not None and trashed_at <= purge_before
    return is_over and point_id not in marks.held


def put_trash(store: Store, group: str, point_id: PointId, reason: str) -> None:
    """Put a point into the trash; safe to repeat: the window then begins anew."""
    mark = Trash(group=group, point_id=point_id, reason=reason)
    store.put(trash_key(group, point_id), seal(mark))


def put_hold(store: Store, group: str, point_id: PointId, reason: str) -> None:
    """Keep a point whatever retention says; safe to repeat."""
    store.put(hold_key(group, point_id), seal(Hold(group=group, point_id=point_id, reason=reason)))


def mark_damaged(store: Store, mark: Damage) -> None:
    """Mark ranges of an object damaged, as found while reading a point; safe to repeat."""
    store.put(mark.own_key, seal(mark))


def clear_damage(store: Store, marks: Iterable[Damage]) -> None:
    """Take marks away: every byte was right since, or a later mark says the same."""
    if keys := [mark.own_key for mark in marks]:
        store.delete(keys)


def read_damage(store: Store, group: str, *, workers: int = WORKERS) -> Sequence[Damage]:
    """Read every damage mark of a group. Any that cannot be read raises."""

    def read(info: ObjectInfo) -> Damage | None:
        try:
            return read_sealed(store, info.key, Damage)
        except ObjectMissing:
            return None

    found = each(read, list(store.list(f"marks/{group}/damaged/")), workers=workers)
    return [mark for mark in found if mark is not None]


def distrusted(points: Iterable[RestorePoint], damage: Iterable[Damage]) -> frozenset[PointId]:
    """Return the points that need a damaged object, whichever point it was found in.

    Objects are shared: a child of a damaged point may read the same bad frame (Longhorn #1385).
    """
    keys = {mark.key for mark in damage}
    return frozenset(point.id for point in points if keys and keys & keys_of([point]))
