"""A disk, or a file that stands for one, on this machine."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from blocks.errors import DiskMissing, HostError, ShortRead, TargetInUse

Buffer = bytes | bytearray | memoryview

READ_AHEAD_BYTES = 16 * 1024 * 1024
ZERO_PIECE_BYTES = 4 * 1024 * 1024

_BLKGETSIZE64 = 0x80081272
_BLKZEROOUT = 0x127F
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_SYNC_FILE_RANGE_WRITE = 2


class LocalReader:
    """A block device or a regular file, read at any offset from any thread."""

    def __init__(self, path: str | Path) -> None:
        """Open it.

        Raises:
            DiskMissing: there is no such disk.
            HostError: it cannot be opened.
        """
        self._path = str(path)
        self._fd = _open(self._path, os.O_RDONLY)
        self._size_bytes, self._is_file = _size_of(self._fd, self._path)
        self._advised = 0
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    @property
    def size_bytes(self) -> int:
        """The disk's size."""
        return self._size_bytes

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk.

        Raises:
            ShortRead: the disk ended before the buffer was full.
            HostError: the disk answered with an error.
        """
        done = 0
        try:
            while done < len(buffer):
                got = os.preadv(self._fd, [buffer[done:]], offset + done)
                if got == 0:
                    raise ShortRead(
                        f"{self._path} ended at {offset + done} of {self._size_bytes} bytes"
                    )
                done += got
            end = offset + done
            if end + READ_AHEAD_BYTES // 2 > self._advised:
                os.posix_fadvise(self._fd, end, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
                self._advised = end + READ_AHEAD_BYTES
        except OSError as error:
            raise HostError(f"cannot read {self._path} at {offset}: {error.strerror}") from error

    def data_runs(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of runs that may hold data; the rest is a hole of the file."""
        if not self._is_file:
            yield 0, self._size_bytes
            return
        at = 0
        while at < self._size_bytes:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                # The file system knows no holes: then everything may be data.
                yield at, self._size_bytes - at
                return
            end = min(os.lseek(self._fd, start, os.SEEK_HOLE), self._size_bytes)
            if start >= self._size_bytes:
                return
            yield start, end - start
            at = end

    def close(self) -> None:
        """Let the disk go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LocalWriter(LocalReader):
    """A block device or a regular file, written at any offset from any thread."""

    def __init__(self, path: str | Path, *, create_bytes: int | None = None) -> None:
        """Open it for writing.

        Args:
            path: of the disk.
            create_bytes: make a regular file of this size if there is none, or an empty one.

        Raises:
            DiskMissing: there is no such disk.
            HostError: the file cannot be made.
            TargetInUse: the device is held open by the system (mounted, part of LVM or RAID).
        """
        self._path = str(path)
        if create_bytes is not None:
            _make_file(self._path, create_bytes)
        # O_EXCL on a block device: the kernel refuses while it is mounted or claimed.
        is_device = os.path.exists(self._path) and stat.S_ISBLK(os.stat(self._path).st_mode)
        self._fd = _open(self._path, os.O_RDWR | (os.O_EXCL if is_device else 0))
        self._size_bytes, self._is_file = _size_of(self._fd, self._path)
        self._advised = self._size_bytes

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of it.

        Raises:
            HostError: the disk refused, or is too small.
        """
        view = memoryview(data)
        if offset + len(view) > self._size_bytes:
            raise HostError(f"{self._path} ends before {offset + len(view)}")
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], offset + done)
        except OSError as error:
            raise HostError(
                f"cannot write {self._path} at {offset}: {error.strerror}",
                hint="Mend the disk, choose another, or make room.",
            ) from error
        # Let the disk begin now: the flush at the end then has little left to wait for.
        _begin_write_back(self._fd, offset, len(view))

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zero: a hole, the device's own zeroing, or zeros written.

        A hole of a file reads as zero by definition and BLKZEROOUT promises it; a discard does
        not, and is never used.
        """
        if offset + length > self._size_bytes:
            raise HostError(f"{self._path} ends before {offset + length}")
        if self._is_file and _punch_hole(self._fd, offset, length):
            return
        if not self._is_file:
            try:
                fcntl.ioctl(self._fd, _BLKZEROOUT, struct.pack("QQ", offset, length))
            except OSError:
                pass
            else:
                return
        piece = bytes(min(length, ZERO_PIECE_BYTES))
        for at in range(offset, offset + length, len(piece)):
            self.write(at, memoryview(piece)[: min(len(piece), offset + length - at)])

    def flush(self) -> None:
        """Return when all writes are on stable storage.

        Raises:
            HostError: an earlier write was lost.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise HostError(f"{self._path} lost writes: {error.strerror}") from error


def _make_file(path: str, size_bytes: int) -> None:
    """Make a file of holes where there is none, or nothing in it."""
    try:
        if not os.path.exists(path):
            with open(path, "xb") as new:
                new.truncate(size_bytes)
        elif os.path.isfile(path) and not os.path.getsize(path):
            os.truncate(path, size_bytes)
    except OSError as error:
        raise HostError(
            f"cannot make {path}: {error.strerror}", hint="Name a file that can be written there."
        ) from error


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError as error:
        hint = "" if path.startswith("/dev/") else "Is the path right?"
        raise DiskMissing(f"there is no disk {path}", hint=hint) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise TargetInUse(f"{path} is in use") from error
        raise HostError(f"cannot open {path}: {error.strerror}") from error


def _size_of(fd: int, path: str) -> tuple[int, bool]:
    """Return the size in bytes and whether it is a regular file."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return status.st_size, True
    if stat.S_ISBLK(status.st_mode):
        answer = fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8))
        return int.from_bytes(answer, "little"), False
    os.close(fd)
    raise HostError(f"{path} is neither a disk nor a file", hint="Name a block device, or a file.")


_libc = ctypes.CDLL(None, use_errno=True)


def _punch_hole(fd: int, offset: int, length: int) -> bool:
    mode = ctypes.c_int(_FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE)
    done = _libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
    return bool(done == 0)


def _begin_write_back(fd: int, offset: int, length: int) -> None:
    """Start writing dirty pages; a hint (sync_file_range(2)), whose failure `flush` would show."""
    _libc.sync_file_range(
        fd, ctypes.c_int64(offset), ctypes.c_int64(length), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE)
    )
