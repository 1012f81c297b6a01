"""A door in front of the lab's object store, to break it on purpose.

Run as `python -m deployments.lab.s3_proxy PORT UPSTREAM_PORT FAULT_FILE`. Without a fault it hands
bytes through inside the kernel, reading none of them. With one, written to FAULT_FILE by
`lab fault s3`, it reads one request per connection and answers it as told, or passes it on slowly.
Connections that are open when a fault is set are broken, as when a gateway is restarted.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

PIPE_BYTES = 1024 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
STEP_BYTES = 64 * 1024
WATCH_S = 0.1
ANSWERS = MappingProxyType(
    {
        "error": (500, "InternalError", "We encountered an internal error. Please try again."),
        "throttle": (503, "SlowDown", "Please reduce your request rate."),
        "full": (507, "StorageFull", "The store has no room left for this object."),
        "forbidden": (403, "AccessDenied", "Access Denied."),
    }
)
WRITES = frozenset({"PUT", "POST"})


@dataclass(frozen=True)
class S3Fault:
    """What the store does: a kind of `ANSWERS`, `slow`, `cut`, or `none`.

    `share` of the requests suffer; after `count` of them (0: no end) the store is well again.
    `slow` waits `delay_s` before each and hands on `bytes_per_s` (0: no limit).
    """

    kind: str = "none"
    count: int = 0
    share: float = 1.0
    delay_s: float = 0.0
    bytes_per_s: float = 0.0

    def hits(self, method: str) -> bool:
        """Say whether a request of this method suffers; a full store still reads."""
        if self.kind == "full" and method not in WRITES:
            return False
        return random.random() < self.share  # noqa: S311 (chance, no secret)


def read_fault(file: Path) -> S3Fault:
    """Read what is broken now."""
    with contextlib.suppress(FileNotFoundError):
        return S3Fault(**json.loads(file.read_text()))
    return S3Fault()


def write_fault(file: Path, fault: S3Fault) -> None:
    """Say what is broken from now on."""
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(asdict(fault)))
    draft.replace(file)


class Door:
    """Listens, and passes connections on."""

    def __init__(self, port: int, upstream: int, file: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._upstream = upstream
        self._file = file
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._fault = read_fault(file)
        self._left = self._fault.count

    def serve(self) -> None:
        """Accept for ever."""
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _watch(self) -> None:
        """Take up new faults, and break what is open when one begins."""
        while True:
            time.sleep(WATCH_S)
            now = read_fault(self._file)
            with self._lock:
                if now == self._fault:
                    continue
                self._fault, self._left = now, now.count
                broken = list(self._open) if now.kind != "none" else []
            for connection in broken:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, self._kept(client), contextlib.suppress(OSError):
            with self._lock:
                fault = self._fault
            if fault.kind == "cut":
                return
            with socket.create_connection(("127.0.0.1", self._upstream)) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._kept(server):
                    if fault.kind == "none":
                        _join(client, server)
                    else:
                        self._one_request(client, server, fault)

    @contextlib.contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def _one_request(self, client: socket.socket, server: socket.socket, fault: S3Fault) -> None:
        head, rest = _read_head(client)
        if not head:
            return
        method = head.split(b" ", 1)[0].decode(errors="replace")
        if fault.hits(method) and self._count():
            if fault.kind != "slow":
                _refuse(client, fault.kind, head, len(rest))
                return
            time.sleep(fault.delay_s)
            rate = fault.bytes_per_s
        else:
            rate = 0.0
        # One request per connection: the next one is asked again what it suffers.
        head = re.sub(rb"(?im)^connection:[^\r\n]*\r\n", b"", head)
        server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + rest)
        back = threading.Thread(target=_pump, args=(client, server, rate), daemon=True)
        back.start()
        _pump(server, client, rate)

    def _count(self) -> bool:
        """Take one of the hits that are left; False when the store is well again."""
        with self._lock:
            if self._fault.count == 0:
                return True
            if self._left == 0:
                return False
            self._left -= 1
            if self._left == 0:
                self._fault = S3Fault()
                write_fault(self._file, self._fault)
            return True


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Read up to the end of a request's head: (head, what came after it)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(STEP_BYTES)
        if not piece or len(data) > HEAD_LIMIT_BYTES:
            return b"", b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _refuse(client: socket.socket, kind: str, head: bytes, received: int) -> None:
    """Answer with an S3 error, after the body: a client in the middle of it would not look."""
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    waits = re.search(rb"(?im)^expect: *100-continue", head)
    left = int(length[1]) - received if length and not waits else 0
    while left > 0:
        piece = client.recv(min(STEP_BYTES, left))
        if not piece:
            return
        left -= len(piece)
    status, code, message = ANSWERS[kind]
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    ).encode()
    lines = [
        f"HTTP/1.1 {status} {code}",
        "Content-Type: application/xml",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    is_head = head.startswith(b"HEAD")
    client.sendall("\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else body))


def _join(client: socket.socket, server: socket.socket) -> None:
    """Hand bytes through both ways until one side is done."""
    back = threading.Thread(target=_splice, args=(client, server), daemon=True)
    back.start()
    _splice(server, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    back.join()


def _splice(source: socket.socket, target: socket.socket) -> None:
    """Move bytes from socket to socket without seeing them."""
    reader, writer = os.pipe()
    try:
        with contextlib.suppress(OSError):
            while count := os.splice(source.fileno(), writer, PIPE_BYTES):
                while count:
                    count -= os.splice(reader, target.fileno(), count)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
    finally:
        os.close(reader)
        os.close(writer)


def _pump(source: socket.socket, target: socket.socket, bytes_per_s: float) -> None:
    """Move bytes at a rate (0: as they come)."""
    with contextlib.suppress(OSError):
        while piece := source.recv(STEP_BYTES):
            if bytes_per_s:
                time.sleep(len(piece) / bytes_per_s)
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Serve as the arguments say."""
    port, upstream, file = sys.argv[1:]
    Door(int(port), int(upstream), Path(file)).serve()


if __name__ == "__main__":
    main()
