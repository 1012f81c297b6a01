"""What a run does: a full, an incremental and on which parent, or nothing, and why.

Pure: the catalog's restore points and `now` are arguments. The answer carries its reason, which is
what the operator reads in the run's state.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from blocks.catalog.point import Kind, PointId, RestorePoint
from blocks.host.base import GroupState
from blocks.policy.schedule import (
    DAY,
    Timing,
    daily_timing,
    due,
    grace_of,
    next_slot,
    previous_slot,
)
from blocks.profile.model import BackupProfile, Encryption
from blocks.units import format_duration

Mode = Literal["auto", "full", "incremental"]

CLOCK_SLACK = timedelta(minutes=15)
"""A point from further in the future than this was written by a wrong clock, and is not believed:
it would stop every backup until that time comes."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. `kind` None means nothing: the run is skipped, and `reason` says why."""

    kind: Kind | None
    reason: str
    parent: PointId | None = None
    is_catch_up: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Past:
    """What the catalog says, as far as it can be believed."""

    last_full: RestorePoint | None
    last: RestorePoint | None
    parent: RestorePoint | None
    unfit: str
    is_damaged: bool = False
    """There are points, and no full is left that can be believed."""

    warnings: tuple[str, ...] = field(default=())


def obstacle(state: GroupState, *, is_cluster_stable: bool = True) -> str:
    """Say why the resource group cannot be backed up just now, or return an empty string.

    Only ONLINE allows a backup (powerha-cbm.md §12).
    """
    if state is not GroupState.ONLINE:
        return f"the resource group is {state}, not ONLINE"
    return "" if is_cluster_stable else "the cluster is not stable"


def decide(
    profile: BackupProfile,
    points: Iterable[RestorePoint],
    now: datetime,
    *,
    mode: Mode = "auto",
    force: bool = False,
    grace_percent: float | None = None,
    distrusted: Container[str] = frozenset(),
) -> Decision:
    """Decide what a run of a profile does now.

    Args:
        profile: a cloud profile.
        points: the group's restore points, in any order.
        now: aware.
        mode: `full` and `incremental` are what the schedules ask for; `auto` does what is due.
        force: do it even if it is not due; a disabled profile stays disabled.
        grace_percent: the deployment's own grace; None takes the profile's.
        distrusted: ids of points found damaged; none is built upon or counted as a full.
    """
    if not profile.enabled:
        return Decision(None, "the profile is disabled (ENABLE_BACKUP=no)")
    percent = profile.grace_percent if grace_percent is None else grace_percent
    past = _look_back(profile, points, now, distrusted)
    where, age = _full_timing(profile, past, now, percent)
    if mode == "full" or (mode == "auto" and where is not Timing.EARLY):
        if where is Timing.EARLY and not force:
            return _skip(f"not due: {age}", past)
        return _full(_why_full(where, age, force=force), past, where)
    frequency = profile.incremental_frequency
    if mode == "auto" and frequency is None:
        return _full("forced", past, where) if force else _skip(f"not due: {age}", past)
    if not force and (answer := _instead_of_incremental(profile, past, now, mode, percent)):
        return answer
    return _incremental(past, where)


def _instead_of_incremental(
    profile: BackupProfile, past: _Past, now: datetime, mode: Mode, percent: float
) -> Decision | None:
    where, age = _full_timing(profile, past, now, percent)
    at = f"{profile.schedule:%H:%M}"
    if mode == "incremental":
        if past.last_full is None and past.is_damaged:
            # Waiting for the full's time would leave the group without anything to restore.
            warning = f"a full backup instead of an incremental: {past.unfit}"
            return Decision(Kind.FULL, past.unfit, warnings=(*past.warnings, warning))
        if past.last_full is None:
            by_clock = profile.backup_frequency is not None and not profile.backup_frequency % DAY
            return _skip("waits for the first full backup" + f" at {at}" * by_clock, past)
        if where is Timing.MISSED:
            return _full(_why_full(where, age, force=False), past, where)
        if where is Timing.DUE and _is_slot_of_a_full(profile, now, percent):
            return _skip(f"the full backup of {at} takes its place", past)
    frequency = profile.incremental_frequency
    if frequency is not None:
        last = past.last.taken_at if past.last else None
        if not due(now, last, frequency, grace_of(frequency, percent), profile.timezone):
            return _skip(f"not due: {_age('the last backup', past.last, now, frequency)}", past)
    return None


