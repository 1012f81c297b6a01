"""Which objects a run reads so that each is read once within N days. Pure.

Every object has a phase of its own, made from its key. It is due when its slot has come round since
it was last proven: so every daily run has about 1/N of the bytes to read, what is missed is made up
for by the next run, and nothing but the moment of the last reading has to be remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from blake3 import blake3

DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far everything a group's points need has been read back."""

    objects: int
    within_days: int
    """As the profile asks; 0 when it asks for nothing, or there is no profile."""

    oldest_at: datetime | None
    """Since when the object that waits longest has not been proven; None without objects."""

    late: int
    """Objects not proven within so many days, damaged ones among them."""

    @property
    def is_complete(self) -> bool:
        """Whether everything was proven within the days asked for."""
        return self.late == 0


def due_objects(since: Mapping[str, datetime], now: datetime, within_days: int) -> frozenset[str]:
    """Return the objects to read now.

    Args:
        since: when each was last proven.
        now: aware.
        within_days: each is to be read once in so many days, by runs that come daily.
    """
    assert within_days > 0
    if within_days == 1:
        return frozenset(since)
    # A day less, since a run comes up to a day after the slot.
    period = timedelta(days=within_days) - DAY
    return frozenset(key for key, at in since.items() if last_slot(key, now, period) > at)


def last_slot(key: str, now: datetime, period: timedelta) -> datetime:
    """Return an object's newest slot that is not after now."""
    seconds = int(period.total_seconds())
    phase = int.from_bytes(blake3(key.encode()).digest(length=8), "big") % seconds
    passed = int((now - _EPOCH).total_seconds()) - phase
    return _EPOCH + timedelta(seconds=passed // seconds * seconds + phase)


def coverage(
    since: Mapping[str, datetime], damaged: Collection[str], now: datetime, within_days: int
) -> Coverage:
    """Judge how far everything has been read back.

    Args:
        since: when each object was last proven.
        damaged: objects known to be damaged: never proven, whatever was read.
        now: aware.
        within_days: as the profile asks, or 0.
    """
    limit = timedelta(days=within_days)
    late = [
        key for key, at in since.items() if key in damaged or (within_days and now - at > limit)
    ]
    return Coverage(len(since), within_days, min(since.values(), default=None), len(late))
