"""A store in memory: the promises of `base` without a network, for tests and the fault simulator.

It behaves as S3 does where that matters to a caller: parts but the last have a minimal size,
listings come in pages, an aborted upload is gone, ETags are opaque, and with `versioned` a delete
hides an object behind a marker instead of destroying it. Safe to use from several threads.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from blake3 import blake3

from blocks.errors import ObjectChanged, ObjectMissing, StoreError, StoreUnavailable
from blocks.store.base import (
    PART_MIN_BYTES,
    PARTS_MAX,
    Buffer,
    ObjectInfo,
    PartInfo,
    UploadInfo,
)

PAGE_KEYS = 1000
"""Keys per page of a listing, as in S3; a listing sees changes made after its current page."""


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of an object; `data` is None for a delete marker."""

    info: ObjectInfo
    data: bytes | None


@dataclass(slots=True)
class _Pending:
    """A multipart upload in progress."""

    key: str
    begun_at: datetime
    parts: dict[int, tuple[PartInfo, bytes]] = field(default_factory=dict)


class MemoryStore:
    """Objects in a dictionary.

    Args:
        name: for `url`.
        now: the store's own clock; the simulator moves it.
        conditional_put: whether `if_absent` is one atomic step. Without it, as on servers that
            ignore the header, it is a look before the write.
        versioned: keep every version, and hide instead of destroy on delete.
        part_min_bytes: 0 lets tests use tiny parts.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        now: Callable[[], datetime] | None = None,
        conditional_put: bool = True,
        versioned: bool = False,
        part_min_bytes: int = PART_MIN_BYTES,
    ) -> None:
        self.conditional_put = conditional_put
        self.versioned = versioned
        self._name = name
        self._now = now or (lambda: datetime.now(UTC))
        self._part_min_bytes = part_min_bytes
        self._lock = threading.RLock()
        self._versions: dict[str, list[_Version]] = {}
        self._live: list[str] = []
        self._pending: dict[str, _Pending] = {}
        self._count = 0

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"memory://{self._name}"

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        """Store a small object in one request."""
        content = bytes(data)
        if if_absent and not self.conditional_put:
            self._refuse_existing(key)
        with self._lock:
            if if_absent and self.conditional_put:
                self._refuse_existing(key)
            return self._store(key, content, _etag([content], parts=False))

    def begin_upload(self, key: str) -> MemoryUpload:
        """Begin a multipart upload."""
        with self._lock:
            upload_id = self._next_id("upload")
            self._pending[upload_id] = _Pending(key, self._now())
        return MemoryUpload(self, key, upload_id)

    def resume_upload(self, key: str, upload_id: str) -> tuple[MemoryUpload, Sequence[PartInfo]]:
        """Go on with an upload begun earlier, with the parts the store has."""
        with self._lock:
            parts = self._upload(key, upload_id).parts
            return MemoryUpload(self, key, upload_id), [
                parts[number][0] for number in sorted(parts)
            ]

    def uploads(self, prefix: str = "") -> Iterator[UploadInfo]:
        """List the uploads in progress under a prefix."""
        with self._lock:
            found = [
                UploadInfo(pending.key, upload_id, pending.begun_at)
                for upload_id, pending in self._pending.items()
                if pending.key.startswith(prefix)
            ]
        yield from sorted(found, key=lambda upload: (upload.key, upload.upload_id))

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """Read a whole small object."""
        return self._pinned(key, etag)

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> Buffer:
        """Read exactly `length` bytes from `offset`."""
        data = self._pinned(key, etag)
        if offset < 0 or length < 0 or offset + length > len(data):
            raise StoreUnavailable(f"{key} has {len(data)} bytes, asked for {length} from {offset}")
        return data[offset : offset + length]

    def head(self, key: str) -> ObjectInfo:
        """Say what the store knows of one object."""
        with self._lock:
            return self._current(key).info

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """List objects whose keys begin with `prefix`, sorted by key, those after `after`."""
        while page := self.list_page(prefix, after):
            yield from page
            after = page[-1].key
            if len(page) < PAGE_KEYS:
                return

    def list_page(self, prefix: str, after: str) -> Sequence[ObjectInfo]:
        """Return one page of a listing: what one request to S3 answers."""
        with self._lock:
            start = max(
                bisect.bisect_right(self._live, after), bisect.bisect_left(self._live, prefix)
            )
            page = []
            for key in self._live[start : start + PAGE_KEYS]:
                if not key.startswith(prefix):
                    break
                page.append(self._versions[key][-1].info)
            return page

    def prefixes(self, prefix: str = "") -> Iterator[str]:
        """List the "folders" directly below `prefix`."""
        start = prefix
        while True:
            with self._lock:
                at = bisect.bisect_left(self._live, start)
                key = self._live[at] if at < len(self._live) else ""
            if not key or not key.startswith(prefix):
                return
            name, slash, _ = key[len(prefix) :].partition("/")
            if slash:
                yield f"{prefix}{name}/"
            # "0" is the first character after "/": it skips the whole folder.
            start = f"{prefix}{name}0" if slash else f"{key}\0"

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those already gone are fine."""
        for key in keys:
            with self._lock:
                self._delete(key)

    def copy_parts(
        self, target: MemoryUpload, number: int, key: str, offset: int, length: int, *, etag: str
    ) -> PartInfo:
        """Copy a range of an object into a part of an upload, inside the store."""
        return target.put_part(number, self.get_range(key, offset, length, etag=etag))

    # What an upload asks of its store.

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> PartInfo:
        """Keep one part of an upload in progress."""
        if not 1 <= number <= PARTS_MAX:
            raise StoreError(f"part number {number} of {key} is not within 1 to {PARTS_MAX}")
        part = PartInfo(number, len(data), _etag([data], parts=False))
        with self._lock:
            self._upload(key, upload_id).parts[number] = (part, data)
        return part

    def complete(self, key: str, upload_id: str, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make an upload visible."""
        with self._lock:
            pending = self._upload(key, upload_id)
            held = [pending.parts.get(part.number) for part in parts]
            numbers = [part.number for part in parts]
            if not parts or numbers != sorted(set(numbers)):
                raise StoreError(f"the part list of {key} is empty or not in order")
            content: list[bytes] = []
            for asked, found in zip(parts, held, strict=True):
                if found is None or found[0].etag != asked.etag:
                    raise StoreError(f"part {asked.number} of {key} is not the one the store has")
                content.append(found[1])
            short = [len(data) for data in content[:-1] if len(data) < self._part_min_bytes]
            if short:
                raise StoreError(f"a part of {key} is too small: {short[0]} bytes")
            self._refuse_existing(key)
            del self._pending[upload_id]
            return self._store(key, b"".join(content), _etag(content, parts=True))

    def abort(self, upload_id: str) -> None:
        """Forget an upload and its parts."""
        with self._lock:
            self._pending.pop(upload_id, None)

    # Inside the lock.

    def _store(self, key: str, content: bytes, etag: str) -> ObjectInfo:
        version_id = self._next_id("version") if self.versioned else None
        info = ObjectInfo(key, len(content), etag, self._now(), version_id)
        version = _Version(info, content)
        if not self._is_live(key):
            bisect.insort(self._live, key)
        if self.versioned:
            self._versions.setdefault(key, []).append(version)
        else:
            self._versions[key] = [version]
        return info

    def _delete(self, key: str) -> None:
        if not self._is_live(key):
            return
        del self._live[bisect.bisect_left(self._live, key)]
        if self.versioned:
            gone = ObjectInfo(key, 0, "", self._now(), self._next_id("version"))
            self._versions[key].append(_Version(gone, None))
        else:
            del self._versions[key]

    def _current(self, key: str) -> _Version:
        if not self._is_live(key):
            raise ObjectMissing(f"{self.url} has no object {key}")
        return self._versions[key][-1]

    def _pinned(self, key: str, etag: str | None) -> bytes:
        with self._lock:
            version = self._current(key)
        if etag is not None and etag != version.info.etag:
            raise ObjectChanged(f"{key} is not the object that was pinned")
        assert version.data is not None
        return version.data

    def _refuse_existing(self, key: str) -> None:
        if self._is_live(key):
            raise ObjectChanged(f"{key} exists already")

    def _is_live(self, key: str) -> bool:
        at = bisect.bisect_left(self._live, key)
        return at < len(self._live) and self._live[at] == key

    def _upload(self, key: str, upload_id: str) -> _Pending:
        pending = self._pending.get(upload_id)
        if pending is None or pending.key != key:
            raise ObjectMissing(f"there is no upload {upload_id} of {key}")
        return pending

    def _next_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count:08d}"


class MemoryUpload:
    """A multipart upload into a `MemoryStore`."""

    def __init__(self, store: MemoryStore, key: str, upload_id: str) -> None:
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
        whole = bytes(data) if isinstance(data, Buffer) else b"".join(data)
        return self._store.put_part(self._key, self._upload_id, number, whole)

    def complete(self, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make the object visible, from all its parts in order."""
        return self._store.complete(self._key, self._upload_id, parts)

    def abort(self) -> None:
        """Give it up; safe to repeat."""
        self._store.abort(self._upload_id)


def _etag(content: Sequence[bytes], *, parts: bool) -> str:
    """Make an opaque tag: equal for equal bytes in equal parts, and no MD5 of the object."""
    if not parts:
        return blake3(content[0]).hexdigest(length=16)
    digest = blake3()
    for data in content:
        digest.update(blake3(data).digest())
    return f"{digest.hexdigest(length=16)}-{len(content)}"
