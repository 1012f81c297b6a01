"""The freeze time by our clock."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from blocks.svc.remote_view import CLOCK_SLACK_S, _in_utc

NOW = datetime(2026, 11, 26, 17, 37, 59, 100_000, tzinfo=UTC)


def told(freeze_time, array_says):
    client = SimpleNamespace(svqueryclock=lambda: array_says)
    group = SimpleNamespace(name="cg", freeze_time=freeze_time)
    return _in_utc(client, group, NOW)


def test_what_froze_just_now_is_never_told_as_a_moment_to_come():
    """The array is a second ahead, and its minute has turned."""
    turned = datetime.fromisoformat("2026-11-26T17:38")
    assert told(turned, turned) == NOW - timedelta(seconds=CLOCK_SLACK_S / 2)


def test_a_clock_of_another_zone_is_set_right():
    array_says = datetime.fromisoformat("2026-11-26T12:37:58")
    froze = datetime.fromisoformat("2026-11-26T12:30")
    assert told(froze, array_says) == datetime(2026, 11, 26, 17, 30, tzinfo=UTC)


def test_nothing_froze_while_it_follows():
    assert told(None, datetime.fromisoformat("2026-11-26T17:38")) is None
