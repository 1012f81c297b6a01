"""The policy in docs/how-to/write-only-role.md, against a server that evaluates IAM policies."""

import json
import random
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import captured
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from blocks.catalog.point import Kind
from blocks.catalog.shelf import points
from blocks.errors import AccessDenied
from blocks.store.clients import BucketSettings, open_store, s3_client
from blocks.store.fingerprint import take_fingerprint
from blocks.store.lock import lock_objects
from tasks.pipeline import CaptureSettings

pytestmark = [pytest.mark.server, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-only-role.md"
REGION = "us-east-1"


@pytest.fixture(scope="module")
def policy():
    """Return the policy on the page, without the statements whose conditions moto cannot judge."""
    (text,) = re.findall(r"```json\n(\{\s*\"Version\".*?)```", PAGE.read_text(), re.DOTALL)
    whole = json.loads(text)
    without = [each for each in whole["Statement"] if "Condition" not in each]
    assert len(without) == len(whole["Statement"]) - 2
    return {**whole, "Statement": without}


@pytest.fixture(scope="module")
def role(policy, moto_server):
    """Make a locked bucket and a user with the policy; return the user's settings."""
    return _set_up(moto_server, policy)


def _set_up(endpoint, policy):
    root = {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
        "config": Config(s3={"addressing_style": "path"}),
    }
    boto3.client("s3", **root).create_bucket(Bucket="pha-bucket", ObjectLockEnabledForBucket=True)
    iam = boto3.client("iam", **root)
    iam.create_user(UserName="backup")
    iam.put_user_policy(UserName="backup", PolicyName="backup", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="backup")
    # From here on every call is judged.
    plain = {"Content-Type": "text/plain"}
    reset = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", plain)
    urllib.request.urlopen(reset).close()
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        iam.list_users()
    key = made["AccessKey"]
    return BucketSettings(
        "pha-bucket",
        endpoint=endpoint,
        region=REGION,
        access_key=key["AccessKeyId"],
        secret_key=key["SecretAccessKey"],
    )


class OneByOne:
    """The store of the role; deletes go one by one, since moto judges a bulk by the bucket."""

    def __init__(self, settings):
        self._store = open_store(settings)
        self._client = s3_client(settings)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def delete(self, keys):
        for key in keys:
            self._client.delete_object(Bucket="pha-bucket", Key=key)


@pytest.fixture(scope="module")
def store(role):
    return OneByOne(role)


def test_the_role_backs_up_locks_and_looks_at_the_settings(role, store):
    data = random.Random(1).randbytes(300_000)
    settings = CaptureSettings(extent_bytes=4096, part_bytes=5 << 20)
    full = captured.back_up(store, data, settings=settings)
    changed = data[:5000] + b"changed" + data[5007:]
    child = captured.back_up(store, changed, full, settings=settings)
    assert [point.id for point in points(store, "RG")] == [full.id, child.id]
    assert child.kind is Kind.INCREMENTAL
    assert list(store.list("claims/RG/intents/")) == []
    upload = store.begin_upload("RG1/run/big")
    upload.complete([upload.put_part(1, bytearray(5 << 20)), upload.put_part(2, bytearray(10))])
    abandoned = store.begin_upload("RG1/run/other")
    assert list(store.uploads("RG1/"))
    abandoned.abort()
    until = datetime.now(UTC) + timedelta(days=1)
    client = s3_client(role)
    assert lock_objects(client, "pha-bucket", ["RG1/run/big"], until=until) == 1
    assert take_fingerprint(client, "pha-bucket", now=until).object_lock


FORBIDDEN = {
    "an image": lambda s3: s3.delete_object(Bucket="pha-bucket", Key="RG1/run/big"),
    "a restore point": lambda s3: s3.delete_object(Bucket="pha-bucket", Key="points/RG1/x.json"),
    "a mark": lambda s3: s3.delete_object(Bucket="pha-bucket", Key="marks/RG1/holds/x.json"),
    "the keyring": lambda s3: s3.delete_object(Bucket="pha-bucket", Key="keyring/1.json"),
    "a version": lambda s3: s3.delete_object(
        Bucket="pha-bucket", Key="claims/RG1/intents/x.json", VersionId="1"
    ),
    "versioning": lambda s3: s3.put_bucket_versioning(
        Bucket="pha-bucket", VersioningConfiguration={"Status": "Suspended"}
    ),
    "a lifecycle": lambda s3: s3.put_bucket_lifecycle_configuration(
        Bucket="pha-bucket",
        LifecycleConfiguration={
            "Rules": [{"ID": "x", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]
        },
    ),
    "the default lock": lambda s3: s3.put_object_lock_configuration(
        Bucket="pha-bucket", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    ),
    "the policy": lambda s3: s3.delete_bucket_policy(Bucket="pha-bucket"),
    "the bucket": lambda s3: s3.delete_bucket(Bucket="pha-bucket"),
}


@pytest.mark.parametrize("what", list(FORBIDDEN))
def test_the_role_destroys_nothing(role, what):
    with pytest.raises(ClientError) as refused:
        FORBIDDEN[what](s3_client(role))
    assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_a_bulk_delete_of_an_image_is_refused(role, store):
    store.put("RG1/run/image", b"x")
    with pytest.raises(AccessDenied):
        open_store(role).delete(["RG1/run/image"])
    assert store.get("RG1/run/image") == b"x"
