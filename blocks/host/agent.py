"""Compares a disk with known digests on the node that sees it: a program sent, not installed.

The whole source of this file goes over the session to a Python 3.7 or newer, so it uses the
standard library alone. The disk is its argument, so that `ps` shows it; standard input brings one
JSON line (offset, length, extent_bytes, piece_extents) and the first 8 bytes of each extent's
SHA-256 as it was.

Standard output carries `{"can": true}` and, for each piece of the range, a letter for each extent,
the SHA-256 of all that are not zeros, and the bytes of those that differ. `E`, the number of
extents and a SHA-256 over letters and digests end it, so that a cut answer cannot pass for a whole
one. Whole digests go back although only their beginnings came: they cannot be an echo.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Iterator, List, Tuple  # noqa: UP035 (Python 3.7)

MAX_THREADS = 4
PENDING_BYTES = 64 * 1024 * 1024

# The host's side reads the answer by these.
KNOWN_BYTES = 8
ZERO = b"Z"
SAME = b"S"
DIFFERS = b"D"
END = b"E"
TAIL = struct.Struct(">Q32s")

Piece = Tuple[bytes, bytes, List[Any]]  # noqa: UP006 (Python 3.7)
"""Letters, digests, and the bytes of the extents that differ."""


def read_pieces(descriptor: int, offset: int, length: int, piece_bytes: int) -> Iterator[bytes]:
    """Yield a range of the disk in order; a disk that ends early is an error."""
    end = offset + length
    is_cached = hasattr(os, "posix_fadvise") and stat.S_ISBLK(os.fstat(descriptor).st_mode)
    while offset < end:
        wanted = min(piece_bytes, end - offset)
        parts = []
        while wanted:
            part = os.pread(descriptor, wanted, offset)
            if not part:
                raise EOFError(f"the disk ended at {offset} of {end} bytes")
            parts.append(part)
            wanted -= len(part)
            if is_cached:
                # A backup must not push out what the node's own work has cached.
                os.posix_fadvise(descriptor, offset, len(part), os.POSIX_FADV_DONTNEED)
            offset += len(part)
        yield parts[0] if len(parts) == 1 else b"".join(parts)


def compare(piece: bytes, extent_bytes: int, known: bytes) -> Piece:
    """Tell the extents of a piece apart by what is known of them."""
    view = memoryview(piece)
    zeros = bytes(extent_bytes)
    letters, digests, changed = [], [], []
    for index, start in enumerate(range(0, len(view), extent_bytes)):
        extent = view[start : start + extent_bytes]
        # Comparing with a page of zeros is much cheaper than hashing one.
        if extent == zeros[: len(extent)]:
            letters.append(ZERO)
            continue
        digest = hashlib.sha256(extent).digest()
        digests.append(digest)
        if digest[:KNOWN_BYTES] == known[index * KNOWN_BYTES : (index + 1) * KNOWN_BYTES]:
            letters.append(SAME)
        else:
            letters.append(DIFFERS)
            changed.append(extent)
    return b"".join(letters), b"".join(digests), changed


def answer(path: str, request: dict[str, Any], known: bytes, out: BinaryIO) -> None:
    """Write what a range of a disk is like, and the end."""
    extent_bytes, length = int(request["extent_bytes"]), int(request["length"])
    piece_bytes = int(request["piece_extents"]) * extent_bytes
    piece_known = int(request["piece_extents"]) * KNOWN_BYTES
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    ahead = max(1, min(2 * threads, PENDING_BYTES // piece_bytes))
    whole = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(threads) as pool:
            pending: deque[Any] = deque()

            def write_oldest() -> None:
                letters, digests, changed = pending.popleft().result()
                whole.update(letters)
                whole.update(digests)
                out.write(letters + digests)
                for extent in changed:
                    out.write(extent)

            pieces = read_pieces(descriptor, int(request["offset"]), length, piece_bytes)
            for number, piece in enumerate(pieces):
                its = known[number * piece_known : (number + 1) * piece_known]
                pending.append(pool.submit(compare, piece, extent_bytes, its))
                if len(pending) > ahead:
                    write_oldest()
            while pending:
                write_oldest()
    finally:
        os.close(descriptor)
    out.write(END + TAIL.pack(-(-length // extent_bytes), whole.digest()))
    out.flush()


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.buffer.readline().decode())
    count = -(-int(request["length"]) // int(request["extent_bytes"]))
    known = sys.stdin.buffer.read(count * KNOWN_BYTES)
    out = sys.stdout.buffer
    can = len(known) == count * KNOWN_BYTES and sys.version_info >= (3, 7)
    out.write(json.dumps({"can": can}).encode() + b"\n")
    out.flush()
    if can:
        answer(sys.argv[1], request, known, out)


if __name__ == "__main__":
    main()
