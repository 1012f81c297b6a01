"""What a verify found, weighed against the catalog as it is when that is written down.

A verify takes hours and keeps nobody waiting: backups, prunes and other verifies run beside it.
So two things are not what they were when it began.

*The points.* What was pruned meanwhile is not damage. A purge deletes a point's copy and document
before what the point needs (`blocks.catalog.prune`), so the catalog is read again after the bytes:
a point that is still there then was not being purged when its object was found missing.

*The marks.* Every run writes marks of its own, which no other run overwrites. It carries on what
the marks said that were there before it read, and takes only those away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from blocks.catalog.carried import let_go
from blocks.catalog.chain import keys_of, sidecar_key
from blocks.catalog.document import WORKERS
from blocks.catalog.marks import Damage, clear_damage, mark_damaged
from blocks.catalog.point import PointId, RestorePoint, run_of
from blocks.catalog.shelf import read_shelf
from blocks.errors import ObjectMissing
from blocks.store.base import Store

Ranges = frozenset[tuple[int, int]]
"""(offset, length) in an object, bytes."""

Place = tuple[PointId, str]
"""A point, and the key of an object it needs."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is damaged, of the points that are still there."""

    damaged: Mapping[Place, Ranges]
    pruned: frozenset[PointId]
    """Points that were read and have been pruned since."""

    healed: frozenset[PointId]
    """Points that were marked, were read whole since, and are right."""


def weigh(
    store: Store,
    group: str,
    read: Collection[PointId],
    found: Mapping[Place, Iterable[tuple[int, int]]],
    *,
    workers: int = WORKERS,
) -> tuple[Mapping[Place, Ranges], frozenset[PointId]]:
    """Say what of it is damage, and which points have gone since they were read.

    What was found in a point that has gone is damage of every other that needs the same object.

    Args:
        store: where the group is.
        group: the resource group.
        read: the points that were read.
        found: ranges that were missing or wrong, by the point they were found in and the object.
        workers: requests in flight.
    """
    shelf = read_shelf(store, group, workers=workers)
    points = [entry.point for entry in shelf.points]
    there = {point.id for point in points} | {run_of(lost.key) for lost in shelf.unreadable}
    # Pruned is what has no copy either; a point robbed of its document only is to be rebuilt.
    pruned = frozenset(
        point_id
        for point_id in set(read) - there
        if point_id in shelf.voids or not _is_there(store, sidecar_key(group, point_id))
    )
    damaged: dict[Place, set[tuple[int, int]]] = defaultdict(set)
    for (point_id, key), ranges in found.items():
        heirs = [point_id] if point_id not in pruned else _that_need(key, points)
        for heir in heirs:
            damaged[heir, key].update(ranges)
    return {place: frozenset(ranges) for place, ranges in damaged.items()}, pruned


def write_down(
    store: Store,
    group: str,
    run_id: PointId,
    known: Sequence[Damage],
    read: Collection[PointId],
    found: Mapping[Place, Iterable[tuple[int, int]]],
    now: datetime,
    *,
    read_whole: Collection[PointId] = (),
    workers: int = WORKERS,
) -> Findings:
    """Mark what is damaged of the points that are still there; take away marks that are refuted.

    Args:
        store: where the group is.
        group: the resource group.
        run_id: who found it.
        known: the marks that were there before the first byte was read.
        read: the points that were read.
        found: as for `weigh`.
        now: when it was found.
        read_whole: points of which every byte was read: if nothing at all is found in one, the
            known marks on it are taken away.
        workers: requests in flight.
    """
    damaged, pruned = weigh(store, group, read, found, workers=workers)
    before: dict[Place, list[Damage]] = defaultdict(list)
    for mark in known:
        before[mark.point_id, mark.key].append(mark)
    for (point_id, key), ranges in damaged.items():
        earlier = before.pop((point_id, key), [])
        all_of_them = ranges.union(*(mark.ranges for mark in earlier))
        mark_damaged(
            store,
            Damage(
                group=group,
                point_id=point_id,
                run_id=run_id,
                key=key,
                ranges=tuple(sorted(all_of_them)),
                found_at=now,
            ),
        )
        let_go(store, [mark.own_key for mark in earlier if mark.run_id != run_id])
    # Behind a page that could not be read there may be frames nobody compared.
    right = set(read_whole) - pruned - {point_id for point_id, _ in found}
    refuted = [mark for marks in before.values() for mark in marks if mark.point_id in right]
    clear_damage(store, refuted)
    return Findings(damaged, pruned, frozenset(mark.point_id for mark in refuted))


def _that_need(key: str, points: Iterable[RestorePoint]) -> list[PointId]:
    return [point.id for point in points if key in keys_of([point])]


def _is_there(store: Store, key: str) -> bool:
    try:
        store.head(key)
    except ObjectMissing:
        return False
    return True
