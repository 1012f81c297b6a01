"""A Prefect server that takes every call and answers none holds nobody up."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks.asking
import tasks.open
from blocks.errors import ConfigError
from deployments import settings
from tasks import reports
from tasks.asking import Silent, ask, is_silent, note_silence
from tasks.limits import free_place
from tasks.open import configuration, host

NODE = """<flashvault format_version="1">
  <node name="node1"><TYPE>LOCAL</TYPE></node>
</flashvault>"""

LONG_S = 60.0
"""Longer than anybody here may wait: the tests' own patience is a fraction of it."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(tasks.asking, "_silent_until", 0.0)
    monkeypatch.setattr(tasks.asking, "ANSWER_S", 0.2)
    monkeypatch.setattr(tasks.asking, "NEEDED_S", 0.4)
    monkeypatch.setattr(tasks.open, "_known", {})


@pytest.fixture
def never():
    """A call that is not answered before the test is over."""
    over = threading.Event()
    yield lambda: over.wait(LONG_S)
    over.set()


def test_an_answer_is_handed_on_and_so_is_an_error():
    assert ask(lambda: 7) == 7
    with pytest.raises(ValueError, match="no such block"):
        ask(lambda: int("no such block"))
    assert not is_silent()


def test_a_timeout_of_the_calls_own_is_an_answer():
    def refused() -> None:
        raise TimeoutError("no place free")

    with pytest.raises(TimeoutError, match="no place free"):
        ask(refused)
    assert not is_silent()


def test_silence_is_remembered_and_costs_nobody_else_any_time(never, monkeypatch):
    with pytest.raises(Silent):
        ask(never)
    assert is_silent()
    monkeypatch.setattr(tasks.asking, "ANSWER_S", LONG_S)
    began = time.monotonic()
    with pytest.raises(Silent):
        ask(never)
    assert time.monotonic() - began < LONG_S / 2


def test_a_call_that_was_given_up_ends_the_silence_when_it_is_answered_after_all():
    answered = threading.Event()
    with pytest.raises(Silent):
        ask(lambda: answered.wait(LONG_S))
    answered.set()
    deadline = time.monotonic() + LONG_S
    while is_silent():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ask(lambda: "there") == "there"


def test_what_is_asked_during_silence_is_still_asked():
    """A place given back, or a report, reaches a server that was only slow."""
    note_silence()
    asked = threading.Event()
    with pytest.raises(Silent):
        ask(lambda: asked.set() or time.sleep(0.5))
    assert asked.wait(LONG_S)


@pytest.fixture(params=["nothing", "headers"])
def black_hole(request, monkeypatch):
    """A server that takes connections, says nothing or headers only, and then no more."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            while True:
                try:
                    taken, _ = listening.accept()
                except OSError:
                    return
                kept.append(taken)
                if request.param == "headers":
                    taken.recv(65536)
                    taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield kept
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    for taken in kept:
        taken.close()


def test_secrets_come_from_the_environment_where_the_server_answers_no_call(
    black_hole, tmp_path, monkeypatch
):
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "flashvault.xml"))
    (tmp_path / "flashvault.xml").write_text(NODE)
    monkeypatch.setenv("FLASHVAULT_PASSWORD_NODE1", "secret")
    began = time.monotonic()
    assert host(configuration(), "node1") is not None
    assert time.monotonic() - began < LONG_S / 2
    assert black_hole, "it was asked"
    assert is_silent()


def test_a_configuration_that_is_only_in_prefect_is_said_to_be_out_of_reach(
    black_hole, tmp_path, monkeypatch
):
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "none.xml"))
    with pytest.raises(ConfigError, match="does not answer"):
        configuration()
    assert black_hole


def test_a_place_of_a_dead_run_is_left_to_its_lease(black_hole):
    began = time.monotonic()
    free_place({"limit": "group-a", "lease": "0" * 32})
    assert time.monotonic() - began < LONG_S / 2
    assert black_hole


class InARun:
    @staticmethod
    def get() -> object:
        return object()


def test_reports_are_not_waited_for(black_hole, monkeypatch):
    monkeypatch.setattr(reports, "FlowRunContext", InARun)
    began = time.monotonic()
    reports.artifact("some-key", "# markdown")
    reports.table("some-key", [{"a": 1}])
    reports.progress("some-key", 50.0)
    assert time.monotonic() - began < LONG_S / 2


def test_the_clients_own_patience_is_set_for_every_process():
    timeout_s = float(settings.QUIET["PREFECT_API_REQUEST_TIMEOUT"])
    tries = 1 + int(settings.QUIET["PREFECT_CLIENT_MAX_RETRIES"])
    assert timeout_s * tries < 120
