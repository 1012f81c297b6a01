import json
import re
import shutil
from datetime import UTC, datetime, timedelta

CONFIGURATION = """<flashvault format_version="1">
  <storage_system name="storage1"><ADDRESSES>127.0.0.1</ADDRESSES><PORT>1</PORT>
    <USER>admin</USER><HOST_KEY>ssh-ed25519 AAAA</HOST_KEY><KEY_FILE>/none</KEY_FILE>
  </storage_system>
  <node name="here"><TYPE>LOCAL</TYPE><DEVICE_DIRECTORY>/none</DEVICE_DIRECTORY></node>
  <bucket name="pha-bucket"><ENDPOINT>http://127.0.0.1:1</ENDPOINT></bucket>
  <backup_profile name="RG1">
    <ENABLE_BACKUP>yes</ENABLE_BACKUP><BACKUP_METHOD>cloud</BACKUP_METHOD>
    <REPLICATED_RESOURCES>cg</REPLICATED_RESOURCES><STORAGE_NAME>storage1,storage2</STORAGE_NAME>
    <BUCKET_NAME>pha-bucket</BUCKET_NAME>
  </backup_profile>
</flashvault>"""


def test_one_dead_machine_does_not_hide_what_else_is_wrong(flashvault, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "flashvault.xml").write_text(CONFIGURATION)
    said = flashvault("check --json")
    document = json.loads(said.out)
    assert said.status == 1
    found = {}
    for finding in document["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    assert set(found) == {
        "storage_system storage1",
        "storage_system storage2",
        "node here",
        "bucket pha-bucket",
        "backup_profile RG1 (cloud)",
        "prefect",
        "this machine",
    }
    wrong = {"storage_system storage1", "storage_system storage2", "bucket pha-bucket"}
    for subject in wrong:
        assert found[subject][0]["status"] == "wrong"
    assert found["prefect"][0]["hint"].startswith("Start one with `flashvault serve`")
    assert "storage2' is not registered" in found["backup_profile RG1 (cloud)"][0]["message"]


def test_checking_a_group_that_is_not_there_is_a_usage_error(flashvault, tmp_path):
    (tmp_path / "flashvault.xml").write_text(CONFIGURATION)
    said = flashvault("check RG2")
    assert said.status == 2
    assert "did you mean RG1?" in said.err


def test_a_full_or_a_foreign_state_directory_is_found(flashvault, tmp_path, monkeypatch):
    (tmp_path / "flashvault.xml").write_text('<flashvault format_version="1"/>')
    assert "ok      this machine" in flashvault("check").out
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    said = flashvault("check")
    assert said.status == 1
    assert "WRONG   this machine" in said.out
    assert "1.0 MiB free" in said.out
    assert "Make room" in said.out
    (tmp_path / "state").write_text("a file")
    assert "state cannot be written" in flashvault("check").out


def test_a_clock_that_is_off_is_found(flashvault, tmp_path, monkeypatch):
    from blocks.store.s3 import S3Store

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "flashvault.xml").write_text(
        '<flashvault format_version="1"><bucket name="pha-bucket"/></flashvault>'
    )
    monkeypatch.setattr(S3Store, "list", lambda store, prefix: iter(()))
    late = datetime.now(UTC) + timedelta(minutes=9)
    monkeypatch.setattr(S3Store, "clock", lambda store: late)
    said = flashvault("check")
    assert said.status == 1
    assert re.search(r"clock is (9m|8m ?59s).* behind that of s3://pha-bucket", said.out)
    assert "Set this machine's clock" in said.out
