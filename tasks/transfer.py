"""Move parts and pages into a store, side by side and bounded, and pages out of it."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from blocks.catalog.point import PageRef, StoredObject
from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, StoreError
from blocks.image.cipher import Cipher
from blocks.image.digest import Digester
from blocks.image.map import Page, unpack_page
from blocks.image.segments import Part
from blocks.store.base import Buffer, ObjectInfo, PartInfo, Store, Upload, UploadInfo, crc32_of

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Counters that movers add to and a display polls; safe between threads."""

    total_bytes: int = 0
    done_bytes: int = 0
    stored_bytes: int = 0
    label: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self, label: str, total_bytes: int) -> None:
        """Name the work and say how much it is; what is done starts at zero."""
        with self._lock:
            self.label, self.total_bytes = label, total_bytes
            self.done_bytes = self.stored_bytes = 0

    def add(self, done_bytes: int = 0, *, stored_bytes: int = 0) -> None:
        """Count plain bytes done and bytes moved to or from the store."""
        with self._lock:
            self.done_bytes += done_bytes
            self.stored_bytes += stored_bytes


@dataclass(slots=True)
class _Object:
    """One object on its way: parts confirmed so far, and what an earlier try has stored."""

    key: str
    upload: Upload | None = None
    parts: list[Future[PartInfo]] = field(default_factory=list)
    earlier: dict[int, PartInfo] = field(default_factory=dict)
    complete: ObjectInfo | None = None


