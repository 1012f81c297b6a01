import json

import pytest

from blocks.profile.document import load_configuration
from deployments.cli.configure import completions

SYSTEM = "add storage_system storage1 TYPE=SVC ADDRESSES=90.90.90.1 USER=admin"
CLOUD = (
    "add backup_profile RG1 ENABLE_BACKUP=yes BACKUP_METHOD=cloud REPLICATED_RESOURCES=cg "
    "STORAGE_NAME=storage1 BUCKET_NAME=pha-bucket BACKUP_SCHEDULE=17:30"
)
REMOTE = (
    "add backup_profile RG1 ENABLE_BACKUP=yes BACKUP_METHOD=remote_storage "
    "REPLICATED_RESOURCES=rcg STORAGE_NAME=storage1, storage2"
)
NEW = "add backup_profile RG2 ENABLE_BACKUP=yes BACKUP_METHOD=cloud REPLICATED_RESOURCES=cg "
NEW += "STORAGE_NAME=storage1 BUCKET_NAME=pha-bucket "


@pytest.fixture
def filled(flashvault):
    for line in (SYSTEM, CLOUD, REMOTE):
        assert flashvault(line).status == 0
    return flashvault


MALFORMED = [
    ("add", "Usage"),
    ("add backup_profil RG2", "did you mean backup_profile?"),
    ("add runs x", "cannot add runs"),
    ("add backup_profile", "needs a name"),
    ("add BACKUP_METHOD=cloud", "the class is missing"),
    ("add backup_profile RG2 cloud", "do not understand 'cloud'"),
    ("add backup_profile RG2 =cloud", "has no attribute name"),
    ("add backup_profile RG2 ENABLE_BACKUP=yes ENABLE_BACKUP=no", "given twice"),
    ("add backup_profile RG2", "BACKUP_METHOD: required"),
    (CLOUD, "there is already a backup_profile RG1 (cloud)"),
    (SYSTEM, "there is already a storage_system storage1"),
    (NEW + "BACKUP_SCHEDULE=25:00", "BACKUP_SCHEDULE: '25:00' is not a time of day"),
    (NEW + "BACKUP_SCHEDULE=5pm", "is not a time of day"),
    (NEW + "BACKUP_FREQUENCY=-1", "is not a number of days"),
    (NEW + "INCREMENTAL_BACKUP_FREQUENCY=24", "shorter than BACKUP_FREQUENCY"),
    (NEW + "ENCRYPTION=AES", "AES is IBM's"),
    (NEW + "ENCRYPTION=DES", "not one of Disable, KMS, AES, CLIENT"),
    (NEW + "CLOUD_SERVICE=AZURE", "not one of IBM, AWS"),
    (NEW + "CLOUD_SERVICE=IBM", "but bucket pha-bucket is AWS"),
    (NEW + "COMPRESSION=maybe", "neither yes nor no"),
    (NEW + "BACKUP_SHEDULE=17:30", "did you mean BACKUP_SCHEDULE?"),
    (NEW + "TIMEZONE=Mars/Olympus", "is not a time zone"),
    (NEW + "RETENTION=forever", "is not a rule"),
    (NEW + "TARGET_LOCATION=tmp", "is not an absolute path"),
    (NEW + "STAGING=yes", "TARGET_LOCATION: required with STAGING=yes"),
    (NEW + "HOST=node9", "there is no node 'node9'"),
    (NEW + "RPO=5m", "only with BACKUP_METHOD=remote_storage"),
    (NEW.replace("pha-bucket", "pha-buckt"), "did you mean pha-bucket?"),
    (NEW.replace("pha-bucket", "BIG_Bucket"), "BUCKET"),
    (NEW.replace("RG2", "RG/2"), "is not a name"),
    (NEW.replace("RG2", "points"), "own layout"),
    ("add storage_system s2 ADDRESSES=90.90.90.256 USER=admin", "is not an IPv4 address"),
    ("add storage_system s2 ADDRESSES=svc2", "USER: required"),
    ("add storage_system s2 ADDRESSES=svc2 USER=admin TYPE=DS8K", "not one of SVC"),
    ("add storage_system s2 ADDRESSES=svc2 USER=a PASSWORD=secret", "a secret on the command line"),
    ("add storage_system s2 ADDRESSES=svc2 USER=a PASSWORD=@/no/such", "cannot read /no/such"),
    ("add storage_system s2 ADDRESSES=svc2 USER=a PASSWORD=env:NO_SUCH", "no environment variable"),
    ("add storage_system s2 ADDRESSES=svc2 USER=a PORT=0", "whole number from 1 to 65535"),
    ("add bucket b2 CLOUD_SERVICE=IBM", "BUCKET: required"),
    ("add bucket ibm-images CLOUD_SERVICE=IBM", "ENDPOINT: required"),
    ("add bucket images ENDPOINT=ftp://x", "is not an address"),
    ("add node n1", "ADDRESSES: required"),
    ("modify backup_profile RG9 BACKUP_SCHEDULE=18:00", "did you mean RG1?"),
    ("modify backup_profile RG1", "RG1 has two profiles"),
    ("modify backup_profile RG1 ENABLE_BACKUP=no", "Say which: BACKUP_METHOD=cloud"),
    ("modify backup_profile RG1 BACKUP_METHOD=clud", "has no clud profile"),
    ("modify storage_system storage1", "nothing to change"),
    ("modify storage_system storage1 ADDRESSES=", "ADDRESSES: required"),
    ("modify storage_system", "which storage_system?"),
    ("modify cluster SIZE=3", "a cluster has a name only"),
    ("delete backup_profile RG1", "has two profiles"),
    ("delete backup_profile RG9 ", "there is no backup_profile 'RG9'"),
    ("delete storage_system storage1 TYPE=SVC", "takes no attributes"),
    ("query", "Usage"),
    ("query storage_system storage9", "did you mean storage1?"),
    ("query backup_profile -a BACKUP_TIME", "has no BACKUP_TIME"),
    ("query backup_files GROUP=RG1", "has no GROUP"),
    ("query nonsense", "is no class"),
    ("add --from /no/such/file.xml", "cannot read"),
    ("query backup_profile --config /etc/hostname", "line 1"),
    ("remember this", "No such command"),
]


