"""Hashes a disk's extents on the node that sees it: a program sent there, not installed.

The whole source of this file goes over the session to a Python 3.7 or newer, so it uses the
standard library alone. The disk is its argument, so that `ps` shows it; standard input brings one
JSON line: size_bytes, extent_bytes, algorithm. Standard output carries one JSON line that says
whether it can, and then a record for each extent in order: `Z`, or `D` and 32 bytes of digest. `E`,
the number of extents and a SHA-256 over all records end it, so that a cut stream cannot pass for a
whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Callable, Iterator, Optional  # noqa: UP035 (Python 3.7)

MAX_THREADS = 4
READ_BYTES = 4 * 1024 * 1024

# The host's side reads the records by these.
ZERO = b"Z"
DIGEST = b"D"
END = b"E"
TAIL = struct.Struct(">Q32s")


def hasher(algorithm: str) -> Optional[Callable[[Any], bytes]]:  # noqa: UP045 (Python 3.7)
    """Return what makes a 32-byte digest of a buffer, or None for an algorithm not had here."""
    if algorithm == "sha256":
        return lambda data: hashlib.sha256(data).digest()
    if algorithm == "blake2b":
        return lambda data: hashlib.blake2b(data, digest_size=32).digest()
    if algorithm == "blake3":
        try:
            import blake3
        except ImportError:
            return None
        return lambda data: bytes(blake3.blake3(data).digest())
    return None


def read_pieces(descriptor: int, size_bytes: int, piece_bytes: int) -> Iterator[bytes]:
    """Yield the disk in order; a disk that ends early is an error."""
    offset = 0
    while offset < size_bytes:
        wanted = min(piece_bytes, size_bytes - offset)
        parts = []
        while wanted:
            part = os.pread(descriptor, wanted, offset)
            if not part:
                raise EOFError(f"the disk ended at {offset} of {size_bytes} bytes")
            parts.append(part)
            wanted -= len(part)
            offset += len(part)
        yield parts[0] if len(parts) == 1 else b"".join(parts)


def records_of(piece: bytes, extent_bytes: int, digest: Callable[[Any], bytes]) -> bytes:
    """Return the records of all extents of a piece."""
    view = memoryview(piece)
    zeros = bytes(extent_bytes)
    records = []
    for start in range(0, len(view), extent_bytes):
        extent = view[start : start + extent_bytes]
        # Comparing with a page of zeros is much cheaper than hashing one.
        if extent == zeros[: len(extent)]:
            records.append(ZERO)
        else:
            records.append(DIGEST + digest(extent))
    return b"".join(records)


def hash_disk(
    path: str, request: dict[str, Any], digest: Callable[[Any], bytes], out: BinaryIO
) -> None:
    """Write the records of a disk, and their end."""
    extent_bytes, size_bytes = int(request["extent_bytes"]), int(request["size_bytes"])
    piece_bytes = max(1, READ_BYTES // extent_bytes) * extent_bytes
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    whole = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(threads) as pool:
            pending: deque[Any] = deque()

            def write_oldest() -> None:
                records = pending.popleft().result()
                whole.update(records)
                out.write(records)

            for piece in read_pieces(descriptor, size_bytes, piece_bytes):
                pending.append(pool.submit(records_of, piece, extent_bytes, digest))
                if len(pending) > 2 * threads:
                    write_oldest()
            while pending:
                write_oldest()
    finally:
        os.close(descriptor)
    out.write(END + TAIL.pack(-(-size_bytes // extent_bytes), whole.digest()))
    out.flush()


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.buffer.readline().decode())
    out = sys.stdout.buffer
    digest = hasher(request["algorithm"])
    out.write(json.dumps({"can": digest is not None}).encode() + b"\n")
    out.flush()
    if digest is not None:
        hash_disk(sys.argv[1], request, digest, out)


if __name__ == "__main__":
    main()
