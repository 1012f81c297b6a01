from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from blocks.errors import ConfigError, ProfileError
from blocks.profile.bandwidth import Bandwidth
from blocks.profile.base import parse
from blocks.profile.model import (
    CLASSES,
    BackupProfile,
    BucketConfig,
    Configuration,
    Encryption,
    Method,
    Node,
    StorageSystem,
)
from blocks.profile.retention import Retention

CLOUD = {
    "ENABLE_BACKUP": "yes",
    "BACKUP_METHOD": "cloud",
    "REPLICATED_RESOURCES": "sample_consistency_group",
    "STORAGE_NAME": "storage1",
    "BUCKET_NAME": "pha-bucket",
}
REMOTE = {
    "ENABLE_BACKUP": "yes",
    "BACKUP_METHOD": "remote_storage",
    "REPLICATED_RESOURCES": "sample_remote_cg",
    "STORAGE_NAME": "storage1, storage2",
    "VOLUME_GROUP": "VG1",
}


def cloud(**more: str) -> BackupProfile:
    return parse(BackupProfile, "RG1", CLOUD | more)


def faults(model, name, attributes):
    with pytest.raises(ProfileError) as caught:
        parse(model, name, attributes)
    return caught.value.faults


def test_a_cloud_profile_has_ibms_defaults():
    profile = cloud()
    assert profile.name == "RG1"
    assert profile.method == "cloud"
    assert profile.schedule == time(0, 42)
    assert profile.backup_frequency == timedelta(days=1)
    assert profile.incremental_frequency is None
    assert profile.encryption is Encryption.DISABLE
    assert profile.compression is False
    assert profile.staging is False
    assert profile.grace_percent == 10
    assert profile.extent_bytes == 256 * 1024
    assert profile.volume_groups == ()
    assert profile.retention is None


def test_frequencies_are_days_and_hours_unless_a_unit_is_given():
    profile = cloud(BACKUP_FREQUENCY="2", INCREMENTAL_BACKUP_FREQUENCY="6")
    assert profile.backup_frequency == timedelta(days=2)
    assert profile.incremental_frequency == timedelta(hours=6)
    quick = cloud(BACKUP_FREQUENCY="90s", INCREMENTAL_BACKUP_FREQUENCY="20s")
    assert quick.backup_frequency == timedelta(seconds=90)
    assert quick.incremental_frequency == timedelta(seconds=20)


@pytest.mark.parametrize(
    "spelling", ["storage1, storage2", "storage1,storage2", "storage1 ,storage2"]
)
def test_storage_names_may_be_spelled_with_a_blank(spelling):
    profile = parse(BackupProfile, "RG1", REMOTE | {"STORAGE_NAME": spelling})
    assert profile.storage_names == ("storage1", "storage2")


def test_everything_wrong_is_said_at_once():
    found = faults(
        BackupProfile,
        "RG1",
        {
            "BACKUP_METHOD": "cloud",
            "ENABLE_BACKUP": "maybe",
            "STORAGE_NAME": "storage1",
            "BACKUP_SCHEDULE": "25:00",
            "BACKUP_SCHEDUL": "17:30",
            "TARGET_LOCATION": "tmp",
        },
    )
    assert [fault.split(":")[0] for fault in found] == [
        "ENABLE_BACKUP",
        "BACKUP_SCHEDULE",
        "BACKUP_SCHEDUL",
        "TARGET_LOCATION",
        "REPLICATED_RESOURCES",
        "BUCKET_NAME",
    ]
    assert "did you mean BACKUP_SCHEDULE?" in found[2]


