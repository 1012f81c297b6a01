"""The probe must see through every store that accepts what it does not do."""

import base64
import hashlib
import re
import zlib
from datetime import UTC, datetime
from io import BytesIO

import pytest

from blocks.errors import AccessDenied, BucketMissing, CorruptData, Refused, StoreUnavailable
from blocks.store import probe as probing
from blocks.store.bench import Verdict
from blocks.store.encryption import Encryption, Mode
from blocks.store.memory import MemoryStore
from blocks.store.probe import Report, latest_report, markdown, notes, probe, require, save_report
from blocks.store.trials import TRIALS

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
KEY = bytes(range(32))


class Answered(Exception):
    """An error as boto3 shapes it."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.response = {
            "Error": {"Code": code},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


class HonestS3:
    """A small S3 that does what it says; each subclass lies about one thing."""

    versioned = False
    locks = False

    def __init__(self):
        self.objects: dict[str, list[dict]] = {}
        self.uploads: dict[str, dict] = {}
        self.hidden: set[str] = set()
        self.count = 0

    def head_bucket(self, **_):
        return {"ResponseMetadata": {"HTTPHeaders": {"server": "honest"}}}

    def put_object(self, Bucket, Key, Body, **args):  # noqa: N803
        self.check_condition(Key, args)
        self.check_checksum(Body, args)
        if "ObjectLockMode" in args and not self.locks:
            raise Answered("InvalidRequest")
        return self.store(Key, bytes(Body), args)

    def store(self, key, data, args):
        self.count += 1
        kept = {
            "data": data,
            "etag": f'"{hashlib.sha256(data).hexdigest()[:8]}-{self.count}"',
            "version": f"v{self.count}",
            "customer": args.get("SSECustomerKey"),
            "locked": "ObjectLockMode" in args and self.locks,
            "echo": self.echo(args),
        }
        versions = self.objects.setdefault(key, [])
        self.hidden.discard(key)
        if not self.versioned:
            versions.clear()
        versions.append(kept)
        version = {"VersionId": kept["version"]} if self.versioned else {}
        return {"ETag": kept["etag"], **kept["echo"], **version}

    def echo(self, args):
        names = ("ServerSideEncryption", "SSEKMSKeyId", "SSECustomerAlgorithm")
        return {name: args[name] for name in names if name in args}

    def check_condition(self, key, args):
        if args.get("IfNoneMatch") == "*" and self.objects.get(key):
            raise Answered("PreconditionFailed", 412)

    def check_checksum(self, body, args):
        sent = args.get("ChecksumCRC32")
        if sent and sent != base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode():
            raise Answered("BadDigest")

    def find(self, key, args):
        versions = self.objects.get(key) or []
        wanted = args.get("VersionId")
        found = [v for v in versions if wanted in (None, v["version"])]
        if not found:
            raise Answered("NoSuchKey", 404)
        self.check_reader(found[-1], args)
        return found[-1]

    def check_reader(self, kept, args):
        if kept["customer"] != args.get("SSECustomerKey"):
            raise Answered("AccessDenied", 403)

    def get_object(self, Bucket, Key, **args):  # noqa: N803
        kept = self.find(Key, args)
        self.check_pin(kept, args)
        data = kept["data"]
        if "Range" in args:
            first, last = map(int, re.findall(r"\d+", args["Range"]))
            data = self.cut(data, first, last)
        return {"Body": BytesIO(data), "ContentLength": len(data), "ETag": kept["etag"]}

    def cut(self, data, first, last):
        return data[first : last + 1]

    def check_pin(self, kept, args):
        if args.get("IfMatch") not in (None, kept["etag"]):
            raise Answered("PreconditionFailed", 412)

    def head_object(self, Bucket, Key, **args):  # noqa: N803
        return self.find(Key, args)["echo"]

    def delete_object(self, Bucket, Key, VersionId=None):  # noqa: N803
        versions = self.objects.get(Key, [])
        if self.versioned and VersionId is None:
            self.hidden.add(Key)
            return {}
        if any(v["locked"] for v in versions if VersionId == v["version"]):
            raise Answered("AccessDenied", 403)
        self.objects[Key] = [v for v in versions if VersionId not in (None, v["version"])]
        return {}

    def delete_objects(self, Bucket, Delete):  # noqa: N803
        for item in Delete["Objects"]:
            self.objects.pop(item["Key"], None)
        return {}

    def create_multipart_upload(self, Bucket, Key, **args):  # noqa: N803
        self.count += 1
        self.uploads[f"u{self.count}"] = {"key": Key, "parts": {}, "args": args}
        return {"UploadId": f"u{self.count}"}

    def upload_part(self, UploadId, PartNumber, Body, **_):  # noqa: N803
        etag = hashlib.sha256(Body).hexdigest()
        self.uploads[UploadId]["parts"][PartNumber] = (bytes(Body), etag)
        return {"ETag": etag}

    def upload_part_copy(self, UploadId, PartNumber, CopySource, CopySourceRange, **_):  # noqa: N803
        first, last = map(int, re.findall(r"\d+", CopySourceRange))
        data = self.find(CopySource["Key"], {})["data"][first : last + 1]
        return {"CopyPartResult": self.upload_part(UploadId, PartNumber, data)}

    def list_parts(self, UploadId, **_):  # noqa: N803
        parts = sorted(self.uploads[UploadId]["parts"].items())
        return {
            "Parts": [
                {"PartNumber": number, "Size": len(data), "ETag": etag}
                for number, (data, etag) in parts
            ]
        }

    def complete_multipart_upload(self, Key, UploadId, MultipartUpload, **args):  # noqa: N803
        self.check_condition(Key, args)
        upload = self.uploads.pop(UploadId)
        numbers = [part["PartNumber"] for part in MultipartUpload["Parts"]]
        self.store(Key, b"".join(upload["parts"][n][0] for n in numbers), upload["args"])
        return {"ETag": "x"}

    def abort_multipart_upload(self, UploadId, **_):  # noqa: N803
        if self.uploads.pop(UploadId, None) is None:
            raise Answered("NoSuchUpload", 404)

    def list_multipart_uploads(self, Bucket, Prefix):  # noqa: N803
        return {
            "Uploads": [
                {"UploadId": upload_id}
                for upload_id, upload in self.uploads.items()
                if upload["key"].startswith(Prefix)
            ]
        }

    def sorted_keys(self):
        live = (key for key in self.objects if self.objects[key] and key not in self.hidden)
        return sorted(live, key=str.encode)

    def list_objects_v2(self, Prefix, MaxKeys=1000, Delimiter="", **args):  # noqa: N803
        after = args.get("ContinuationToken") or args.get("StartAfter", "")
        keys = [k for k in self.sorted_keys() if k.startswith(Prefix) and k > after]
        page = keys[:MaxKeys]
        answer = {
            "Contents": [{"Key": key} for key in page],
            "IsTruncated": len(keys) > len(page),
            "NextContinuationToken": page[-1] if page else "",
        }
        if Delimiter:
            folders = {
                Prefix + key[len(Prefix) :].split("/")[0] + "/"
                for key in keys
                if "/" in key[len(Prefix) :]
            }
            answer["CommonPrefixes"] = [{"Prefix": folder} for folder in sorted(folders)]
        return answer

    def list_object_versions(self, Prefix, **_):  # noqa: N803
        return {
            "Versions": [
                {"Key": key, "VersionId": version["version"]}
                for key, versions in self.objects.items()
                for version in versions
                if self.versioned and key.startswith(Prefix)
            ]
        }

    def get_bucket_versioning(self, **_):
        return {"Status": "Enabled"} if self.versioned else {}


class LockedS3(HonestS3):
    versioned = True
    locks = True


def run(client, **more) -> Report:
    return probe(client, "bucket", "prefix/", now=NOW, **more)


def test_an_honest_store_does_everything_and_nothing_stays_behind():
    client = HonestS3()
    report = run(client)
    verdicts = {outcome.name: outcome.verdict for outcome in report.outcomes}
    assert set(verdicts) == set(TRIALS)
    assert {name for name, verdict in verdicts.items() if verdict is not Verdict.WORKS} == {
        "encryption",  # nothing was asked
        "versioning",  # is off
        "object lock",  # is refused, as it must be
    }
    assert verdicts["object lock"] is Verdict.REFUSED
    assert report.refusals() == []
    assert report.conditional_put
    assert report.part_checksum
    assert report.server == "honest"
    assert client.sorted_keys() == []
    assert client.uploads == {}


def test_a_store_with_locks_keeps_only_the_locked_object():
    client = LockedS3()
    report = run(client)
    assert report.verdict("versioning") is Verdict.WORKS
    assert report.verdict("object lock") is Verdict.WORKS
    assert report.refusals(object_lock=True) == []
    assert [key.rpartition("/")[2] for key in client.sorted_keys()] == ["locked"]


class IgnoresConditions(HonestS3):
    def check_condition(self, key, args):
        pass


class IgnoresPins(HonestS3):
    def check_pin(self, kept, args):
        pass


class IgnoresChecksums(HonestS3):
    def check_checksum(self, body, args):
        pass


class IgnoresEncryption(HonestS3):
    def echo(self, args):
        return {}

    def check_reader(self, kept, args):
        pass


class IgnoresLocks(HonestS3):
    def put_object(self, **args):
        args.pop("ObjectLockMode", None)
        return super().put_object(**args)


class DeletesWhatIsLocked(LockedS3):
    def delete_object(self, Bucket, Key, VersionId=None):  # noqa: N803
        self.objects[Key] = []


class IgnoresRanges(HonestS3):
    def cut(self, data, first, last):
        return data


class IgnoresDeletes(HonestS3):
    def delete_objects(self, Bucket, Delete):  # noqa: N803
        return {}


class IgnoresAborts(HonestS3):
    def abort_multipart_upload(self, UploadId, **_):  # noqa: N803
        pass


class ListsFolderByFolder(HonestS3):
    def sorted_keys(self):
        return sorted(super().sorted_keys(), key=lambda key: key.split("/"))


class ListsHalf(HonestS3):
    def list_objects_v2(self, **args):
        answer = super().list_objects_v2(**args)
        return {**answer, "IsTruncated": False}


class AddsTheTrailer(HonestS3):
    def put_object(self, Body, **args):  # noqa: N803
        self.check_checksum(Body, args)
        trailer = b"\r\nx-amz-checksum-crc32:AAAA" if args.pop("ChecksumCRC32", None) else b""
        return super().put_object(Body=Body + trailer, **args)


class LosesAPart(HonestS3):
    def complete_multipart_upload(self, Key, UploadId, MultipartUpload, **args):  # noqa: N803
        last_lost = {"Parts": MultipartUpload["Parts"][:-1]}
        return super().complete_multipart_upload(Key, UploadId, last_lost, **args)


class AnswersWithoutETag(HonestS3):
    def upload_part_copy(self, **_):
        return {"CopyPartResult": {}}


class HasNoConditions(HonestS3):
    def check_condition(self, key, args):
        if "IfNoneMatch" in args:
            raise Answered("NotImplemented", 501)


class FailsInside(HonestS3):
    def upload_part_copy(self, **_):
        raise Answered("InternalError", 500)


@pytest.mark.parametrize(
    ("client", "verdict", "names"),
    [
        (IgnoresConditions, Verdict.IGNORED, {"put if absent", "complete if absent"}),
        (IgnoresPins, Verdict.IGNORED, {"pinned read"}),
        (IgnoresChecksums, Verdict.IGNORED, {"checksum"}),
        (IgnoresEncryption, Verdict.IGNORED, {"SSE AES256", "SSE-KMS", "SSE-C"}),
        (IgnoresLocks, Verdict.IGNORED, {"object lock"}),
        (DeletesWhatIsLocked, Verdict.IGNORED, {"object lock"}),
        (IgnoresDeletes, Verdict.IGNORED, {"delete many"}),
        (IgnoresAborts, Verdict.IGNORED, {"abort"}),
        (IgnoresRanges, Verdict.BROKEN, {"ranged read", "multipart"}),
        (ListsFolderByFolder, Verdict.BROKEN, {"list order"}),
        (ListsHalf, Verdict.BROKEN, {"listing"}),
        (AddsTheTrailer, Verdict.BROKEN, {"checksum"}),
        (LosesAPart, Verdict.BROKEN, {"multipart", "copy part", "SSE-C"}),
        (AnswersWithoutETag, Verdict.BROKEN, {"copy part"}),
        (FailsInside, Verdict.BROKEN, {"copy part"}),
        (HasNoConditions, Verdict.REFUSED, {"put if absent", "complete if absent", "object lock"}),
    ],
)
def test_each_lie_and_each_lack_is_found_and_named(client, verdict, names):
    report = run(client())
    assert {o.name for o in report.outcomes if o.verdict is verdict} >= names
    others = {o.name for o in report.outcomes if o.verdict is verdict} - names
    assert others <= {"object lock"}


@pytest.mark.parametrize("client", [IgnoresRanges, ListsHalf, LosesAPart])
def test_a_store_that_loses_bytes_is_refused(client):
    with pytest.raises(Refused, match="cannot be used as configured"):
        require(run(client()))


@pytest.mark.parametrize("client", [IgnoresConditions, IgnoresPins, HasNoConditions, IgnoresLocks])
def test_a_store_with_a_lack_that_can_be_lived_with_is_used_with_a_caution(client):
    report = run(client())
    require(report)
    assert report.cautions()


def test_conditional_writes_are_not_relied_upon_where_they_are_ignored():
    assert not run(IgnoresConditions()).conditional_put
    assert not run(HasNoConditions()).conditional_put
    assert not run(AddsTheTrailer()).part_checksum


@pytest.mark.parametrize(
    "encryption",
    [
        Encryption(Mode.KMS, "AWS", "1234"),
        Encryption(Mode.AES, "IBM"),
        Encryption(Mode.AES, "IBM", customer_key=KEY),
    ],
    ids=["kms", "aes", "sse-c"],
)
def test_encryption_that_is_asked_for_and_ignored_forbids_the_backup(encryption):
    require(run(HonestS3(), encryption=encryption))
    with pytest.raises(Refused, match="encryption: ignored"):
        require(run(IgnoresEncryption(), encryption=encryption))


def test_locks_that_are_asked_for_and_ignored_forbid_the_backup():
    require(run(LockedS3()), object_lock=True)
    for client in (HonestS3, IgnoresLocks, DeletesWhatIsLocked):
        with pytest.raises(Refused, match="object lock"):
            require(run(client()), object_lock=True)


def test_no_answer_is_no_verdict():
    class Gone(HonestS3):
        calls = 0

        def head_bucket(self, **_):
            Gone.calls += 1
            if Gone.calls > 1:
                raise OSError("connection refused")
            return super().head_bucket()

        def get_object(self, **_):
            raise OSError("connection reset")

    with pytest.raises(StoreUnavailable):
        run(Gone())


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("404", 404, BucketMissing), ("403", 403, AccessDenied)],
)
def test_a_bucket_that_is_not_there_or_closed_is_said_so(code, status, error):
    class Closed(HonestS3):
        def head_bucket(self, **_):
            raise Answered(code, status)

    with pytest.raises(error):
        run(Closed())


def test_the_newest_report_is_found_again_and_holds_no_secret():
    store = MemoryStore()
    assert latest_report(store) is None
    sse_c = Encryption(Mode.AES, "IBM", customer_key=KEY)
    former = run(HonestS3())
    latter = probe(HonestS3(), "b", encryption=sse_c, now=NOW.replace(hour=5))
    keys = [save_report(store, report) for report in (latter, former)]
    for other in ("probe/work/1/zzz.json", "probe/settings/99.json"):
        store.put(other, b"of something else")
    assert latest_report(store) == latter
    assert base64.b64encode(KEY) not in b"".join(store.get(key) for key in keys)
    store.put("probe/99990101T000000.000000Z.json", b"{")
    with pytest.raises(CorruptData, match="no report"):
        latest_report(store)


def test_a_report_that_lacks_a_trial_does_not_permit_what_it_did_not_try():
    report = run(HonestS3())
    without = report.model_copy(
        update={"outcomes": tuple(o for o in report.outcomes if o.name != "multipart")}
    )
    assert without.refusals() == ["multipart: not tried"]


def test_the_table_shows_every_trial_and_every_store():
    reports = {"honest": run(HonestS3()), "liar": run(IgnoresConditions())}
    table = markdown(reports)
    assert "| put if absent | works | **ignored** |" in table
    assert "| **usable** | **yes** | **yes** |" in table
    for trial in set(TRIALS) - {"encryption", "versioning"}:
        assert f"| {trial} |" in table
    assert "put if absent ignored (accepted" in notes(reports)


def test_everything_needed_is_something_that_is_tried():
    assert set(probing.NEEDED) <= set(TRIALS)
    assert set(probing._CAUTIONS) <= set(TRIALS)
