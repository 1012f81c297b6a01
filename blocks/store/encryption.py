"""What the store is asked to encrypt: arguments per S3 call, and proof that it did.

Pure. A store may accept these arguments and ignore them, so every answer is compared with what was
asked (`unmet`). Sources: docs/reference/powerha-cbm.md §8; Amazon S3 and IBM COS API references.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from blocks.errors import ConfigError

CUSTOMER_KEY_BYTES = 32
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Mode(StrEnum):
    """Who encrypts: the profile's ENCRYPTION."""

    DISABLE = "DISABLE"
    KMS = "KMS"
    AES = "AES"
    CLIENT = "CLIENT"


class Call(StrEnum):
    """The S3 calls that carry encryption arguments, by boto3's names."""

    CREATE_BUCKET = "create_bucket"
    PUT_OBJECT = "put_object"
    CREATE_MULTIPART_UPLOAD = "create_multipart_upload"
    UPLOAD_PART = "upload_part"
    UPLOAD_PART_COPY = "upload_part_copy"
    COMPLETE_MULTIPART_UPLOAD = "complete_multipart_upload"
    GET_OBJECT = "get_object"
    HEAD_OBJECT = "head_object"


_WRITES = {Call.PUT_OBJECT, Call.CREATE_MULTIPART_UPLOAD}


@dataclass(frozen=True, slots=True)
class Encryption:
    """What to ask of the store.

    Attributes:
        mode: CLIENT asks nothing: what arrives at the store is sealed already.
        provider: `IBM`, or any other for the Amazon way.
        kms_key_id: Amazon: the key's id or ARN, empty for the account's default key. IBM: the root
            key's CRN, used when the bucket is created.
        customer_key: 32 bytes for SSE-C; only with AES.
    """

    mode: Mode = Mode.DISABLE
    provider: str = "AWS"
    kms_key_id: str = ""
    customer_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.mode is Mode.AES and self.provider != "IBM" and self.customer_key is None:
            raise ConfigError(
                "ENCRYPTION=AES is for IBM Cloud Object Storage",
                hint="Use KMS with Amazon, or CLIENT with any store.",
            )
        if self.customer_key is not None and self.mode is not Mode.AES:
            raise ConfigError("a customer key is only used with ENCRYPTION=AES")
        if self.customer_key is not None and len(self.customer_key) != CUSTOMER_KEY_BYTES:
            raise ConfigError(f"the customer key has not {CUSTOMER_KEY_BYTES} bytes")
        if self.mode is Mode.KMS and self.provider == "IBM" and not self.kms_key_id:
            raise ConfigError("ENCRYPTION=KMS with IBM needs the root key's CRN as KEY_ID")

    @property
    def uses_customer_key(self) -> bool:
        """Whether every read and write carries the key (SSE-C)."""
        return self.customer_key is not None


def parse_customer_key(text: str) -> bytes:
    """Read a customer key from base64, as both providers' tools print it.

    Raises:
        ConfigError: no base64 of 32 bytes.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise ConfigError("the customer key is no base64") from error
    if len(key) != CUSTOMER_KEY_BYTES:
        raise ConfigError(f"the customer key has {len(key)} bytes instead of {CUSTOMER_KEY_BYTES}")
    return key


def check_transport(encryption: Encryption, endpoint: str) -> None:
    """Refuse to send a customer key in the clear.

    Args:
        encryption: what will be asked.
        endpoint: the store's URL; empty means the provider's own, which is HTTPS.

    Raises:
        ConfigError: the key would travel over plain HTTP to another machine.
    """
    url = urlsplit(endpoint)
    if encryption.uses_customer_key and url.scheme == "http" and url.hostname not in _LOOPBACK:
        raise ConfigError(
            f"a customer key would be sent unencrypted to {url.hostname}",
            hint="Use an https:// endpoint.",
        )


def extra_args(encryption: Encryption, call: Call) -> dict[str, Any]:
    """Return the arguments to add to one boto3 (or ibm_boto3) call.

    SSE and KMS arguments go where an object begins; a customer key goes on every call that touches
    its bytes. The clients encode the key and add its MD5 themselves.
    """
    if encryption.customer_key is not None:
        return _customer_key_args(encryption.customer_key, call)
    if encryption.mode is Mode.AES and call in _WRITES:
        return {"ServerSideEncryption": "AES256"}
    if encryption.mode is not Mode.KMS:
        return {}
    if encryption.provider == "IBM":
        if call is not Call.CREATE_BUCKET:
            return {}  # the bucket carries it: IBM has no per-object key
        return {
            "IBMSSEKPEncryptionAlgorithm": "AES256",
            "IBMSSEKPCustomerRootKeyCrn": encryption.kms_key_id,
        }
    if call not in _WRITES:
        return {}
    key = {"SSEKMSKeyId": encryption.kms_key_id} if encryption.kms_key_id else {}
    return {"ServerSideEncryption": "aws:kms", **key}


def unmet(encryption: Encryption, answer: Mapping[str, Any]) -> str:
    """Say what an answer to PUT, CreateMultipartUpload or HEAD shows was not encrypted as asked.

    Returns:
        A phrase for a message; empty if the answer confirms it, or nothing was asked that answers
        confirm (IBM's key is a property of the bucket; see `fingerprint`).
    """
    if encryption.uses_customer_key:
        found = answer.get("SSECustomerAlgorithm")
        return "" if found == "AES256" else f"asked for SSE-C, the store answered {found!r}"
    if encryption.mode is Mode.AES:
        found = answer.get("ServerSideEncryption")
        return "" if found == "AES256" else f"asked for AES256, the store answered {found!r}"
    if encryption.mode is Mode.KMS and encryption.provider != "IBM":
        found, key = answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId")
        if found not in ("aws:kms", "aws:kms:dsse"):
            return f"asked for aws:kms, the store answered {found!r}"
        if encryption.kms_key_id and not _is_same_key(encryption.kms_key_id, str(key)):
            return f"asked for key {encryption.kms_key_id}, the store used {key}"
    return ""


def _customer_key_args(customer_key: bytes, call: Call) -> dict[str, Any]:
    if call is Call.CREATE_BUCKET:
        return {}
    arguments: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": customer_key}
    if call is Call.UPLOAD_PART_COPY:
        arguments["CopySourceSSECustomerAlgorithm"] = "AES256"
        arguments["CopySourceSSECustomerKey"] = customer_key
    return arguments


def _is_same_key(asked: str, used: str) -> bool:
    # Asked by id, answered by ARN (arn:aws:kms:region:account:key/id). An alias cannot be compared:
    # only the service knows what it points to.
    return asked == used or used.endswith(f"/{asked}") or "alias/" in asked
