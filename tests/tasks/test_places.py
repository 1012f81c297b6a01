"""Waiting in line: who waits in vain knows whether others were before him, or nobody was there."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

import tasks.asking
from blocks.errors import GroupBusy
from tasks import limits
from tasks.asking import Silent


@pytest.fixture(autouse=True)
def line(monkeypatch):
    """A limit without a free place, at a server that is there; what was waited, in seconds."""
    waited = []

    @contextmanager
    def no_place(_limit, wait_s):
        waited.append(wait_s)
        raise TimeoutError
        yield

    monkeypatch.setattr(tasks.asking, "_silent_until", 0.0)
    monkeypatch.setattr(tasks.asking, "ANSWER_S", 0.2)
    monkeypatch.setattr(limits, "_ensure", lambda _limit, _size: None)
    monkeypatch.setattr(limits, "_place", no_place)
    return waited


def wait(wait_s: float) -> None:
    with ExitStack() as held:
        limits._wait_in_line(held, "group-a", 1, wait_s)


def test_a_limit_that_others_hold_all_the_while_is_busy(line):
    with pytest.raises(GroupBusy, match="no place free"):
        wait(limits.GROUP_WAIT_S)
    assert sum(line) == limits.GROUP_WAIT_S


def test_a_server_that_froze_meanwhile_makes_nobody_busy(line, monkeypatch):
    over = threading.Event()
    asked = []

    def answers_once(_limit, _size):
        asked.append(1)
        if len(asked) > 1:
            over.wait(60)

    monkeypatch.setattr(limits, "_ensure", answers_once)
    with pytest.raises(Silent):
        wait(limits.GROUP_WAIT_S)
    over.set()
    assert line == [limits.TRY_S], "one try, and not all the time there is"


def test_a_place_that_comes_free_is_taken(line, monkeypatch):
    @contextmanager
    def second_time(_limit, wait_s):
        line.append(wait_s)
        if len(line) == 1:
            raise TimeoutError
        yield

    monkeypatch.setattr(limits, "_place", second_time)
    wait(600)
    assert line == [limits.TRY_S, limits.TRY_S]


@pytest.mark.parametrize(
    "error",
    [Silent("-"), httpx.ConnectError("refused"), ConcurrencySlotAcquisitionError("no answer")],
    ids=["silent", "refused", "not acquired"],
)
def test_without_an_answer_the_run_goes_on_without_a_place(monkeypatch, error):
    def no_answer(*_):
        raise error

    monkeypatch.setattr(limits, "_wait_in_line", no_answer)
    with ExitStack() as held:
        limits._take(None, held, "array", "storage1")
