"""Who only reads the bucket keeps no backup waiting, and none of its own kind works twice."""

import pytest

import flows.verify
from blocks.errors import GroupBusy
from blocks.store.memory import MemoryStore
from flows.restore import restore
from flows.verify import verify
from tasks.run import run_of
from tasks.targets import held_by


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    store = MemoryStore(part_min_bytes=0)
    monkeypatch.setattr(flows.verify, "configured", lambda _: None)
    monkeypatch.setattr(flows.verify, "open_source", lambda *_: store)


@pytest.mark.usefixtures("bucket")
def test_a_verify_runs_beside_a_backup():
    with run_of("RG1", "backup", {}):
        ending = verify.fn("RG1", deep=True)
    assert ending.outcome == "verified"
    assert ending.summary == "RG1 has no restore point yet: nothing was verified"


@pytest.mark.usefixtures("bucket")
def test_two_verifies_of_a_group_do_not_read_the_same():
    with (
        run_of("RG1", "verify", {}, lock="RG1 verify"),
        pytest.raises(GroupBusy, match="in use by verify"),
    ):
        verify.fn("RG1", bucket="s3://b")


def test_a_restore_onto_files_holds_no_backup_up_and_one_onto_disks_does(tmp_path):
    file = str(tmp_path / "hdisk1.img")
    assert held_by("RG1", "restore", {"hdisk1": file}) == "RG1 restore"
    assert held_by("RG1", "drill", {}) == "RG1 drill"
    assert held_by("RG1", "restore", {"hdisk1": "hdisk30"}) == "RG1"
    assert held_by("RG1", "restore", {"hdisk1": file, "hdisk2": "hdisk30"}) == "RG1"


@pytest.mark.usefixtures("bucket")
def test_no_disk_is_written_while_a_backup_may_read_it():
    with run_of("RG1", "backup", {}), pytest.raises(GroupBusy, match="in use by backup"):
        restore.fn("RG1", to={"hdisk18": "hdisk18"}, approved=True)
