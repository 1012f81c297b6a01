"""One AIX node: its disks as the SAN shows them, and `run`, which answers one command line.

Commands of all nodes and arrays of a lab happen one after another, under the arrays' lock; only
moving bytes does not hold it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deployments.lab.aix import cluster as cluster_programs
from deployments.lab.aix import disks, files, groups, python, system, transfer
from deployments.lab.aix.cluster import Cluster
from deployments.lab.aix.odm import LOCAL_UDID, Hdisk, Label, NodeState, nested_udid, svc_udid
from deployments.lab.aix.programs import Complaint, find
from deployments.lab.filters import FILTERS
from deployments.lab.shell import Io, Program, run_line

ROOMS = (cluster_programs, disks, files, groups, python, system, transfer)
"""Importing these registers their commands."""


@dataclass(frozen=True)
class Lun:
    """A volume the SAN shows to a node. `is_readable` is now: an array may take it away."""

    uid: str
    path: Path
    size_bytes: int
    is_readable: bool
    is_writable: bool


class San(Protocol):
    """What a node sees of the arrays."""

    def luns(self) -> dict[str, Lun]:
        """Return what is mapped to the node now, by UID, in order of discovery."""

    def lun(self, uid: str) -> Lun | None:
        """Return one of them; None when it is not mapped."""

    def label(self, uid: str) -> Label | None:
        """Return what a disk says about itself; None when it is blank."""

    def write_label(self, uid: str, label: Label | None) -> None:
        """Write it anew."""


@dataclass
class Machine:
    """One node."""

    state: NodeState
    san: San
    cluster: Cluster
    now: Callable[[], float]
    lock: threading.RLock = field(default_factory=threading.RLock)
    changed: Callable[[], None] = lambda: None
    """Called under the lock after anything the node remembers has changed."""

    @property
    def name(self) -> str:
        """The host name."""
        return self.state.name

    def run(self, line: str, streams: Io) -> int:
        """Answer one command line."""
        return run_line(line, self._lookup, streams, name="ksh", has_file=self._has_device)

    def _has_device(self, path: str) -> bool:
        """Say whether a path is a disk's device, block or raw."""
        found = re.fullmatch(r"/dev/r?(hdisk\d+)", path)
        return found is not None and self.hdisk(found[1]) is not None

    def _lookup(self, name: str) -> Program | None:
        handler = find(name)
        if handler is None:
            return FILTERS.get(name.removeprefix("/usr/bin/")) or _missing

        def program(words: list[str], streams: Io) -> int:
            try:
                return handler(self, words, streams)
            except Complaint as complaint:
                streams.complain(f"{complaint}\n")
                return complaint.status

        return program

    def hdisk(self, name: str) -> Hdisk | None:
        """Return a configured disk by name."""
        disk = self.state.hdisks.get(name)
        return disk if disk and disk.is_available else None

    def lun(self, hdisk: str) -> Lun | None:
        """Return the LUN behind a disk; None when it is not mapped (any more), or hdisk0."""
        disk = self.state.hdisks.get(hdisk)
        return self.san.lun(disk.uid) if disk else None

    def label(self, hdisk: str) -> Label | None:
        """Read a disk's label; None when it is blank or cannot be read."""
        lun = self.lun(hdisk)
        return self.san.label(lun.uid) if lun and lun.is_readable else None

    def group_of(self, hdisk: str) -> str:
        """Return the volume group a disk is in, as this node remembers it."""
        for group in self.state.groups.values():
            if hdisk in group.hdisks:
                return group.name
        return ""

    def udid(self, disk: Hdisk) -> str:
        """Return a disk's unique_id."""
        if not disk.uid:
            return LOCAL_UDID
        udid = svc_udid(disk.uid)
        return nested_udid(udid) if self.state.is_behind_vios else udid


def _missing(words: list[str], streams: Io) -> int:
    streams.complain(f"ksh: {words[0]}:  not found.\n")
    return 127
