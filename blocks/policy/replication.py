"""What a remote copy is worth now, and which change of that is worth telling.

Pure: what the arrays answered, what was known before, and `now` are arguments. A poll is judged
(`judge`), then compared with the memory of the polls before it (`follow`), which tells each
transition once however often the group is looked at. Source: docs/reference/svc-cli.md §6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from blocks.svc.model import RemoteState
from blocks.svc.remote_view import RemoteView
from blocks.units import format_duration

SAMPLES = 24
"""How many steps of a copy under way are kept: its speed is that between the first and the last.

The array tells whole percents, of which one may take an hour: what is kept is when each was first
seen, not every poll, else two hours of polls would measure little more than the rounding.
"""

FREEZE_RESOLUTION = timedelta(minutes=1)
"""`freeze_time` is told to the minute, and cut off, not rounded."""


class Condition(StrEnum):
    """What a state means for the person who asks: can the second site take over, and since when."""

    IN_SYNC = "in sync"
    IMPAIRED = "impaired"
    COPYING = "copying"
    NOT_STARTED = "not started"
    STOPPED = "stopped"
    DISCONNECTED = "disconnected"
    SPLIT = "split"
    EMPTY = "empty"
    UNSEEN = "unseen"


CONDITIONS: dict[RemoteState, Condition] = {
    RemoteState.EMPTY: Condition.EMPTY,
    RemoteState.INCONSISTENT_STOPPED: Condition.NOT_STARTED,
    RemoteState.INCONSISTENT_COPYING: Condition.COPYING,
    RemoteState.CONSISTENT_STOPPED: Condition.STOPPED,
    RemoteState.CONSISTENT_SYNCHRONIZED: Condition.IN_SYNC,
    RemoteState.CONSISTENT_COPYING: Condition.IN_SYNC,
    RemoteState.IDLING: Condition.SPLIT,
    RemoteState.IDLING_DISCONNECTED: Condition.DISCONNECTED,
    RemoteState.INCONSISTENT_DISCONNECTED: Condition.DISCONNECTED,
    RemoteState.CONSISTENT_DISCONNECTED: Condition.DISCONNECTED,
}

MEANINGS: dict[Condition, str] = {
    Condition.IN_SYNC: "the second site follows",
    Condition.IMPAIRED: "the second site follows, but something is offline",
    Condition.COPYING: "the second site is being copied: it cannot take over yet",
    Condition.NOT_STARTED: "the copy is not started: the second site holds nothing usable",
    Condition.STOPPED: "the copy is stopped: the second site is consistent, but old",
    Condition.DISCONNECTED: "the arrays do not see one another",
    Condition.SPLIT: "both sites can be written and neither is copied (after a failover)",
    Condition.EMPTY: "the group has no relationships",
    Condition.UNSEEN: "no array tells of the group",
}

_USABLE = {
    RemoteState.CONSISTENT_STOPPED,
    RemoteState.CONSISTENT_SYNCHRONIZED,
    RemoteState.CONSISTENT_COPYING,
    RemoteState.CONSISTENT_DISCONNECTED,
}
"""Seen from the secondary or both: a consistent copy is there."""

_FROZEN = {RemoteState.CONSISTENT_STOPPED, RemoteState.CONSISTENT_DISCONNECTED}
_APART = {Condition.STOPPED, Condition.DISCONNECTED}

_BROKEN_HALF = {RemoteState.IDLING_DISCONNECTED, RemoteState.IDLING}
"""Tells nothing about the other half: what was in sync last is the bound."""

_FINE_STATUS = {"", "online"}


class Transition(StrEnum):
    """A change worth telling; emitted as `flashvault.remote.<value>`."""

    IN_SYNC = "in_sync"
    DEGRADED = "degraded"
    RPO_BREACHED = "rpo_breached"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Health:
    """One poll, judged. `lag` is the age of the newest consistent state of the second site."""

    at: datetime
    condition: Condition
    why: str
    state: RemoteState | None = None
    primary: str = ""
    recovery_point: datetime | None = None
    lag: timedelta | None = None
    is_breached: bool = False
    progress: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Say whether nothing is to be told."""
        return self.condition is Condition.IN_SYNC and not self.is_breached


