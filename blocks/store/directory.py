"""A store in a local directory: the promises of `base` with files, renames and fsync.

Objects are files below `objects/`, uploads in progress directories below `uploads/`, and nothing
becomes visible but by a rename of a file that is already on stable storage.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from blake3 import blake3

from blocks.errors import (
    AccessDenied,
    BucketMissing,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)
from blocks.store.base import PARTS_MAX, Buffer, ObjectInfo, PartInfo, Upload, UploadInfo

COPY_BYTES = 8 * 1024 * 1024
FOLDER_HINT = "It must be mounted, have room, and let whoever runs this read and write."


class DirectoryStore:
    """Objects in a directory. Safe to use from several threads and processes."""

    conditional_put = True
    """`put(if_absent=True)` is one atomic step: link(2)."""

    def __init__(self, root: str | Path) -> None:
        """Use a directory, which is made when the first object is stored."""
        self._root = Path(root)
        self._objects = self._root / "objects"
        self._uploads = self._root / "uploads"

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"file://{self._root}"

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        """Store a small object."""
        self._make_root()
        with _translated(self._root, key):
            draft = self._draft()
            _write_file(draft, [data])
            return self._publish(draft, key, if_absent=if_absent)

    def begin_upload(self, key: str) -> DirectoryUpload:
        """Begin a multipart upload."""
        upload_id = uuid4().hex
        with _translated(self._root, key):
            folder = self._uploads / upload_id
            folder.mkdir(parents=True)
            _write_file(folder / "upload.json", [json.dumps({"key": key}).encode()])
        return DirectoryUpload(self, key, upload_id)

    def resume_upload(self, key: str, upload_id: str) -> tuple[DirectoryUpload, list[PartInfo]]:
        """Go on with an upload begun earlier, with the parts the store has."""
        with _translated(self._root, key):
            folder = self._folder(key, upload_id)
            parts = []
            for path in sorted(folder.glob("*.part")):
                data = path.read_bytes()
                etag = blake3(data).hexdigest(length=16)
                parts.append(PartInfo(int(path.stem), len(data), etag, etag))
            return DirectoryUpload(self, key, upload_id), parts

    def uploads(self, prefix: str = "") -> Iterator[UploadInfo]:
        """List the uploads in progress under a prefix."""
        with _translated(self._root, prefix):
            found = []
            for note in self._uploads.glob("*/upload.json"):
                key = json.loads(note.read_text())["key"]
                if key.startswith(prefix):
                    begun_at = datetime.fromtimestamp(note.stat().st_mtime, UTC)
                    found.append(UploadInfo(key, note.parent.name, begun_at))
        yield from sorted(found, key=lambda upload: (upload.key, upload.upload_id))

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """Read a whole small object."""
        with _translated(self._root, key), open(self._path(key), "rb") as file:
            self._check_pin(key, os.fstat(file.fileno()), etag)
            return file.read()

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> Buffer:
        """Read exactly `length` bytes from `offset`."""
        with _translated(self._root, key), open(self._path(key), "rb") as file:
            self._check_pin(key, os.fstat(file.fileno()), etag)
            data = os.pread(file.fileno(), length, offset)
            while len(data) < length:
                more = os.pread(file.fileno(), length - len(data), offset + len(data))
                if not more:
                    raise StoreUnavailable(f"{key}: {len(data)} of {length} bytes from {offset}")
                data += more
            return data

    def head(self, key: str) -> ObjectInfo:
        """Say what the store knows of one object."""
        with _translated(self._root, key):
            return _info(key, os.stat(self._path(key)))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """List objects whose keys begin with `prefix`, sorted by key, those after `after`."""
        with _translated(self._root, prefix):
            self._require_root()
            found = []
            start = self._objects / prefix.rpartition("/")[0]
            for folder, _, names in os.walk(start, onerror=_raise):
                for name in names:
                    key = str(Path(folder, name).relative_to(self._objects))
                    if key.startswith(prefix) and key > after:
                        found.append(key)
        for key in sorted(found):
            try:
                yield self.head(key)
            except ObjectMissing:
                continue

    def prefixes(self, prefix: str = "") -> Iterator[str]:
        """List the "folders" directly below `prefix`."""
        with _translated(self._root, prefix):
            self._require_root()
            folder = self._objects / prefix
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            found = [f"{prefix}{name}/" for name in names if (folder / name).is_dir()]
        yield from found

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those already gone are fine."""
        for key in keys:
            with _translated(self._root, key):
                path = self._path(key)
                path.unlink(missing_ok=True)
                for folder in path.parents:
                    if folder == self._objects:
                        break
                    try:
                        folder.rmdir()
                    except OSError:
                        break

    def copy_parts(
        self, target: Upload, number: int, key: str, offset: int, length: int, *, etag: str
    ) -> PartInfo:
        """Copy a range of an object into a part of an upload."""
        assert isinstance(target, DirectoryUpload)
        return target.put_part(number, self.get_range(key, offset, length, etag=etag))

    # What an upload asks of its store.

    def put_part(self, key: str, upload_id: str, number: int, data: Sequence[Buffer]) -> PartInfo:
        """Store one part of an upload in progress."""
        if not 1 <= number <= PARTS_MAX:
            raise StoreError(f"part number {number} of {key} is not within 1 to {PARTS_MAX}")
        with _translated(self._root, key):
            folder = self._folder(key, upload_id)
            draft = folder / f"{number:05d}.{uuid4().hex}.draft"
            digest = blake3()
            for piece in data:
                digest.update(piece)
            _write_file(draft, data)
            os.replace(draft, folder / f"{number:05d}.part")
        etag = digest.hexdigest(length=16)
        return PartInfo(number, sum(len(piece) for piece in data), etag, etag)

    def complete(self, key: str, upload_id: str, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make an upload visible."""
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)):
            raise StoreError(f"the part list of {key} is empty or not in order")
        with _translated(self._root, key):
            folder = self._folder(key, upload_id)
            draft = self._draft()
            with open(draft, "wb") as whole:
                for part in parts:
                    path = folder / f"{part.number:05d}.part"
                    digest = blake3()
                    try:
                        with open(path, "rb") as source:
                            while piece := source.read(COPY_BYTES):
                                digest.update(piece)
                                whole.write(piece)
                    except FileNotFoundError as error:
                        raise StoreError(f"part {part.number} of {key} is missing") from error
                    if digest.hexdigest(length=16) != part.etag:
                        raise StoreError(f"part {part.number} of {key} is another")
                whole.flush()
                os.fsync(whole.fileno())
            info = self._publish(draft, key, if_absent=True)
            shutil.rmtree(folder, ignore_errors=True)
            return info

    def abort(self, upload_id: str) -> None:
        """Forget an upload and its parts."""
        shutil.rmtree(self._uploads / upload_id, ignore_errors=True)

    def _make_root(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            raise AccessDenied(f"{self._root}: {error.strerror}", hint=FOLDER_HINT) from error
        except OSError as error:
            raise StoreUnavailable(
                f"{self._root} cannot be made: {error.strerror}", hint=FOLDER_HINT
            ) from error

    def _require_root(self) -> None:
        """A directory that is not mounted is not an empty one."""
        if not self._root.is_dir():
            raise BucketMissing(
                f"there is no directory {self._root}", hint="Mount it, or make it, then try again."
            )

    def _draft(self) -> Path:
        folder = self._root / "drafts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid4().hex

    def _publish(self, draft: Path, key: str, *, if_absent: bool) -> ObjectInfo:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if if_absent:
            try:
                os.link(draft, path)
            except FileExistsError as error:
                raise ObjectChanged(f"{key} exists already") from error
            finally:
                draft.unlink()
        else:
            os.replace(draft, path)
        _sync_folder(path.parent)
        return _info(key, os.stat(path))

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in {"", ".", ".."} for part in parts) or "\0" in key:
            raise StoreError(f"'{key}' cannot be a key in a directory")
        return self._objects.joinpath(*parts)

    def _folder(self, key: str, upload_id: str) -> Path:
        folder = self._uploads / upload_id
        try:
            owner = json.loads((folder / "upload.json").read_text())["key"]
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no upload {upload_id} of {key}") from error
        if owner != key:
            raise ObjectMissing(f"there is no upload {upload_id} of {key}")
        return folder

    def _check_pin(self, key: str, status: os.stat_result, etag: str | None) -> None:
        if etag is not None and _etag(status) != etag:
            raise ObjectChanged(f"{key} is not the object that was pinned")


class DirectoryUpload:
    """A multipart upload into a `DirectoryStore`."""

    def __init__(self, store: DirectoryStore, key: str, upload_id: str) -> None:
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
        pieces = [data] if isinstance(data, Buffer) else data
        return self._store.put_part(self._key, self._upload_id, number, pieces)

    def complete(self, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Make the object visible, from all its parts in order."""
        return self._store.complete(self._key, self._upload_id, parts)

    def abort(self) -> None:
        """Give it up; safe to repeat."""
        self._store.abort(self._upload_id)


class _translated:  # noqa: N801 - used as a statement
    """Turn the file system's errors into a store's."""

    def __init__(self, root: Path, key: str) -> None:
        self._root = root
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise ObjectMissing(f"there is no object {self._key}") from error
        if isinstance(error, PermissionError):
            raise AccessDenied(self._said(error), hint=FOLDER_HINT) from error
        if isinstance(error, OSError):
            raise StoreUnavailable(self._said(error), hint=FOLDER_HINT) from error

    def _said(self, error: OSError) -> str:
        return f"{self._root}: {error.strerror or error} ({self._key})"


def _write_file(path: Path, pieces: Sequence[Buffer]) -> None:
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    stored_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(key, status.st_size, _etag(status), stored_at)
