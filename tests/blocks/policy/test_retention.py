from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.catalog.point import PointId, RestorePoint
from blocks.catalog.shelf import ShelvedPoint
from blocks.policy.retention import given_up, judge
from blocks.profile.retention import Retention

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def shelved(
    name: str,
    taken_at: datetime,
    *,
    stored_at: datetime | None = None,
    is_held: bool = False,
    is_damaged: bool = False,
) -> ShelvedPoint:
    point = RestorePoint.model_construct(id=PointId(name), group="RG1", taken_at=taken_at)
    return ShelvedPoint(point, stored_at or taken_at, is_held=is_held, is_damaged=is_damaged)


def days_ago(*days: float) -> list[ShelvedPoint]:
    return [shelved(f"{day:g}", NOW - timedelta(days=day)) for day in days]


def kept(points: Sequence[ShelvedPoint], retention: Retention, **options: object) -> list[str]:
    verdicts = judge(points, retention, now=NOW, **options)  # type: ignore[arg-type]
    return [verdict.point_id for verdict in verdicts if verdict.is_kept]


def test_last_keeps_the_newest() -> None:
    assert kept(days_ago(3, 1, 2, 0), Retention(last=2, minimum=1)) == ["0", "1"]


def test_each_period_keeps_its_newest_point() -> None:
    points = days_ago(0, 0.1, 1, 1.1, 2, 8, 40, 400)
    assert kept(points, Retention(daily=3, minimum=1)) == ["0", "1", "2"]
    assert kept(points, Retention(weekly=2, minimum=1)) == ["0", "1"]  # Monday noon: 1 is last week
    assert kept(points, Retention(monthly=3, minimum=1)) == ["0", "40", "400"]
    assert kept(points, Retention(yearly=5, minimum=1)) == ["0", "400"]
    assert kept(points, Retention(hourly=2, minimum=1)) == ["0", "0.1"]


def test_a_period_without_points_takes_no_place() -> None:
    assert kept(days_ago(0, 30, 60, 90), Retention(daily=3, minimum=1)) == ["0", "30", "60"]


def test_a_day_begins_in_the_profiles_time_zone() -> None:
    at = [datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (14, 16)]
    points = [shelved("before", at[0]), shelved("after", at[1])]
    assert kept(points, Retention(daily=5, minimum=1)) == ["after"]
    tokyo = ZoneInfo("Asia/Tokyo")  # 23:00 and 01:00
    assert kept(points, Retention(daily=5, minimum=1), timezone=tokyo) == ["after", "before"]


def test_the_hour_that_summer_time_repeats_is_two_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]  # both 02:30
    points = [shelved("first", at[0]), shelved("second", at[1])]
    assert len(kept(points, Retention(hourly=5, minimum=1), timezone=berlin)) == 2


def test_the_minimum_counts_restorable_points() -> None:
    points = [
        shelved("0", NOW, is_damaged=True),
        *days_ago(1, 2, 3),
    ]
    assert kept(points, Retention(last=1, minimum=3)) == ["0", "1", "2", "3"]
    reasons = {v.point_id: v.reasons for v in judge(points, Retention(last=1), now=NOW)}
    assert reasons[PointId("0")] == ("damaged, kept beside the intact ones (last 1 of 1)",)


def test_a_held_or_locked_point_stays() -> None:
    points = [*days_ago(0, 5), shelved("held", NOW - timedelta(days=9), is_held=True)]
    locks = {PointId("5"): NOW + timedelta(days=1), PointId("0"): NOW - timedelta(days=1)}
    assert kept(points, Retention(last=1, minimum=1), locked_until=locks) == ["0", "5", "held"]


@pytest.mark.parametrize(
    ("taken", "stored", "word"),
    [(400, 0, "after it was stored"), (30, 30, "future"), (-400, 0, "days after it was taken")],
)
def test_a_point_with_doubtful_times_is_kept_reported_and_takes_no_place(
    taken: float, stored: float, word: str
) -> None:
    forged = shelved("forged", NOW + timedelta(days=taken), stored_at=NOW + timedelta(days=stored))
    points = [*days_ago(0, 1), forged]
    verdicts = {v.point_id: v for v in judge(points, Retention(last=1, minimum=1), now=NOW)}
    assert verdicts[PointId("0")].is_kept
    assert not verdicts[PointId("1")].is_kept
    assert verdicts[PointId("forged")].is_doubtful
    assert word in verdicts[PointId("forged")].reasons[0]


def test_what_is_given_up_names_its_reason() -> None:
    verdicts = judge(days_ago(0, 1), Retention(last=1, minimum=1), now=NOW)
    assert given_up(verdicts) == {PointId("1"): "no rule keeps it"}


RULES = st.builds(
    Retention,
    last=st.integers(0, 4),
    hourly=st.integers(0, 3),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 4),
    monthly=st.integers(0, 3),
    yearly=st.integers(0, 2),
    minimum=st.integers(1, 4),
)
AGES = st.lists(st.integers(0, 2 * 365 * 24), unique=True, min_size=1, max_size=40)


@given(hours=AGES, retention=RULES)
def test_the_newest_and_the_minimum_always_stay(hours: list[int], retention: Retention) -> None:
    points = days_ago(*(hour / 24 for hour in hours))
    found = kept(points, retention)
    ordered = sorted(points, key=lambda entry: entry.effective_at, reverse=True)
    newest = [entry.point.id for entry in ordered]
    assert found[: retention.minimum] == newest[: retention.minimum]
    ceiling = sum(retention.model_dump().values())
    assert len(found) <= ceiling


@given(hours=AGES, retention=RULES, years=st.integers(1, 50))
def test_a_clock_that_jumps_ahead_removes_nothing(
    hours: list[int], retention: Retention, years: int
) -> None:
    points = days_ago(*(hour / 24 for hour in hours))
    later = judge(points, retention, now=NOW + timedelta(days=365 * years))
    assert later == judge(points, retention, now=NOW)


@given(hours=AGES, retention=RULES, years=st.integers(1, 50))
def test_a_clock_that_jumps_back_removes_nothing_more(
    hours: list[int], retention: Retention, years: int
) -> None:
    points = days_ago(*(hour / 24 for hour in hours))
    earlier = judge(points, retention, now=NOW - timedelta(days=365 * years))
    gone = set(given_up(earlier))
    # Points "from the future" are all kept; of the older ones no fewer than by the rules.
    assert all(v.is_kept for v in earlier if v.is_doubtful)
    assert len(points) - len(gone) >= min(len(points), retention.minimum)


@given(hours=AGES, retention=RULES, forged=st.lists(st.integers(8, 900), max_size=20))
def test_forged_times_push_no_good_point_out(
    hours: list[int], retention: Retention, forged: list[int]
) -> None:
    """Points stored today that pretend to be of other days change no other verdict."""
    good = days_ago(*(hour / 24 for hour in hours))
    bad = [
        shelved(f"forged{place}", NOW + timedelta(days=day * (-1) ** place), stored_at=NOW)
        for place, day in enumerate(forged)
    ]
    assert set(kept(good, retention)) <= set(kept([*good, *bad], retention))


@given(hours=AGES, retention=RULES)
def test_pruning_twice_is_pruning_once(hours: list[int], retention: Retention) -> None:
    points = days_ago(*(hour / 24 for hour in hours))
    left = [entry for entry in points if entry.point.id in kept(points, retention)]
    assert given_up(judge(left, retention, now=NOW)) == {}
