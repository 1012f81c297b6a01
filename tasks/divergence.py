"""How far two sites' volumes have grown apart: both are read before one is written over.

The arrays tell that two sides differ, not by how much. Before a failback overwrites the old
primary, reading both sides whole says exactly which sectors differ. Nothing having been written at
the second site since the failover, that is the loss of the disaster, to the sector; else it is that
and what was written there since (docs/adr/0016-measured-loss.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from blocks.errors import Refused
from blocks.host.base import Disk, Host, Reader
from blocks.profile.model import BackupProfile, Configuration
from blocks.units import format_size
from tasks.progress import published
from tasks.run import Run
from tasks.steps import run_log, step

SECTOR_BYTES = 512
EXTENT_BYTES = 256 * 1024
CHUNK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between the two volumes of a relationship, in whole sectors."""

    relationship: str
    size_bytes: int
    differing_bytes: int
    extents: int
    """How many runs of 256 KiB hold them: what the arrays will copy."""


@dataclass(frozen=True, slots=True)
class Side:
    """One site's volumes as disks of a node, in the order of the relationships."""

    system: str
    machine: Host
    disks: tuple[Disk, ...]


@dataclass
class Compared:
    """How much has been compared, for whoever shows progress."""

    label: str
    total_bytes: int
    done_bytes: int = 0


@step(name="measure-{profile.name}", retries=0)
def measure(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    names: Sequence[str],
    sides: tuple[Side, Side],
) -> tuple[Difference, ...]:
    """Read both sides of every relationship and count what differs. Reads only.

    Args:
        run: this run.
        wanted: the configuration.
        profile: the remote profile.
        names: the relationships.
        sides: home and away.

    Raises:
        Refused: two volumes of a relationship are not of one size as their nodes see them.
    """
    home, away = sides
    total = sum(disk.size_bytes for disk in home.disks)
    counted = Compared(f"compare {home.system} with {away.system}", max(total, 1))
    found = []
    with published(counted):
        for name, own, other in zip(names, home.disks, away.disks, strict=True):
            if own.size_bytes != other.size_bytes:
                raise Refused(
                    f"{name}: {own.name} on {home.machine.name} has {own.size_bytes} bytes,"
                    f" {other.name} on {away.machine.name} {other.size_bytes}",
                    hint="Rescan the nodes' disks.",
                )
            first, second = home.machine.open_read(own), None
            try:
                second = away.machine.open_read(other)
                found.append(compare(name, first, second, own.size_bytes, run, counted))
            finally:
                first.close()
                if second is not None:
                    second.close()
    run_log().warning("%s: %s", profile.name, words(found))
    return tuple(found)


def compare(
    name: str, first: Reader, second: Reader, size_bytes: int, run: Run, counted: Compared
) -> Difference:
    """Count the sectors that differ between two disks of one size."""
    bytes_, extents = 0, 0
    one, two = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)
    with ThreadPoolExecutor(2, thread_name_prefix="compare") as pool:
        for offset in range(0, size_bytes, CHUNK_BYTES):
            run.check()
            length = min(CHUNK_BYTES, size_bytes - offset)
            views = memoryview(one)[:length], memoryview(two)[:length]
            reads = [
                pool.submit(reader.read_into, offset, view)
                for reader, view in zip((first, second), views, strict=True)
            ]
            for read in reads:
                read.result()
            more_bytes, more_extents = _count(*views)
            bytes_ += more_bytes
            extents += more_extents
            counted.done_bytes += length
    return Difference(name, size_bytes, bytes_, extents)


def _count(one: memoryview, two: memoryview) -> tuple[int, int]:
    """Return (bytes of differing sectors, extents with any) of a chunk that begins an extent."""
    if one == two:
        return 0, 0
    differs = np.frombuffer(one, np.uint8) != np.frombuffer(two, np.uint8)
    sectors = np.add.reduceat(differs, np.arange(0, len(differs), SECTOR_BYTES)) > 0
    extents = np.add.reduceat(differs, np.arange(0, len(differs), EXTENT_BYTES)) > 0
    last = len(differs) % SECTOR_BYTES or SECTOR_BYTES
    bytes_ = int(sectors[:-1].sum()) * SECTOR_BYTES + int(sectors[-1]) * last
    return bytes_, int(extents.sum())


def document(found: Sequence[Difference]) -> dict[str, Any]:
    """Return what was measured as the command line's JSON shows it."""
    return {
        "differing_bytes": sum(each.differing_bytes for each in found),
        "extents": sum(each.extents for each in found),
        "relationships": {each.relationship: each.differing_bytes for each in found},
        "words": words(found),
    }


def words(found: Sequence[Difference]) -> str:
    """Say what was measured."""
    bytes_ = sum(each.differing_bytes for each in found)
    if not bytes_:
        return "measured: both sides hold the same bytes"
    extents = sum(each.extents for each in found)
    return (
        f"measured: {format_size(bytes_)} ({bytes_} bytes) in {extents} extents differ between the"
        " sites: what was written here and never arrived there, and what was written there since"
    )


def sides_or_refuse(
    seen: Sequence[tuple[str, Host | None, Sequence[Disk], Sequence[str]]],
    uids: Sequence[Sequence[str]],
) -> tuple[Side, Side]:
    """Put each node's disks in the relationships' order.

    Raises:
        Refused: no node sees all of a side's volumes, so they cannot be compared.
    """
    sides = []
    for (system, machine, disks, faults), order in zip(seen, uids, strict=True):
        if machine is None:
            raise Refused(
                f"the volumes on {system} cannot be compared: {'; '.join(faults)}",
                hint="Leave --measure away, or map them to a node.",
            )
        by_uid = {disk.uid: disk for disk in disks}
        sides.append(Side(system, machine, tuple(by_uid[uid] for uid in order)))
    return sides[0], sides[1]
