"""What reconcile tells Prefect of runs that could not tell it themselves."""

import subprocess
import sys

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings
from prefect.states import Running
from prefect.testing.utilities import prefect_test_harness

import tasks.asking
from tasks.reconcile import Cleared, set_states_right
from tasks.run import ended_runs

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def url():
    with prefect_test_harness(server_startup_timeout=120):
        yield get_current_settings().api.url


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch, url):
    monkeypatch.setattr(tasks.asking, "_silent_until", 0.0)
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_API_URL", url)


@flow
def untold() -> None:
    """Nothing."""


def running() -> str:
    """Return a run that Prefect believes to be running."""
    with get_client(sync_client=True) as client:
        return str(client.create_flow_run(untold, state=Running()).id)


ENDED = """
import sys
import tasks.run
tasks.run.flow_run_id = lambda: sys.argv[1]
with tasks.run.run_of("RG1", "restore", {}):
    pass
tasks.run.amend_ended(is_done=sys.argv[2] == "done", summary=sys.argv[3])
"""


def end(run: str, how: str, summary: str) -> None:
    """Let a process come to the end of a run, and end without a word to Prefect."""
    subprocess.run([sys.executable, "-c", ENDED, run, how, summary], check=True)


def state(run: str) -> tuple[str | None, str | None]:
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run).state
    return (found.name, found.message) if found else (None, None)


def test_runs_are_called_what_they_said_of_themselves():
    whole, damaged = running(), running()
    end(whole, "done", "2 volumes of RG1 restored")
    end(damaged, "not done", "3 ranges damaged and left zero")
    assert set_states_right([]) == 2
    told = "set right by reconcile"
    assert state(whole) == ("Completed", f"{told}: 2 volumes of RG1 restored")
    assert state(damaged) == ("Failed", f"{told}: 3 ranges damaged and left zero")
    assert list(ended_runs()) == []


def test_a_death_that_cannot_be_told_now_is_told_later(monkeypatch):
    run = running()
    dead = Cleared("01", "RG1", "restore", run, unmade=0, stuck=0, is_committed=False)
    with monkeypatch.context() as away:
        away.setattr(tasks.asking, "_silent_until", float("inf"))
        assert set_states_right([dead]) == 0
    assert state(run)[0] == "Running"
    assert set_states_right([]) == 1
    assert state(run) == ("Crashed", "set right by reconcile: its process died")


def test_a_run_that_ended_and_then_died_is_called_what_it_said():
    run = running()
    end(run, "done", "2 volumes of RG1 restored")
    assert set_states_right([Cleared("01", "RG1", "restore", run, 0, 0, is_committed=False)]) == 1
    assert state(run)[0] == "Completed"


def test_a_run_whose_process_died_is_called_crashed_unless_it_had_committed():
    runs = {False: running(), True: running()}
    dead = [
        Cleared("01", "RG1", "backup", run, unmade=0, stuck=0, is_committed=is_committed)
        for is_committed, run in runs.items()
    ]
    assert set_states_right(dead) == 2
    assert state(runs[False])[0] == "Crashed"
    assert state(runs[True]) == (
        "Completed",
        "set right by reconcile: its process died; the restore point is there",
    )
