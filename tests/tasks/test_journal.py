import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from blocks.errors import GroupBusy, HostError
from tasks.journal import GroupLock, Journal, dead_journals, journal_path


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))


def test_what_is_left_is_listed_newest_first_after_a_restart():
    journal = Journal(journal_path("run-1"), facts={"group": "RG1"})
    first = journal.made("upload", folder="a/")
    journal.made("prepared", group="g")
    journal.made("import", vg="VG1")
    journal.unmade(first)
    journal.close()

    [dead] = dead_journals()
    assert dead.facts == {"group": "RG1"}
    assert [made.kind for made in dead.left()] == ["import", "prepared"]
    assert dead.made("more").number == 4
    dead.close()


def test_a_line_cut_by_the_crash_is_no_line():
    journal = Journal(journal_path("run-1"), facts={})
    journal.made("prepared", group="g")
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"made": 2, "kin')
    [dead] = dead_journals()
    dead.made("import", vg="VG1")
    dead.close()
    [again] = dead_journals()
    assert [made.kind for made in again.left()] == ["import", "prepared"]
    again.close()


def test_the_journal_of_a_living_run_is_left_alone():
    journal = Journal(journal_path("run-1"), facts={})
    assert list(dead_journals()) == []
    journal.close()


def test_a_killed_process_leaves_its_journal_to_others():
    script = (
        "import time; from tasks.journal import *;"
        "journal = Journal(journal_path('run-9'), facts={'x': 1});"
        "journal.made('prepared', group='g');"
        "lock = GroupLock('RG1', 'backup'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ.copy()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    assert list(dead_journals()) == []
    with pytest.raises(GroupBusy, match=r"backup \(pid"):
        GroupLock("RG1", "restore")
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    GroupLock("RG1", "restore").close()
    [dead] = dead_journals()
    assert dead.facts == {"x": 1}
    dead.close()


def test_a_finished_journal_leaves_nothing():
    journal = Journal(journal_path("run-1"), facts={})
    journal.unmade(journal.made("prepared"))
    journal.finish()
    assert list(dead_journals()) == []
    assert not journal.path.exists()


def test_every_line_is_on_disk_before_the_thing_is_made():
    journal = Journal(journal_path("run-1"), facts={})
    journal.made("prepared", group="g")
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert lines[-1] == {"made": 1, "kind": "prepared", "facts": {"group": "g"}}
    journal.close()


def test_a_state_directory_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    (tmp_path / "state").write_text("a file where the directory should be")
    for begin in (
        lambda: GroupLock("RG1", "backup"),
        lambda: Journal(journal_path("run-1"), facts={}),
    ):
        with pytest.raises(HostError, match=f"cannot write {tmp_path}/state/.*Not a dir") as caught:
            begin()
        assert "FLASHVAULT_STATE" in caught.value.hint


def test_a_full_state_directory_ends_a_run_before_it_makes_anything(monkeypatch):
    journal = Journal(journal_path("run-1"), facts={})

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(HostError, match="No space left"):
            journal.made("prepared", group="g")
    journal.close()
