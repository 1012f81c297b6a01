"""The probe's trials of what protects objects: encryption, versions and locks."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.store.bench import Bench, Verdict, must_refuse
from blocks.store.encryption import Call, Mode, extra_args, unmet
from blocks.store.s3_errors import error_code

LOCK_S = 90
"""How long the probe locks an object where the bucket has Object Lock: its only lasting trace."""


def encryption(bench: Bench) -> tuple[Verdict, str]:
    """Ask for the encryption the profile wants, and look whether the store says it did it."""
    if bench.encryption.mode in (Mode.DISABLE, Mode.CLIENT):
        return Verdict.UNTRIED, "nothing is asked of the store"
    key = bench.key("encrypted")
    fault = unmet(bench.encryption, bench.put(key, b"secret"))
    if fault:
        return Verdict.IGNORED, fault
    head = bench.client.head_object(
        **bench.at(key), **extra_args(bench.encryption, Call.HEAD_OBJECT)
    )
    fault = unmet(bench.encryption, head)
    return (Verdict.IGNORED, f"HEAD: {fault}") if fault else (Verdict.WORKS, "")


def sse_aes(bench: Bench) -> tuple[Verdict, str]:
    """Ask for encryption with the store's own keys."""
    answer = bench.client.put_object(
        **bench.at(bench.key("sse-aes")), Body=b"secret", ServerSideEncryption="AES256"
    )
    found = answer.get("ServerSideEncryption")
    return (Verdict.WORKS, "") if found == "AES256" else (Verdict.IGNORED, f"answered {found!r}")


def sse_kms(bench: Bench) -> tuple[Verdict, str]:
    """Ask for encryption with the default key of the store's key service."""
    answer = bench.client.put_object(
        **bench.at(bench.key("sse-kms")), Body=b"secret", ServerSideEncryption="aws:kms"
    )
    found = answer.get("ServerSideEncryption")
    return (Verdict.WORKS, "") if found == "aws:kms" else (Verdict.IGNORED, f"answered {found!r}")


def sse_customer(bench: Bench) -> tuple[Verdict, str]:
    """Put with a customer key, whole and in parts: without it nothing may be given."""
    mine, other = os.urandom(32), os.urandom(32)
    place = bench.at(bench.key("sse-c"))
    bench.client.put_object(**place, Body=b"secret", **_customer(mine))
    if fault := _given_without(bench, place, mine, other):
        return fault
    place = bench.at(bench.key("sse-c-parts"))
    upload = bench.client.create_multipart_upload(**place, **_customer(mine))["UploadId"]
    part = {"UploadId": upload, "PartNumber": 1, "Body": b"secret"}
    etag = bench.client.upload_part(**place, **part, **_customer(mine))["ETag"]
    bench.client.complete_multipart_upload(
        **place,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )
    if fault := _given_without(bench, place, mine, other):
        return fault
    return Verdict.WORKS, ""


def _given_without(
    bench: Bench, place: dict[str, Any], mine: bytes, other: bytes
) -> tuple[Verdict, str] | None:
    given = bench.client.get_object(**place, **_customer(mine))["Body"].read()
    if given != b"secret":
        return Verdict.BROKEN, "reads back otherwise with the key"
    for arguments, what in (({}, "without the key"), (_customer(other), "with another key")):
        try:
            bench.client.get_object(**place, **arguments)["Body"].read()
        except Exception as error:
            if not error_code(error):
                raise
        else:
            return Verdict.IGNORED, f"the object is given {what}"
    return None


def versioning(bench: Bench) -> tuple[Verdict, str]:
    """See whether the bucket keeps versions, and whether it really does."""
    status = bench.client.get_bucket_versioning(Bucket=bench.bucket).get("Status", "Off")
    key = bench.key("versions")
    first = bench.put(key, b"one").get("VersionId")
    bench.put(key, b"two")
    if status != "Enabled":
        return Verdict.UNTRIED, f"the bucket's versioning is {status.lower()}"
    if not first or bench.get(key, VersionId=first) != b"one":
        return Verdict.IGNORED, "an overwritten version is not kept"
    return Verdict.WORKS, ""


def object_lock(bench: Bench) -> tuple[Verdict, str]:
    """Lock an object for a short time: its version must not be deleted.

    Without Object Lock on the bucket, the lock's headers must be refused, not dropped.
    """
    key = bench.key("locked")
    data = b"locked"
    until = datetime.now(UTC) + timedelta(seconds=LOCK_S)
    # Amazon and IBM want an MD5 with every locked PUT.
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    try:
        answer = bench.put(
            key,
            data,
            ContentMD5=md5,
            ObjectLockMode="GOVERNANCE",
            ObjectLockRetainUntilDate=until,
        )
    except Exception as error:
        code = error_code(error)
        if not code:
            raise
        return Verdict.REFUSED, f"{code}: the bucket has no Object Lock, or the store knows none"
    version = answer.get("VersionId")
    if not version:
        return Verdict.IGNORED, "a lock is accepted on an object without versions"
    return must_refuse(
        lambda: bench.client.delete_object(**bench.at(key), VersionId=version),
        *("AccessDenied", "403", "InvalidRequest", "ObjectLocked", "Forbidden"),
    )


def _customer(key: bytes) -> dict[str, Any]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
