"""dd, over the streams of the session. aix-host.md §5.

`/dev/rhdiskN` takes whole sectors only; `/dev/hdiskN` anything. What the array takes away fails in
the middle of a transfer, not only at its beginning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from deployments.lab.aix.programs import Complaint, program
from deployments.lab.shell import Io, Sink

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

SECTOR = 512
STEP_BYTES = 1024 * 1024
UNITS = {"": 1, "c": 1, "w": 2, "b": 512, "k": 1024, "m": 1024**2, "g": 1024**3}
CONVERSIONS = {"notrunc", "noerror", "sync", "fsync"}
IO_ERROR = "There is an input or output error."
NO_DEVICE = "There is a request to a device or address that does not exist."
NO_FILE = "A file or directory in the path name does not exist."
NOT_VALID = "A system call received a parameter that is not valid."


@dataclass
class Disk:
    """A raw or block disk, opened by name."""

    machine: Machine
    path: str

    def __post_init__(self) -> None:
        """Open it, or complain as open(2) fails."""
        self.hdisk = re.sub(r"^/dev/r?", "", self.path)
        self.is_raw = self.path.startswith("/dev/r")
        with self.machine.lock:
            disk = self.machine.hdisk(self.hdisk)
            if disk is None:
                raise Complaint(f"dd: {self.path}: {NO_FILE}", 2)
            lun = self.machine.lun(self.hdisk)
        if lun is None:
            raise Complaint(f"dd: {self.path}: {NO_DEVICE}", 2)
        self.fd = os.open(lun.path, os.O_RDWR)
        self.size = lun.size_bytes

    def close(self) -> None:
        """Let it go."""
        os.close(self.fd)

    def _check(self, size: int, *, writes: bool) -> None:
        what = "0511-053 The write" if writes else "0511-051 The read"
        if self.is_raw and size % SECTOR:
            raise Complaint(f"dd: {what} failed.\n: {NOT_VALID}", 2)
        with self.machine.lock:
            lun = self.machine.lun(self.hdisk)
            allowed = lun is not None and (lun.is_writable if writes else lun.is_readable)
        if not allowed:
            raise Complaint(f"dd: {what} failed.\n: {IO_ERROR}", 2)

    def read(self, offset: int, size: int) -> bytes:
        """Read up to a block; empty at the end of the disk."""
        self._check(size, writes=False)
        return os.pread(self.fd, min(size, max(0, self.size - offset)), offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write a block."""
        self._check(len(data), writes=True)
        if offset + len(data) > self.size:
            raise Complaint(f"dd: 0511-053 The write failed.\n: {NO_DEVICE}", 2)
        done = 0
        while done < len(data):
            done += os.pwrite(self.fd, data[done:], offset + done)


@dataclass
class Counts:
    """Whole and partial blocks."""

    whole: int = 0
    partial: int = 0

    def add(self, size: int, block: int) -> None:
        """Count one block."""
        if size == block:
            self.whole += 1
        else:
            self.partial += 1

    def __str__(self) -> str:
        return f"{self.whole}+{self.partial}"


@program("/usr/bin/dd")
def dd(machine: Machine, words: list[str], streams: Io) -> int:
    """Copy blocks: if of bs ibs obs skip seek count conv."""
    settings = _settings(words[1:])
    ibs, obs = _size(settings, "ibs", 512), _size(settings, "obs", 512)
    if "bs" in settings:
        ibs = obs = _size(settings, "bs", 512)
    limit = int(settings["count"]) if "count" in settings else None
    skip, seek = int(settings.get("skip", 0)), int(settings.get("seek", 0))
    # With bs each short read is written as it comes; with ibs and obs they are gathered.
    gathers = "bs" not in settings
    read, written = Counts(), Counts()
    status = 0
    try:
        with (
            _source(machine, settings.get("if"), streams) as source,
            _target(machine, settings.get("of"), streams, seek * obs) as put,
        ):
            blocks = _blocks(source, ibs, skip, limit, read)
            _copy(blocks, put, written, obs, gathers=gathers)
    except Complaint as complaint:
        streams.complain(f"{complaint}\n")
        status = complaint.status
    streams.complain(f"{read} records in.\n{written} records out.\n")
    return status


