"""What a trial of a store works with, and what it may find.

Each trial says what the store *does*. Accepting a header and ignoring it is the worst answer,
because nothing fails until the day it matters (`rclone serve s3` does so with conditional writes,
encryption and locks). Sources: the S3 API reference; docs/reference/faults.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blocks.store.encryption import Call, Encryption, extra_args
from blocks.store.s3_errors import error_code


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


def must_refuse(act: Callable[[], object], *codes: str) -> tuple[Verdict, str]:
    """Do what a store that keeps its word refuses, with one of these codes."""
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
