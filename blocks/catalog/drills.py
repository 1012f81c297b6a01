"""Drills: when a restore of a group was last proven, how long it took, and which ones failed.

One document per run, under a key of its own: `drills/<group>/<run>.json`. Each carries on what the
ones before it said, which are then taken away: the newest is all there is to read, and two at once
lose nothing. Kept in the bucket, so that any machine can tell how long a restore takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from blocks.catalog.carried import let_go, read_carried
from blocks.catalog.document import seal, write_once
from blocks.catalog.point import PointId
from blocks.store.base import Store

MOST = 400
"""Drills that are remembered, the newest: more than a year of daily ones."""


class Drill(BaseModel):
    """One drill: a restore onto disks nobody needs, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    began_at: AwareDatetime
    ended_at: AwareDatetime
    restore_point: str = ""
    """Empty when it failed before one was found."""
    size_bytes: int = 0
    rto_s: float = 0.0
    """From the beginning until the restored disks were proven; 0 when it failed."""
    fault: str = ""
    """What went wrong, with the hint; empty when it passed."""
    host: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether every byte was proven, and whoever looked at them liked it."""
        return not self.fault


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    group: str
    drills: tuple[Drill, ...]


@dataclass(frozen=True, slots=True)
class Drills:
    """A group's drills, oldest first, and the documents that tell of them."""

    entries: tuple[Drill, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def last(self) -> Drill | None:
        """The newest, passed or not."""
        return self.entries[-1] if self.entries else None

    @property
    def last_passed(self) -> Drill | None:
        """The newest that passed."""
        return next((drill for drill in reversed(self.entries) if drill.has_passed), None)


def read_drills(store: Store, group: str) -> Drills:
    """Read what is known; a damaged document says nothing, and is named in the log.

    Raises:
        StoreError: the bucket cannot be read, which is not the same as no drills.
    """
    found: dict[str, Drill] = {}
    keys = []
    for key, document in read_carried(store, f"drills/{group}/", _Record):
        keys.append(key)
        found |= {drill.run_id: drill for drill in document.drills}
    return Drills(_in_order(list(found.values())), tuple(keys))


def write_drill(store: Store, group: str, drill: Drill) -> Drills:
    """Add a drill to the group's; return all of them.

    Raises:
        StoreError: the bucket cannot be read or written.
    """
    known = read_drills(store, group)
    entries = _in_order([*known.entries, drill])[-MOST:]
    key = f"drills/{group}/{PointId(drill.run_id)}.json"
    write_once(store, key, seal(_Record(group=group, drills=entries)))
    let_go(store, [old for old in known.keys if old != key])
    return Drills(entries, (key,))


def _in_order(drills: Sequence[Drill]) -> tuple[Drill, ...]:
    return tuple(sorted(drills, key=lambda drill: (drill.began_at, drill.run_id)))
