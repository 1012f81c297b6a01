"""What a store promises. Every store passes tests/contract/test_store.py."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

try:
    # The same CRC-32 by the processor's own instructions: 17 GB/s where zlib gives 1.9.
    from isal.isal_zlib import crc32
except ModuleNotFoundError:  # no build of it for this processor (pyproject.toml)
    from zlib import crc32

Buffer = bytes | bytearray | memoryview

PART_MIN_BYTES = 5 * 1024 * 1024
"""S3: every part but the last is at least this long."""

PARTS_MAX = 10_000
"""S3: an object has at most this many parts."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says of one object. `etag` is opaque: a pin for reads, never a digest."""

    key: str
    size_bytes: int
    etag: str
    stored_at: datetime
    version_id: str | None = None
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part the store has accepted; `number` starts at 1."""

    number: int
    size_bytes: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: datetime


class Upload(Protocol):
    """A multipart upload in progress. Nothing is visible under the key until `complete`."""

    @property
    def key(self) -> str:
        """The object's key."""

    @property
    def upload_id(self) -> str:
        """The store's name for this upload; with it another process can go on."""

    def put_part(self, number: int, data: Buffer | Sequence[Buffer]) -> PartInfo:
        """Store one part; safe to call from several threads and to repeat with the same bytes.

        The buffers are not used after the call returns.
        """

    def complete(self, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make the object visible, from all its parts in order.

        Raises:
            ObjectChanged: the key exists already.
            StoreError: the store's part list is not this one.
        """

    def abort(self) -> None:
        """Give it up; safe to repeat, also after `complete` or an earlier abort."""


class Store(Protocol):
    """Objects under keys in one bucket (and prefix; keys here are relative to it).

    Errors are those of `blocks.errors`: `ObjectMissing` only if the store said clearly that there
    is no such object; anything doubtful is `StoreUnavailable`. No method retries beyond the
    client's own HTTP retries.
    """

    @property
    def url(self) -> str:
        """Where it is, for people: `s3://bucket/prefix`. Never holds a secret."""

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        """Store a small object in one request.

        Args:
            key: relative to the store's prefix.
            data: its bytes.
            if_absent: fail with `ObjectChanged` if the key exists. Where the store does not honour
                conditional writes this is a look before the write: defence in depth, no lock.
        """

    def begin_upload(self, key: str) -> Upload:
        """Begin a multipart upload."""

    def resume_upload(self, key: str, upload_id: str) -> tuple[Upload, list[PartInfo]]:
        """Go on with an upload begun earlier, with the parts the store has.

        A part may come without its checksum, which some stores do not list and yet ask for at the
        end: whoever has its bytes adds it (`crc32_of`).

        Raises:
            ObjectMissing: there is no such upload.
        """

    def uploads(self, prefix: str = "") -> Iterator[UploadInfo]:
        """List the uploads in progress under a prefix. Incomplete listings raise."""

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """Read a whole small object. `etag` pins it: `ObjectChanged` if it is another."""

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> Buffer:
        """Read exactly `length` bytes from `offset`; fewer raise `StoreUnavailable`."""

    def head(self, key: str) -> ObjectInfo:
        """Say what the store knows of one object."""

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """List objects whose keys begin with `prefix`, sorted by key, those after `after`.

        A listing that fails half way raises; it never just ends.
        """

    def prefixes(self, prefix: str = "") -> Iterator[str]:
        """List the "folders" directly below `prefix` (which ends in `/` or is empty)."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those already gone are fine. Any refusal raises `StoreError`."""

    def copy_parts(
        self, target: Upload, number: int, key: str, offset: int, length: int, *, etag: str
    ) -> PartInfo:
        """Copy a range of an object into a part of an upload, inside the store."""


def crc32_of(data: Buffer) -> str:
    """Return the checksum S3 takes with a part: CRC-32, big-endian, in base64."""
    return b64encode(crc32(data).to_bytes(4, "big")).decode()
