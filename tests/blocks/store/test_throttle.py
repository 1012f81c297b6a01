import fcntl
import subprocess
import sys
import threading
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.store.throttle import Ledger, Pace, Throttle, shared_throttle


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**8), min_size=1, max_size=30))
def test_the_rate_holds_over_any_number_of_requests(rate, sizes):
    clock = Clock()
    throttle = Throttle(rate, clock=clock, sleep=clock.sleep)
    for size in sizes:
        throttle.take(size)
    # All but the last have passed at the rate when the last one begins.
    assert clock.now >= sum(sizes[:-1]) / rate * 0.999
    assert clock.now <= sum(sizes[:-1]) / rate * 1.001


def test_what_was_not_used_is_not_saved_up():
    clock = Clock()
    throttle = Throttle(100, clock=clock, sleep=clock.sleep)
    throttle.take(100)
    clock.now = 50.0
    throttle.take(100)
    assert clock.now == 50.0
    throttle.take(100)
    assert clock.now == 51.0


def test_threads_share_the_rate():
    waited = []
    throttle = Throttle(1000, clock=lambda: 0.0, sleep=waited.append)
    threads = [threading.Thread(target=throttle.take, args=(500,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waited) == [0.5, 1.0, 1.5, 2.0]


def test_one_bucket_has_one_throttle():
    assert shared_throttle("s3://a", Pace(5)) is shared_throttle("s3://a", Pace(5))
    assert shared_throttle("s3://a", Pace(5)) is not shared_throttle("s3://b", Pace(5))


def test_a_rate_that_changes_holds_from_the_next_request_on():
    clock, rate = Clock(), [100]
    throttle = Throttle(lambda: rate[0], clock=clock, sleep=clock.sleep)
    throttle.take(100)
    rate[0] = 0
    throttle.take(10**9)
    assert clock.now == 0.0, "no limit: nothing waits"
    rate[0] = 50
    throttle.take(50)
    throttle.take(50)
    assert clock.now == 2.0


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        ("2026-07-01T05:59:00+00:00", 50),  # 07:59 in Berlin
        ("2026-07-01T06:00:00+00:00", 10),
        ("2026-07-01T15:59:00+00:00", 10),
        ("2026-07-01T16:00:00+00:00", 50),
        ("2026-07-01T21:30:00+00:00", 0),  # over midnight
        ("2026-07-01T00:30:00+00:00", 0),
        ("2026-12-01T06:30:00+00:00", 50),  # 07:30 in winter
    ],
)
def test_hours_are_on_the_clocks_of_the_zone(at, rate):
    pace = Pace(50, ((8 * 60, 18 * 60, 10), (23 * 60, 3 * 60, 0)), "Europe/Berlin")
    assert pace.at(datetime.fromisoformat(at)) == rate


def test_two_processes_share_one_rate(tmp_path):
    """Each alone would be done at once: 4 requests of one second's worth take three seconds."""
    script = (
        "import sys; from pathlib import Path; from blocks.store.throttle import Ledger, Throttle;"
        "waits = []; throttle = Throttle(1000, ledger=Ledger(Path(sys.argv[1])),"
        " clock=lambda: 0.0, sleep=waits.append);"
        "throttle.take(1000); throttle.take(1000); print(*waits)"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "ledger")]
    said = [subprocess.run(words, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [done.stdout.split() for done in said] == [["1.0"], ["2.0", "3.0"]]


def test_whoever_holds_the_ledger_for_ever_stops_nobody(tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.book(5.0, 1.0) == 5.0
    with (tmp_path / "ledger").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ledger.book(5.0, 1.0) is None
        waits = []
        throttle = Throttle(1000, ledger=ledger, clock=lambda: 5.0, sleep=waits.append)
        throttle.take(1000)
        throttle.take(1000)
    assert waits == [1.0], "alone, by its own count"


def test_what_was_booked_before_the_machine_started_is_forgotten(tmp_path):
    (tmp_path / "ledger").write_text("another-boot 1e9")
    assert Ledger(tmp_path / "ledger").book(1.0, 1.0) == 1.0