@pytest.mark.parametrize(("line", "words"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_command_is_one_error_and_changes_nothing(filled, tmp_path, line, words):
    path = tmp_path / "flashvault.xml"
    before, logged = path.read_bytes(), (tmp_path / "flashvault.xml.log").read_bytes()
    said = filled(line)
    assert said.status == 2, said
    assert words in said.err + said.out
    assert said.err.count("error:") <= 1
    assert "Traceback" not in said.err
    assert path.read_bytes() == before
    assert (tmp_path / "flashvault.xml.log").read_bytes() == logged


def test_errors_are_json_too(filled):
    said = filled("add backup_profile RG2 BACKUP_METHOD=cloud --json")
    document = json.loads(said.out)
    assert said.status == 2
    assert document["ok"] is False
    assert document["error"]["type"] == "ProfileError"
    assert "ENABLE_BACKUP: required" in document["error"]["message"]


def test_verbs_classes_and_attributes_may_be_spelled_in_any_case(filled):
    assert filled("MOD Backup-Profile RG1 backup_schedule=18:00").status == 0
    assert filled("q bp RG1 -a backup_schedule").out == 'BACKUP_SCHEDULE="18:00"\n'


def test_an_empty_value_brings_back_the_default(filled, tmp_path):
    assert filled("modify backup_profile RG1 BACKUP_SCHEDULE=").status == 0
    assert filled("-Sca BACKUP_SCHEDULE q bp RG1").out == "00:42\n"
    assert "BACKUP_SCHEDULE" not in (tmp_path / "flashvault.xml").read_text()


def test_what_is_used_cannot_be_deleted(filled, tmp_path):
    before = (tmp_path / "flashvault.xml").read_bytes()
    said = filled("delete storage_system storage1")
    assert said.status == 4
    assert "is used by backup_profile RG1 (cloud), backup_profile RG1 (remote_storage)" in said.err
    assert (tmp_path / "flashvault.xml").read_bytes() == before


def test_one_of_two_profiles_is_deleted_by_its_method(filled, tmp_path):
    assert filled("delete backup_profile RG1 BACKUP_METHOD=remote_storage").status == 0
    (left,) = load_configuration(tmp_path / "flashvault.xml").profiles
    assert left.method == "cloud"


def test_an_export_reads_back_as_the_same_object(filled, tmp_path):
    exported = tmp_path / "rg1.xml"
    filled("delete backup_profile RG1 BACKUP_METHOD=remote_storage")
    exported.write_text(filled("query backup_profile RG1 -x").out)
    before = load_configuration(tmp_path / "flashvault.xml").profiles
    filled("delete backup_profile RG1")
    assert filled(f"add --from {exported}").status == 0
    assert load_configuration(tmp_path / "flashvault.xml").profiles == before
    assert filled(f"add backup_profile RG7 HOST= --from {exported}").status == 0
    assert filled("query backup_profile").out.split() == ["RG1", "RG7"]


def test_names_one_a_line_and_filters(filled):
    filled("add storage_system storage2 ADDRESSES=90.90.90.2 USER=other")
    assert filled("query storage_system").out == "storage1\nstorage2\n"
    assert filled("query storage_system USER=oth*").out == "storage2\n"
    assert filled("query storage_system -ca NAME,USER").out == (
        "#NAME:USER\nstorage1:admin\nstorage2:other\n"
    )
    assert filled("query storage_system storage2,storage1 -d; -Sa NAME").out == (
        "storage2\nstorage1\n"
    )


def test_every_change_is_logged_with_who_and_what(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "anna")
    filled("modify backup_profile RG1 BACKUP_SCHEDULE=18:00")
    lines = (tmp_path / "flashvault.xml.log").read_text().splitlines()
    last = json.loads(lines[-1])
    assert len(lines) == 4
    assert last["sudo_user"] == "anna"
    assert last["action"] == "modify"
    assert last["object"] == "backup_profile RG1 (cloud)"
    assert last["changes"] == {"BACKUP_SCHEDULE": ["17:30", "18:00"]}
    assert last["at"].endswith("+00:00")


def test_a_secret_needs_prefect_and_is_not_lost_silently(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("SVC_PASSWORD", "hunter2")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    before = (tmp_path / "flashvault.xml").read_bytes()
    said = filled("modify storage_system storage1 PASSWORD=env:SVC_PASSWORD")
    assert said.status == 2
    assert "no Prefect server is known" in said.err
    assert (tmp_path / "flashvault.xml").read_bytes() == before
    assert "hunter2" not in said.err + said.out


def test_the_shell_completes_classes_names_and_attributes(filled):
    assert completions("query", [], "back") == ["backup_profile", "backup_files"]
    assert completions("modify", ["backup_profile"], "R") == ["RG1"]
    assert completions("add", ["bucket", "b"], "SEC") == ["SECRET_KEY="]
    assert "BACKUP_SCHEDULE=" in completions("modify", ["bp", "RG1"], "backup_s")
