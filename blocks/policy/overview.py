"""How every resource group stands: one row each, for a screen, an artifact or a scrape.

Pure: what the catalog holds, the profile and `now` are arguments. A row says first whether the
group is protected as its profile asks (`State`), then what stands behind that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from blocks.catalog.drills import Drills
from blocks.catalog.point import Kind, PointId
from blocks.catalog.shelf import Shelf, ShelvedPoint
from blocks.policy.drilling import drill_fault
from blocks.policy.mode import CLOCK_SLACK
from blocks.policy.replication import joint_recovery_point
from blocks.policy.rolling import Coverage
from blocks.policy.schedule import (
    DAY,
    HOUR,
    Timing,
    grace_of,
    next_slot,
    overdue_after,
    timing,
)
from blocks.profile.attributes import is_observing_dst
from blocks.profile.model import BackupProfile


class State(StrEnum):
    """How a group stands, from good to bad in the order of the members."""

    OK = "ok"
    UNSCHEDULED = "no profile"
    """There are restore points, and no profile asks for more."""
    DISABLED = "disabled"
    UNPROVEN = "unproven"
    """Backed up in time, but the last drill failed, or none has passed within DRILL_FREQUENCY."""
    NEVER = "never backed up"
    OVERDUE = "overdue"
    REMOTE = "remote impaired"
    """Only a remote copy protects the group, and the second site does not follow."""
    UNKNOWN = "unknown"
    """The bucket could not be read, or nobody has looked at the remote copy for long."""


GOOD = frozenset({State.OK, State.UNSCHEDULED, State.DISABLED})
"""States nobody needs to be woken for."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What is remembered of the Global Mirror: its condition, since when, and the last look."""

    condition: str
    since: datetime | None
    looked_at: datetime | None
    is_well: bool
    recovery_point: datetime | None = None
    """What the second site surely holds, by the last look."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a screen tells of a restore point; its document may be megabytes, this is not."""

    id: PointId
    kind: Kind
    taken_at: datetime
    effective_at: datetime
    committed_at: datetime
    size_bytes: int
    stored_bytes: int
    changed_bytes: int
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """One group at a glance."""

    group: str
    state: State
    why: str = ""
    bucket: str = ""
    last: Kept | None = None
    """The newest restore point that is neither in the trash nor damaged."""
    age: timedelta | None = None
    history: tuple[Kept, ...] = ()
    """Every restore point that is not in the trash, oldest first."""
    damaged: int = 0
    unreadable: int = 0
    next_due: datetime | None = None
    overdue_at: datetime | None = None
    running: str = ""
    remote: Remote | None = None
    drills: Drills = field(default_factory=Drills)
    coverage: Coverage | None = None
    """How far everything was read back; None when that is not known."""

    @property
    def joint_recovery_point(self) -> datetime | None:
        """The newest of what the group's methods can bring back; None when neither can."""
        return joint_recovery_point(
            self.last.taken_at if self.last else None,
            self.remote.recovery_point if self.remote else None,
        )

    @property
    def newest_is_remote(self) -> bool:
        """Say whether that is the second site's copy, not a restore point in the cloud."""
        remote = self.remote.recovery_point if self.remote else None
        return remote is not None and remote == self.joint_recovery_point

    @property
    def stored_bytes(self) -> int:
        """Bytes all its restore points added to the bucket."""
        return sum(point.stored_bytes for point in self.history)

    @property
    def is_good(self) -> bool:
        """Say whether nobody needs to act."""
        return self.state in GOOD

    @property
    def is_overdue(self) -> bool:
        """Say whether a restore point is missing that should be there."""
        return self.state in {State.OVERDUE, State.NEVER}


def overview(
    group: str,
    profile: BackupProfile | None,
    shelf: Shelf,
    now: datetime,
    *,
    running: str = "",
    remote: Remote | None = None,
    drills: Drills | None = None,
    coverage: Coverage | None = None,
) -> Overview:
    """Judge a group by its restore points.

    Args:
        group: the resource group.
        profile: its cloud profile; None when there is only the bucket.
        shelf: everything at its point keys.
        now: aware.
        running: who writes into the group just now, in words; empty if nobody.
        remote: what is remembered of its remote copy.
        drills: what its drills were; None as if there were none.
        coverage: how far everything was read back.
    """
    kept = [_kept(entry) for entry in shelf.points if entry.trashed_at is None]
    good = [entry for entry in kept if not entry.is_damaged]
    # A point from the future was written by a wrong clock: it must not make a group look well.
    believed = [entry for entry in good if entry.effective_at <= now + CLOCK_SLACK]
    last = believed[-1] if believed else None
    state, why, due, overdue_at = _judged(profile, believed, now)
    drills = drills or Drills()
    if profile is not None and state is State.OK:
        oldest = min((entry.committed_at for entry in believed), default=None)
        if why := drill_fault(profile, drills, oldest, now):
            state = State.UNPROVEN
    faults = []
    if damaged := len(kept) - len(good):
        faults.append(f"{damaged} damaged")
    if shelf.unreadable:
        faults.append(f"{len(shelf.unreadable)} unreadable")
    if coverage and coverage.late and not damaged:
        faults.append(f"{coverage.late} objects not read back within {coverage.within_days} days")
    if future := len(good) - len(believed):
        faults.append(f"{future} from the future: check the clocks")
    return Overview(
        group=group,
        state=state,
        why="; ".join(filter(None, [why, *faults])),
        bucket=profile.bucket_name if profile else "",
        last=last,
        age=max(now - last.effective_at, timedelta()) if last else None,
        history=tuple(kept),
        damaged=damaged,
        unreadable=len(shelf.unreadable),
        next_due=due,
        overdue_at=overdue_at,
        running=running,
        remote=remote,
        drills=drills,
        coverage=coverage,
    )