class Uploader:
    """Uploads the parts of one capture on a few threads; use as a context manager.

    An error is raised at the next call. Leaving the context waits for what is under way and leaves
    unfinished uploads in the store: another try on the same snapshot goes on with them.
    """

    def __init__(
        self,
        store: Store,
        *,
        folder: str,
        uploads: int,
        give_back: Callable[[bytearray], None],
        progress: Progress,
        can_resume: bool = True,
    ) -> None:
        """Prepare.

        Args:
            store: where to.
            folder: looked through for unfinished uploads of the same keys.
            uploads: requests at a time.
            give_back: told when a part's buffer is free again.
            progress: counts stored bytes.
            can_resume: parts stored earlier may be compared and kept (encoding is deterministic).
        """
        self._store = store
        self._give_back = give_back
        self._progress = progress
        self._can_resume = can_resume
        self._pool = ThreadPoolExecutor(uploads, thread_name_prefix="upload")
        self._pending: dict[str, _Object] = {}
        self._finished: list[Future[StoredObject]] = []
        self._others: list[Future[StoredObject]] = []
        self._earlier: dict[str, UploadInfo] = {}
        for upload in store.uploads(folder):
            self._earlier[upload.key] = upload
        self.kept_bytes = 0

    def __enter__(self) -> Uploader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, part: Part) -> None:
        """Take a part for upload; its buffer is given back when it is stored."""
        self._raise_errors()
        pending = self._pending.get(part.key)
        if pending is None and part.is_last:
            # One part: one request, unless an earlier try left an upload to clear away.
            self._drop_earlier(part.key)
            self._finished.append(self._pool.submit(self._put_whole, part))
            return
        if pending is None:
            pending = self._pending[part.key] = self._open(part.key)
        pending.parts.append(self._pool.submit(self._put_part, pending, part))
        if part.is_last:
            del self._pending[part.key]
            self._finished.append(self._pool.submit(self._complete, pending, part))

    def copy(
        self, key: str, number: int, source: str, offset: int, length: int, *, etag: str
    ) -> Future[PartInfo]:
        """Let the store copy a range of another object into a part of a new one."""
        self._raise_errors()
        pending = self._pending.get(key)
        if pending is None:
            upload = self._store.begin_upload(key)
            pending = self._pending[key] = _Object(key, upload)
        assert pending.upload is not None
        future = self._pool.submit(
            self._store.copy_parts, pending.upload, number, source, offset, length, etag=etag
        )
        pending.parts.append(future)
        return future

    def forget(self, key: str, part: Future[PartInfo]) -> None:
        """Take back a copy that the store refused: the part is put in another way."""
        self._pending[key].parts.remove(part)

    def put_page(self, key: str, data: bytes) -> Future[StoredObject]:
        """Store a page; one that is there already under its content's name is kept."""
        self._raise_errors()
        future = self._pool.submit(self._put_named, key, data)
        self._others.append(future)
        return future

    def finish(self) -> list[StoredObject]:
        """Wait for everything and return the objects, in the order they were begun."""
        for page in self._others:
            page.result()
        return [finished.result() for finished in self._finished]

    def _raise_errors(self) -> None:
        running = [part for pending in self._pending.values() for part in pending.parts]
        futures: list[Future[Any]] = [*self._finished, *self._others, *running]
        for future in futures:
            if future.done():
                future.result()

    def _open(self, key: str) -> _Object:
        complete = self._look(key)
        if complete is not None:
            return _Object(key, complete=complete)
        earlier = self._earlier.get(key)
        if earlier is not None and self._can_resume:
            try:
                upload, parts = self._store.resume_upload(key, earlier.upload_id)
            except ObjectMissing:
                pass
            else:
                return _Object(key, upload, [], {part.number: part for part in parts})
        self._drop_earlier(key)
        return _Object(key, self._store.begin_upload(key))

    def _drop_earlier(self, key: str) -> None:
        earlier = self._earlier.pop(key, None)
        if earlier is not None:
            try:
                upload, _ = self._store.resume_upload(key, earlier.upload_id)
            except ObjectMissing:
                return
            upload.abort()

    def _put_part(self, pending: _Object, part: Part) -> PartInfo:
        size_bytes = len(part.data)
        try:
            if pending.complete is not None:
                return self._compare(pending.complete, part)
            assert pending.upload is not None
            earlier = pending.earlier.get(part.number)
            if earlier is not None and is_same_part(earlier, part.data):
                self.kept_bytes += size_bytes
                return replace(earlier, checksum=earlier.checksum or crc32_of(part.data))
            return pending.upload.put_part(part.number, part.data)
        finally:
            self._give_back(part.data)
            self._progress.add(stored_bytes=size_bytes)

    def _complete(self, pending: _Object, last: Part) -> StoredObject:
        # The parts were submitted before this and the pool starts work in order: waiting here
        # cannot lock up as long as one thread is left to finish them, and each already has one.
        parts = [part.result() for part in pending.parts]
        if pending.complete is not None:
            return _stored(pending.complete, last)
        assert pending.upload is not None
        try:
            info = pending.upload.complete(parts)
        except StoreError:
            # The answer may have been lost after the store had done it.
            found = self._look(pending.key)
            if found is None or found.size_bytes != last.size_bytes:
                raise
            info = found
        return _stored(info, last)

    def _compare(self, complete: ObjectInfo, part: Part) -> PartInfo:
        """Check a part against the object an earlier try of this run completed."""
        there = self._store.get_range(complete.key, part.offset, len(part.data), etag=complete.etag)
        if Digester().of(there) != Digester().of(part.data):
            raise CorruptData(f"{part.key} exists and is another object")
        self.kept_bytes += len(part.data)
        return PartInfo(part.number, len(part.data), complete.etag)

    def _put_whole(self, part: Part) -> StoredObject:
        size_bytes = len(part.data)
        try:
            found = self._look(part.key)
            if found is None:
                return _stored(self._store.put(part.key, part.data, if_absent=True), part)
            # An earlier try of this run got this far: kept if it is the same, byte for byte.
            there = self._store.get(part.key, etag=found.etag)
            if Digester().of(there) != Digester().of(part.data):
                raise CorruptData(f"{part.key} exists and is another object")
            return _stored(found, part)
        finally:
            self._give_back(part.data)
            self._progress.add(stored_bytes=size_bytes)

    def _put_named(self, key: str, data: bytes) -> StoredObject:
        found = self._look(key)
        digest = Digester().of(data).hex()
        if found is not None:
            there = self._store.get(key, etag=found.etag)
            if Digester().of(there).hex() != digest:
                raise CorruptData(f"{key} exists and is another object")
        else:
            found = self._store.put(key, data, if_absent=True)
            self._progress.add(stored_bytes=len(data))
        return StoredObject(
            key=key,
            size_bytes=len(data),
            etag=found.etag,
            version_id=found.version_id,
            digest=digest,
        )

    def _look(self, key: str) -> ObjectInfo | None:
        try:
            return self._store.head(key)
        except ObjectMissing:
            return None


