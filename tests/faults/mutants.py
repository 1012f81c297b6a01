"""Deliberate mistakes, for tests only: each is one that cost somebody data, and must be caught."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from faultsim import writer
from faultsim.schedule import World
from faultsim.store import FaultyStore

from blocks.catalog import claims, findings, prune, shelf, view
from blocks.catalog.point import RestorePoint
from blocks.store.base import Store


@contextmanager
def commit_before_data() -> Iterator[None]:
    """Publish the point, then complete its upload (Proxmox 4.2.5, Velero #6693)."""

    def eager(world: World, run_id: str, make: Callable[[], RestorePoint]) -> None:
        point = make()
        keys = [named.key for named in point.objects if run_id in named.key]
        held = {key: world.inner.get(key) for key in keys}
        # As if these uploads had not been completed yet when the point is written.
        for key in keys:
            world.inner._live.remove(key)
            del world.inner._versions[key]
        shelf.publish(world.store, point, workers=1)
        for key, data in held.items():
            world.store.put(key, data)

    with (
        mock.patch.object(World, "commit_order", staticmethod(eager)),
        mock.patch.object(shelf, "check_objects", return_value=None),
    ):
        yield


@contextmanager
def prune_without_looking_again() -> Iterator[None]:
    """Delete on the strength of the first view (Proxmox PSA-2025-00019-1)."""
    last: dict[int, view.View] = {}

    def hasty(store: FaultyStore, group: str, *, workers: int, with_objects: bool = True) -> Any:
        process = store.scheduler.current
        number = process.number if process else 0
        if with_objects:
            last[number] = view.look(store, group, workers=workers)
            return last[number]
        now = claims.read_tombstones(store, group, workers=workers)
        tombstones = {claims.tombstone_key(group, found.id): found for found in now}
        return dataclasses.replace(last[number], tombstones=tombstones)

    with mock.patch.object(prune, "look", hasty):
        yield


@contextmanager
def failed_listing_is_empty() -> Iterator[None]:
    """Read a listing that fails as one that ends (restic #4612)."""
    with mock.patch.object(FaultyStore, "reads_errors_as_empty", True):
        yield


@contextmanager
def no_intents() -> Iterator[None]:
    """Back up without saying so."""

    def silent(store: Store, intent: claims.Intent) -> None:
        del store, intent

    with (
        mock.patch.object(claims, "_write_intent", silent),
        mock.patch.object(shelf, "_require_intent", return_value=None),
    ):
        yield


@contextmanager
def no_void() -> Iterator[None]:
    """Clear an intent without making sure that its run cannot commit (Kopia #1949)."""

    def careless(store: Store, intent: claims.Intent, reason: str, *, is_over: bool) -> bool:
        del reason, is_over
        return claims.read_fate(store, intent.group, intent.run_id).is_committed

    with (
        mock.patch.object(claims, "_settle", careless),
        mock.patch.object(shelf, "_require_intent", return_value=None),
    ):
        yield


@contextmanager
def parent_not_checked() -> Iterator[None]:
    """Take for granted that the parent chosen a while ago is still there.

    The host has kept the parent's map, so that what is gone is not missed in reading it.
    """
    read_map = writer.read_map

    def kept(store: Any, point: RestorePoint) -> list[writer.Fate]:
        if not isinstance(store, FaultyStore):
            return read_map(store, point)
        pages = [
            json.loads(store.inner.ledger.written[p.object.key]) for p in point.volumes[0].pages
        ]
        return [(digest, key, offset) for page in pages for digest, key, offset in page]

    with (
        mock.patch.object(claims, "_refuse_condemned", return_value=None),
        mock.patch.object(shelf, "check_objects", return_value=None),
        mock.patch.object(writer, "read_map", kept),
    ):
        yield


@contextmanager
def pruned_is_damaged() -> Iterator[None]:
    """Mark what was missing, without looking whether its point is still there."""

    def hasty(
        store: Store, group: str, read: Any, found: Any, *, workers: int
    ) -> tuple[Any, frozenset[str]]:
        del store, group, read, workers
        return {place: frozenset(ranges) for place, ranges in found.items()}, frozenset()

    with mock.patch.object(findings, "weigh", hasty):
        yield


@contextmanager
def objects_before_documents() -> Iterator[None]:
    """Delete the objects of points given up before their documents."""

    def forgetful(self: view.View) -> set[str]:
        kept = view.keys_of(entry.point for entry in self.shelf.points if entry.trashed_at is None)
        for intent in self.intents:
            kept.update(intent.references)
        return kept

    with mock.patch.object(view.View, "referenced", forgetful):
        yield


@contextmanager
def intents_by_age() -> Iterator[None]:
    """Take a run for dead when it is old, and drop its claim (restic #2715)."""

    def impatient(store: Store, intent: claims.Intent, **_: Any) -> bool:
        store.delete([claims.intent_key(intent.group, intent.run_id)])
        return False

    with (
        mock.patch.object(claims, "clear_intent", impatient),
        mock.patch.object(shelf, "_require_intent", return_value=None),
    ):
        yield


@contextmanager
def doubtful_commit_is_done() -> Iterator[None]:
    """Trust a commit whose answer never came, without reading back."""

    def trusting(store: Store, point: RestorePoint) -> claims.Fate:
        with_answer = claims.Fate(point, is_void=False)
        try:
            store.put(shelf.point_key(point.group, point.id), shelf.seal(point), if_absent=True)
        except Exception:  # noqa: BLE001 - the mistake itself
            return with_answer
        return with_answer

    with mock.patch.object(shelf, "_commit", trusting):
        yield


@contextmanager
def unreadable_is_absent() -> Iterator[None]:
    """Skip point documents that cannot be read, and prune what they reference."""
    with mock.patch.object(prune, "_require_readable", return_value=None):
        yield


COMMON = [
    commit_before_data,
    no_intents,
    objects_before_documents,
    intents_by_age,
    doubtful_commit_is_done,
    pruned_is_damaged,
]
"""Caught within a few seconds."""

RARE = [
    failed_listing_is_empty,
    no_void,
    unreadable_is_absent,
    parent_not_checked,
]
"""Caught too, but it takes a special order of events."""

REDUNDANT = [prune_without_looking_again]
"""Hardly ever caught: of two safeguards one is enough. A backup checks its parent after it has
announced itself, so prune's second look protects only an undelete in the same instant (caught once,
by an earlier version). Kept as a reminder that one of two safeguards is not yet a proof that both
work."""