@pytest.mark.parametrize(
    ("changes", "label", "words"),
    [
        ({"STORAGE_NAME": ""}, "STORAGE_NAME", "required"),
        ({"BUCKET_NAME": ""}, "BUCKET_NAME", "required"),
        ({"BACKUP_METHOD": "clud"}, "BACKUP_METHOD", "not one of cloud, remote_storage"),
        ({"REPLICATED_RESOURCES": "cg1,cg2"}, "REPLICATED_RESOURCES", "one consistency group"),
        ({"RPO": "15m"}, "RPO", "only with BACKUP_METHOD=remote_storage"),
        ({"ENCRYPTION": "AES", "CLOUD_SERVICE": "AWS"}, "ENCRYPTION", "AES is IBM's"),
        ({"ENCRYPTION": "ROT13"}, "ENCRYPTION", "not one of"),
        ({"BACKUP_FREQUENCY": "0"}, "BACKUP_FREQUENCY", "at least 1"),
        ({"BACKUP_FREQUENCY": "often"}, "BACKUP_FREQUENCY", "number of days"),
        ({"INCREMENTAL_BACKUP_FREQUENCY": "24"}, "INCREMENTAL_BACKUP_FREQUENCY", "shorter"),
        ({"INCREMENTAL_BACKUP_FREQUENCY": "48"}, "INCREMENTAL_BACKUP_FREQUENCY", "shorter"),
        ({"COMPACTION": "full", "ENCRYPTION": "CLIENT"}, "COMPACTION", "sealed frames stay"),
        ({"COMPACTION": "0%"}, "COMPACTION", "neither no, nor full, nor a share of 1% to 99%"),
        ({"COMPACTION": "most"}, "COMPACTION", "neither no, nor full, nor a share"),
        ({"STAGING": "yes"}, "TARGET_LOCATION", "required with STAGING=yes"),
        ({"TARGET_LOCATION": "/tmp/../etc"}, "TARGET_LOCATION", "absolute path"),
        ({"TIMEZONE": "Europe/Berlim"}, "TIMEZONE", "not a time zone"),
        ({"GRACE_PERCENT": "80"}, "GRACE_PERCENT", "0 to 50"),
        ({"EXTENT_SIZE": "3M"}, "EXTENT_SIZE", "power of two"),
        ({"EXTENT_SIZE": "32K"}, "EXTENT_SIZE", "power of two"),
        ({"RETENTION": "last=7,fortnightly=2"}, "RETENTION", "fortnightly"),
        ({"RETENTION": "last=0"}, "RETENTION", "keeps nothing"),
        ({"RETENTION": "last=3,minimum=0"}, "RETENTION", "at least 1"),
        ({"BANDWIDTH_LIMIT": "5"}, "BANDWIDTH_LIMIT", "too slow"),
        ({"NOTIFY_METHOD": "notify.sh"}, "NOTIFY_METHOD", "absolute path"),
        ({"POST_THAW": "/bin/thaw"}, "POST_THAW", "PRE_FREEZE"),
        ({"OBJECT_LOCK_DAYS": "-1"}, "OBJECT_LOCK_DAYS", "whole number"),
    ],
)
def test_a_rule_is_kept(changes, label, words):
    found = faults(BackupProfile, "RG1", CLOUD | changes)
    assert len(found) == 1
    assert found[0].startswith(f"{label}: ")
    assert words in found[0]


@pytest.mark.parametrize("names", ["storage1", "storage1,storage2,storage3"])
def test_remote_storage_needs_two_storage_systems(names):
    (fault,) = faults(BackupProfile, "RG1", REMOTE | {"STORAGE_NAME": names})
    assert fault.startswith("STORAGE_NAME: two storage systems are needed")


def test_schedules_mean_nothing_for_remote_storage():
    (fault,) = faults(BackupProfile, "RG1", REMOTE | {"BACKUP_SCHEDULE": "17:30"})
    assert fault == "BACKUP_SCHEDULE: only with BACKUP_METHOD=cloud"
    assert "BACKUP_SCHEDULE" not in parse(BackupProfile, "RG1", REMOTE).attributes()


@pytest.mark.parametrize("name", ["", "a b", "../RG1", "RG1/x", "-RG1", "x" * 65, "points"])
def test_a_group_that_no_object_key_can_carry_is_refused(name):
    assert any(fault.startswith("name: ") for fault in faults(BackupProfile, name, CLOUD))


@pytest.mark.parametrize("address", ["90.90.90.300", "1.2.3", "http://svc", "svc 1"])
def test_an_address_that_cannot_be_is_refused(address):
    (fault,) = faults(StorageSystem, "storage1", {"ADDRESSES": address, "USER": "admin"})
    assert fault.startswith("ADDRESSES: ")


def test_a_storage_system_is_an_svc():
    (fault,) = faults(
        StorageSystem, "s", {"TYPE": "DS8K", "ADDRESSES": "10.0.0.1", "USER": "admin"}
    )
    assert fault == "TYPE: 'DS8K' is not one of SVC"


def test_ibm_buckets_need_an_endpoint():
    (fault,) = faults(BucketConfig, "images", {"CLOUD_SERVICE": "IBM"})
    assert fault == "ENDPOINT: required with CLOUD_SERVICE=IBM"


def test_an_endpoint_never_carries_credentials():
    (fault,) = faults(BucketConfig, "images", {"ENDPOINT": "https://key:secret@s3.example.com"})
    assert fault.startswith("ENDPOINT: ")


