"""Keep the C library from giving memory back to the system between two frames."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_MIB = 1024 * 1024


@cache
def keep_freed_memory() -> bool:
    """Let freed buffers of some MiB serve the next frame; True if the C library does so.

    zstd's output is a new buffer for every frame. glibc gives such buffers back to the system one
    by one, and the kernel then zeroes every page of the next: an eighth of the processor time of a
    backup and more (docs/explanation/performance.md). Both limits are the most glibc itself would
    choose.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    set_mmap = mallopt(_MMAP_THRESHOLD, 32 * _MIB)
    set_trim = mallopt(_TRIM_THRESHOLD, 64 * _MIB)
    return bool(set_mmap and set_trim)
