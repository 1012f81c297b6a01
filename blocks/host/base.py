"""What a host can do. Every host passes tests/contract/test_host.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blocks.host.inside import Look

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as a host sees it.

    `uid` is the array's vdisk UID (32 upper-case hex digits), empty when the disk is no volume of
    an SVC. It alone identifies the volume: names and PVIDs differ between nodes and copies.
    """

    name: str
    path: str
    size_bytes: int
    uid: str
    pvid: str = ""
    volume_group: str = ""
    is_active: bool = False
    """In a varied-on volume group, mounted, or otherwise held open by the system."""


class GroupState(StrEnum):
    """The state of a resource group on this node (clRGinfo's words)."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    ERROR = "ERROR"
    UNMANAGED = "UNMANAGED"
    ACQUIRING = "ACQUIRING"
    RELEASING = "RELEASING"
    TEMPORARY_ERROR = "TEMPORARY ERROR"
    UNKNOWN = "UNKNOWN"


class Reader(Protocol):
    """A disk opened for reading at any offset. Short reads raise `ShortRead`."""

    @property
    def size_bytes(self) -> int:
        """The disk's size."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk; safe to call from several threads."""

    def data_runs(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of runs that may hold data; the rest surely reads as zero."""

    def close(self) -> None:
        """Let the disk go."""


class Comparison(Protocol):
    """What a node says of a range of its disk, taken batch by batch."""

    def take(
        self, buffer: memoryview
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.uint8]]:
        """Take the next extents, as many as fill the buffer.

        Returns:
            Which of them are zeros, of which the buffer now holds the bytes, and the SHA-256 of all
            that are not zeros.

        Raises:
            ShortRead: the answer ended too early.
            HostError: it is not what was sent, or not of this range.
        """

    def finish(self) -> None:
        """Prove that the answer was whole, after the last extent was taken."""

    def close(self) -> None:
        """Let go."""


@runtime_checkable
class ComparingReader(Protocol):
    """A reader whose machine can compare the disk with known digests itself."""

    def can_compare(self) -> bool:
        """Say whether it can: there is a Python 3 on the machine."""

    def compare(
        self, offset: int, length: int, known: memoryview, *, extent_bytes: int, batch_extents: int
    ) -> Comparison | None:
        """Start to compare a range.

        Args:
            offset: where it begins.
            length: its bytes; the last extent is the rest.
            known: the SHA-256 of each extent as it was, 32 bytes each; anything for unknown ones.
            extent_bytes: the size of an extent.
            batch_extents: how many are taken at a time.

        Returns:
            The comparison; None when the machine cannot.
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk."""


class Writer(Reader, Protocol):
    """A disk opened for writing at any offset."""

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of it; safe to call from several threads on ranges that do not overlap."""

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zero: discarded and known to read back zero, or written."""

    def flush(self) -> None:
        """Return when all writes are on stable storage."""


class Host(Protocol):
    """One machine that sees volumes as disks."""

    @property
    def name(self) -> str:
        """Its name, as registered."""

    def discover(self) -> list[Disk]:
        """Look for new disks, then list all of them."""

    def disks(self) -> list[Disk]:
        """List the disks known now."""

    def open_read(self, disk: Disk) -> Reader:
        """Open a disk for reading, past any stale cache."""

    def open_write(self, disk: Disk) -> Writer:
        """Open a disk for writing.

        Raises:
            TargetInUse: the disk is mounted, held open, or in a varied-on volume group.
        """

    def group_state(self, group: str) -> GroupState:
        """Say whether the resource group is online here; `UNKNOWN` when that cannot be told."""

    def is_cluster_stable(self) -> bool:
        """Say whether the cluster services are stable (always true where there is no cluster)."""

    def volume_groups(self, group: str) -> list[str]:
        """List the volume groups of a resource group."""

    def frozen(
        self, volume_groups: Sequence[str], timeout_s: float
    ) -> AbstractContextManager[None]:
        """Freeze the mounted file systems of these volume groups; always thaw on the way out.

        Raises:
            FreezeExpired: on leaving, when a file system was found already thawed.
        """

    def thaw(self, volume_groups: Sequence[str]) -> None:
        """Thaw what a process that died has left frozen; fine if nothing is."""

    def import_group(self, name: str, disks: Sequence[Disk], *, major: int | None = None) -> None:
        """Make a volume group of restored disks known and active (importvg, vgchange)."""

    def recreate_group(self, name: str, disks: Sequence[Disk]) -> None:
        """Import copies beside their original, with new identities (recreatevg, vgimportclone)."""

    def release_group(self, name: str) -> None:
        """Take an imported volume group away again (varyoffvg + exportvg, vgchange -an)."""

    def has_group(self, name: str) -> bool:
        """Say whether the node knows a volume group of this name, active or not."""

    def look_inside(
        self, volume_group: str, disks: Sequence[Disk], directory: str, *, fsck: bool, mount: bool
    ) -> list[Look]:
        """Check and mount the file systems of a restored volume group, or right on disks.

        Nothing is written to them (see `blocks.host.inside`). What is no file system is left out.

        Args:
            volume_group: an imported one; empty to look at the disks themselves.
            disks: looked at where no volume group is given.
            directory: does not exist; where they are mounted, one after the other.
            fsck: run the file system's checker, read-only.
            mount: mount them read-only, list the root directory, and unmount them.
        """

    def leave(self, directory: str) -> None:
        """Unmount and remove a directory that a dead run looked from; fine if it is gone."""
