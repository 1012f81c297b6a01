"""The Redpaper's own lines, with only the program's name changed."""

import json
import subprocess
import sys

import pytest

LINES = (
    "add storage_system storage1 TYPE=SVC ADDRESSES=90.90.90.1 USER=admin BACKUP_PROFILE=true",
    "add backup_profile RG1 ENABLE_BACKUP=yes BACKUP_METHOD=cloud "
    "REPLICATED_RESOURCES=sample_consistency_group STORAGE_NAME=storage1 BUCKET_NAME=pha-bucket "
    "TARGET_LOCATION=/tmp VOLUME_GROUP=VG1 BACKUP_SCHEDULE=17:30",
    "add backup_profile RG1 ENABLE_BACKUP=yes BACKUP_METHOD=remote_storage "
    "REPLICATED_RESOURCES=sample_remote_cg STORAGE_NAME=storage1, storage2 VOLUME_GROUP=VG1",
    "query backup_profile RG1",
    "modify backup_profile RG1 BACKUP_SCHEDULE=18:00",
)


@pytest.fixture
def flashvault(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "flashvault.xml"))
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deployments.cli", *line.split()],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_every_line_of_the_redpaper_runs(flashvault):
    answers = [flashvault(line) for line in LINES]
    assert [answer.returncode for answer in answers] == [0] * len(LINES), answers
    assert 'BACKUP_SCHEDULE="17:30"' in answers[3].stdout.splitlines()
    assert 'STORAGE_NAME="storage1,storage2"' in answers[3].stdout.splitlines()
    assert flashvault("-cSa BACKUP_SCHEDULE query backup_profile RG1").stdout == "18:00\n"
    document = json.loads(flashvault("query backup_profile RG1 --json").stdout)
    assert [profile["BACKUP_METHOD"] for profile in document] == ["cloud", "remote_storage"]
    assert json.loads(flashvault("--json query backup_profile RG1").stdout) == document
