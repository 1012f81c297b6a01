"""The probe against real S3 servers, each with what docs/reference/stores.md says of it."""

import os
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from seaweed import seaweed_in

from blocks.errors import Refused
from blocks.store.bench import Verdict
from blocks.store.clients import BucketSettings, open_store, s3_client
from blocks.store.encryption import Encryption, Mode
from blocks.store.fingerprint import compare, take_fingerprint
from blocks.store.lock import lock_objects
from blocks.store.probe import latest_report, probe, require, save_report
from deployments.lab import s3

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    # The lab lets go of the processes it starts: its register, not Popen, knows and ends them.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory):
    with seaweed_in(tmp_path_factory.mktemp("weed"), "plain") as running:
        yield running


def settings_of(running, bucket, **more):
    return BucketSettings(
        bucket,
        endpoint=running.endpoint,
        region=running.region,
        access_key=running.access_key,
        secret_key=running.secret_key,
        **more,
    )


def test_seaweedfs_can_be_used_and_its_report_is_found_again(seaweed):
    settings = settings_of(seaweed, "plain", prefix="probed/")
    report = probe(s3_client(settings), "plain", "probed/", now=now())
    require(report)
    assert report.conditional_put
    assert report.verdict("SSE-C") is Verdict.WORKS
    assert report.verdict("list parts") is Verdict.BROKEN
    store = open_store(settings)
    save_report(store, report)
    assert latest_report(store) == report
    assert [info.key for info in store.list("probe/work/")] == []
    with pytest.raises(Refused, match="object lock"):
        require(report, object_lock=True)


def test_seaweedfs_without_a_key_service_is_refused_for_kms(seaweed):
    asked = Encryption(Mode.KMS)
    settings = settings_of(seaweed, "plain", encryption="KMS")
    with pytest.raises(Refused, match="put and get"):
        require(probe(s3_client(settings), "plain", encryption=asked, now=now()))


def test_a_bucket_with_locks_really_locks_and_a_change_of_its_settings_is_seen(seaweed):
    settings = settings_of(seaweed, "locked")
    client = s3_client(settings)
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    require(probe(client, "locked", now=now()), object_lock=True)
    before = take_fingerprint(client, "locked", now=now())
    client.put_object_lock_configuration(
        Bucket="locked",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    changes = compare(before, take_fingerprint(client, "locked", now=now()))
    assert [change.setting for change in changes] == ["object_lock"]


def test_a_locked_image_cannot_be_destroyed(seaweed):
    settings = settings_of(seaweed, "immutable", prefix="p/")
    client = s3_client(settings)
    client.create_bucket(Bucket="immutable", ObjectLockEnabledForBucket=True)
    version = open_store(settings).put("image", b"bytes").version_id
    lock_objects(client, "immutable", ["p/image"], until=now() + timedelta(days=1))
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="immutable", Key="p/image", VersionId=version)
    longer = now() + timedelta(days=2)
    lock_objects(client, "immutable", ["p/image"], until=longer)
    held = client.get_object_retention(Bucket="immutable", Key="p/image")["Retention"]
    assert abs(held["RetainUntilDate"] - longer) < timedelta(seconds=2)


def test_rclone_is_unmasked(tmp_path):
    program = os.environ.get("FLASHVAULT_RCLONE") or shutil.which("rclone")
    if program is None:
        pytest.skip("no rclone with `serve s3` here (set FLASHVAULT_RCLONE)")
    (tmp_path / "bucket").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["serve", "s3", str(tmp_path), "--addr", address, "--auth-key", "access,secretsecret"]
    server = subprocess.Popen([program, *words], stderr=subprocess.DEVNULL)
    try:
        settings = BucketSettings(
            "bucket",
            endpoint=f"http://{address}",
            region="us-east-1",
            access_key="access",
            secret_key="secretsecret",
        )
        for _ in range(100):
            if s3.answers(settings.endpoint):
                break
            time.sleep(0.1)
        report = probe(s3_client(settings), "bucket", now=now())
    finally:
        server.terminate()
        server.wait()
    ignored = {o.name for o in report.outcomes if o.verdict is Verdict.IGNORED}
    assert {"put if absent", "complete if absent", "SSE-KMS", "SSE-C", "object lock"} <= ignored
    with pytest.raises(Refused):
        require(report)
