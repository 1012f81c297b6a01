"""`flashvault check` finds what is wrong with a set-up, says it in one line, and what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def configuration(lab_site, tmp_path, monkeypatch):
    """A copy of the lab's, for each test to spoil."""
    copy = tmp_path / "flashvault.xml"
    copy.write_text(Path(lab_site.config).read_text())
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(copy))
    return copy


@pytest.fixture
def changed(configuration):
    """Return a function that replaces some text of the configuration."""

    def change(old, new):
        text = configuration.read_text()
        assert old in text
        configuration.write_text(text.replace(old, new))

    return change


def check(**environment):
    """Run it as a person does; return the exit status and what is not well, by subject."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "check", "RG1", "--json"],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    found = {row["subject"]: row for row in document["findings"] if row["status"] != "ok"}
    return done.returncode, found


def only(found, subject):
    """Return what is said of a subject, which must come with what to do."""
    assert found[subject]["status"] == "wrong"
    assert found[subject]["hint"]
    return found[subject]["message"]


def test_a_fresh_lab_is_called_well():
    status, found = check()
    assert status == 0
    assert found.pop("prefect")["status"] == "warning", "this lab was started without a server"
    assert {name: row["status"] for name, row in found.items()} == {
        "backup_profile RG1 (remote_storage)": "off"
    }


def test_a_remote_copy_that_was_never_made(changed):
    changed("<ENABLE_BACKUP>no</ENABLE_BACKUP>", "<ENABLE_BACKUP>yes</ENABLE_BACKUP>")
    status, found = check()
    assert status == 1
    subject = "backup_profile RG1 (remote_storage)"
    assert "sample_remote_cg" in only(found, subject)
    assert "flashvault map RG1 --remote" in found[subject]["hint"]


def test_an_unknown_host_key(lab_site, changed, tmp_path):
    other = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    another = " ".join(Path(f"{other}.pub").read_text().split()[:2])
    changed(lab_site.storage_systems[0].host_key, another)
    status, found = check()
    assert status == 1
    assert "host key" in only(found, "storage_system storage1")


def test_a_wrong_key(lab_site, changed, tmp_path):
    other = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    changed(str(lab_site.storage_systems[0].key_file), str(other))
    status, found = check()
    assert status == 1
    assert "is not let in" in only(found, "storage_system storage1")


def test_an_array_that_is_down(lab_site, changed):
    changed(f"<PORT>{lab_site.storage_systems[0].port}</PORT>", "<PORT>9</PORT>")
    status, found = check()
    assert status == 1
    assert "127.0.0.1" in only(found, "storage_system storage1")
    assert "bucket pha-bucket" not in found, "what is well is called so all the same"


def test_a_bucket_that_is_missing(changed):
    changed('<bucket name="pha-bucket">', '<bucket name="pha-bucket"><BUCKET>no-such</BUCKET>')
    status, found = check()
    assert status == 1
    assert "no-such" in only(found, "bucket pha-bucket")


def test_wrong_credentials():
    status, found = check(AWS_SECRET_ACCESS_KEY="wrong")
    assert status == 1
    assert only(found, "bucket pha-bucket")


def test_a_bucket_that_does_not_answer(lab_site, changed):
    changed(lab_site.s3.endpoint, "http://127.0.0.1:9")
    status, found = check(AWS_MAX_ATTEMPTS="1")
    assert status == 1
    assert "127.0.0.1:9" in only(found, "bucket pha-bucket")


def test_a_consistency_group_that_is_not_there(lab_site, changed):
    changed(lab_site.groups[0].consistency_group, "no_such_group")
    status, found = check()
    assert status == 1
    assert "no_such_group" in only(found, "backup_profile RG1 (cloud)")


def test_a_server_that_is_away():
    status, found = check(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert status == 1
    assert "does not answer" in only(found, "prefect")


def test_a_configuration_that_is_no_xml(changed):
    changed("</flashvault>", "</flashvolt>")
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "line" in done.stderr
    assert "Traceback" not in done.stderr
