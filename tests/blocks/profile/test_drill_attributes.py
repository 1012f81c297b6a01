"""The DRILL_ attributes: read as typed, printed so that they read the same, refused by name."""

import pytest

from blocks.errors import ProfileError
from blocks.profile.base import parse
from blocks.profile.model import BackupProfile

GIVEN = {
    "ENABLE_BACKUP": "yes",
    "BACKUP_METHOD": "cloud",
    "REPLICATED_RESOURCES": "cg",
    "STORAGE_NAME": "storage1",
    "BUCKET_NAME": "pha-bucket",
}


def profile(**given):
    return parse(BackupProfile, "RG1", GIVEN | given)


def test_targets_are_pairs_and_print_as_they_are_read():
    made = profile(DRILL_TARGETS="hdisk18=hdisk30, hdisk19=/dev/disk/by-id/x")
    assert made.drill_targets == (("hdisk18", "hdisk30"), ("hdisk19", "/dev/disk/by-id/x"))
    printed = made.attributes()["DRILL_TARGETS"]
    assert printed == "hdisk18=hdisk30,hdisk19=/dev/disk/by-id/x"
    assert profile(DRILL_TARGETS=printed).drill_targets == made.drill_targets


def test_no_drill_is_asked_for_unless_somebody_does():
    assert profile().drill_frequency is None
    assert profile().drill_targets == ()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"DRILL_TARGETS": "hdisk18"}, "is not DISK=TARGET"),
        ({"DRILL_TARGETS": "hdisk18="}, "is not DISK=TARGET"),
        ({"DRILL_TARGETS": "hdisk18=a,hdisk18=b"}, "'hdisk18' is named twice as a disk"),
        ({"DRILL_TARGETS": "hdisk18=a,hdisk19=a"}, "'a' is named twice as a target"),
        ({"DRILL_FREQUENCY": "36h"}, "must be whole days"),
        ({"DRILL_PROBE": "looks-alive"}, "absolute path"),
        ({"DRILL_TARGETS": "a=b", "DRILL_DIRECTORY": "/scratch"}, "DRILL_TARGETS names disks"),
        ({"BACKUP_METHOD": "remote_storage", "DRILL_FREQUENCY": "30"}, "only with BACKUP_METHOD"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, why):
    with pytest.raises(ProfileError, match=why):
        profile(**given)
