"""The one implementation of a store over an S3 client: boto3's, or IBM's fork of it.

Every error of the SDK becomes one of ours, by what it says about the data (`s3_errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from blocks.errors import (
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from blocks.store.base import Buffer, ObjectInfo, PartInfo, Upload, UploadInfo, crc32_of
from blocks.store.s3_errors import MISSING, error_for, translate
from blocks.store.throttle import Throttle

DELETE_KEYS_MAX = 1000
"""S3: keys in one DeleteObjects request."""


class S3Store:
    """Objects under a prefix of one bucket. Safe to use from several threads."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = "",
        *,
        scheme: str = "s3",
        put_arguments: Mapping[str, Any] | None = None,
        read_arguments: Mapping[str, Any] | None = None,
        unmet: Callable[[Mapping[str, Any]], str] = lambda answer: "",
        part_checksum: bool = True,
        conditional_put: bool = True,
        throttle: Throttle | None = None,
    ) -> None:
        """Use a client.

        Args:
            client: a boto3 or ibm_boto3 S3 client; it does the HTTP retries.
            bucket: the bucket's name.
            prefix: every key begins with it.
            scheme: of `url`.
            put_arguments: request arguments for what is written (SSE headers).
            unmet: says what an answer shows was not encrypted as asked; empty if nothing.
            read_arguments: request arguments for what is read, and for parts (SSE-C headers).
            part_checksum: send a CRC-32 of each body, which the store compares.
            throttle: slows down what is written.
            conditional_put: the store honours `If-None-Match`; else `if_absent` is a look first.
        """
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._scheme = scheme
        self._unmet = unmet
        self._put_arguments = dict(put_arguments or {})
        self._read_arguments = dict(read_arguments or {})
        self._part_checksum = part_checksum
        self._conditional_put = conditional_put
        self._throttle = throttle

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"{self._scheme}://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def conditional_put(self) -> bool:
        """Whether `put(if_absent=True)` is one atomic step (`blocks.catalog.claims`)."""
        return self._conditional_put

    def clock(self) -> datetime:
        """Ask the store what time it is; to the second."""
        with self._translated(""):
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1
            )
        return _when(answer)

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        """Store a small object in one request."""
        arguments: dict[str, Any] = dict(self._put_arguments)
        if if_absent:
            if self._conditional_put:
                arguments["IfNoneMatch"] = "*"
            else:
                self._refuse_existing(key)
        body = _body(data)
        self._wait(len(body))
        with self._translated(key):
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=body,
                **self._checksum(body),
                **arguments,
            )
        self._confirm(key, answer)
        return ObjectInfo(
            key,
            len(body),
            _etag(answer),
            _when(answer),
            answer.get("VersionId"),
            answer.get("ChecksumCRC32"),
        )

    def begin_upload(self, key: str) -> S3Upload:
        """Begin a multipart upload."""
        arguments: dict[str, Any] = dict(self._put_arguments)
        if self._part_checksum:
            arguments["ChecksumAlgorithm"] = "CRC32"
        with self._translated(key):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + key, **arguments
            )
        if not self._read_arguments:  # with a customer key each part is confirmed instead
            self._confirm(key, answer)
        return S3Upload(self, key, answer["UploadId"])

    def resume_upload(self, key: str, upload_id: str) -> tuple[S3Upload, list[PartInfo]]:
        """Go on with an upload begun earlier, with the parts the store has."""
        parts: list[PartInfo] = []
        marker = 0
        while True:
            with self._translated(key):
                answer = self._client.list_parts(
                    Bucket=self._bucket,
                    Key=self._prefix + key,
                    UploadId=upload_id,
                    PartNumberMarker=marker,
                    **self._read_arguments,
                )
            parts += [
                PartInfo(
                    part["PartNumber"],
                    part["Size"],
                    part["ETag"].strip('"'),
                    part.get("ChecksumCRC32"),
                )
                for part in answer.get("Parts", [])
            ]
            if not answer.get("IsTruncated"):
                return S3Upload(self, key, upload_id), parts
            following = int(answer.get("NextPartNumberMarker") or 0)
            if following <= marker:
                raise StoreUnavailable(f"the list of parts of {key} was cut off")
            marker = following

    def uploads(self, prefix: str = "") -> Iterator[UploadInfo]:
        """List the uploads in progress under a prefix."""
        markers: dict[str, str] = {}
        while True:
            with self._translated(prefix):
                answer = self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, **markers
                )
            for upload in answer.get("Uploads", []):
                yield UploadInfo(
                    self._relative(upload["Key"]), upload["UploadId"], upload["Initiated"]
                )
            if not answer.get("IsTruncated"):
                return
            following = {
                "KeyMarker": answer.get("NextKeyMarker", ""),
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if not following["KeyMarker"] or following == markers:
                raise StoreUnavailable(f"the list of uploads in {self.url} was cut off")
            markers = following

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """Read a whole small object."""
        with self._translated(key):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._prefix + key, **self._pin(etag)
            )
            data = bytes(answer["Body"].read())
        if len(data) != answer["ContentLength"]:
            raise StoreUnavailable(f"{key}: {len(data)} of {answer['ContentLength']} bytes came")
        self._check_pin(key, answer, etag)
        return data

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> Buffer:
        """Read exactly `length` bytes from `offset`."""
        if length == 0:
            return b""
        with self._translated(key):
            answer = self._client.get_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Range=f"bytes={offset}-{offset + length - 1}",
                **self._pin(etag),
            )
            # Of a store that ignores Range, never read more than was asked for.
            data = bytes(
                answer["Body"].read(length)
                if "ContentRange" not in answer
                else answer["Body"].read()
            )
        if "ContentRange" not in answer and offset:
            raise StoreUnavailable(f"{key}: the store ignored the range that was asked for")
        if len(data) != length:
            raise StoreUnavailable(f"{key}: {len(data)} of {length} bytes from {offset} came")
        self._check_pin(key, answer, etag)
        return data

    def head(self, key: str) -> ObjectInfo:
        """Say what the store knows of one object."""
        with self._translated(key, is_head=True):
            answer = self._client.head_object(
                Bucket=self._bucket, Key=self._prefix + key, **self._read_arguments
            )
        return ObjectInfo(
            key,
            answer["ContentLength"],
            _etag(answer),
            answer["LastModified"],
            answer.get("VersionId"),
            answer.get("ChecksumCRC32"),
        )

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """List objects whose keys begin with `prefix`, sorted by key, those after `after`."""
        for answer in self._listing(prefix, after=after):
            for found in answer.get("Contents", []):
                yield ObjectInfo(
                    self._relative(found["Key"]),
                    found["Size"],
                    found["ETag"].strip('"'),
                    found["LastModified"],
                )

    def prefixes(self, prefix: str = "") -> Iterator[str]:
        """List the "folders" directly below `prefix`."""
        for answer in self._listing(prefix, delimiter="/"):
            for found in answer.get("CommonPrefixes", []):
                yield self._relative(found["Prefix"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those already gone are fine."""
        rest = iter(keys)
        while batch := list(islice(rest, DELETE_KEYS_MAX)):
            with self._translated(batch[0]):
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={
                        "Objects": [{"Key": self._prefix + key} for key in batch],
                        "Quiet": True,
                    },
                )
            refused = [
                fault for fault in answer.get("Errors", []) if fault.get("Code") not in MISSING
            ]
            if refused:
                first = refused[0]
                key = self._relative(first.get("Key", ""))
                message = f"{len(refused)} objects were not deleted, {key} first"
                raise error_for(str(first.get("Code")), 0, f"{message}: {first.get('Message')}")

    def copy_parts(
        self, target: Upload, number: int, key: str, offset: int, length: int, *, etag: str
    ) -> PartInfo:
        """Copy a range of an object into a part of an upload, inside the store."""
        assert isinstance(target, S3Upload)
        arguments: dict[str, Any] = {
            name: value
            for name, value in self._read_arguments.items()
            if name.startswith("SSECustomer")
        }
        arguments |= {f"CopySource{name}": value for name, value in arguments.items()}
        with self._translated(key):
            answer = self._client.upload_part_copy(
                Bucket=self._bucket,
                Key=self._prefix + target.key,
                UploadId=target.upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": self._prefix + key},
                CopySourceRange=f"bytes={offset}-{offset + length - 1}",
                CopySourceIfMatch=etag,
                **arguments,
            )
        result = answer.get("CopyPartResult") or {}
        if not result.get("ETag"):
            raise StoreUnavailable(f"{key}: the store did not confirm the copy of a part")
        return PartInfo(number, length, result["ETag"].strip('"'), result.get("ChecksumCRC32"))

    # What an upload asks of its store.

    def put_part(self, key: str, upload_id: str, number: int, data: Buffer) -> PartInfo:
        """Store one part of an upload in progress."""
        self._wait(len(data))
        with self._translated(key):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload_id,
                PartNumber=number,
                Body=data,
                **self._checksum(data),
                **self._read_arguments,
            )
        if self._read_arguments:
            self._confirm(key, answer)
        return PartInfo(number, len(data), _etag(answer), answer.get("ChecksumCRC32"))

    def complete(self, key: str, upload_id: str, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make an upload visible, and ask the store what it is now."""
        if not self._conditional_put:
            self._refuse_existing(key)
        arguments: dict[str, Any] = {"IfNoneMatch": "*"} if self._conditional_put else {}
        listed = []
        has_checksums = self._part_checksum and all(part.checksum for part in parts)
        for part in parts:
            entry: dict[str, Any] = {"PartNumber": part.number, "ETag": part.etag}
            if has_checksums:
                entry["ChecksumCRC32"] = part.checksum
            listed.append(entry)
        with self._translated(key):
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
                **arguments,
            )
        # S3 may answer 200 and then an error: only an answer with an ETag is a success.
        if not answer.get("ETag"):
            raise StoreUnavailable(f"{key}: the store did not confirm the completed upload")
        info = self.head(key)
        expected = sum(part.size_bytes for part in parts)
        if info.size_bytes != expected:
            raise StoreError(f"{key} has {info.size_bytes} bytes after {expected} were uploaded")
        return info

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts."""
        try:
            with self._translated(key):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id
                )
        except ObjectMissing:
            pass

    def _listing(
        self, prefix: str, *, after: str = "", delimiter: str = ""
    ) -> Iterator[dict[str, Any]]:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if after:
            arguments["StartAfter"] = self._prefix + after
        if delimiter:
            arguments["Delimiter"] = delimiter
        token = ""
        while True:
            with self._translated(prefix):
                answer = self._client.list_objects_v2(**arguments)
            if "IsTruncated" not in answer:
                raise StoreUnavailable(f"a listing of {self.url} does not say whether it is whole")
            yield answer
            if not answer["IsTruncated"]:
                return
            following = answer.get("NextContinuationToken", "")
            if not following or following == token:
                raise StoreUnavailable(f"a listing of {self.url} was cut off")
            token = following
            arguments["ContinuationToken"] = token

    def _relative(self, key: str) -> str:
        if not key.startswith(self._prefix):
            raise StoreUnavailable(f"the store listed {key}, which is not under {self.url}")
        return key[len(self._prefix) :]

    def _refuse_existing(self, key: str) -> None:
        try:
            self.head(key)
        except ObjectMissing:
            return
        raise ObjectChanged(f"{key} exists already")

    def _confirm(self, key: str, answer: Mapping[str, Any]) -> None:
        # A store that ignores the encryption headers also leaves them out of its answer.
        fault = self._unmet(answer)
        if fault:
            raise StoreError(
                f"{self.url}: {key} is not encrypted as it should be: {fault}",
                hint="See `flashvault store probe`; ENCRYPTION=CLIENT works with any store.",
            )

    def _pin(self, etag: str | None) -> dict[str, Any]:
        pin = {"IfMatch": etag} if etag is not None else {}
        return {**self._read_arguments, **pin}

    def _check_pin(self, key: str, answer: Mapping[str, Any], etag: str | None) -> None:
        # Some stores accept If-Match and ignore it.
        if etag is not None and _etag(answer) != etag:
            raise ObjectChanged(f"{key} is not the object that was pinned")

    def _wait(self, count: int) -> None:
        if self._throttle is not None:
            self._throttle.take(count)

    def _checksum(self, data: Buffer) -> dict[str, Any]:
        if not self._part_checksum:
            return {}
        return {"ChecksumCRC32": crc32_of(data)}

    @contextmanager
    def _translated(self, key: str, *, is_head: bool = False) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise translate(error, key, self.url, is_head=is_head) from error


class S3Upload:
    """A multipart upload into an `S3Store`."""

    def __init__(self, store: S3Store, key: str, upload_id: str) -> None:
        self._store = store
        self._key = key
        self._upload_id = upload_id

    @property
    def key(self) -> str:
        """The object's key."""
        return self._key

    @property
    def upload_id(self) -> str:
        """The store's name for this upload."""
        return self._upload_id

    def put_part(self, number: int, data: Buffer | Sequence[Buffer]) -> PartInfo:
        """Store one part; safe to repeat with the same bytes."""
        return self._store.put_part(self._key, self._upload_id, number, _body(data))

    def complete(self, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make the object visible, from all its parts in order."""
        return self._store.complete(self._key, self._upload_id, parts)

    def abort(self) -> None:
        """Give it up; safe to repeat."""
        self._store.abort(self._key, self._upload_id)


def _body(data: Buffer | Sequence[Buffer]) -> bytes | bytearray:
    if isinstance(data, (bytes, bytearray)):
        return data
    return bytes(data) if isinstance(data, memoryview) else b"".join(data)


def _etag(answer: Mapping[str, Any]) -> str:
    etag = answer.get("ETag")
    if not etag:
        raise StoreUnavailable("the store answered without an ETag")
    return str(etag).strip('"')


def _when(answer: Mapping[str, Any]) -> datetime:
    """Return the store's own clock at its answer."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
