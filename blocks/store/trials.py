"""What the capability probe tries on a store: one function per claim, with real bytes.

Here: objects, their parts, lists and conditions. What protects them is in `protection_trials`.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from blocks.store import protection_trials
from blocks.store.base import PART_MIN_BYTES
from blocks.store.bench import Bench, Trial, Verdict, must_refuse
from blocks.store.encryption import Call, extra_args
from blocks.store.s3_errors import error_code


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
    return must_refuse(lambda: bench.get(key, IfMatch=former), "412", "PreconditionFailed")


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
    verdict = must_refuse(
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
    verdict = must_refuse(
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
    return must_refuse(
        lambda: bench.put(key, data, ChecksumCRC32=_crc(data + b"x")),
        *("BadDigest", "InvalidRequest", "InvalidDigest", "XAmzContentChecksumMismatch"),
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
    "encryption": protection_trials.encryption,
    "SSE AES256": protection_trials.sse_aes,
    "SSE-KMS": protection_trials.sse_kms,
    "SSE-C": protection_trials.sse_customer,
    "versioning": protection_trials.versioning,
    "object lock": protection_trials.object_lock,
}
"""Every trial by its name in reports, in the order they are made."""


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
