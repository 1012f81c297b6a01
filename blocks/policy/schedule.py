"""Is a backup early, due, or missed; and when is the next time of day.

    last + frequency - grace      last + frequency      last + frequency + grace
    ──────── early ───────┼─────────── due ────────────────────┼──── missed, overdue ───→

Times are aware; a profile's daily time lives in its own zone. From 17:30 to 17:30 is a day, also
on the days that have 23 or 25 hours: of the true and the wall-clock distance, the longer tells
whether it is still early, and the shorter whether something was missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GRACE_MAX = timedelta(hours=12)
"""Ticks of a full are a day apart: with a longer grace, 'every 10 days' would become every 9."""


class Timing(StrEnum):
    """Where a moment lies, seen from the last backup."""

    FIRST = "first"
    EARLY = "early"
    DUE = "due"
    MISSED = "missed"


def grace_of(frequency: timedelta, percent: float) -> timedelta:
    """Return the tolerance around a due time.

    At most half a day (see `GRACE_MAX`). At least a minute (or a tenth of a frequency shorter than
    ten), since a run starts seconds sooner or later than the one before, and with no tolerance
    every second one would be skipped; for days an hour more, since a time that a clock change
    leaves out is made up for an hour beside it.
    """
    least = min(MINUTE, frequency / 10) if frequency < DAY else HOUR + MINUTE
    return min(max(frequency * percent / 100, least), GRACE_MAX)


def elapsed(last: datetime, now: datetime, zone: str = "UTC") -> tuple[timedelta, timedelta]:
    """Return the time since `last` by true time and by the clock on the wall: (shorter, longer)."""
    home = ZoneInfo(zone)
    wall = now.astimezone(home).replace(tzinfo=None) - last.astimezone(home).replace(tzinfo=None)
    true = now.astimezone(UTC) - last.astimezone(UTC)
    return min(true, wall), max(true, wall)


def timing(
    now: datetime,
    last: datetime | None,
    frequency: timedelta,
    grace: timedelta,
    zone: str = "UTC",
) -> Timing:
    """Say where `now` lies, seen from the last backup (None: there is none)."""
    if last is None:
        return Timing.FIRST
    shorter, longer = elapsed(last, now, zone)
    if longer < frequency - grace:
        return Timing.EARLY
    return Timing.DUE if shorter < frequency + grace else Timing.MISSED


def due(
    now: datetime,
    last: datetime | None,
    frequency: timedelta,
    grace: timedelta,
    zone: str = "UTC",
) -> bool:
    """Say whether a backup may be made now: never made, due, or missed."""
    return timing(now, last, frequency, grace, zone) is not Timing.EARLY


def daily_timing(
    now: datetime,
    last: datetime | None,
    frequency: timedelta,
    grace: timedelta,
    at: time,
    zone: str,
) -> Timing:
    """Do as `timing`, for a backup whose time is the next `at` after it has become due.

    After a catch-up at noon the next evening is in time although it is more than a day later.
    """
    plain = timing(now, last, frequency, grace, zone)
    if last is None or plain is Timing.EARLY or frequency % DAY:
        return plain
    slot = next_slot(last + frequency - grace - 2 * HOUR, at, zone)
    while timing(slot, last, frequency, grace, zone) is Timing.EARLY:
        slot = next_slot(slot, at, zone)
    return Timing.MISSED if now >= slot + grace else Timing.DUE


def overdue_after(frequency: timedelta, grace: timedelta, *, observes_dst: bool) -> timedelta:
    """Return how long after a restore point the next one must be there, or someone is told.

    Where clocks change, a night in autumn is an hour longer and nothing is wrong with it.
    """
    return frequency + grace + (HOUR if observes_dst else timedelta())


def next_slot(after: datetime, at: time, zone: str) -> datetime:
    """Return the next moment later than `after` when the zone's clocks show `at`, in UTC.

    A time that a clock change leaves out is taken as if the clocks had not changed yet; of a time
    that comes twice, the first counts.
    """
    home = ZoneInfo(zone)
    day = after.astimezone(home).date() - DAY
    while True:
        # fold=0: the first of two, and for a left-out time the offset before the jump.
        slot = datetime.combine(day, at, tzinfo=home).astimezone(UTC)
        if slot > after:
            return slot
        day += timedelta(days=1)


def previous_slot(until: datetime, at: time, zone: str) -> datetime:
    """Return the latest moment not later than `until` when the zone's clocks show `at`, in UTC."""
    slot = next_slot(until - timedelta(days=2, hours=2), at, zone)
    while (following := next_slot(slot, at, zone)) <= until:
        slot = following
    return slot


def slots(start: datetime, end: datetime, at: time, zone: str) -> Iterator[datetime]:
    """Yield every moment from `start` to before `end` when the zone's clocks show `at`, in UTC."""
    slot = next_slot(start - timedelta(microseconds=1), at, zone)
    while slot < end:
        yield slot
        slot = next_slot(slot, at, zone)
