"""Ask a node to compare its disk with known digests, so that only what differs crosses the wire.

The program sent there is `agent`; what its answer looks like is said there. A node without Python 3
cannot: the caller then reads the disk and compares here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blocks.errors import HostError, RemoteError, ShortRead, Unreachable
from blocks.host import agent
from blocks.runner import OutStream, Runner
from blocks.units import KIB, MIB

log = logging.getLogger(__name__)

# A non-login session on AIX does not have the Toolbox's directory.
_PATH = "PATH=$PATH:/opt/freeware/bin:/usr/local/bin:/usr/bin"
_DIGEST_BYTES = 32
_PIECE_BYTES = 4 * MIB
_LETTERS = np.frombuffer(agent.ZERO + agent.SAME + agent.DIFFERS, dtype=np.uint8)

Mask = NDArray[np.bool_]
Digests = NDArray[np.uint8]


def start_comparison(
    runner: Runner,
    path: str,
    offset: int,
    length: int,
    known: memoryview,
    *,
    extent_bytes: int,
    batch_extents: int,
    timeout_s: float,
) -> RemoteComparison | None:
    """Start to compare a range of a disk on the node.

    Args:
        runner: runs commands on the node.
        path: the disk there.
        offset: where the range begins.
        length: its bytes; the last extent is the rest. With 0 the node only says whether it can.
        known: the SHA-256 of each extent as it was, 32 bytes each; anything for unknown ones.
        extent_bytes: the size of an extent.
        batch_extents: extents are taken so many at a time.
        timeout_s: the longest silence.

    Returns:
        The comparison; None when the node cannot: no Python 3 there, or an old one.
    """
    count = -(-length // extent_bytes)
    assert len(known) == count * _DIGEST_BYTES
    table = np.frombuffer(known, dtype=np.uint8).reshape(count, _DIGEST_BYTES)
    begins = np.ascontiguousarray(table[:, : agent.KNOWN_BYTES]).tobytes()
    piece_extents = min(batch_extents, max(1, _PIECE_BYTES // extent_bytes))
    request = {
        "offset": offset,
        "length": length,
        "extent_bytes": extent_bytes,
        "piece_extents": piece_extents,
    }
    source = Path(agent.__file__).read_bytes()
    loader = (
        f"import sys;exec(compile(sys.stdin.buffer.read({len(source)}),'flashvault-agent','exec'))"
    )
    try:
        stream = runner.stream_out(
            f"{_PATH} python3 -c {shlex.quote(loader)} {shlex.quote(path)}",
            timeout_s=timeout_s,
            stdin=source + json.dumps(request).encode() + b"\n" + begins,
        )
    except Unreachable:
        raise
    except RemoteError as error:
        # Without Python the command may be over before it has been sent the program.
        log.info("node=%s cannot compare: %s", runner.address, error)
        return None
    answer = _Answer(stream, path)
    try:
        if _can(answer.line()):
            return RemoteComparison(answer, length, extent_bytes, piece_extents)
        done = stream.finish()
        log.info("node=%s cannot compare: %s", runner.address, done.stderr.strip()[-200:])
    except BaseException:
        stream.close()
        raise
    stream.close()
    return None


class RemoteComparison:
    """The answer of a node, taken batch by batch; see `blocks.image.compare.Comparison`."""

    def __init__(self, answer: _Answer, length: int, extent_bytes: int, piece_extents: int) -> None:
        self._answer = answer
        self._left = length
        self._count = -(-length // extent_bytes)
        self._extent_bytes = extent_bytes
        self._piece_bytes = piece_extents * extent_bytes
        self._whole = hashlib.sha256()

    def take(self, buffer: memoryview) -> tuple[Mask, Mask, Digests]:
        """Take the next extents, as many as fill the buffer (see `Comparison.take`)."""
        assert len(buffer) <= self._left
        parts = [
            self._piece(buffer[at : at + self._piece_bytes])
            for at in range(0, len(buffer), self._piece_bytes)
        ]
        self._left -= len(buffer)
        letters = np.concatenate([part[0] for part in parts])
        digests = np.concatenate([part[1] for part in parts])
        return letters == agent.ZERO[0], letters == agent.DIFFERS[0], digests

    def finish(self) -> None:
        """Prove that the answer was whole."""
        assert self._left == 0
        answer, path = self._answer, self._answer.path
        if answer.take(1) != agent.END:
            raise HostError(f"comparing {path} brought more extents than the disk has")
        if agent.TAIL.unpack(answer.take(agent.TAIL.size)) != (self._count, self._whole.digest()):
            raise HostError(f"comparing {path}: the digests were damaged on their way")
        done = answer.stream.finish()
        if done.status != 0 or done.stdout or answer.has_more:
            raise HostError(f"comparing {path} ended with status {done.status}")

    def close(self) -> None:
        """Let go, ending the program if it still runs."""
        self._answer.stream.close()

    def _piece(self, buffer: memoryview) -> tuple[NDArray[np.uint8], Digests]:
        count = -(-len(buffer) // self._extent_bytes)
        said = self._answer.take(count)
        letters = np.frombuffer(said, dtype=np.uint8)
        if not np.isin(letters, _LETTERS).all():
            raise HostError(f"comparing {self._answer.path}: {said!r} says nothing of extents")
        has_digest = letters != agent.ZERO[0]
        told = self._answer.take(int(has_digest.sum()) * _DIGEST_BYTES)
        self._whole.update(said)
        self._whole.update(told)
        digests = np.zeros((count, _DIGEST_BYTES), dtype=np.uint8)
        digests[has_digest] = np.frombuffer(told, dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
        for index in np.flatnonzero(letters == agent.DIFFERS[0]).tolist():
            at = index * self._extent_bytes
            self._answer.take_into(buffer[at : at + self._extent_bytes])
        return letters, digests


def _can(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["can"])
    except (ValueError, KeyError, TypeError):
        return False


class _Answer:
    """A stream read in exact pieces."""

    def __init__(self, stream: OutStream, path: str) -> None:
        self.stream = stream
        self.path = path
        self._held = bytearray()
        self._buffer = memoryview(bytearray(64 * KIB))

    @property
    def has_more(self) -> bool:
        """Whether bytes have come that nobody took."""
        return bool(self._held)

    def line(self) -> bytes:
        """Take a line; what there is when the stream ends before."""
        while b"\n" not in self._held and len(self._held) < KIB and self._more():
            pass
        line, _, rest = self._held.partition(b"\n")
        self._held = bytearray(rest)
        return bytes(line)

    def take(self, count: int) -> bytes:
        """Take exactly so many bytes."""
        while len(self._held) < count:
            if not self._more():
                self._raise_short()
        piece = bytes(self._held[:count])
        del self._held[:count]
        return piece

    def take_into(self, buffer: memoryview) -> None:
        """Fill the buffer, without copying what has not come yet."""
        filled = min(len(self._held), len(buffer))
        buffer[:filled] = self._held[:filled]
        del self._held[:filled]
        while filled < len(buffer):
            count = self.stream.read_into(buffer[filled:])
            if count == 0:
                self._raise_short()
            filled += count

    def _more(self) -> bool:
        count = self.stream.read_into(self._buffer)
        self._held += self._buffer[:count]
        return count > 0

    def _raise_short(self) -> None:
        done = self.stream.finish()
        said = " ".join(done.stderr.split())[-300:]
        raise ShortRead(f"comparing {self.path} ended early, status {done.status}: {said}")
