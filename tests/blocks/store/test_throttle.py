import threading

from hypothesis import given
from hypothesis import strategies as st

from blocks.store.throttle import Throttle, shared_throttle


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
    assert shared_throttle("s3://a", 5) is shared_throttle("s3://a", 5)
    assert shared_throttle("s3://a", 5) is not shared_throttle("s3://b", 5)
