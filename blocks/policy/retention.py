"""Which restore points stay, and why. Pure: `now` is an argument.

Rules count points, not days: "14 daily" keeps the newest point of each of the 14 most recent days
*that have one*. A clock that jumps a year ahead therefore removes nothing, and a group that was not
backed up for a month keeps what it has.

Points are ordered by when they were taken, but never after the store says they were stored
(`ShelvedPoint.effective_at`). One whose two times do not fit is kept, reported, and takes no other
point's place: times that were forged, or a clock that was wrong, must not push good points out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from blocks.catalog.point import PointId
from blocks.catalog.shelf import ShelvedPoint
from blocks.profile.retention import Retention

CLOCK_SLACK = timedelta(hours=1)
"""How far clocks of host and store may differ before a point counts as from the future."""

LATE_STORE = timedelta(days=7)
"""How long a backup may take from its snapshot to its commit before its times are doubted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one point."""

    point_id: PointId
    taken_at: datetime
    is_kept: bool
    reasons: tuple[str, ...]
    is_doubtful: bool = False
    """Its times do not fit together: somebody should look."""


def judge(
    points: Sequence[ShelvedPoint],
    retention: Retention,
    *,
    now: datetime,
    timezone: tzinfo = UTC,
    locked_until: Mapping[PointId, datetime] | None = None,
) -> list[Verdict]:
    """Decide about every point of a group, newest first.

    Args:
        points: all of them, also those in the trash (they are judged as any other).
        retention: what the profile asks for.
        now: the present; used only to see points from the future and locks that have ended.
        timezone: the profile's: where a day begins.
        locked_until: until when the store refuses to delete a point's objects.
    """
    ordered = sorted(points, key=lambda entry: (entry.effective_at, entry.point.id), reverse=True)
    doubts = {entry.point.id: doubt for entry in ordered if (doubt := _doubt(entry, now))}
    sound = [entry for entry in ordered if entry.point.id not in doubts]
    reasons = _Reasons()
    restorable = [entry for entry in sound if not entry.is_damaged]
    _apply(restorable, retention, timezone, reasons)
    for place, entry in enumerate(restorable[: retention.minimum], start=1):
        reasons.add(entry, f"minimum {place} of {retention.minimum}")
    # Damaged points take no place, but are kept where an intact one in theirs would be: most of
    # such a point can still be restored.
    beside = _Reasons()
    _apply(sound, retention, timezone, beside)
    for entry in ordered:
        if entry.is_damaged and beside.of(entry):
            reasons.add(entry, f"damaged, kept beside the intact ones ({beside.of(entry)[0]})")
        if entry.is_held:
            reasons.add(entry, "held")
        lock = (locked_until or {}).get(entry.point.id)
        if lock is not None and lock > now:
            reasons.add(entry, f"locked until {lock:%Y-%m-%d}")
        if entry.point.id in doubts:
            reasons.add(entry, doubts[entry.point.id])
    return [
        Verdict(
            entry.point.id,
            entry.point.taken_at,
            bool(reasons.of(entry)),
            tuple(reasons.of(entry)) or ("no rule keeps it",),
            entry.point.id in doubts,
        )
        for entry in ordered
    ]


def given_up(verdicts: Sequence[Verdict]) -> dict[PointId, str]:
    """Return the points to put into the trash, with the reason: what a prune is given."""
    return {
        verdict.point_id: "; ".join(verdict.reasons) for verdict in verdicts if not verdict.is_kept
    }


@dataclass(slots=True)
class _Reasons:
    by_point: dict[PointId, list[str]] = field(default_factory=dict)

    def add(self, entry: ShelvedPoint, reason: str) -> None:
        self.by_point.setdefault(entry.point.id, []).append(reason)

    def of(self, entry: ShelvedPoint) -> list[str]:
        return self.by_point.get(entry.point.id, [])


def _apply(
    newest_first: Sequence[ShelvedPoint],
    retention: Retention,
    timezone: tzinfo,
    reasons: _Reasons,
) -> None:
    for place, entry in enumerate(newest_first[: retention.last], start=1):
        reasons.add(entry, f"last {place} of {retention.last}")
    for name, count, period_of in _rules(retention):
        taken: set[str] = set()
        for entry in newest_first:
            if len(taken) == count:
                break
            period = period_of(entry.effective_at.astimezone(timezone))
            if period not in taken:
                taken.add(period)
                reasons.add(entry, f"{name} {period}")


def _rules(retention: Retention) -> list[tuple[str, int, Callable[[datetime], str]]]:
    return [
        # The offset tells the two hours apart that a change from summer time repeats.
        ("hourly", retention.hourly, lambda at: f"{at:%Y-%m-%d %H:00%z}"),
        ("daily", retention.daily, lambda at: f"{at:%Y-%m-%d}"),
        ("weekly", retention.weekly, lambda at: f"{at:%G-W%V}"),
        ("monthly", retention.monthly, lambda at: f"{at:%Y-%m}"),
        ("yearly", retention.yearly, lambda at: f"{at:%Y}"),
    ]


def _doubt(entry: ShelvedPoint, now: datetime) -> str:
    taken_at, stored_at = entry.point.taken_at, entry.stored_at
    if taken_at > stored_at + CLOCK_SLACK:
        return f"doubtful: taken {taken_at - stored_at} after it was stored"
    if max(taken_at, stored_at) > now + CLOCK_SLACK:
        return f"doubtful: from the future, {max(taken_at, stored_at):%Y-%m-%d %H:%M}"
    if stored_at > taken_at + LATE_STORE:
        return f"doubtful: stored {(stored_at - taken_at).days} days after it was taken"
    return ""
