import threading
import time

import pytest

import flows.backup
from blocks.errors import GroupBusy
from flows.backup import backup
from tasks.run import run_of

CONFIGURATION = """<flashvault format_version="1">
  <backup_profile name="RG1">
    <ENABLE_BACKUP>yes</ENABLE_BACKUP><BACKUP_METHOD>cloud</BACKUP_METHOD>
    <REPLICATED_RESOURCES>cg</REPLICATED_RESOURCES><STORAGE_NAME>storage1</STORAGE_NAME>
    <BUCKET_NAME>pha-bucket</BUCKET_NAME>
  </backup_profile>
</flashvault>"""


@pytest.fixture
def configured(tmp_path, monkeypatch):
    (tmp_path / "flashvault.xml").write_text(CONFIGURATION)
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "flashvault.xml"))
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))


def test_a_scheduled_backup_of_a_busy_group_is_skipped(configured, monkeypatch):
    monkeypatch.setattr(flows.backup, "SIBLING_WAIT_S", 0.3)
    with run_of("RG1", "restore", {}):
        ending = backup.fn("RG1", mode="full")
    assert ending.outcome == "skipped"
    assert "RG1 is in use by restore" in ending.summary


def test_a_full_outlasts_the_incremental_of_its_slot_that_only_finds_nothing_to_do(
    configured, monkeypatch
):
    def decide(*_: object) -> None:
        raise LookupError("its turn came")

    monkeypatch.setattr(flows.backup, "decide_backup", decide)
    sibling_has_it = threading.Event()

    def sibling() -> None:
        with run_of("RG1", "backup", {}):
            sibling_has_it.set()
            time.sleep(0.5)

    thread = threading.Thread(target=sibling)
    thread.start()
    sibling_has_it.wait()
    with pytest.raises(LookupError, match="its turn came"):
        backup.fn("RG1", mode="full")
    thread.join()


def test_a_person_who_insists_is_told_that_the_group_is_busy(configured):
    with run_of("RG1", "restore", {}), pytest.raises(GroupBusy):
        backup.fn("RG1", mode="full", force=True)