def remote_overview(
    profile: BackupProfile, remote: Remote | None, now: datetime, stale: timedelta
) -> Overview:
    """Judge a group that only a remote copy protects.

    Args:
        profile: its remote_storage profile.
        remote: what is remembered; None if nobody ever looked.
        now: aware.
        stale: a look older than this says nothing any more.
    """
    row = Overview(profile.name, State.OK, bucket="", remote=remote)
    if not profile.enabled:
        return _with(row, State.DISABLED, "")
    if remote is None or remote.looked_at is None:
        return _with(row, State.UNKNOWN, "nobody has looked at the remote copy yet")
    if now - remote.looked_at > stale:
        return _with(row, State.UNKNOWN, "nobody looks at the remote copy any more")
    if not remote.is_well:
        return _with(row, State.REMOTE, f"the remote copy is {remote.condition}")
    return row


def unread(group: str, profile: BackupProfile | None, why: str) -> Overview:
    """Return the row of a group whose bucket could not be read."""
    return Overview(group, State.UNKNOWN, why=why, bucket=profile.bucket_name if profile else "")


def overdue_window(profile: BackupProfile) -> timedelta:
    """Return how long without a new restore point is too long, for a cloud profile."""
    frequency = profile.incremental_frequency or profile.backup_frequency
    assert frequency is not None, "a cloud profile has a frequency"
    grace = grace_of(frequency, profile.grace_percent)
    return overdue_after(
        frequency,
        grace,
        # A night in autumn is an hour longer; it matters only where schedules follow the clocks.
        observes_dst=frequency >= HOUR and is_observing_dst(profile.timezone),
    )


def next_due(
    profile: BackupProfile, last_full: datetime | None, last: datetime | None, now: datetime
) -> datetime:
    """Return when the next backup of a profile is due; a time past says it is late.

    A full of whole days is due at BACKUP_SCHEDULE, as `blocks.policy.schedule.daily_timing` has it.
    """
    frequency = profile.backup_frequency
    assert frequency is not None, "a cloud profile has a frequency"
    if last_full is None:
        return next_slot(now, profile.schedule, profile.timezone)
    due = last_full + frequency
    if not frequency % DAY:
        grace = grace_of(frequency, profile.grace_percent)
        zone = profile.timezone
        due = next_slot(last_full + frequency - grace - 2 * HOUR, profile.schedule, zone)
        while timing(due, last_full, frequency, grace, zone) is Timing.EARLY:
            due = next_slot(due, profile.schedule, zone)
    if profile.incremental_frequency is not None and last is not None:
        due = min(due, last + profile.incremental_frequency)
    return due


def _judged(
    profile: BackupProfile | None, believed: Sequence[Kept], now: datetime
) -> tuple[State, str, datetime | None, datetime | None]:
    """Return the state, why, when the next is due and when it is overdue."""
    if profile is None:
        return State.UNSCHEDULED, "", None, None
    if not profile.enabled:
        return State.DISABLED, "ENABLE_BACKUP=no", None, None
    fulls = [entry for entry in believed if entry.kind is Kind.FULL]
    last = believed[-1].effective_at if believed else None
    due = next_due(profile, fulls[-1].effective_at if fulls else None, last, now)
    if last is None:
        return State.NEVER, "there is no restore point", due, None
    overdue_at = last + overdue_window(profile)
    return (State.OVERDUE if now > overdue_at else State.OK), "", due, overdue_at


def _with(row: Overview, state: State, why: str) -> Overview:
    return Overview(row.group, state, why=why, remote=row.remote)


def _kept(entry: ShelvedPoint) -> Kept:
    point = entry.point
    return Kept(
        id=point.id,
        kind=point.kind,
        taken_at=point.taken_at,
        effective_at=entry.effective_at,
        committed_at=point.committed_at,
        size_bytes=point.size_bytes,
        stored_bytes=point.stored_bytes,
        changed_bytes=sum(volume.changed_bytes for volume in point.volumes),
        is_damaged=entry.is_damaged,
    )