class Notice(BaseModel):
    """A transition to be told: kept until it is, whatever happens to the run that saw it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    transition: Transition
    at: datetime
    condition: Condition
    state: str
    lag_s: float | None
    why: str


class Memory(BaseModel):
    """What is remembered from poll to poll."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime | None = None
    condition: Condition | None = None
    since: datetime | None = None
    in_sync_at: datetime | None = None
    """The last poll that saw the second site follow: the copy is at least as new."""
    recovery_point: datetime | None = None
    """What the last poll found usable at the second site; None while nothing is."""
    was_in_sync: bool = False
    is_degraded_told: bool = False
    is_breach_told: bool = False
    untold: tuple[Notice, ...] = ()
    """Seen, and perhaps not told yet: a run that is killed in between leaves them here."""
    progress: tuple[tuple[datetime, float], ...] = ()
    checked_at: datetime | None = None
    faults: tuple[str, ...] = ()
    """What the last check found wrong with the group's set-up."""
    cloud_point: datetime | None = None
    """When the group's newest restore point in the cloud was taken."""
    silent_since: dict[str, datetime] = {}
    """Storage systems that do not answer: the first look of those that found them so."""
    volume_groups: dict[str, tuple[str, ...]] = {}
    """Volume group → vdisk UIDs on both arrays, for the day nobody can be asked."""


def judge(
    views: Mapping[str, RemoteView],
    memory: Memory,
    now: datetime,
    *,
    rpo: timedelta | None = None,
    problems: Mapping[str, str] | None = None,
) -> Health:
    """Judge one poll of both arrays.

    Args:
        views: by storage system; one that did not answer is missing.
        memory: what the polls before left.
        now: aware.
        rpo: how much may be lost; None asks for nothing.
        problems: by storage system, why it did not answer.
    """
    notes = [f"{name}: {why}" for name, why in (problems or {}).items()]
    if not views:
        health = Health(now, Condition.UNSEEN, MEANINGS[Condition.UNSEEN], notes=tuple(notes))
        return _with_lag(health, memory.in_sync_at, memory, rpo)
    name, view = _worst(views)
    condition = CONDITIONS[view.state]
    odd = [f"{who}: status {seen.group.status}" for who, seen in views.items() if _is_odd(seen)]
    if condition is Condition.IN_SYNC and odd:
        condition = Condition.IMPAIRED
    notes += odd + _odd_relationships(view)
    primary = next((who for who, seen in views.items() if seen.is_primary), "")
    if not primary and view.primary:
        primary = f"{name}'s partner"
    health = Health(
        at=now,
        condition=condition,
        why=f"{view.state}: {MEANINGS[condition]}",
        state=view.state,
        primary=primary,
        progress=view.progress,
        notes=tuple(notes),
    )
    return _with_lag(health, _recovery_point(views, memory, now, condition), memory, rpo)


def follow(memory: Memory, health: Health) -> tuple[Memory, tuple[Transition, ...]]:
    """Remember a poll, and return the transitions it shows, which no later poll shows again.

    A first copy is no alarm, however long it takes; a copy after the group was in sync is: until
    it ends the second site cannot take over.
    """
    follows = health.condition is Condition.IN_SYNC
    is_first_copy = health.condition is Condition.COPYING and not memory.was_in_sync
    is_degraded = not follows and not is_first_copy
    was_alarmed = memory.is_degraded_told or memory.is_breach_told
    told = []
    if health.is_healthy and not memory.was_in_sync:
        told.append(Transition.IN_SYNC)
    elif health.is_healthy and was_alarmed:
        told.append(Transition.RECOVERED)
    if is_degraded and not memory.is_degraded_told:
        told.append(Transition.DEGRADED)
    if health.is_breached and not memory.is_breach_told:
        told.append(Transition.RPO_BREACHED)
    is_same = health.condition is memory.condition
    after = memory.model_copy(
        update={
            "at": health.at,
            "condition": health.condition,
            "since": memory.since if is_same and memory.since else health.at,
            "in_sync_at": health.recovery_point if follows else memory.in_sync_at,
            "recovery_point": health.recovery_point,
            "was_in_sync": memory.was_in_sync or follows,
            # An alarm that was told stays told until all is well: what comes and goes is one alarm.
            "is_degraded_told": not health.is_healthy and (memory.is_degraded_told or is_degraded),
            "is_breach_told": not health.is_healthy
            and (memory.is_breach_told or health.is_breached),
            "progress": _samples(memory, health),
        }
    )
    return after, tuple(told)


