import os
import signal
import subprocess
import sys

import pytest

import tasks.run
from blocks.errors import GroupBusy, Stopped
from tasks.journal import dead_journals, journal_path
from tasks.run import run_of, unwind


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))


def test_what_a_run_made_is_unmade_newest_first_whatever_happened():
    gone = []
    undo = {"one": lambda facts: gone.append(facts["n"])}
    runs = []

    def fail():
        with run_of("RG1", "backup", undo) as run:
            runs.append(run)
            run.journal.made("one", n=1)
            run.journal.made("one", n=2)
            run.journal.unmade(run.journal.made("one", n=3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gone == [2, 1]
    assert runs[0].stop.is_set()
    assert list(dead_journals()) == []


def test_what_cannot_be_unmade_is_kept_for_reconcile_and_keeps_nothing_else():
    gone = []

    def stuck(_facts):
        raise OSError("array away")

    with run_of("RG1", "backup", {"ok": gone.append, "stuck": stuck}) as run:
        run.journal.made("ok")
        run.journal.made("stuck", what="prepared")
    assert gone == [{}]
    [dead] = dead_journals()
    assert [made.kind for made in dead.left()] == ["stuck"]
    assert unwind(dead, {"stuck": gone.append}) == []
    assert list(dead_journals()) == []


def test_a_group_has_one_run_at_a_time():
    with run_of("RG1", "backup", {}):
        with pytest.raises(GroupBusy), run_of("RG1", "restore", {}):
            pass
        with run_of("RG2", "restore", {}):
            pass


def test_sigterm_sets_the_stop_event_and_ends_the_run():
    with pytest.raises(KeyboardInterrupt), run_of("RG1", "backup", {}) as run:
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        run.check()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_journal_names_the_run():
    with run_of("RG1", "backup", {}) as run:
        facts = run.journal.facts
        assert facts["group"] == "RG1"
        assert journal_path(run.id).exists()


ENDED = """
import tasks.run
tasks.run.flow_run_id = lambda: "0f"
with tasks.run.run_of("RG1", "backup", {}):
    pass
"""


def test_who_asks_is_told_whether_a_run_that_ended_may_still_be_reporting(monkeypatch):
    subprocess.run([sys.executable, "-c", ENDED], check=True)
    ((name, facts, is_alive),) = tasks.run.ended_runs()
    assert (name, facts["is_done"], is_alive) == ("0f", True, False)
    monkeypatch.setattr(tasks.run, "flow_run_id", lambda: "0e")
    with tasks.run.run_of("RG1", "backup", {}):
        pass
    assert {name: is_alive for name, _, is_alive in tasks.run.ended_runs()} == {
        "0e": True,
        "0f": False,
    }


def test_how_a_run_ended_is_told_as_its_report_says_it(monkeypatch):
    """A restore that left damage out comes to its end without an error, and is not done."""
    monkeypatch.setattr(tasks.run, "flow_run_id", lambda: "0d")
    tasks.run.amend_ended(is_done=True, summary="of a run without a journal")
    assert list(tasks.run.ended_runs()) == []
    with tasks.run.run_of("RG1", "restore", {}):
        pass
    tasks.run.amend_ended(is_done=False, summary="3 ranges damaged")
    ((name, facts, is_alive),) = tasks.run.ended_runs()
    assert (name, facts["is_done"], facts["summary"]) == ("0d", False, "3 ranges damaged")
    assert is_alive
