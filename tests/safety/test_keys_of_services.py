"""Keys that a service keeps or is given: KMS recipients, SSE-KMS and SSE-C, on real servers."""

import base64
import os
import random
from datetime import UTC, datetime

import boto3
import captured
import pytest
from seaweed import seaweed_in

from blocks.errors import CorruptData, FlashvaultError, WrongKey
from blocks.image import keys
from blocks.image.keyring import Role, parse_keyring
from blocks.store.clients import BucketSettings, open_store, s3_client
from blocks.store.kms import AwsKms
from tasks.pipeline import CaptureSettings

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SMALL = CaptureSettings(extent_bytes=4096, part_bytes=5 << 20, compress=False)
DATA = random.Random(3).randbytes(11 << 20)
ROOT = {
    "region_name": "us-east-1",
    "aws_access_key_id": "root",
    "aws_secret_access_key": "root",
}


@pytest.fixture
def kms_client(moto_server):
    return boto3.client("kms", endpoint_url=moto_server, **ROOT)


@pytest.fixture
def kms_key(kms_client):
    return kms_client.create_key()["KeyMetadata"]["Arn"]


def recipient(kms_client, kms_key):
    return keys.KmsRecipient("hsm", Role.READER, kms_key, AwsKms(kms_client))


def test_a_keyring_for_a_kms_key_is_opened_by_who_may_use_that_key(kms_client, kms_key):
    made, key = keys.create_keyring([recipient(kms_client, kms_key)], now=NOW)
    stored = parse_keyring(made.to_bytes())
    assert keys.open_keyring(stored, keys.Identity(kms=AwsKms(kms_client))) == key


def test_a_kms_key_that_is_not_there_is_a_wrong_key(kms_client):
    with pytest.raises(WrongKey, match="NotFoundException"):
        keys.create_keyring([recipient(kms_client, "alias/none")], now=NOW)


def test_an_envelope_for_one_recipient_is_no_envelope_for_another(kms_client, kms_key):
    kms = AwsKms(kms_client)
    sealed = kms.encrypt(kms_key, b"secret", {"recipient": "a"})
    assert kms.decrypt(kms_key, sealed, {"recipient": "a"}) == b"secret"
    with pytest.raises(WrongKey):
        kms.decrypt(kms_key, sealed, {"recipient": "b"})


def test_a_backup_with_sse_kms_says_so_on_every_object(moto_server, kms_key):
    settings = BucketSettings(
        "kms",
        endpoint=moto_server,
        region="us-east-1",
        access_key="root",
        secret_key="root",
        encryption="KMS",
        kms_key_id=kms_key,
    )
    client = s3_client(settings)
    client.create_bucket(Bucket="kms")
    store = open_store(settings)
    point = captured.back_up(store, DATA, settings=SMALL)
    assert captured.restore((point.volumes[0], point.objects), store) == DATA
    for info in store.list():
        head = client.head_object(Bucket="kms", Key=info.key)
        assert head["ServerSideEncryption"] == "aws:kms", info.key
        assert head["SSEKMSKeyId"] == kms_key


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory):
    with seaweed_in(tmp_path_factory.mktemp("weed"), "sealed") as running:
        yield running


def with_key(seaweed, customer_key):
    return open_store(
        BucketSettings(
            "sealed",
            provider="IBM",
            endpoint=seaweed.endpoint,
            region=seaweed.region,
            access_key=seaweed.access_key,
            secret_key=seaweed.secret_key,
            encryption="AES" if customer_key else "DISABLE",
            customer_key=base64.b64encode(customer_key).decode() if customer_key else "",
        )
    )


def test_a_customer_key_is_needed_for_every_byte_of_a_backup(seaweed):
    key = os.urandom(32)
    store = with_key(seaweed, key)
    full = captured.back_up(store, DATA, settings=SMALL)
    changed = DATA[:9000] + b"changed" + DATA[9007:]
    child = captured.back_up(store, changed, full, settings=SMALL)
    assert captured.restore((child.volumes[0], child.objects), store) == changed
    for other in (b"", os.urandom(32)):
        stranger = with_key(seaweed, other)
        for item in child.objects:
            with pytest.raises(FlashvaultError) as refused:
                stranger.get_range(item.key, 0, 100)
            assert not isinstance(refused.value, CorruptData), "a wrong key is no damage"
