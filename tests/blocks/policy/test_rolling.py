"""Everything is read within N days, about 1/N of it daily, whatever happens to the runs."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.policy.rolling import coverage, due_objects, last_slot

NOW = datetime(2026, 11, 26, 3, 30, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def keys(count):
    return [f"RG1/01J{number:023}/c_RG1_VG1_hdisk{number}.img.zst" for number in range(count)]


def live(objects, within, days, lag=lambda day: timedelta(0), missed=()):
    """Run daily; return what each run read and the oldest proof it found."""
    since = dict.fromkeys(objects, NOW)
    read, ages = [], []
    for day in range(1, days + 1):
        now = NOW + day * DAY + lag(day)
        if day in missed:
            continue
        ages.append(now - min(since.values()))
        due = due_objects(since, now, within)
        since |= dict.fromkeys(due, now)
        read.append(len(due))
    return read, ages


@settings(max_examples=40, deadline=None)
@given(
    within=st.integers(1, 40),
    count=st.integers(1, 60),
    lags=st.lists(st.integers(0, 5), min_size=1, max_size=7),
)
def test_daily_runs_read_every_object_within_the_days_asked_for(within, count, lags):
    _, ages = live(keys(count), within, 100, lambda day: lags[day % len(lags)] * HOUR / 6)
    assert max(ages) <= within * DAY + HOUR


def test_each_run_reads_about_its_share():
    read, _ = live(keys(3000), 30, 120)
    assert abs(sum(read) / len(read) - 3000 / 29) < 5
    assert max(read) < 2 * 3000 / 30


def test_no_object_is_read_twice_within_a_period():
    since = dict.fromkeys(keys(200), NOW)
    for hour in range(1, 24 * 29):
        now = NOW + hour * HOUR
        due = due_objects(since, now, 30)
        assert all(since[key] == NOW for key in due)
        since |= dict.fromkeys(due, now)


def test_what_missed_runs_left_is_read_by_the_next_one():
    objects = keys(300)
    since = dict.fromkeys(objects, NOW)
    alone = due_objects(since, NOW + 9 * DAY, 30)
    daily = set()
    for day in range(1, 10):
        daily |= due_objects(since, NOW + day * DAY, 30)
    assert alone == daily


def test_a_slot_is_never_ahead_and_never_older_than_the_period():
    for key in keys(50):
        slot = last_slot(key, NOW, 29 * DAY)
        assert NOW - 29 * DAY < slot <= NOW


def test_coverage_says_who_waits_longest_and_how_many_are_late():
    since = {"a": NOW - 31 * DAY, "b": NOW - 2 * DAY, "c": NOW}
    found = coverage(since, {"c"}, NOW, 30)
    assert (found.oldest_at, found.late, found.is_complete) == (NOW - 31 * DAY, 2, False)
    assert coverage({"b": NOW - 2 * DAY}, (), NOW, 30).is_complete
    assert coverage({}, (), NOW, 30).oldest_at is None
    assert coverage(since, (), NOW, 0).is_complete, "nothing is asked for"
