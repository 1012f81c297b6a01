from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.policy.schedule import (
    Timing,
    due,
    elapsed,
    grace_of,
    next_slot,
    overdue_after,
    previous_slot,
    slots,
    timing,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")

moments = st.datetimes(datetime(2024, 1, 1), datetime(2034, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 hypothesis adds the zone
zones = st.sampled_from(ZONES)
frequencies = st.timedeltas(timedelta(seconds=10), timedelta(days=60))
percents = st.floats(0, 50)


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo("Europe/Berlin"))


def test_without_a_backup_the_first_is_due():
    assert due(datetime(2026, 1, 1, tzinfo=UTC), None, DAY, HOUR)


def test_a_little_early_counts_and_a_little_late_is_not_missed():
    last = datetime(2026, 1, 1, 17, 30, 5, tzinfo=UTC)
    grace = grace_of(DAY, 10)
    assert grace == timedelta(hours=2, minutes=24)
    assert timing(last + DAY - 5 * MINUTE, last, DAY, grace) is Timing.DUE
    assert timing(last + DAY - grace - MINUTE, last, DAY, grace) is Timing.EARLY
    assert timing(last + DAY + grace - MINUTE, last, DAY, grace) is Timing.DUE
    assert timing(last + DAY + grace, last, DAY, grace) is Timing.MISSED


@pytest.mark.parametrize(
    ("last", "now"),
    [
        (berlin(2026, 3, 28, 17, 30), berlin(2026, 3, 29, 17, 30)),  # 23 hours
        (berlin(2026, 10, 24, 17, 30), berlin(2026, 10, 25, 17, 30)),  # 25 hours
    ],
)
def test_a_day_is_a_day_on_both_nights_the_clocks_change(last, now):
    assert timing(now, last, DAY, grace_of(DAY, 0), "Europe/Berlin") is Timing.DUE


def test_an_every_ten_days_schedule_does_not_creep_a_day_early():
    grace = grace_of(10 * DAY, 10)
    last = datetime(2026, 1, 1, 17, 30, tzinfo=UTC)
    assert not due(last + 9 * DAY, last, 10 * DAY, grace)
    assert due(last + 10 * DAY - MINUTE, last, 10 * DAY, grace)


def test_no_grace_still_forgives_the_seconds_a_run_takes_to_start():
    last = datetime(2026, 1, 1, 17, 30, 40, tzinfo=UTC)
    assert due(last + DAY - timedelta(seconds=35), last, DAY, grace_of(DAY, 0))


def test_the_alarm_waits_an_hour_more_where_clocks_change():
    assert overdue_after(DAY, HOUR, observes_dst=True) == DAY + 2 * HOUR
    assert overdue_after(DAY, HOUR, observes_dst=False) == DAY + HOUR


def test_a_time_that_spring_leaves_out_comes_once():
    found = list(slots(berlin(2026, 3, 28), berlin(2026, 3, 31), time(2, 30), "Europe/Berlin"))
    assert [f"{slot.astimezone(ZoneInfo('Europe/Berlin')):%d %H:%M}" for slot in found] == [
        "28 02:30",
        "29 03:30",
        "30 02:30",
    ]


def test_a_time_that_autumn_repeats_comes_once():
    found = list(slots(berlin(2026, 10, 24), berlin(2026, 10, 27), time(2, 30), "Europe/Berlin"))
    assert [f"{slot.astimezone(ZoneInfo('Europe/Berlin')):%d %H:%M %Z}" for slot in found] == [
        "24 02:30 CEST",
        "25 02:30 CEST",
        "26 02:30 CET",
    ]


@given(moments, st.times(), zones)
def test_the_next_slot_is_the_soonest_and_shows_the_time(after, at, zone):
    at = at.replace(second=0, microsecond=0)
    slot = next_slot(after, at, zone)
    assert after < slot <= after + timedelta(hours=25)
    local = slot.astimezone(ZoneInfo(zone))
    # Where the clocks jumped over it, the slot is by so much later as they jumped.
    assert local.time() == at or local.hour * 60 + local.minute > at.hour * 60 + at.minute
    assert previous_slot(slot, at, zone) == slot
    assert previous_slot(slot - timedelta(seconds=1), at, zone) <= after


@given(moments, st.times(), zones)
def test_a_year_has_one_slot_a_day(start, at, zone):
    home = ZoneInfo(zone)
    begin = datetime(start.year, 1, 1, tzinfo=home)
    end = datetime(start.year + 1, 1, 1, tzinfo=home)
    found = list(slots(begin, end, at, zone))
    days = [slot.astimezone(home).date() for slot in found]
    assert len(set(days)) == len(days)
    assert (begin.date() in days) or at == time(0, 0)
    assert len(found) == (end.date() - begin.date()).days


@given(moments, moments, zones)
def test_elapsed_is_true_time_or_at_most_a_clock_change_more(last, now, zone):
    shorter, longer = elapsed(last, now, zone)
    assert shorter <= now - last <= longer <= shorter + HOUR


@given(moments, frequencies, percents, st.timedeltas(timedelta(), timedelta(days=200)))
def test_the_four_timings_follow_each_other(last, frequency, percent, age):
    order = [Timing.EARLY, Timing.DUE, Timing.MISSED]
    grace = grace_of(frequency, percent)
    assert timedelta() < grace <= max(frequency / 2, HOUR + MINUTE)
    first = timing(last + age, last, frequency, grace)
    later = timing(last + age + MINUTE, last, frequency, grace)
    assert order.index(first) <= order.index(later)
    assert timing(last, last, frequency, grace) is Timing.EARLY
    assert timing(last + frequency, last, frequency, grace) is Timing.DUE
    assert timing(last + 2 * frequency, last, frequency, grace) is Timing.MISSED
