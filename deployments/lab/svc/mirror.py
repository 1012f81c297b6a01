"""Global Mirror: how the two halves of a group move, and the copying itself.

Each array holds a half of every group and relationship, under the same id. While the arrays reach
one another both halves are moved together; when they do not, each goes its own way, and when they
meet again the halves are reconciled. docs/reference/svc-cli.md §6.

A synchronized group follows its primary at every command and tick, all volumes as they were at one
instant between two writes: so the secondary always holds a prefix of what was written. One in
cycling mode does so once a cycle; its freeze time is when the last one began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.model import Mirror, Relationship, RemoteGroup, Volume
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import (
    CONSISTENT_APART,
    CONSISTENT_STOPPED,
    CYCLING,
    IDLING,
    IDLING_APART,
    INCONSISTENT_APART,
    INCONSISTENT_COPYING,
    INCONSISTENT_STOPPED,
    NO_DIRECTION,
    NOT_NOW,
    REMOTE,
    SYNCHRONIZED,
)

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

Unit = RemoteGroup | Relationship
"""What has a state of its own: a group, or a relationship that stands alone."""

GRAIN = 256 * 1024


# Who and where ---------------------------------------------------------------------------------


def side_of(system: System, unit: Unit) -> str:
    """Return which side of a unit this array is."""
    return "master" if unit.master == system.state.name else "aux"


def peer_of(system: System, unit: Unit) -> System | None:
    """Return the other array if the two reach one another and replicate, else None."""
    name = unit.aux if unit.master == system.state.name else unit.master
    peer = system.network.systems.get(name)
    if peer is None or partnership(system, name) != "fully_configured":
        return None
    return peer


def partnership(system: System, name: str) -> str:
    """Return the state of the partnership with another array, as this one sees it."""
    own = system.state.partners.get(name)
    peer = system.network.systems.get(name)
    if own is None or peer is None or not system.network.is_up(system, peer):
        return "not_present"
    theirs = peer.state.partners.get(system.state.name)
    suffix = "" if own.is_started else "_stopped"
    if theirs is None:
        return f"partially_configured_local{suffix}"
    if own.is_started and not theirs.is_started:
        return "fully_configured_remote_stopped"
    return f"fully_configured{suffix}"


def members(system: System, unit: Unit) -> list[Relationship]:
    """Return the relationships that move with a unit."""
    if isinstance(unit, Relationship):
        return [unit]
    return [each for each in system.state.relationships.values() if each.group == unit.id]


def units(system: System) -> list[Unit]:
    """Return everything of an array that has a remote-copy state of its own."""
    alone = [each for each in system.state.relationships.values() if each.group is None]
    return [*system.state.remote_groups.values(), *alone]


def volume_here(system: System, relationship: Relationship) -> str:
    """Return the name of a relationship's volume on this array."""
    is_master = side_of(system, relationship) == "master"
    return relationship.master_volume if is_master else relationship.aux_volume


def unit_of(system: System, relationship: Relationship) -> Unit:
    """Return what a relationship moves with."""
    if relationship.group is None:
        return relationship
    return system.state.remote_groups[relationship.group]


def halves(system: System, unit: Unit) -> list[Mirror]:
    """Return this half, and the other one if it can be reached."""
    peer = peer_of(system, unit)
    return [unit.mirror] if peer is None else [unit.mirror, _twin(peer, unit).mirror]


def _twin(peer: System, unit: Unit) -> Unit:
    if isinstance(unit, RemoteGroup):
        return peer.state.remote_groups[unit.id]
    return peer.state.relationships[unit.id]


def _twins(system: System, unit: Unit) -> list[tuple[Relationship, Relationship]]:
    """Return every member with its other half; only while connected."""
    peer = peer_of(system, unit)
    assert peer is not None
    return [(each, peer.state.relationships[each.id]) for each in members(system, unit)]


