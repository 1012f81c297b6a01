import pytest

from blocks.profile.model import BackupProfile
from tasks.notify import notify


@pytest.fixture
def profile(tmp_path):
    script = tmp_path / "tell.sh"
    script.write_text(
        f'#!/bin/sh\necho "$CBM_RG $CBM_VG $CBM_JOB_ID: $@" > {tmp_path}/told\nexit 3\n'
    )
    script.chmod(0o755)
    return BackupProfile(
        name="RG1",
        enabled=True,
        method="cloud",
        replicated_resources="g",
        storage_names=("storage1",),
        volume_groups=("VG1",),
        bucket_name="b",
        notify_method=str(script),
    )


def test_the_script_is_told_and_its_failure_fails_nothing(profile, tmp_path):
    notify(profile, "backup_failed", "error", "no disk; rm -rf /", job_id="7")
    told = (tmp_path / "told").read_text()
    assert told == "RG1 VG1 7: backup_failed RG1 error no disk; rm -rf /\n"


def test_a_script_that_is_gone_fails_nothing(profile, tmp_path):
    (tmp_path / "tell.sh").unlink()
    notify(profile, "backup_failed", "error", "x")
