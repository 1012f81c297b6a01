"""Does a disk hold anything? A number of looks, spread over it."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.host.base import Reader
from blocks.units import MIB

LOOK_BYTES = MIB
LOOKS = 64
"""A disk is called blank after this many looks of this size, spread over it, first and last."""

BOOT_SECTOR_BYTES = 512
"""AIX writes a PVID into sector 0 of a disk that holds nothing else."""


def looks_blank(reader: Reader) -> bool:
    """Say whether a disk holds nothing, as far as a number of looks can tell."""
    size = reader.size_bytes
    look = min(LOOK_BYTES, size)
    if not look:
        return True
    steps = max(1, min(LOOKS - 1, size // look))
    for offset in _spread(size - look, steps):
        buffer = bytearray(look)
        reader.read_into(offset, memoryview(buffer))
        if offset == 0:
            buffer[:BOOT_SECTOR_BYTES] = bytes(min(BOOT_SECTOR_BYTES, look))
        if buffer.count(0) != look:
            return False
    return True


def _spread(last: int, steps: int) -> Sequence[int]:
    """Return offsets from 0 to `last`, evenly, on whole sectors."""
    return sorted({0, last, *(last * index // steps // 4096 * 4096 for index in range(steps))})
