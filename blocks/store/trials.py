"""What the capability probe tries on a store: one function per claim, with real bytes.

Each trial says what the store *does*. Accepting a header and ignoring it is the worst answer,
because nothing fails until the day it matters (`rclone serve s3` does so with conditional writes,
encryption and locks). Sources: the S3 API reference; docs/reference/faults.md.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from blocks.store.base import PART_MIN_BYTES
from blocks.store.encryption import Call, Encryption, Mode, extra_args, unmet

LOCK_S = 90
"""How long the probe locks an object where the bucket has Object Lock: its only lasting trace."""


class Verdict(StrEnum):
    """What a store did with one request."""

    WORKS = "works"
    IGNORED = "ignored"
    REFUSED = "refused"
    BROKEN = "broken"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one trial; `detail` says what was seen, for people."""

    name: str
    verdict: Verdict
    detail: str = ""


@dataclass
class Bench:
    """A client, a bucket and a folder of the probe's own, cleared afterwards."""

    client: Any
    bucket: str
    folder: str
    url: str
    encryption: Encryption = field(default_factory=Encryption)
    keys: list[str] = field(default_factory=list)

    def key(self, name: str) -> str:
        """Return a key of the folder, and remember to delete it."""
        self.keys.append(self.folder + name)
        return self.keys[-1]

    def at(self, key: str) -> dict[str, str]:
        """Return the arguments that name an object."""
        return {"Bucket": self.bucket, "Key": key}

    def put(self, key: str, data: bytes, **more: Any) -> Mapping[str, Any]:
        """Put an object as it would be put in a backup."""
        arguments = {**extra_args(self.encryption, Call.PUT_OBJECT), **more}
        answer: Mapping[str, Any] = self.client.put_object(**self.at(key), Body=data, **arguments)
        return answer

    def get(self, key: str, **more: Any) -> bytes:
        """Get an object's bytes."""
        arguments = {**extra_args(self.encryption, Call.GET_OBJECT), **more}
        answer = self.client.get_object(**self.at(key), **arguments)
        return bytes(answer["Body"].read())

    def begin(self, key: str) -> str:
        """Begin a multipart upload."""
        arguments = extra_args(self.encryption, Call.CREATE_MULTIPART_UPLOAD)
        return str(self.client.create_multipart_upload(**self.at(key), **arguments)["UploadId"])

    def part(self, key: str, upload_id: str, number: int, data: bytes) -> dict[str, Any]:
        """Store a part; return what completing needs."""
        answer = self.client.upload_part(
            **self.at(key),
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            **extra_args(self.encryption, Call.UPLOAD_PART),
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def complete(
        self, key: str, upload_id: str, parts: Sequence[dict[str, Any]], **more: Any
    ) -> None:
        """Complete a multipart upload."""
        arguments = {**extra_args(self.encryption, Call.COMPLETE_MULTIPART_UPLOAD), **more}
        listed = {"Parts": list(parts)}
        self.client.complete_multipart_upload(
            **self.at(key), UploadId=upload_id, MultipartUpload=listed, **arguments
        )


Trial = Callable[[Bench], tuple[Verdict, str]]


def error_code(error: Exception) -> str:
    """Return the store's code of a refusal; empty if the error is not an answer of the store.

    boto3 and IBM's fork of it have exceptions of the same shape and of different classes.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(response.get("Error", {}).get("Code") or status)


def single(bench: Bench) -> tuple[Verdict, str]:
    """Put and get a small object, and an empty one."""
    for name, data in (("single", os.urandom(70_001)), ("empty", b"")):
        key = bench.key(name)
        bench.put(key, data)
        if bench.get(key) != data:
            return Verdict.BROKEN, f"{len(data)} bytes read back otherwise than written"
    return Verdict.WORKS, ""


def odd_keys(bench: Bench) -> tuple[Verdict, str]:
    """Use a key as IBM names images: colons, dots, underscores, and as long as they get."""
    key = bench.key(f"r1_cluster_RG1_VG1_hdisk11.2026-11-23_05:35:00.315851.{'x' * 120}.img.zst")
    bench.put(key, b"odd")
    listed = [item["Key"] for item in _listing(bench, bench.folder + "r1_cluster")]
    if bench.get(key) != b"odd" or listed != [key]:
        return Verdict.BROKEN, f"listed as {listed}"
    return Verdict.WORKS, ""


def missing(bench: Bench) -> tuple[Verdict, str]:
    """Get what is not there: the answer must say so clearly, and not be an error of the store."""
    try:
        bench.get(bench.folder + "never-written")
    except Exception as error:
        code = error_code(error)
        if code == "NoSuchKey":
            return Verdict.WORKS, ""
        if not code:
            raise
        return Verdict.BROKEN, f"answered {code} instead of NoSuchKey"
    return Verdict.BROKEN, "gave bytes of an object that was never written"


def ranged(bench: Bench) -> tuple[Verdict, str]:
    """Read ranges."""
    key, data = bench.key("ranged"), os.urandom(300_000)
    bench.put(key, data)
    for first, last in ((0, 0), (1_000, 1_999), (299_990, 299_999), (65_536, 200_000)):
        if bench.get(key, Range=f"bytes={first}-{last}") != data[first : last + 1]:
            return Verdict.BROKEN, f"bytes {first}-{last} came back otherwise"
    return Verdict.WORKS, ""


def pinned_read(bench: Bench) -> tuple[Verdict, str]:
    """Read with If-Match: an object that changed meanwhile must not be given."""
    key = bench.key("pinned")
    former = bench.put(key, b"one")["ETag"]
    latter = bench.put(key, b"two")["ETag"]
    if former == latter:
        return Verdict.BROKEN, "two contents have one ETag"
    if bench.get(key, IfMatch=latter) != b"two":
        return Verdict.BROKEN, "gave other bytes under the right ETag"
    return _must_refuse(lambda: bench.get(key, IfMatch=former), "412", "PreconditionFailed")


def multipart(bench: Bench) -> tuple[Verdict, str]:
    """Upload in parts out of order, one part twice; read across their border."""
    key = bench.key("multipart")
    data = os.urandom(PART_MIN_BYTES + 12_345)
    upload_id = bench.begin(key)
    tail = bench.part(key, upload_id, 2, data[PART_MIN_BYTES:])
    bench.part(key, upload_id, 1, bytes(PART_MIN_BYTES))
    head = bench.part(key, upload_id, 1, data[:PART_MIN_BYTES])
    bench.complete(key, upload_id, [head, tail])
    if bench.get(key) != data:
        return Verdict.BROKEN, "the parts joined are not what was uploaded"
    border = f"bytes={PART_MIN_BYTES - 10}-{PART_MIN_BYTES + 9}"
    if bench.get(key, Range=border) != data[PART_MIN_BYTES - 10 : PART_MIN_BYTES + 10]:
        return Verdict.BROKEN, "a range across two parts came back otherwise"
    return Verdict.WORKS, ""


def list_parts(bench: Bench) -> tuple[Verdict, str]:
    """Ask which parts of an upload the store has, after one was sent twice."""
    key = bench.key("parts")
    upload_id = bench.begin(key)
    sent = [
        bench.part(key, upload_id, number, data)
        for number, data in ((2, b"tail"), (1, bytes(1000)), (1, b"head"))
    ]
    try:
        listed = bench.client.list_parts(**bench.at(key), UploadId=upload_id).get("Parts", [])
    finally:
        bench.client.abort_multipart_upload(**bench.at(key), UploadId=upload_id)
    found = [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed]
    if found == [(1, 4, sent[2]["ETag"]), (2, 4, sent[0]["ETag"])]:
        return Verdict.WORKS, ""
    return (
        Verdict.BROKEN,
        f"lists parts {[part[:2] for part in found]} instead of 1 and 2, once each",
    )


def abort(bench: Bench) -> tuple[Verdict, str]:
    """Abort an upload twice; nothing of it may stay."""
    key = bench.key("aborted")
    upload_id = bench.begin(key)
    bench.part(key, upload_id, 1, b"part")
    listed = bench.client.list_multipart_uploads(Bucket=bench.bucket, Prefix=key)
    seen = [upload["UploadId"] for upload in listed.get("Uploads", [])]
    for attempt in (1, 2):
        try:
            bench.client.abort_multipart_upload(**bench.at(key), UploadId=upload_id)
        except Exception as error:
            if attempt == 1 or error_code(error) != "NoSuchUpload":
                raise
    after = bench.client.list_multipart_uploads(Bucket=bench.bucket, Prefix=key)
    if any(upload["UploadId"] == upload_id for upload in after.get("Uploads", [])):
        return Verdict.IGNORED, "the upload is still listed"
    if upload_id not in seen:
        return Verdict.BROKEN, "ListMultipartUploads does not list it: orphans cannot be found"
    return Verdict.WORKS, ""


def listing(bench: Bench) -> tuple[Verdict, str]:
    """List in pages, after a key, by folder; what was deleted no more."""
    names = ["list/a", "list/b/1", "list/b/2", "list/c", "list/d", "list/z"]
    wanted = [bench.key(name) for name in names]
    for key in wanted:
        bench.put(key, b"")
    root = bench.folder + "list/"
    found = [item["Key"] for item in _listing(bench, root, MaxKeys=2)]
    if found != wanted:
        return Verdict.BROKEN, f"pages of two gave {[key.removeprefix(root) for key in found]}"
    rest = [item["Key"] for item in _listing(bench, root, StartAfter=wanted[2])]
    if rest != wanted[3:]:
        return Verdict.BROKEN, "StartAfter is not honoured"
    answer = bench.client.list_objects_v2(Bucket=bench.bucket, Prefix=root, Delimiter="/")
    if [item["Prefix"] for item in answer.get("CommonPrefixes", [])] != [root + "b/"]:
        return Verdict.BROKEN, "Delimiter is not honoured"
    bench.client.delete_object(**bench.at(wanted[0]))
    if [item["Key"] for item in _listing(bench, root)] != wanted[1:]:
        return Verdict.BROKEN, "a deleted object is still listed"
    return Verdict.WORKS, ""


def list_order(bench: Bench) -> tuple[Verdict, str]:
    """List folders whose names have characters that sort before the slash, or accents."""
    wanted = [bench.key(f"order/{name}/1") for name in ("RG1-b", "RG1.a", "RG1", "RG10", "é")]
    for key in wanted:
        bench.put(key, b"")
    found = [item["Key"] for item in _listing(bench, bench.folder + "order/")]
    rest = [item["Key"] for item in _listing(bench, bench.folder + "order/", StartAfter=wanted[2])]
    if (found, rest) == (wanted, wanted[3:]):
        return Verdict.WORKS, ""
    if sorted(found) == sorted(wanted):
        return Verdict.BROKEN, "keys are not listed in the order of their bytes"
    return Verdict.BROKEN, f"lists {len(found)} of {len(wanted)} keys"


def delete_many(bench: Bench) -> tuple[Verdict, str]:
    """Delete several objects in one request, one of them missing."""
    keys = [bench.key(f"delete/{number}") for number in range(3)]
    for key in keys[:2]:
        bench.put(key, b"x")
    objects = [{"Key": key} for key in keys]
    answer = bench.client.delete_objects(Bucket=bench.bucket, Delete={"Objects": objects})
    if answer.get("Errors"):
        return Verdict.BROKEN, f"an object already gone is an error: {answer['Errors'][0]}"
    left = [item["Key"] for item in _listing(bench, bench.folder + "delete/")]
    return (Verdict.IGNORED, f"{len(left)} are still there") if left else (Verdict.WORKS, "")


def copy_part(bench: Bench) -> tuple[Verdict, str]:
    """Copy a range of one object into a part of another, inside the store."""
    source, target, data = bench.key("copy-source"), bench.key("copy-target"), os.urandom(100_000)
    bench.put(source, data)
    upload_id = bench.begin(target)
    try:
        answer = bench.client.upload_part_copy(
            **bench.at(target),
            UploadId=upload_id,
            PartNumber=1,
            CopySource=bench.at(source),
            CopySourceRange="bytes=1000-50999",
            **extra_args(bench.encryption, Call.UPLOAD_PART_COPY),
        )
        etag = answer["CopyPartResult"]["ETag"]
        bench.complete(target, upload_id, [{"PartNumber": 1, "ETag": etag}])
    except Exception:
        with suppress(Exception):
            bench.client.abort_multipart_upload(**bench.at(target), UploadId=upload_id)
        raise
    if bench.get(target) != data[1000:51_000]:
        return Verdict.BROKEN, "the copied range is not the range asked for"
    return Verdict.WORKS, ""


def put_if_absent(bench: Bench) -> tuple[Verdict, str]:
    """PUT with If-None-Match: a second writer must be refused."""
    key = bench.key("once")
    bench.put(key, b"first", IfNoneMatch="*")
    verdict = _must_refuse(
        lambda: bench.put(key, b"second", IfNoneMatch="*"),
        *("412", "PreconditionFailed", "ConditionalRequestConflict"),
    )
    if verdict[0] is Verdict.WORKS and bench.get(key) != b"first":
        return Verdict.BROKEN, "refused, and overwritten all the same"
    return verdict


def complete_if_absent(bench: Bench) -> tuple[Verdict, str]:
    """Complete an upload with If-None-Match: it must not replace an object."""
    key = bench.key("once-multipart")
    bench.put(key, b"first")
    upload_id = bench.begin(key)
    parts = [bench.part(key, upload_id, 1, b"second")]
    verdict = _must_refuse(
        lambda: bench.complete(key, upload_id, parts, IfNoneMatch="*"),
        *("412", "PreconditionFailed", "ConditionalRequestConflict"),
    )
    with suppress(Exception):
        bench.client.abort_multipart_upload(**bench.at(key), UploadId=upload_id)
    return verdict


def checksum(bench: Bench) -> tuple[Verdict, str]:
    """Send a CRC-32 that is not that of the bytes: they must be refused."""
    key, data = bench.key("checksum"), os.urandom(1000)
    bench.put(key, data, ChecksumCRC32=_crc(data))
    if bench.get(key) != data:
        return Verdict.BROKEN, "with a checksum, the bytes read back otherwise"
    return _must_refuse(
        lambda: bench.put(key, data, ChecksumCRC32=_crc(data + b"x")),
        *("BadDigest", "InvalidRequest", "InvalidDigest", "XAmzContentChecksumMismatch"),
    )


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
    return _must_refuse(
        lambda: bench.client.delete_object(**bench.at(key), VersionId=version),
        *("AccessDenied", "403", "InvalidRequest", "ObjectLocked", "Forbidden"),
    )


TRIALS: Mapping[str, Trial] = {
    "put and get": single,
    "keys of images": odd_keys,
    "missing is said": missing,
    "ranged read": ranged,
    "pinned read": pinned_read,
    "multipart": multipart,
    "list parts": list_parts,
    "abort": abort,
    "listing": listing,
    "list order": list_order,
    "delete many": delete_many,
    "copy part": copy_part,
    "put if absent": put_if_absent,
    "complete if absent": complete_if_absent,
    "checksum": checksum,
    "encryption": encryption,
    "SSE AES256": sse_aes,
    "SSE-KMS": sse_kms,
    "SSE-C": sse_customer,
    "versioning": versioning,
    "object lock": object_lock,
}
"""Every trial by its name in reports, in the order they are made."""


def _must_refuse(act: Callable[[], object], *codes: str) -> tuple[Verdict, str]:
    try:
        act()
    except Exception as error:
        code = error_code(error)
        if not code:
            raise
        if code in codes:
            return Verdict.WORKS, ""
        return Verdict.REFUSED, f"answered {code}"
    return Verdict.IGNORED, "accepted, and nothing came of it"


def _listing(bench: Bench, prefix: str, **more: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while len(items) < 10_000:
        answer = bench.client.list_objects_v2(Bucket=bench.bucket, Prefix=prefix, **more, **token)
        items += answer.get("Contents", [])
        if not answer.get("IsTruncated"):
            return items
        token = {"ContinuationToken": answer["NextContinuationToken"]}
    return items


def _crc(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def _customer(key: bytes) -> dict[str, Any]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
