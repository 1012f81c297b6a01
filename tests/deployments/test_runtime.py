"""A flow that is started by hand ends as its own body ends, however ill Prefect's server is."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from typing import Literal

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.testing.utilities import prefect_test_harness

import tasks.asking
from blocks.errors import TargetInUse, Unreachable
from deployments import runtime
from flows.endings import Ending, ended


@pytest.fixture(autouse=True)
def _no_silence(monkeypatch):
    monkeypatch.setattr(tasks.asking, "_silent_until", 0.0)


Mode = Literal["auto", "full"]


@flow
def work(group: str, mode: Mode = "auto") -> object:
    assert mode == "auto"
    if group == "in use":
        raise TargetInUse("hdisk7 is in use")
    where = "alone" if FlowRunContext.get() is None else "Prefect"
    return ended(Ending(outcome="restored", summary=f"{group} by {where}"))


class Ill(http.server.BaseHTTPRequestHandler):
    """Says that it is ready, and then answers every call with an error."""

    def do_GET(self) -> None:
        self._answer(200 if self.path.endswith("/ready") else 500)

    def do_POST(self) -> None:
        self._answer(401)

    def _answer(self, status: int) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ill_server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ill) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield
        server.shutdown()
    thread.join()


@pytest.mark.usefixtures("ill_server")
def test_what_prefect_cannot_begin_runs_without_it(capsys):
    assert runtime.has_server()
    assert runtime.run_flow(work, {"group": "RG1"}).summary == "RG1 by alone"
    assert "running without it" in capsys.readouterr().err
    assert tasks.asking.is_silent(), "nothing in the run asks it either"


@pytest.mark.usefixtures("ill_server")
def test_what_fails_without_prefect_fails_with_its_own_error():
    with pytest.raises(TargetInUse):
        runtime.run_flow(work, {"group": "in use"})


def test_who_needs_the_server_is_told_at_once_that_it_is_away(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9/api does not answer"):
        runtime.require_server()


LEAVES = """
import sys, threading
from deployments import runtime
from tasks.asking import note_silence
threading.Thread(target=threading.Event().wait).start()
if sys.argv[1] == "silent":
    note_silence()
print("the result")
runtime.leave_at_once_if_silent(3)
print("goes on", flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize(
    ("server", "said", "status"),
    [("silent", "the result\n", 3), ("there", "the result\ngoes on\n", 0)],
)
def test_a_command_is_not_kept_by_threads_that_look_for_a_silent_server(server, said, status):
    left = subprocess.run(
        [sys.executable, "-c", LEAVES, server], capture_output=True, text=True, check=False
    )
    assert (left.stdout, left.returncode) == (said, status)


@pytest.fixture(scope="module")
def harness():
    with prefect_test_harness(server_startup_timeout=120):
        yield get_current_settings().api.url


@pytest.fixture
def lost_server(harness, monkeypatch):
    """A server that is there when a run begins, and seems away from its end on."""
    monkeypatch.setenv("PREFECT_API_URL", harness)
    answers = iter([True])
    monkeypatch.setattr(runtime, "has_server", lambda: next(answers, False))


def names_of_states() -> list[str | None]:
    with get_client(sync_client=True) as client:
        return [run.state_name for run in client.read_flow_runs()]


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.usefixtures("lost_server")
def test_a_run_whose_end_cannot_be_told_ends_as_its_body_did(capsys):
    assert runtime.run_flow(work, {"group": "RG1"}).summary == "RG1 by Prefect"
    assert "the next `flashvault reconcile` tells it" in capsys.readouterr().err
    assert names_of_states()[0] == "Running"


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.usefixtures("lost_server")
def test_an_error_that_cannot_be_told_is_the_one_a_person_sees():
    with pytest.raises(TargetInUse):
        runtime.run_flow(work, {"group": "in use"})


@pytest.mark.server
@pytest.mark.slow
def test_with_a_server_that_is_well_a_run_is_told_as_ever(harness, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", harness)
    assert os.environ["PREFECT_API_URL"] == harness
    assert runtime.has_server()
    assert runtime.run_flow(work, {"group": "RG7"}).summary == "RG7 by Prefect"
    assert "Completed" in names_of_states()
