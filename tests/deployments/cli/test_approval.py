"""At the terminal a person reads a plan, and what was read is what is restored."""

from types import SimpleNamespace

import pytest

from deployments.cli import runs

PLANNED = {
    "group": "RG1",
    "restore_point": "01M8C905ZE8QBAD94M0M8DP0TE",
    "taken_at": "2026-11-01T12:00:00+00:00",
    "write_bytes": 1,
    "data_bytes": 1,
    "expected_s": None,
    "volumes": [],
    "notes": [],
}


@pytest.fixture
def asked(monkeypatch):
    """Let a person type something after the plan; return the runs that were asked for."""
    made = []

    def typing(text):
        def run_now(module, name, parameters, *, quiet):
            made.append(parameters)
            return SimpleNamespace(report=PLANNED, exit_code=0, markdown="", summary="")

        monkeypatch.setattr(runs, "run_now", run_now)
        monkeypatch.setattr(runs, "finish", lambda *_, **__: None)
        monkeypatch.setattr(runs.sys, "stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr(runs.typer, "prompt", lambda *_, **__: text)
        return made

    return typing


def test_a_point_that_is_made_while_the_plan_is_read_is_not_restored(asked):
    made = asked("RG1")
    runs.restore("RG1", to=["hdisk18=hdisk30"], at="2026-11-01T13:00")
    planned, done = made
    assert planned["dry_run"]
    assert planned["at"] is not None
    assert (done["approved"], done["at"]) == (True, None)
    assert done["point"] == PLANNED["restore_point"]


def test_another_name_restores_nothing(asked):
    made = asked("RG2")
    with pytest.raises(SystemExit):
        runs.restore("RG1", to=["hdisk18=hdisk30"])
    assert [each["dry_run"] for each in made] == [True]