def test_a_remote_node_needs_an_address():
    assert faults(Node, "node1", {}) == ["ADDRESSES: required unless TYPE=LOCAL"]
    assert parse(Node, "here", {"TYPE": "local"}).type == "LOCAL"


def test_the_rules_hold_for_objects_built_in_python_too():
    with pytest.raises(ValidationError, match="EXTENT_SIZE"):
        cloud().model_copy(update={}).__class__(**(dict(cloud()) | {"extent_bytes": 5}))


def configuration(*profiles: BackupProfile) -> Configuration:
    return Configuration(
        storage_systems=(
            parse(StorageSystem, "storage1", {"ADDRESSES": "90.90.90.1", "USER": "admin"}),
        ),
        nodes=(parse(Node, "node1", {"ADDRESSES": "10.0.0.1"}),),
        buckets=(parse(BucketConfig, "pha-bucket", {}),),
        profiles=profiles,
    )


def test_a_group_may_have_a_profile_of_each_method():
    remote = parse(BackupProfile, "RG1", REMOTE)
    both = configuration(cloud(), remote)
    assert both.faults() == []
    assert both.profile("RG1").method == Method.CLOUD
    assert both.profile("RG1", "remote_storage") == remote
    assert [fault for _, fault in configuration(cloud(), cloud()).faults()] == [
        "name: there is another of this name"
    ]


@pytest.mark.parametrize("look_up", ["storage_system", "node", "bucket", "profile"])
def test_a_name_nobody_registered_is_refused_with_the_nearest(look_up):
    known = {
        "storage_system": "storage1",
        "node": "node1",
        "bucket": "pha-bucket",
        "profile": "RG1",
    }
    wrong = known[look_up] + "x"
    with pytest.raises(ConfigError, match=f"did you mean {known[look_up]}"):
        getattr(configuration(cloud()), look_up)(wrong)


def test_what_is_not_registered_yet_is_a_loose_end():
    remote = parse(BackupProfile, "RG1", REMOTE)
    ends = configuration(cloud(BUCKET_NAME="other"), remote).loose_ends()
    assert [text.split(";")[0] for _, text in ends] == [
        "BUCKET_NAME: bucket 'other' is not registered",
        "STORAGE_NAME: storage system 'storage2' is not registered",
    ]


def test_aes_needs_a_bucket_at_ibm():
    found = configuration(cloud(ENCRYPTION="AES")).faults()
    assert [text for _, text in found] == ["ENCRYPTION: AES is IBM's, and bucket pha-bucket is AWS"]


def test_the_cluster_is_called_after_its_first_node():
    assert configuration().cluster_name == "node1_cluster"
    assert Configuration(cluster="prod").cluster_name == "prod"


def test_the_reading_node_is_the_only_one_or_the_one_named():
    two = configuration().model_copy(
        update={"nodes": tuple(parse(Node, name, {"TYPE": "LOCAL"}) for name in ("a", "b"))}
    )
    assert configuration().reading_node(cloud()).name == "node1"
    assert two.reading_node(cloud(HOST="b")).name == "b"
    with pytest.raises(ConfigError, match="more than one node"):
        two.reading_node(cloud())


counts = st.integers(0, 400)
retentions = st.builds(
    Retention,
    last=st.integers(1, 400),
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
    minimum=st.integers(1, 9),
)


@given(
    schedule=st.times(),
    days=st.integers(1, 400),
    hours=st.integers(1, 23),
    seconds=st.integers(1, 10**7),
    retention=retentions,
    limit=st.integers(64 * 1024, 10**12),
    grace=st.integers(0, 50),
)
def test_what_is_printed_reads_as_the_same_profile(
    schedule, days, hours, seconds, retention, limit, grace
):
    profile = cloud().model_copy(
        update={
            "schedule": schedule.replace(second=0, microsecond=0),
            "backup_frequency": timedelta(days=days),
            "incremental_frequency": timedelta(hours=hours),
            "retention": retention,
            "bandwidth_limit": Bandwidth(otherwise=limit),
            "grace_percent": float(grace),
        }
    )
    assert parse(BackupProfile, "RG1", profile.attributes()) == profile
    remote = parse(BackupProfile, "RG1", REMOTE).model_copy(
        update={"rpo": timedelta(seconds=seconds)}
    )
    assert parse(BackupProfile, "RG1", remote.attributes()) == remote


def test_no_model_has_a_place_for_a_secret():
    words = ("PASSWORD", "SECRET", "API_KEY", "PRIVATE_KEY", "PASSPHRASE", "ACCESS_KEY")
    for model in CLASSES.values():
        for label in model.labels():
            assert not any(word in label for word in words), label
