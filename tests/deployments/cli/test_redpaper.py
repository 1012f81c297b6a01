"""The Redpaper's own lines, with only the program's name changed."""

import json

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


def test_every_line_of_the_redpaper_runs(flashvault):
    answers = [flashvault(line) for line in LINES]
    assert [answer.status for answer in answers] == [0] * len(LINES), answers
    printed = answers[3].out.splitlines()
    assert 'BACKUP_SCHEDULE="17:30"' in printed
    assert 'STORAGE_NAME="storage1,storage2"' in printed
    assert flashvault("-cSa BACKUP_SCHEDULE query backup_profile RG1").out == "18:00\n"


def test_json_may_stand_before_the_verb_or_after(flashvault):
    for line in LINES[:3]:
        flashvault(line)
    document = json.loads(flashvault("query backup_profile RG1 --json").out)
    assert [profile["BACKUP_METHOD"] for profile in document] == ["cloud", "remote_storage"]
    assert json.loads(flashvault("--json query backup_profile RG1").out) == document
