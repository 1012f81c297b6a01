"""Ask a node to hash a disk's extents itself, so that only digests cross the wire.

The program sent there is `agent`. A node without Python 3, or without the algorithm, cannot: the
caller then reads the disk and hashes here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path

from blocks.errors import HostError, RemoteError, ShortRead, Unreachable
from blocks.host import agent
from blocks.runner import OutStream, Runner
from blocks.units import KIB

log = logging.getLogger(__name__)

# A non-login session on AIX does not have the Toolbox's directory.
_PATH = "PATH=$PATH:/opt/freeware/bin:/usr/local/bin:/usr/bin"
_DIGEST_BYTES = 32


def remote_digests(
    runner: Runner,
    path: str,
    size_bytes: int,
    *,
    extent_bytes: int,
    algorithm: str,
    timeout_s: float,
) -> Iterator[bytes | None] | None:
    """Hash a disk's extents on the node.

    Args:
        runner: runs commands on the node.
        path: the disk there.
        size_bytes: its size; the last extent is the rest.
        extent_bytes: the size of an extent.
        algorithm: `sha256`, `blake2b` (32 bytes of it) or `blake3`.
        timeout_s: the longest silence.

    Returns:
        For each extent in order its digest, or None when it reads as zeros; None instead of all
        that when the node cannot.

    Raises:
        ShortRead: (while iterating) the answer or the disk ended too early.
        HostError: (while iterating) the answer is not what was sent.
    """
    source = Path(agent.__file__).read_bytes()
    request = {
        "size_bytes": size_bytes,
        "extent_bytes": extent_bytes,
        "algorithm": algorithm,
    }
    loader = (
        f"import sys;exec(compile(sys.stdin.buffer.read({len(source)}),'flashvault-agent','exec'))"
    )
    try:
        stream = runner.stream_out(
            f"{_PATH} python3 -c {shlex.quote(loader)} {shlex.quote(path)}",
            timeout_s=timeout_s,
            stdin=source + json.dumps(request).encode() + b"\n",
        )
    except Unreachable:
        raise
    except RemoteError as error:
        # Without Python the command may be over before it has been sent the program.
        log.info("node=%s cannot hash: %s", runner.address, error)
        return None
    answer = _Answer(stream, path)
    try:
        if _can(answer.line()):
            count = -(-size_bytes // extent_bytes)
            return _records(answer, count)
        done = stream.finish()
        log.info(
            "node=%s cannot hash by %s: %s", runner.address, algorithm, done.stderr.strip()[-200:]
        )
    except BaseException:
        stream.close()
        raise
    stream.close()
    return None


def _can(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["can"])
    except (ValueError, KeyError, TypeError):
        return False


def _records(answer: _Answer, count: int) -> Iterator[bytes | None]:
    whole = hashlib.sha256()
    with answer.stream:
        for _ in range(count):
            kind = answer.take(1)
            whole.update(kind)
            if kind == agent.ZERO:
                yield None
            elif kind == agent.DIGEST:
                digest = answer.take(_DIGEST_BYTES)
                whole.update(digest)
                yield digest
            else:
                raise HostError(f"hashing {answer.path}: {kind!r} is no record")
        if answer.take(1) != agent.END:
            raise HostError(f"hashing {answer.path} brought more extents than the disk has")
        if agent.TAIL.unpack(answer.take(agent.TAIL.size)) != (count, whole.digest()):
            raise HostError(f"hashing {answer.path}: the digests were damaged on their way")
        done = answer.stream.finish()
        if done.status != 0 or done.stdout:
            raise HostError(f"hashing {answer.path} ended with status {done.status}")


class _Answer:
    """A stream read in exact pieces."""

    def __init__(self, stream: OutStream, path: str) -> None:
        self.stream = stream
        self.path = path
        self._held = bytearray()
        self._buffer = memoryview(bytearray(64 * KIB))

    def line(self) -> bytes:
        """Take a line; what there is when the stream ends before."""
        while b"\n" not in self._held and self._more():
            pass
        line, _, rest = self._held.partition(b"\n")
        self._held = bytearray(rest)
        return bytes(line)

    def take(self, count: int) -> bytes:
        """Take exactly so many bytes."""
        while len(self._held) < count:
            if not self._more():
                done = self.stream.finish()
                said = " ".join(done.stderr.split())[-300:]
                raise ShortRead(f"hashing {self.path} ended early, status {done.status}: {said}")
        piece = bytes(self._held[:count])
        del self._held[:count]
        return piece

    def _more(self) -> bool:
        count = self.stream.read_into(self._buffer)
        self._held += self._buffer[:count]
        return count > 0
