"""The processes: each does what a flow does, with the real catalog, through the faulty door."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from faultsim.law import GROUP, WINDOW
from faultsim.writer import capture, look

from blocks.catalog import claims, findings, prune, rebuild, shelf
from blocks.catalog.marks import read_damage
from blocks.catalog.point import RestorePoint
from blocks.errors import (
    BrokenChain,
    CorruptData,
    FlashvaultError,
    GroupBusy,
    StoreUnavailable,
)
from blocks.policy.retention import given_up, judge
from blocks.profile.retention import Retention

if TYPE_CHECKING:
    from faultsim.schedule import World

Answer = TypeVar("Answer")
RETENTION = Retention(last=2, minimum=1)


def again(call: Callable[[], Answer], tries: int = 4) -> Answer:
    """Retry what is transient, as a task does."""
    for left in reversed(range(tries)):
        try:
            return call()
        except StoreUnavailable:
            if not left:
                raise
    raise AssertionError("unreachable")


def backup(world: World, host: str, *, compact: bool = False) -> None:
    """One run: choose a parent, claim, capture, publish, end."""
    store, rng = world.store, world.rng
    run_id = world.new_id()
    found = again(lambda: shelf.points(store, GROUP, workers=1))
    parent = rng.choice(found) if found and rng.random() < 0.85 else None
    world.take_long()
    if compact:
        if parent is None:
            return
        content = world.ledger.attempted[parent.id]
    else:
        content = world.snapshot()
    try:
        intent = again(
            lambda: claims.begin_intent(store, GROUP, run_id, owner=world.owner(), parent=parent)
        )
    except BrokenChain:
        parent = None
        if compact:
            return
        intent = again(lambda: claims.begin_intent(store, GROUP, run_id, owner=world.owner()))
    world.ledger.attempted[run_id] = content
    try:
        world.commit(run_id, lambda: make(world, host, run_id, content, parent, compact))
        world.ledger.acked.add(run_id)
    finally:
        # Whatever went wrong short of death: the run says that it has ended.
        if world.scheduler.current and world.scheduler.current.is_alive:
            settle(world, intent)


def make(
    world: World,
    host: str,
    run_id: str,
    content: tuple[int, ...],
    parent: RestorePoint | None,
    compact: bool,
) -> RestorePoint:
    """Capture; an unusable parent makes it a full, under the claim that is there."""
    store = world.store
    taken_at = world.host_now(host)
    parts = world.rng.choice([1, 1, 2, 3])
    try:
        return capture(
            store, GROUP, run_id, content, parent, taken_at, parts=parts, compact=compact
        )
    except (CorruptData, BrokenChain):
        return capture(store, GROUP, run_id, content, None, taken_at, parts=parts)


def settle(world: World, intent: claims.Intent) -> None:
    try:
        if again(lambda: claims.end_intent(world.store, intent), tries=2):
            world.ledger.acked.add(intent.run_id)
    except FlashvaultError:
        world.note("an intent was left behind")


def retain(world: World, host: str) -> None:
    """Judge and sweep, often a week or more after the last time."""
    store = world.store
    world.pass_time(world.rng.choice([0, 4, 8, 8]))
    found = again(lambda: shelf.read_shelf(store, GROUP, workers=1))
    give = given_up(judge(found.points, RETENTION, now=world.host_now(host)))
    again(
        lambda: prune.sweep(store, GROUP, give, minimum=RETENTION.minimum, window=WINDOW, workers=1)
    )


def reconcile(world: World, host: str) -> None:
    """Clear the intents of the dead; now and then an operator forces one of the living."""
    for intent in again(lambda: claims.read_intents(world.store, GROUP, workers=1)):
        force = world.rng.random() < world.force_rate
        if not world.store.conditional_put and world.scheduler.is_alive(intent.owner):
            force = False  # on such a store an operator must know that the process is dead
        if force:
            world.ledger.forced.add(intent.run_id)
        try:
            again(
                lambda intent=intent, force=force: claims.clear_intent(
                    world.store,
                    intent,
                    force=force,
                    alive=lambda owner: world.scheduler.is_owner_alive(owner, host),
                )
            )
        except GroupBusy:
            world.note("not cleared")


def verify(world: World, host: str, share: float = 0.7) -> None:
    """Read points back while others delete and write; mark what is damaged."""
    store, run_id = world.store, world.new_id()
    known = again(lambda: read_damage(store, GROUP, workers=1))
    found = again(lambda: shelf.points(store, GROUP, workers=1))
    chosen = [point for point in found if world.rng.random() < share]
    world.take_long()
    wrong: dict[findings.Place, set[tuple[int, int]]] = defaultdict(set)
    for point in chosen:
        content, bad = again(lambda point=point: look(store, point))
        for key, offset, length in bad:
            wrong[point.id, key].add((offset, length))
        if content is not None:
            world.require_same(point, content)
    world.take_long()
    read = [point.id for point in chosen]
    again(
        lambda: findings.write_down(
            store,
            GROUP,
            run_id,
            known,
            read,
            wrong,
            world.host_now(host),
            read_whole=read,
            workers=1,
        )
    )


def bring_back(world: World, host: str) -> None:
    """Undelete or hold a point; what was promised must then hold."""
    found = again(lambda: shelf.read_shelf(world.store, GROUP, workers=1))
    if not found.points:
        return
    trashed = [entry for entry in found.points if entry.trashed_at]
    entry = world.rng.choice(trashed or found.points)
    act = prune.undelete if entry.trashed_at else prune.hold
    act(world.store, GROUP, entry.point.id, reason="audit")
    world.ledger.held.add(entry.point.id)


def vandalise(world: World, host: str) -> None:
    """Delete point documents behind everybody's back, also of runs that have not ended yet."""
    del host
    again(lambda: shelf.groups(world.store))  # looks around first, and is scheduled like others
    for key in list(world.ledger.documents):
        if world.rng.random() < 0.2:
            world.scheduler.count("vandal")
            world.ledger.vandalise(world.inner, key)


def rebuild_catalog(world: World, host: str) -> None:
    """List again what vanished."""
    again(lambda: rebuild.rebuild(world.store, GROUP, now=world.host_now(host), workers=1))