def _pair(relationship: Relationship, primary: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return (source, target) of a relationship in a direction."""
    master = (relationship.master, relationship.master_volume)
    aux = (relationship.aux, relationship.aux_volume)
    return (master, aux) if primary == "master" else (aux, master)


# What hosts may do ------------------------------------------------------------------------------


def is_readable(system: System, volume: Volume) -> bool:
    """Say whether remote copy lets hosts read a volume: an inconsistent secondary is closed."""
    half = _half_of(system, volume)
    if half is None:
        return True
    mirror, is_primary = half
    is_closed = mirror.state.startswith("inconsistent") or mirror.state == CONSISTENT_APART
    return is_primary or not is_closed


def is_writable(system: System, volume: Volume) -> bool:
    """Say whether remote copy lets hosts write a volume: a secondary is read-only."""
    half = _half_of(system, volume)
    return half is None or half[1]


def _half_of(system: System, volume: Volume) -> tuple[Mirror, bool] | None:
    for relationship in system.state.relationships.values():
        if volume_here(system, relationship) == volume.name:
            unit = unit_of(system, relationship)
            own = unit.mirror.primary == side_of(system, unit)
            return unit.mirror, own or unit.mirror.state in {IDLING, IDLING_APART}
    return None


# How it moves with time -------------------------------------------------------------------------


def advance(system: System) -> bool:
    """Move every unit to where it is now; say whether any changed its state."""
    moved = False
    for unit in units(system):
        before = unit.mirror.state
        if unit.mirror.state != "empty":
            peer = peer_of(system, unit)
            if peer is None:
                _part(system, unit)
            else:
                _meet(system, unit)
                _copy_on(system, unit)
                _follow(system, unit)
        moved |= unit.mirror.state != before
    return moved


def _part(system: System, unit: Unit) -> None:
    """The other array is out of reach: this half goes its own way."""
    half = unit.mirror
    if half.state.endswith("_disconnected"):
        return
    half.before = half.state
    if half.state == IDLING or half.primary == side_of(system, unit):
        half.state = IDLING_APART
    elif half.state.startswith("inconsistent"):
        half.state = INCONSISTENT_APART
    else:
        if half.state == SYNCHRONIZED:
            half.frozen_at = system.clock.now()
        half.state = CONSISTENT_APART


def _meet(system: System, unit: Unit) -> None:
    """The arrays reach one another again: bring the halves together."""
    both = halves(system, unit)
    if not any(half.state.endswith("_disconnected") for half in both):
        return
    for half in both:  # the other one may not have noticed that it was cut off
        if not half.state.endswith("_disconnected"):
            half.before = half.state
    here, there = both
    own = side_of(system, unit)
    secondary = there if here.primary == own else here
    was = secondary.before
    accessed = any(half.primary == "" for half in both)
    if accessed:
        state, primary = IDLING, ""
    elif was == SYNCHRONIZED:
        state = SYNCHRONIZED if not _differs(system, unit) else CONSISTENT_STOPPED
        primary = secondary.primary
    else:
        state, primary = was, secondary.primary
    for half in both:
        half.state, half.primary, half.at = state, primary, system.clock.now()
        half.frozen_at = None if state == SYNCHRONIZED else secondary.frozen_at
        half.before = ""


def _copy_on(system: System, unit: Unit) -> None:
    """Advance the background copy; a group is synchronized when all its members are."""
    half = unit.mirror
    if half.state != INCONSISTENT_COPYING:
        return
    now = system.clock.now()
    timings = system.state.timings
    budget = (now - half.at) * timings.link_bytes_per_s * timings.speed
    for other in halves(system, unit):
        other.at = now
    is_complete = True
    for own, twin in _twins(system, unit):
        source, target = _pair(own, half.primary)
        size = _size(system, own)
        begin = int(own.copied)
        if begin < size:
            step = size - begin if own.share <= 0 else budget / own.share
            own.copied = min(float(size), own.copied + step)
            budget -= (own.copied - begin) * own.share
            system.shelf.copy_range(source, target, begin, int(own.copied))
        twin.copied = own.copied
        is_complete &= own.copied >= size
        if budget <= 0:
            is_complete &= own is members(system, unit)[-1]
            break
    if is_complete and _catch_up(system, unit):
        for other in halves(system, unit):
            _settle(system, unit, other)
        system.shelf.mirrored([_pair(own, half.primary) for own in members(system, unit)])


def _settle(system: System, unit: Unit, half: Mirror) -> None:
    """The copy is complete: go on by every write, or by cycles."""
    is_cycling = unit.cycling_mode == "multi"
    half.state = CYCLING if is_cycling else SYNCHRONIZED
    half.frozen_at = system.clock.now() if is_cycling else None


def _follow(system: System, unit: Unit) -> None:
    """Bring a secondary up with its primary: always, or once a cycle."""
    if unit.mirror.state == SYNCHRONIZED:
        _catch_up(system, unit)
    elif unit.mirror.state == CYCLING:
        now = system.clock.now()
        if now >= (unit.mirror.frozen_at or 0) + unit.cycle_s and _catch_up(system, unit):
            for half in halves(system, unit):
                half.frozen_at = now


def _catch_up(system: System, unit: Unit) -> bool:
    """Make the secondary what the primary is at one instant; say whether that could be done."""
    pairs = [_pair(own, unit.mirror.primary) for own in members(system, unit)]
    twins = _twins(system, unit)
    versions = [system.shelf.version(source) for source, _ in pairs]
    if all(own.version == version for (own, _), version in zip(twins, versions, strict=True)):
        return True
    found = system.shelf.follow(pairs)
    if found is None:
        return False
    for (own, twin), version in zip(twins, found, strict=True):
        own.version = twin.version = version
    return True


def _size(system: System, relationship: Relationship) -> int:
    return system.volume(volume_here(system, relationship)).capacity


def _differs(system: System, unit: Unit) -> bool:
    return any(_difference(system, own) > 0 for own in members(system, unit))


def _difference(system: System, relationship: Relationship) -> float:
    source, target = _pair(relationship, "master")
    return system.shelf.difference(source, target, GRAIN)


# What commands do -------------------------------------------------------------------------------


def sync_of(system: System, unit: Unit) -> str:
    """Return the `sync` attribute: told while both halves stand still and can be compared."""
    if unit.mirror.state not in {CONSISTENT_STOPPED, IDLING} or peer_of(system, unit) is None:
        return ""
    return "out_of_sync" if _differs(system, unit) else "in_sync"


def progress_of(system: System, relationship: Relationship) -> int | None:
    """Return the percent copied; nothing once it is synchronized."""
    state = unit_of(system, relationship).mirror.state
    if state not in {INCONSISTENT_COPYING, INCONSISTENT_STOPPED, INCONSISTENT_APART}:
        return None
    return int(100 * relationship.copied / _size(system, relationship))


def stop(system: System, unit: Unit, *, access: bool) -> None:
    """Stop a unit; with access the secondary becomes writable."""
    verdict = REMOTE["stop -access" if access else "stop"][unit.mirror.state]
    if verdict == NOT_NOW:
        raise Refusal(NOT_NOW)
    now = system.clock.now()
    for half in halves(system, unit):
        if half.state in {SYNCHRONIZED, INCONSISTENT_COPYING} or verdict != half.state:
            half.frozen_at = half.frozen_at or now
        half.state = verdict
        if verdict in {IDLING, IDLING_APART} and access:
            half.primary = ""
    if verdict == IDLING_APART and not access:
        # Reconnected, it stays stopped.
        stopped = "inconsistent" if unit.mirror.before.startswith("inconsistent") else "consistent"
        unit.mirror.before = f"{stopped}_stopped"


def start(system: System, unit: Unit, *, primary: str, force: bool, clean: bool) -> None:
    """Start a unit, or refuse to where data would be given up without -force."""
    half = unit.mirror
    if half.state.endswith("_disconnected") or peer_of(system, unit) is None:
        raise Refusal(NOT_NOW)
    if half.state not in {INCONSISTENT_STOPPED, CONSISTENT_STOPPED, IDLING}:
        if half.state == "empty" or (primary and primary != half.primary):
            raise Refusal(NOT_NOW)
        return
    if half.state == IDLING and not primary:
        raise Refusal(NO_DIRECTION)
    if half.state != IDLING and primary and primary != half.primary:
        raise Refusal(NOT_NOW)
    if clean and half.state != IDLING:
        raise Refusal(NOT_NOW)
    is_same = half.state != INCONSISTENT_STOPPED and not _differs(system, unit)
    if half.state != INCONSISTENT_STOPPED and not (is_same or force or clean):
        raise Refusal(NOT_NOW)
    _begin(system, unit, primary or half.primary, is_same=is_same or clean)


def _begin(system: System, unit: Unit, primary: str, *, is_same: bool) -> None:
    was = unit.mirror.state
    for own, twin in _twins(system, unit):
        if is_same:
            own.version = twin.version = system.shelf.version(_pair(own, primary)[0])
        elif was != INCONSISTENT_STOPPED:
            own.copied = twin.copied = 0.0
            own.share = twin.share = _difference(system, own) / 100
    for half in halves(system, unit):
        half.state, half.frozen_at = INCONSISTENT_COPYING, None
        half.primary, half.at = primary, system.clock.now()
        if is_same:
            _settle(system, unit, half)


def switch(system: System, unit: Unit, primary: str) -> None:
    """Swap the roles of a synchronized unit: what was written last goes over first."""
    if unit.mirror.state not in {SYNCHRONIZED, CYCLING} or peer_of(system, unit) is None:
        raise Refusal(NOT_NOW)
    if primary == unit.mirror.primary:
        return
    if not _catch_up(system, unit):
        raise Refusal(NOT_NOW)
    for half in halves(system, unit):
        half.primary = primary
    for own, twin in _twins(system, unit):
        own.version = twin.version = system.shelf.version(_pair(own, primary)[0])
