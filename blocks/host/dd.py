"""How dd is told to read, write and zero a range of a disk: GNU's on Linux, and AIX's. Pure.

Source: docs/reference/aix-host.md §5 and §8; docs/adr/0011-ssh-as-a-data-path.md for the rates.
"""

from __future__ import annotations

import shlex

from blocks.errors import HostError
from blocks.units import KIB, MIB

SECTOR_BYTES = 512


def gnu_read(path: str, offset: int, length: int) -> str:
    """Spell a GNU dd that streams a range, past the page cache where the disk allows."""
    direct = f"$([ -b {shlex.quote(path)} ] && echo ,direct)" if _is_aligned(offset, length) else ""
    return (
        f"LC_ALL=C dd if={shlex.quote(path)} bs={MIB} skip={offset} count={length}"
        f" iflag=skip_bytes,count_bytes,fullblock{direct} status=none"
    )


def gnu_write(path: str, offset: int) -> str:
    """Spell a GNU dd that writes its input from an offset on and waits for the disk.

    `nocache` lets the disk begin with the first bytes, so that little is left to wait for;
    `nocreat` fails where the device is gone, instead of making a file of its name.
    """
    return (
        f"LC_ALL=C dd of={shlex.quote(path)} bs={MIB} seek={offset}"
        " iflag=fullblock oflag=seek_bytes,nocache conv=nocreat,notrunc,fsync status=none"
    )


def gnu_zero(path: str, offset: int, length: int) -> str:
    """Spell a GNU dd that writes zeros over a range and waits for the disk."""
    return (
        f"LC_ALL=C dd if=/dev/zero of={shlex.quote(path)} bs={MIB} seek={offset} count={length}"
        " iflag=count_bytes,fullblock oflag=seek_bytes,nocache conv=nocreat,notrunc,fsync"
        " status=none"
    )


def _is_aligned(offset: int, length: int) -> bool:
    return offset % 4096 == 0 and length % 4096 == 0


def aix_read(path: str, offset: int, length: int) -> str:
    """Spell an AIX dd that streams a range; it has no byte offsets, so the block divides both."""
    block = _block_bytes(offset, length)
    return (
        f"LANG=C /usr/bin/dd if={shlex.quote(path)} bs={block}"
        f" skip={offset // block} count={length // block}"
    )


def _if_there(path: str) -> str:
    """Spell a guard: AIX's dd has no `nocreat`, and would make a file where a device is gone."""
    told = shlex.quote(f"{path}: No such file or directory, or not to be written")
    return f"[ -w {shlex.quote(path)} ] || {{ echo {told} >&2; exit 1; }};"


def aix_write(path: str, offset: int) -> str:
    """Spell an AIX dd that writes its input from an offset on.

    With `ibs` and `obs` (never `bs`) dd gathers the short reads of a pipe into whole blocks, which
    a raw disk insists on.
    """
    block = _block_bytes(offset, 0)
    return (
        f"{_if_there(path)} LANG=C /usr/bin/dd of={shlex.quote(path)} ibs={64 * KIB} obs={block}"
        f" seek={offset // block} conv=notrunc"
    )


def aix_zero(path: str, offset: int, length: int) -> str:
    """Spell an AIX dd that writes zeros over a range."""
    block = _block_bytes(offset, length)
    return (
        f"{_if_there(path)} LANG=C /usr/bin/dd if=/dev/zero of={shlex.quote(path)} bs={block}"
        f" seek={offset // block} count={length // block} conv=notrunc"
    )


def _block_bytes(*positions: int) -> int:
    """Return the largest power of two up to 1 MiB that divides all of these."""
    block = MIB
    while any(position % block for position in positions):
        block //= 2
    if block < SECTOR_BYTES:
        raise HostError(f"a raw disk is read and written in sectors, not at {positions}")
    return block
