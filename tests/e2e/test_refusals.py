"""Bad input: one clear error, nothing half written, the array left as found."""

from pathlib import Path

import pytest

from blocks.catalog import shelf
from blocks.errors import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    CorruptData,
    FlashvaultError,
    LoginRefused,
    StoreUnavailable,
    SvcObjectMissing,
    TargetInUse,
    TargetNotEmpty,
    TargetTooSmall,
    UnknownHostKey,
)
from blocks.ssh import SshTarget
from blocks.store.clients import open_store, parse_bucket_url
from blocks.svc.client import connect
from flows.backup import backup
from flows.restore import restore
from tasks.journal import dead_journals, state_directory

pytestmark = pytest.mark.server


@pytest.fixture
def changed(lab_site, tmp_path, monkeypatch):
    """Return a function that runs on a copy of the configuration with some text replaced."""

    def change(old, new):
        text = Path(lab_site.config).read_text()
        assert old in text
        copy = tmp_path / "flashvault.xml"
        copy.write_text(text.replace(old, new))
        monkeypatch.setenv("FLASHVAULT_CONFIG", str(copy))

    return change


@pytest.fixture
def array(lab_site):
    system = lab_site.storage_systems[0]
    client = connect(
        SshTarget(
            (system.address,),
            system.user,
            system.port,
            system.host_key,
            private_key=Path(system.key_file).read_text(),
        )
    )
    yield client
    client.close()


@pytest.fixture
def untouched(array):
    """Check afterwards that no trace is left on the array, in the bucket, or here."""
    store = open_store(parse_bucket_url("s3://pha-bucket"))
    points = [point.id for point in shelf.points(store, "RG1")]
    objects = [info.key for info in store.list("RG1/")]
    yield
    assert [point.id for point in shelf.points(store, "RG1")] == points
    assert [info.key for info in store.list("RG1/")] == objects
    assert list(store.uploads()) == []
    assert array.lsfcconsistgrp("sample_consistency_group").status not in {"prepared", "preparing"}
    assert list(dead_journals()) == []
    assert list((state_directory() / "runs").glob("*")) == []


def refused(error, match, **wanted):
    with pytest.raises(error, match=match) as caught:
        backup.fn("RG1", mode="full", force=True, **wanted)
    assert caught.value.hint, "an error says what to do next"


@pytest.mark.usefixtures("untouched")
class TestBackup:
    def test_a_wrong_key_is_refused(self, lab_site, changed, tmp_path):
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        other = tmp_path / "other"
        other.write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
            )
        )
        changed(lab_site.storage_systems[0].key_file, str(other))
        refused(LoginRefused, "127.0.0.1")

    def test_an_unknown_host_key_is_refused(self, lab_site, changed):
        changed(lab_site.storage_systems[0].host_key, lab_site.storage_systems[1].host_key)
        refused(UnknownHostKey, "127.0.0.1")

    def test_an_unknown_group_is_refused(self, changed):
        changed("sample_consistency_group", "no_such_group")
        refused(SvcObjectMissing, "no_such_group")

    def test_a_missing_bucket_is_refused(self, changed):
        changed("<ENDPOINT>", "<BUCKET>no-such-bucket</BUCKET><ENDPOINT>")
        refused(BucketMissing, "no-such-bucket")

    def test_a_forbidden_bucket_is_refused(self, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        refused(AccessDenied, "pha-bucket")

    def test_an_unreachable_store_is_refused(self, lab_site, changed, monkeypatch):
        monkeypatch.setattr("tasks.retries.FIRST_WAIT_S", 0.001)
        changed(lab_site.s3.endpoint, "http://127.0.0.1:9")
        refused(StoreUnavailable, "127.0.0.1:9")

    def test_a_profile_that_does_not_exist_is_refused(self):
        with pytest.raises(ConfigError, match="did you mean RG1"):
            backup.fn("RG11")


@pytest.fixture
def point(disks):
    disks.fill("Node1_1", 21)
    return backup.fn("RG1", mode="full", force=True).report["restore_point"]


class TestRestore:
    def refused(self, error, match, **wanted):
        with pytest.raises(error, match=match) as caught:
            restore.fn("RG1", approved=True, importing="no", **wanted)
        assert caught.value.hint

    def test_a_small_target_is_refused(self, point, tmp_path):
        small = tmp_path / "small.img"
        small.write_bytes(bytes(1000))
        self.refused(TargetTooSmall, "1000 bytes", to={"hdisk18": str(small)})
        assert small.stat().st_size == 1000

    def test_a_target_in_use_is_refused_even_when_forced(self, point, disks):
        before = disks.read("Node1_2")
        self.refused(TargetInUse, "VG1", to={"hdisk18": "hdisk19"}, force=True)
        assert disks.read("Node1_2") == before

    def test_a_target_with_data_is_refused(self, point, disks):
        before = disks.fill("Node1_6", 30)
        self.refused(TargetNotEmpty, "hdisk23", to={"hdisk18": "hdisk23"})
        assert disks.read("Node1_6") == before

    def test_an_unknown_disk_is_refused(self, point):
        self.refused(ConfigError, "hdisk99", to={"hdisk18": "hdisk99"})

    def test_an_unknown_volume_is_refused(self, point):
        self.refused(ConfigError, "hdisk77", to={"hdisk77": "hdisk23"})

    def test_an_unknown_point_is_refused(self, point):
        self.refused(FlashvaultError, "01NOSUCH", to={"hdisk18": "hdisk23"}, point="01NOSUCH")

    def test_a_damaged_object_is_found_and_the_rest_can_be_had(self, point, disks, tmp_path):
        store = open_store(parse_bucket_url("s3://pha-bucket"))
        read = shelf.read_point(store, "RG1", point)
        key = read.volumes[0].image_keys[0]
        data = bytearray(store.get(key))
        data[len(data) // 3] ^= 1
        store.put(key, bytes(data))
        target = tmp_path / "restored.img"
        self.refused(CorruptData, "hdisk18", to={"hdisk18": str(target)}, point=point)
        ending = restore.fn(
            "RG1",
            to={"hdisk18": str(target)},
            point=point,
            approved=True,
            allow_bad=True,
            force=True,
        )
        assert ending.exit_code == 3
        [row] = ending.report["volumes"]
        assert not row["proven"]
        before, after = disks.read("Node1_1"), target.read_bytes()
        bad = [range(r["offset"], r["offset"] + r["bytes"]) for r in row["bad"]]
        wrong = [i for i in range(0, len(before), 512) if before[i : i + 512] != after[i : i + 512]]
        assert wrong
        assert all(any(i in piece for piece in bad) for i in wrong)
        store.delete([info.key for info in store.list(f"RG1/{point}/")])
        store.delete([f"points/RG1/{point}.json"])