def _settings(words: list[str]) -> dict[str, str]:
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        known = {"if", "of", "bs", "ibs", "obs", "cbs", "skip", "seek", "count", "conv", "files"}
        if not equals or name not in known:
            raise Complaint(f"dd: 0511-050 {word} is not a recognized parameter.", 2)
        settings[name] = value
    odd = set(filter(None, settings.get("conv", "").split(","))) - CONVERSIONS - {"fsync"}
    if odd or "fsync" in settings.get("conv", ""):
        raise Complaint(f"dd: 0511-050 conv={settings['conv']} is not a recognized parameter.", 2)
    return settings


def _size(settings: dict[str, str], name: str, default: int) -> int:
    text = settings.get(name)
    if text is None:
        return default
    product = 1
    for factor in text.split("x"):
        found = re.fullmatch(r"(\d+)([cwbkmg]?)", factor)
        if not found or not int(found[1]):
            raise Complaint(f"dd: 0511-050 {name}={text} is not a recognized parameter.", 2)
        product *= int(found[1]) * UNITS[found[2]]
    return product


Source = Disk | BinaryIO | None
"""A disk, a stream, or None for /dev/zero."""


@contextmanager
def _source(machine: Machine, path: str | None, streams: Io) -> Iterator[Source]:
    if path in {None, "/dev/stdin"}:
        yield streams.stdin
    elif path == "/dev/zero":
        yield None
    else:
        assert path is not None
        disk = _open(machine, path)
        try:
            yield disk
        finally:
            disk.close()


def _open(machine: Machine, path: str) -> Disk:
    if not re.fullmatch(r"/dev/r?hdisk\d+", path):
        raise Complaint(f"dd: {path}: {NO_FILE}", 2)
    return Disk(machine, path)


def _blocks(
    source: Source, block: int, skip: int, limit: int | None, counts: Counts
) -> Iterator[bytes]:
    """Yield the blocks of the input."""
    if not isinstance(source, Disk) and source is not None:
        for _ in range(skip):
            source.read(block)
    number = 0
    zeros = bytes(block)
    while limit is None or number < limit:
        if source is None:
            data = zeros
        elif isinstance(source, Disk):
            data = source.read((skip + number) * block, block)
        else:
            data = source.read(block)
        if not data:
            return
        counts.add(len(data), block)
        yield data
        number += 1


class _Put:
    """Where the output goes: a disk from an offset on, or a stream."""

    def __init__(self, disk: Disk | None, sink: Sink | None, offset: int) -> None:
        self._disk, self._sink, self._offset = disk, sink, offset

    def __call__(self, data: bytes) -> None:
        if self._disk is not None:
            self._disk.write(self._offset, data)
            self._offset += len(data)
        elif self._sink is not None:
            self._sink.write(data)


@contextmanager
def _target(machine: Machine, path: str | None, streams: Io, offset: int) -> Iterator[_Put]:
    if path in {None, "/dev/stdout"}:
        yield _Put(None, streams.stdout, 0)
    elif path == "/dev/null":
        yield _Put(None, None, 0)
    else:
        assert path is not None
        disk = _open(machine, path)
        try:
            yield _Put(disk, None, offset)
        finally:
            disk.close()


def _copy(blocks: Iterator[bytes], put: _Put, counts: Counts, size: int, *, gathers: bool) -> None:
    """Write blocks as they come, or gathered into blocks of the output's size."""
    pending = bytearray()
    for data in blocks:
        if not gathers:
            put(data)
            counts.add(len(data), size)
            continue
        pending += data
        whole = len(pending) - len(pending) % size
        for start in range(0, whole, size):
            put(bytes(pending[start : start + size]))
            counts.add(size, size)
        del pending[:whole]
    if pending:
        put(bytes(pending))
        counts.add(len(pending), size)
