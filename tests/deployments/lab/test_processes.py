"""Processes of a lab: every one is written down, and stopped by what identifies it."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time

import pytest

from deployments.lab.processes import Register, start_ticks, uninterrupted

# The register forgets its children on purpose: they outlive the command that started them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while start_ticks(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return start_ticks(pid) is None


def test_what_was_started_is_stopped_once(tmp_path) -> None:
    register = Register(tmp_path)
    started = register.start("sleeper", SLEEP, os.environ)
    assert started.is_alive
    assert register.stop() == ["sleeper"]
    assert wait_gone(started.pid)
    assert register.stop() == []
    assert register.read() == []


def test_what_a_process_left_behind_is_stopped_too(tmp_path) -> None:
    register = Register(tmp_path)
    code = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True)"
    started = register.start("parent", [sys.executable, "-c", code, *SLEEP], os.environ)
    log = tmp_path / "logs" / "parent.log"
    deadline = time.monotonic() + 20
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.02)
    os.waitpid(started.pid, 0)
    assert not started.is_alive
    assert started.has_left_children
    assert register.stop() == ["parent"]
    assert wait_gone(int(log.read_text()))


def test_a_number_that_belongs_to_somebody_else_now_is_left_alone(tmp_path) -> None:
    register = Register(tmp_path)
    started = register.start("sleeper", SLEEP, os.environ)
    other = dataclasses.replace(started, ticks=started.ticks - 1)
    register._write([other])
    assert register.stop() == []
    assert start_ticks(started.pid) is not None
    register._write([dataclasses.replace(started, boot="another boot")])
    assert register.stop() == []
    register._write([started])
    assert register.stop() == ["sleeper"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_process_is_written_down(tmp_path, number) -> None:
    seen: list[int] = []
    before = signal.signal(number, lambda got, _: seen.append(got))
    try:
        with uninterrupted():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            assert seen == []
        assert seen == [number]
    finally:
        signal.signal(number, before)
