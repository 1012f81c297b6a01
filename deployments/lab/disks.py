"""Volumes as sparse files: `<lab>/volumes/<array>/<volume>`, and real point-in-time copies of them.

A copy replaces the target's contents in place, so that whoever holds the old target open sees them
change, as on an array. How the copy is made depends on the file system:

- btrfs, volumes in a subvolume: one snapshot of the subvolume freezes all volumes at one instant,
  even under writers without pause; the targets are cloned from it. The order of writes holds for
  writers that wait for the disk (fsync, O_SYNC), as databases do.
- elsewhere with reflinks (XFS): each volume is cloned at one instant, one after the other.
- otherwise (ext4, tmpfs): allocated ranges are copied.

Without btrfs, a writer that bypasses SSH and writes while the copy runs makes the lab compare again
until it finds a gap between two writes. One that leaves none may be seen half: write before the
start, as a quiesced application does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

Place = tuple[str, str]
FICLONE = 0x40049409
COPY_BYTES = 64 * 1024 * 1024
BTRFS_SUBVOLUME_INODE = 256
FOLLOW_GRAIN = 256 * 1024
FOLLOW_TRIES = 20
QUIET_NS = 5_000_000
"""Modification times may be as coarse as a timer tick: two writes within one look like one."""


@dataclass(frozen=True)
class DiskShelf:
    """The directory of all arrays' volumes."""

    directory: Path
    copied: Callable[[list[tuple[Place, Place]]], None] = lambda pairs: None
    """Called after every snapshot, with its (source, target) pairs."""
    mirrored: Callable[[list[tuple[Place, Place]]], None] = lambda pairs: None
    """Called when a mirror has become the same as its source, with (source, target) pairs."""

    def path(self, volume: Place) -> Path:
        """Return a volume's file."""
        return self.directory / volume[0] / volume[1]

    def create(self, volume: Place, size_bytes: int) -> None:
        """Make an all-zero volume, or make one larger."""
        path = self.path(volume)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(size_bytes)
        path.chmod(0o600)

    def remove(self, volume: Place) -> None:
        """Remove a volume and its bytes."""
        self.path(volume).unlink(missing_ok=True)

    def rename(self, volume: Place, new_name: str) -> None:
        """Give a volume another name."""
        self.path(volume).rename(self.path((volume[0], new_name)))

    def snapshot(self, pairs: list[tuple[Place, Place]]) -> None:
        """Make every target the copy of its source, all at one instant."""
        before = [self.version(source) for source, _ in pairs]
        is_still = time.time_ns() - max(before, default=0) >= QUIET_NS
        with self._frozen() as root:
            for source, target in pairs:
                copy_in_place(root / source[0] / source[1], self.path(target))
            is_still |= root != self.directory
        is_still &= before == [self.version(source) for source, _ in pairs]
        if not is_still and self.follow(pairs) is None:
            log.warning("no gap between writes: copies may be of several instants: %s", pairs)
        self.copied(pairs)

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[Path]:
        """Yield a directory in which no volume changes: a btrfs snapshot, else the volumes."""
        btrfs = shutil.which("btrfs")
        if not btrfs or not is_btrfs_subvolume(self.directory):
            yield self.directory
            return
        frozen = self.directory.with_name(f".{self.directory.name}.{os.getpid()}")
        subprocess.run([btrfs, "-q", "subvolume", "snapshot", self.directory, frozen], check=True)
        try:
            yield frozen
        finally:
            subprocess.run([btrfs, "-q", "subvolume", "delete", frozen], check=True)

    def difference(self, source: Place, target: Place, grain: int) -> float:
        """Say how much of the two differs, in percent of grains."""
        first, second = self.path(source), self.path(target)
        grains = -(-first.stat().st_size // grain)
        changed = sum(1 for _ in differing(first, second, grain))
        return 100 * changed / grains if grains else 0.0

    def version(self, volume: Place) -> int:
        """Return a number that grows with every write."""
        return self.path(volume).stat().st_mtime_ns

    def copy_range(self, source: Place, target: Place, begin: int, end: int) -> None:
        """Copy a range of bytes, whatever is written to the source meanwhile."""
        with self.path(source).open("rb") as reader, self.path(target).open("r+b") as writer:
            while begin < end:
                data = os.pread(reader.fileno(), min(COPY_BYTES // 16, end - begin), begin)
                if not data:
                    return
                write_changed(writer.fileno(), begin, data)
                begin += len(data)

    def follow(self, pairs: list[tuple[Place, Place]]) -> list[int] | None:
        """Bring targets up with their sources as these were at one instant between two writes.

        What differs is read first and written only if no source changed meanwhile: a writer that
        leaves no gap long enough for that makes the targets wait, and never see half a write.
        """
        for _ in range(FOLLOW_TRIES):
            with self._frozen() as root, tempfile.SpooledTemporaryFile(COPY_BYTES) as kept:
                is_frozen = root != self.directory
                before = [(root / array / name).stat().st_mtime_ns for (array, name), _ in pairs]
                if not is_frozen and time.time_ns() - max(before, default=0) < QUIET_NS:
                    time.sleep(QUIET_NS / 1e9)
                    continue
                index = self._read_changes(root, pairs, kept)
                if not is_frozen and before != [self.version(source) for source, _ in pairs]:
                    continue
                kept.seek(0)
                for target, offset, length in index:
                    with self.path(target).open("r+b") as writer:
                        os.pwrite(writer.fileno(), kept.read(length), offset)
            return before
        return None

    def _read_changes(
        self, root: Path, pairs: list[tuple[Place, Place]], kept: IO[bytes]
    ) -> list[tuple[Place, int, int]]:
        index = []
        for source, target in pairs:
            path = root / source[0] / source[1]
            with path.open("rb") as reader:
                for grain in differing(path, self.path(target), FOLLOW_GRAIN):
                    data = os.pread(reader.fileno(), FOLLOW_GRAIN, grain * FOLLOW_GRAIN)
                    kept.write(data)
                    index.append((target, grain * FOLLOW_GRAIN, len(data)))
        return index


def make_volume_directory(directory: Path) -> None:
    """Make the directory of volumes; on btrfs a subvolume, so that groups freeze at one instant."""
    if directory.exists():
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    btrfs = shutil.which("btrfs")
    if btrfs and is_btrfs(directory.parent):
        subprocess.run([btrfs, "-q", "subvolume", "create", directory], check=True)
    else:
        directory.mkdir()


def remove_volume_directory(directory: Path) -> None:
    """Remove the directory of volumes, a subvolume or not."""
    btrfs = shutil.which("btrfs")
    if btrfs and directory.exists() and is_btrfs_subvolume(directory):
        subprocess.run([btrfs, "-q", "subvolume", "delete", directory], check=False)
    shutil.rmtree(directory, ignore_errors=True)


def is_btrfs(path: Path) -> bool:
    """Say whether a directory is on btrfs."""
    longest, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, fstype, *_ = line.split(" ")
        if path.resolve().is_relative_to(mount) and len(mount) >= len(longest):
            longest, kind = mount, fstype
    return kind == "btrfs"


def is_btrfs_subvolume(path: Path) -> bool:
    """Say whether a directory is the top of a btrfs subvolume (its inode is always 256)."""
    return path.stat().st_ino == BTRFS_SUBVOLUME_INODE and is_btrfs(path)


def copy_in_place(source: Path, target: Path) -> None:
    """Make the target's contents the source's, keeping the target's inode and the holes."""
    with source.open("rb") as reader, target.open("r+b") as writer:
        size = os.fstat(reader.fileno()).st_size
        try:
            fcntl.ioctl(writer, FICLONE, reader.fileno())
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV, errno.ENOTTY}:
                raise
        else:
            return
        writer.truncate(0)
        writer.truncate(size)
        for offset, length in data_runs(reader.fileno(), size):
            _copy_run(reader.fileno(), writer.fileno(), offset, length)


def write_changed(fd: int, offset: int, data: bytes) -> None:
    """Write bytes where they differ from what is there: zeros over a hole leave the hole."""
    if os.pread(fd, len(data), offset) != data:
        os.pwrite(fd, data, offset)


def _copy_run(reader: int, writer: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        done = os.copy_file_range(reader, writer, min(COPY_BYTES, end - offset), offset, offset)
        if not done:  # the source was cut short under us: the rest stays zero
            return
        offset += done


def data_runs(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the allocated ranges of a file; everything else is zero."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(size, os.lseek(fd, start, os.SEEK_HOLE))
        yield start, end - start
        offset = end


def differing(first: Path, second: Path, grain: int) -> Iterator[int]:
    """Yield the index of every grain whose bytes differ; ranges unallocated in both are skipped."""
    with first.open("rb") as left, second.open("rb") as right:
        size = os.fstat(left.fileno()).st_size
        last = -1
        for start, length in _either(left.fileno(), right.fileno(), size):
            for index in range(max(last + 1, start // grain), -(-(start + length) // grain)):
                last = index
                offset = index * grain
                if os.pread(left.fileno(), grain, offset) != os.pread(
                    right.fileno(), grain, offset
                ):
                    yield index


def _either(first: int, second: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges allocated in either file, by offset."""
    return sorted([*data_runs(first, size), *data_runs(second, size)])