def _look_back(
    profile: BackupProfile,
    points: Iterable[RestorePoint],
    now: datetime,
    distrusted: Container[str],
) -> _Past:
    ordered = sorted(points, key=lambda point: (point.taken_at, point.id))
    future = [point for point in ordered if point.taken_at > now + CLOCK_SLACK]
    warnings = tuple(
        f"restore point {point.id} says it was taken at {point.taken_at:%Y-%m-%d %H:%M} UTC, "
        "which has not come yet: it is ignored; check the clocks"
        for point in future
    )
    believed = [
        point
        for point in ordered
        if point.taken_at <= now + CLOCK_SLACK and point.id not in distrusted
    ]
    fulls = [point for point in believed if point.kind is Kind.FULL]
    is_damaged = not fulls and any(point.id in distrusted for point in ordered)
    why_unfit, parent = "there is no restore point to build on", None
    if is_damaged:
        why_unfit = "what is stored is damaged"
    if believed:
        why_unfit = unfit(believed[-1], profile)
        parent = None if why_unfit else believed[-1]
    return _Past(
        last_full=fulls[-1] if fulls else None,
        last=believed[-1] if believed else None,
        parent=parent,
        unfit=why_unfit,
        is_damaged=is_damaged,
        warnings=warnings,
    )


def unfit(point: RestorePoint, profile: BackupProfile) -> str:
    """Say why an incremental cannot build on a point, or return an empty string."""
    sizes = {volume.extent_bytes for volume in point.volumes}
    if sizes != {profile.extent_bytes}:
        return f"EXTENT_SIZE changed since restore point {point.id}"
    if (profile.encryption is Encryption.CLIENT) != (point.digest_algorithm == "blake3-keyed"):
        return f"ENCRYPTION changed since restore point {point.id}"
    return ""


def _full_timing(
    profile: BackupProfile, past: _Past, now: datetime, percent: float
) -> tuple[Timing, str]:
    frequency = profile.backup_frequency
    assert frequency is not None, "a cloud profile has a frequency"
    last = past.last_full.taken_at if past.last_full else None
    grace = grace_of(frequency, percent)
    where = daily_timing(now, last, frequency, grace, profile.schedule, profile.timezone)
    return where, _age("the last full", past.last_full, now, frequency)


def _is_slot_of_a_full(profile: BackupProfile, now: datetime, percent: float) -> bool:
    frequency = profile.incremental_frequency
    if frequency is None or profile.backup_frequency is None:
        return False
    if profile.backup_frequency < DAY:
        return False
    near = grace_of(frequency, percent)
    before = previous_slot(now, profile.schedule, profile.timezone)
    after = next_slot(now, profile.schedule, profile.timezone)
    return now - before <= near or after - now <= near


def _age(what: str, point: RestorePoint | None, now: datetime, frequency: timedelta) -> str:
    every = format_duration(frequency.total_seconds())
    if point is None:
        return f"{what} was never made, every {every}"
    age = format_duration(max((now - point.taken_at).total_seconds(), 0.0))
    return f"{what} is {age} old, every {every}"


def _why_full(where: Timing, age: str, *, force: bool) -> str:
    match where:
        case Timing.FIRST:
            return "there is no full backup yet"
        case Timing.MISSED:
            return f"a full backup was missed: {age}"
        case Timing.DUE:
            return f"due: {age}"
        case Timing.EARLY:
            assert force
            return "forced"


def _full(reason: str, past: _Past, where: Timing) -> Decision:
    return Decision(Kind.FULL, reason, is_catch_up=where is Timing.MISSED, warnings=past.warnings)


def _incremental(past: _Past, where: Timing) -> Decision:
    if past.parent is None:
        warning = f"a full backup instead of an incremental: {past.unfit}"
        return Decision(
            Kind.FULL,
            past.unfit,
            is_catch_up=where is Timing.MISSED,
            warnings=(*past.warnings, warning),
        )
    return Decision(
        Kind.INCREMENTAL,
        f"due, on restore point {past.parent.id}",
        parent=past.parent.id,
        warnings=past.warnings,
    )


def _skip(reason: str, past: _Past) -> Decision:
    return Decision(None, reason, warnings=past.warnings)