def is_same_part(stored: PartInfo, data: bytearray) -> bool:
    """Say whether a part stored earlier holds these bytes; doubt means no.

    S3 without KMS answers with the MD5 of a part; other stores with a digest of their own.
    """
    if stored.size_bytes != len(data):
        return False
    etag = stored.etag.lower()
    if len(etag) != 32:
        return False
    digests = {
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
        Digester().of(data).hex()[:32],
    }
    return etag in digests


def _stored(info: ObjectInfo, part: Part) -> StoredObject:
    if info.size_bytes != part.size_bytes:
        raise StoreError(f"{part.key} has {info.size_bytes} bytes instead of {part.size_bytes}")
    return StoredObject(
        key=part.key,
        size_bytes=part.size_bytes,
        etag=info.etag,
        version_id=info.version_id,
        digest=part.digest or None,
    )


class Pins:
    """Reads ranges of objects, each pinned to one version of its object from first to last.

    The pin is the ETag the restore point recorded. Where the store has another (a bucket that was
    copied gives its objects new ones), the object of the same size that is there now is pinned
    instead: the digests of the map, not the ETag, prove what is read.
    """

    def __init__(self, store: Store, objects: Sequence[StoredObject]) -> None:
        self._store = store
        self._recorded = {stored.key: stored for stored in objects}
        self._etags = {stored.key: stored.etag for stored in objects}
        self._lock = threading.Lock()

    def read(self, key: str, offset: int, length: int) -> Buffer:
        """Read a range.

        Raises:
            ObjectChanged: the object is of another size, or changed while it was read.
            ObjectMissing: it is gone, or the restore point does not list it.
        """
        if key not in self._recorded:
            raise ObjectMissing(f"the restore point does not list {key}")
        try:
            return self._store.get_range(key, offset, length, etag=self._etags[key])
        except ObjectChanged as error:
            self._pin_anew(key, error)
        return self._store.get_range(key, offset, length, etag=self._etags[key])

    def etag(self, key: str) -> str:
        """Return the ETag an object's reads are pinned to."""
        return self._etags[key]

    def _pin_anew(self, key: str, error: ObjectChanged) -> None:
        with self._lock:
            recorded = self._recorded[key]
            if self._etags[key] != recorded.etag:
                raise error  # it changed again, under our hands
            found = self._store.head(key)
            if found.size_bytes != recorded.size_bytes:
                raise error
            log.warning("%s is not the version that was stored: its digests decide", key)
            self._etags[key] = found.etag


def load_page(store: Store, ref: PageRef, cipher: Cipher | None) -> Page:
    """Read a page of a map, and prove it.

    Raises:
        CorruptData: its digest is not the recorded one, read twice.
        StoreError: the store did not answer with it.
    """
    stored = ref.object
    try:
        data = store.get(stored.key, etag=stored.etag)
    except ObjectChanged:
        data = store.get(stored.key)  # its digest decides: see `Pins`
    if not _is_recorded(stored, data):
        data = store.get(stored.key)
        if not _is_recorded(stored, data):
            raise CorruptData(f"{stored.key}: the digest is not the recorded one")
    plain = data if cipher is None else cipher.open_document(stored.key, data)
    page = unpack_page(plain)
    if page.extent_count != ref.extent_count:
        raise CorruptData(f"{stored.key}: the page has another count of extents")
    return page


def _is_recorded(stored: StoredObject, data: bytes) -> bool:
    return stored.digest is None or Digester().of(data).hex() == stored.digest
