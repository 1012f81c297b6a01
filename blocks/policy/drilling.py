"""When a group's next drill is due, and when somebody has to be told that none was made. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from blocks.catalog.drills import Drills
from blocks.policy.schedule import due, grace_of, overdue_after
from blocks.profile.attributes import is_observing_dst
from blocks.profile.model import BackupProfile


def why_no_drill(profile: BackupProfile, drills: Drills, now: datetime) -> str:
    """Say why a scheduled drill is not made now; empty when it is.

    One that failed proves nothing: the next tick tries again.
    """
    frequency = profile.drill_frequency
    if frequency is None:
        return "DRILL_FREQUENCY is not set"
    last = drills.last_passed
    grace = grace_of(frequency, profile.grace_percent)
    if last is None or due(now, last.began_at, frequency, grace, profile.timezone):
        return ""
    return (
        f"not due: a drill passed at {last.began_at:%Y-%m-%d %H:%M} UTC,"
        f" and DRILL_FREQUENCY is {frequency.days} days"
    )


def drill_window(profile: BackupProfile) -> timedelta | None:
    """Return how long without a passed drill is too long; None when none is asked for."""
    frequency = profile.drill_frequency
    if frequency is None:
        return None
    grace = grace_of(frequency, profile.grace_percent)
    return overdue_after(frequency, grace, observes_dst=is_observing_dst(profile.timezone))


def drill_fault(
    profile: BackupProfile, drills: Drills, protected_since: datetime | None, now: datetime
) -> str:
    """Say what is wrong with the drills a profile asks for; empty when nothing is.

    Args:
        profile: a cloud profile.
        drills: the group's, from the bucket.
        protected_since: when its oldest restore point was made; None when there is none, and
            nothing to drill.
        now: aware.
    """
    window = drill_window(profile)
    if window is None or protected_since is None:
        return ""
    last = drills.last
    if last is not None and not last.has_passed:
        return f"the last drill failed ({last.ended_at:%Y-%m-%d}): {last.fault}"
    passed = drills.last_passed
    if now - (passed.ended_at if passed else protected_since) <= window:
        return ""
    told = f"since {passed.ended_at:%Y-%m-%d}" if passed else "ever"
    return f"no drill has passed {told}: flashvault drill {profile.name}"
