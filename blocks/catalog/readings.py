"""Readings: when each image object was last read whole, decoded and compared with the map.

One document per run, under a key of its own: `readings/<group>/<run>.json`. Each carries on what
the ones before it said, which are then taken away. Two runs at once therefore lose nothing: of
what they say of one object, the later moment holds. It is a report: nothing is deleted for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict
from ulid import ULID

from blocks.catalog.carried import let_go, read_carried
from blocks.catalog.document import seal, write_once
from blocks.catalog.point import PointId, RestorePoint
from blocks.store.base import Store


class Reading(BaseModel):
    """What one run knew at its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    group: str
    run_id: PointId
    read_at: dict[str, AwareDatetime]


@dataclass(frozen=True, slots=True)
class Readings:
    """When each object was last read, and the documents that say so."""

    read_at: Mapping[str, datetime]
    keys: tuple[str, ...] = ()


def read_readings(store: Store, group: str) -> Readings:
    """Read what is known; a damaged document says nothing, so its objects are read again."""
    read_at: dict[str, datetime] = {}
    keys = []
    for name, document in read_carried(store, f"readings/{group}/", Reading):
        keys.append(name)
        for key, moment in document.read_at.items():
            read_at[key] = max(moment, read_at.get(key, moment))
    return Readings(read_at, tuple(keys))


def write_readings(
    store: Store,
    group: str,
    run_id: PointId,
    known: Readings,
    read: Iterable[str],
    live: Iterable[str],
    now: datetime,
) -> None:
    """Say which objects were read now, and carry on what is known of the others that live."""
    alive = set(live)
    read_at = {key: moment for key, moment in known.read_at.items() if key in alive}
    read_at.update(dict.fromkeys(sorted(set(read) & alive), now))
    document = Reading(group=group, run_id=run_id, read_at=read_at)
    write_once(store, f"readings/{group}/{run_id}.json", seal(document))
    let_go(store, known.keys)


def proven_since(
    points: Iterable[RestorePoint], readings: Readings, now: datetime
) -> dict[str, datetime]:
    """Return for every image object the points need, when it was last proven.

    That is when it was read, or when it was written: every frame was decoded and compared then, and
    the object's checksum taken back from the store. A moment that has not come yet, from a clock
    that is wrong, is not believed.
    """
    since: dict[str, datetime] = {}
    for point in points:
        for item in point.objects:
            if item.key in since:
                continue
            written = min(_written_at(item.key, point), point.committed_at)
            told = [written, readings.read_at.get(item.key, written)]
            since[item.key] = max((at for at in told if at <= now), default=_NEVER)
    return since


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _written_at(key: str, point: RestorePoint) -> datetime:
    """Read off an object's key when its run began: the ULID in it (`point.image_folder`)."""
    try:
        return ULID.from_str(key.split("/")[1]).datetime
    except (ValueError, IndexError):
        return point.committed_at
