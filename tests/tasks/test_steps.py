import threading

import pytest

from blocks.errors import ConfigError, Stopped, StoreUnavailable
from tasks import retries
from tasks.results import results_of
from tasks.steps import step


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.001)


def failing(times, error):
    calls = []

    @step(name="work")
    def work():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return work, calls


def test_a_step_needs_no_prefect_and_retries_what_may_heal():
    work, _ = failing(2, StoreUnavailable("slow down"))
    assert work() == 3


def test_a_step_gives_up_after_its_retries():
    work, calls = failing(9, StoreUnavailable("slow down"))
    with pytest.raises(StoreUnavailable):
        work()
    assert len(calls) == 1 + retries.RETRIES


def test_what_cannot_heal_is_tried_once():
    work, calls = failing(9, ConfigError("wrong"))
    with pytest.raises(ConfigError):
        work()
    assert len(calls) == 1


class FakeRun:
    def __init__(self):
        self.stop = threading.Event()


def test_the_first_failure_stops_the_others_and_is_the_one_reported():
    run = FakeRun()

    @step(name="mover")
    def mover(number):
        if number == 2:
            raise ConfigError("the cause")
        assert run.stop.wait(10)
        raise Stopped("told to")

    with pytest.raises(ConfigError, match="the cause"):
        results_of(run, [mover.submit(number) for number in range(3)])


def test_results_come_in_order():
    @step(name="square")
    def square(number):
        return number * number

    assert results_of(FakeRun(), [square.submit(n) for n in range(5)]) == [0, 1, 4, 9, 16]