def time_left(memory: Memory) -> timedelta | None:
    """Say how long a copy will still take, from its last poll on, at the speed of its last steps.

    None if that cannot be said: it has just begun, or has stood still for longer than it was seen
    to move.
    """
    # The first was seen somewhere within its percent, every other one when it was reached.
    steps = memory.progress[1:] if len(memory.progress) > 2 else memory.progress
    if len(steps) < 2 or memory.at is None:
        return None
    (began, first), (ended, last) = steps[0], steps[-1]
    moved, stood = ended - began, memory.at - ended
    if last <= first or not timedelta(0) <= stood <= moved:
        return None
    usual = moved / (len(steps) - 1)
    if stood > 2 * usual:
        moved, stood = moved + stood, timedelta(0)  # it has become slower
    return max(moved * ((100.0 - last) / (last - first)) - stood, timedelta(0))


def joint_recovery_point(*points: datetime | None) -> datetime | None:
    """Return the newest of what the methods of a group can bring back."""
    return max((point for point in points if point is not None), default=None)


def _worst(views: Mapping[str, RemoteView]) -> tuple[str, RemoteView]:
    """Return the view that says most about the trouble.

    Of two halves the secondary's counts: it is what would take over.
    """
    order = list(Condition)
    return max(
        views.items(),
        key=lambda item: (order.index(CONDITIONS[item[1].state]), not item[1].is_primary),
    )


def _is_odd(view: RemoteView) -> bool:
    return view.group.status not in _FINE_STATUS


def _odd_relationships(view: RemoteView) -> list[str]:
    """Name the members that are in another state than their group, or have a volume offline."""
    return [
        f"relationship {each.name}: {each.state}"
        + (f", status {each.status}" if each.status not in _FINE_STATUS else "")
        for each in view.relationships
        if each.state is not view.state or each.status not in _FINE_STATUS
    ]


def _recovery_point(
    views: Mapping[str, RemoteView], memory: Memory, now: datetime, condition: Condition
) -> datetime | None:
    """Return the moment of the newest consistent state of the second site, as far as is known."""
    secondary = [view for view in views.values() if not view.is_primary]
    view = (secondary or list(views.values()))[0]
    if condition is Condition.IN_SYNC:
        return (view.frozen_at or now) if view.is_cycling else now
    if view.state in _USABLE:
        return recovery_point_of(view, memory)
    return memory.in_sync_at if view.state in _BROKEN_HALF else None


def recovery_point_of(view: RemoteView, memory: Memory) -> datetime | None:
    """Return what a secondary that no longer follows holds: its freeze time, or better.

    The array cuts the freeze time off to the minute; a poll in that very minute which still saw
    the group in sync says more.
    """
    frozen, seen = view.frozen_at, memory.in_sync_at
    if frozen is None:
        return seen
    if seen is not None and frozen <= seen < frozen + FREEZE_RESOLUTION:
        return seen
    return frozen


def parted_by(views: Mapping[str, RemoteView], memory: Memory, now: datetime) -> datetime | None:
    """Return when the second site had surely stopped following, None if it may follow still.

    The earliest of what is known: the end of the minute the array froze it in, the first poll
    that found it apart, and now.
    """
    frozen = [v.frozen_at for v in views.values() if not v.is_primary and v.state in _FROZEN]
    if not frozen:
        return None
    ends = [now, *(each + FREEZE_RESOLUTION for each in frozen if each is not None)]
    if memory.condition in _APART and memory.since is not None:
        ends.append(memory.since)
    return min(ends)


def _with_lag(
    health: Health, recovery_point: datetime | None, memory: Memory, rpo: timedelta | None
) -> Health:
    """Add the lag. While there is no usable copy it is counted from the last one there was."""
    bound = recovery_point or memory.in_sync_at
    lag = None if bound is None else max(health.at - bound, timedelta(0))
    is_breached = rpo is not None and lag is not None and lag > rpo
    why = health.why
    if is_breached and rpo is not None and lag is not None:
        why += (
            f"; {format_duration(lag.total_seconds())} behind,"
            f" the RPO is {format_duration(rpo.total_seconds())}"
        )
    return Health(
        at=health.at,
        condition=health.condition,
        why=why,
        state=health.state,
        primary=health.primary,
        recovery_point=recovery_point,
        lag=lag,
        is_breached=is_breached,
        progress=health.progress,
        notes=health.notes,
    )


def _samples(memory: Memory, health: Health) -> tuple[tuple[datetime, float], ...]:
    if health.progress is None:
        return ()
    kept = memory.progress
    if kept and health.progress < kept[-1][1]:
        kept = ()  # it fell back: what was measured before says nothing about what is to come
    if kept and health.progress == kept[-1][1]:
        return kept
    return (*kept, (health.at, health.progress))[-SAMPLES:]
