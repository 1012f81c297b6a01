"""A KMS as recipient: only a clear refusal means the wrong key."""

from datetime import UTC, datetime

import pytest

from blocks.errors import StoreUnavailable, WrongKey
from blocks.image import keys
from blocks.image.keyring import Role, parse_keyring
from blocks.store.kms import AwsKms

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Answered(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Service:
    """As boto3's client: keeps plaintexts, bound to key and context."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple] = {}

    def encrypt(self, KeyId, Plaintext, EncryptionContext):  # noqa: N803
        if KeyId != "alias/backup":
            raise Answered("NotFoundException")
        ticket = bytes([len(self.kept)])
        self.kept[ticket] = (KeyId, EncryptionContext, Plaintext)
        return {"CiphertextBlob": ticket}

    def decrypt(self, KeyId, CiphertextBlob, EncryptionContext):  # noqa: N803
        if self.kept[CiphertextBlob][:2] != (KeyId, EncryptionContext):
            raise Answered("InvalidCiphertextException")
        return {"Plaintext": self.kept[CiphertextBlob][2]}


def test_who_may_use_the_kms_key_opens_the_keyring():
    kms = AwsKms(Service())
    recipient = keys.KmsRecipient("hsm", Role.READER, "alias/backup", kms)
    keyring, key = keys.create_keyring([recipient], now=NOW)
    assert keys.open_keyring(parse_keyring(keyring.to_bytes()), keys.Identity(kms=kms)) == key


def test_an_envelope_is_bound_to_its_recipient():
    kms = AwsKms(Service())
    sealed = kms.encrypt("alias/backup", b"key", {"recipient": "a"})
    with pytest.raises(WrongKey):
        kms.decrypt("alias/backup", sealed, {"recipient": "b"})


def test_a_missing_key_is_named():
    with pytest.raises(WrongKey, match="alias/gone"):
        AwsKms(Service()).encrypt("alias/gone", b"", {})


@pytest.mark.parametrize("error", [Answered("ThrottlingException"), OSError("timed out")])
def test_a_kms_that_does_not_answer_is_no_wrong_key(error):
    class Down:
        def decrypt(self, **_):
            raise error

    kms = AwsKms(Service())
    keyring, _ = keys.create_keyring(
        [keys.KmsRecipient("hsm", Role.READER, "alias/backup", kms)], now=NOW
    )
    with pytest.raises(StoreUnavailable):
        keys.open_keyring(keyring, keys.Identity(kms=AwsKms(Down())))
