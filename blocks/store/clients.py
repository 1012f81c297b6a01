"""Build the client of a bucket: boto3 for S3, ibm_boto3 for IBM Cloud Object Storage."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from blocks.errors import ConfigError
from blocks.store.encryption import (
    Call,
    Encryption,
    Mode,
    check_transport,
    extra_args,
    parse_customer_key,
    unmet,
)
from blocks.store.s3_errors import translate
from blocks.store.throttle import Pace, Throttle, shared_throttle

if TYPE_CHECKING:
    from blocks.store.base import Store

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 120
HTTP_ATTEMPTS = 5
"""The SDK's own tries of one request, with growing pauses; nothing below a task adds to them."""
CONNECTIONS = 32
_BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Where a bucket is and how to enter it. Its `repr` holds no secret."""

    bucket: str
    provider: Literal["AWS", "IBM", "FILE"] = "AWS"
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    profile: str = ""
    role_arn: str = ""
    api_key: str = field(default="", repr=False)
    service_instance_id: str = ""
    iam_endpoint: str = ""
    ca_file: str = ""
    encryption: Literal["DISABLE", "KMS", "AES", "CLIENT"] = "DISABLE"
    kms_key_id: str = ""
    customer_key: str = field(default="", repr=False)
    """SSE-C: 32 bytes in base64."""
    part_checksum: bool = True
    """Send a CRC-32 with every body; off for stores that do not know the header."""
    pace: Pace | None = None
    """What all writers of this machine with the same pace may send together; None: no limit."""
    conditional_put: bool = True
    """The store honours `If-None-Match: *`; the capability probe finds out."""


def parse_bucket_url(url: str, environment: Mapping[str, str] | None = None) -> BucketSettings:
    """Read `s3://bucket/prefix`, `cos://bucket/prefix` or `file:///directory`.

    Endpoint and credentials come from the environment, under the SDK's own names
    (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    `AWS_REGION`, `AWS_PROFILE`; for `cos://` also `IBM_API_KEY_ID`, `IBM_SERVICE_INSTANCE_ID` and
    `IBM_AUTH_ENDPOINT`).

    Raises:
        ConfigError: it is no such URL.
    """
    known = os.environ if environment is None else environment
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return BucketSettings(bucket=unquote(parts.path), provider="FILE")
    if parts.scheme not in {"s3", "cos"} or not parts.netloc:
        raise ConfigError(
            f"'{url}' is no bucket",
            hint="Write it like s3://bucket/prefix, cos://bucket/prefix or file:///directory.",
        )
    if not _BUCKET_NAME.fullmatch(parts.netloc):
        raise ConfigError(
            f"'{parts.netloc}' is no name of a bucket",
            hint="Letters, digits, '.', '-' and '_'; write the URL like s3://bucket/prefix.",
        )
    prefix = parts.path.strip("/")
    is_ibm = parts.scheme == "cos"
    return BucketSettings(
        bucket=parts.netloc,
        provider="IBM" if is_ibm else "AWS",
        prefix=f"{prefix}/" if prefix else "",
        endpoint=known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL", ""),
        region=known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION", ""),
        access_key=known.get("AWS_ACCESS_KEY_ID", ""),
        secret_key=known.get("AWS_SECRET_ACCESS_KEY", ""),
        session_token=known.get("AWS_SESSION_TOKEN", ""),
        profile=known.get("AWS_PROFILE", ""),
        api_key=known.get("IBM_API_KEY_ID", "") if is_ibm else "",
        service_instance_id=known.get("IBM_SERVICE_INSTANCE_ID", "") if is_ibm else "",
        iam_endpoint=known.get("IBM_AUTH_ENDPOINT", "") if is_ibm else "",
        ca_file=known.get("AWS_CA_BUNDLE", ""),
    )


def open_store(settings: BucketSettings) -> Store:
    """Return the store of a bucket. Makes no request.

    Raises:
        ConfigError: the settings contradict each other.
    """
    if settings.provider == "FILE":
        from blocks.store.directory import DirectoryStore

        return DirectoryStore(Path(settings.bucket))
    from blocks.store.s3 import S3Store

    encryption = encryption_of(settings)
    return S3Store(
        s3_client(settings),
        settings.bucket,
        settings.prefix,
        scheme="cos" if settings.provider == "IBM" else "s3",
        put_arguments=extra_args(encryption, Call.PUT_OBJECT),
        read_arguments=extra_args(encryption, Call.GET_OBJECT),
        unmet=lambda answer: unmet(encryption, answer),
        part_checksum=settings.part_checksum and settings.provider == "AWS",
        # IBM's SDK does not know the header: there it is a look before the write.
        conditional_put=settings.conditional_put and settings.provider == "AWS",
        throttle=_throttle(settings),
    )


def _throttle(settings: BucketSettings) -> Throttle | None:
    if settings.pace is None:
        return None
    return shared_throttle(f"{settings.endpoint}/{settings.bucket}", settings.pace)


def s3_client(settings: BucketSettings) -> Any:
    """Return an S3 client of the provider's SDK, safe to share between threads.

    Raises:
        ConfigError: endpoint, region or profile are none.
        StoreError: the role to assume was not given.
    """
    common: dict[str, Any] = {
        "endpoint_url": settings.endpoint or None,
        "region_name": settings.region or None,
        "verify": settings.ca_file or None,
    }
    try:
        if settings.provider == "IBM":
            return _ibm_client(settings, common)
        return _aws_client(settings, common)
    except Exception as error:
        known = _why_no_client(error, settings)
        if known is error:
            raise
        raise known from error


def _why_no_client(error: Exception, settings: BucketSettings) -> Exception:
    is_wrong = type(error).__name__ in {"ProfileNotFound", "ConfigParseError", "ConfigNotFound"}
    if is_wrong or isinstance(error, ValueError):
        return ConfigError(
            f"bucket {settings.bucket} cannot be spoken to: {error}",
            hint="Correct its endpoint (https://host), region or profile; of a bucket that is not"
            " registered these are AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE and AWS_CONFIG_FILE.",
        )
    return translate(error, "", settings.bucket, is_head=False)


def _aws_client(settings: BucketSettings, common: dict[str, Any]) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        profile_name=settings.profile or None, botocore_session=_botocore_session()
    )
    keys: dict[str, Any] = {}
    if settings.access_key:
        keys = {
            "aws_access_key_id": settings.access_key,
            "aws_secret_access_key": settings.secret_key,
            "aws_session_token": settings.session_token or None,
        }
    if settings.role_arn:
        answer = session.client("sts", region_name=settings.region or None, **keys).assume_role(
            RoleArn=settings.role_arn, RoleSessionName="flashvault"
        )
        given = answer["Credentials"]
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
    bodies: Any = {"addressing_style": _style(settings), "payload_signing_enabled": False}
    config = Config(
        **_http_settings(),
        # Our own CRC-32 goes with every body and our own digests prove every byte that is read:
        # the SDK's defaults would hash twice, and broke S3-compatible stores (boto3 #4392, #4398).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=bodies,
    )
    return session.client("s3", config=config, **common, **keys)


def _botocore_session() -> Any:
    """Return a new session that shares what the SDK has read of S3's description.

    Reading it takes 0.15 s of processor, and a run opens its bucket in every step.
    """
    import botocore.session

    session = botocore.session.get_session()
    session.register_component("data_loader", _service_descriptions())
    return session


@cache
def _service_descriptions() -> Any:
    from botocore.loaders import create_loader

    return create_loader()


def _ibm_client(settings: BucketSettings, common: dict[str, Any]) -> Any:
    import ibm_boto3
    from ibm_botocore.client import Config

    config: dict[str, Any] = _http_settings()
    config["s3"] = {"addressing_style": _style(settings), "payload_signing_enabled": False}
    keys: dict[str, Any] = {}
    if settings.api_key:
        config["signature_version"] = "oauth"
        keys = {
            "ibm_api_key_id": settings.api_key,
            "ibm_service_instance_id": settings.service_instance_id,
        }
        if settings.iam_endpoint:
            keys["ibm_auth_endpoint"] = settings.iam_endpoint
    elif settings.access_key:
        keys = {
            "aws_access_key_id": settings.access_key,
            "aws_secret_access_key": settings.secret_key,
        }
    return ibm_boto3.client("s3", config=Config(**config), **common, **keys)


def _http_settings() -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"mode": "standard", "total_max_attempts": HTTP_ATTEMPTS},
        "max_pool_connections": CONNECTIONS,
        "tcp_keepalive": True,
    }


def _style(settings: BucketSettings) -> str:
    # A server of one's own seldom has a DNS name for each bucket.
    return "path" if settings.endpoint else "auto"


def encryption_of(settings: BucketSettings) -> Encryption:
    """Return what the store is asked to encrypt.

    Raises:
        ConfigError: the provider has no such thing, or a customer key would travel in the clear.
    """
    key = parse_customer_key(settings.customer_key) if settings.customer_key else None
    mode = Mode.AES if key is not None else Mode(settings.encryption)
    asked = Encryption(mode, settings.provider, settings.kms_key_id, key)
    check_transport(asked, settings.endpoint)
    return asked
