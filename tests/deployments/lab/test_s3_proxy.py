"""The door in front of the object store, with a small HTTP server behind it."""

from __future__ import annotations

import http.client
import http.server
import os
import threading
import time

import pytest

from deployments.lab.processes import free_port
from deployments.lab.s3_proxy import WATCH_S, Door, S3Fault, read_fault, write_fault


class Store(http.server.BaseHTTPRequestHandler):
    """Keeps what is put."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes]

    def do_PUT(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(self.kept.get(self.path, b""))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


class Client:
    def __init__(self, port: int, file) -> None:
        self.port, self.file = port, file

    def set(self, *words) -> None:
        write_fault(self.file, S3Fault(*words))
        time.sleep(3 * WATCH_S)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def client(tmp_path):
    store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Fresh", (Store,), {"kept": {}}))
    threading.Thread(target=store.serve_forever, args=(0.05,), daemon=True).start()
    port = free_port()
    door = Door(port, store.server_address[1], tmp_path / "fault.json")
    threading.Thread(target=door.serve, daemon=True).start()
    yield Client(port, tmp_path / "fault.json")
    store.shutdown()
    store.server_close()


def test_bytes_go_through_as_they_are(client) -> None:
    data = os.urandom(3_000_000)
    assert client.ask("PUT", "/a", data) == (200, b"")
    assert client.ask("GET", "/a") == (200, data)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("error", 500, b"InternalError"),
        ("throttle", 503, b"SlowDown"),
        ("forbidden", 403, b"AccessDenied"),
    ],
)
def test_a_fault_answers_in_the_stores_place_until_it_is_cleared(client, kind, status, code):
    client.set(kind)
    for method, body in (("PUT", b"x" * 500_000), ("GET", None)):
        told, said = client.ask(method, "/a", body)
        assert told == status
        assert b"<Code>" + code in said
    client.set("none")
    assert client.ask("GET", "/a")[0] == 200


def test_a_counted_fault_ends_by_itself(client) -> None:
    client.set("error", 2)
    assert [client.ask("GET", "/a")[0] for _ in range(4)] == [500, 500, 200, 200]
    assert read_fault(client.file) == S3Fault()


def test_a_full_store_still_reads(client) -> None:
    client.ask("PUT", "/a", b"kept")
    client.set("full")
    assert client.ask("PUT", "/b", b"more")[0] == 507
    assert client.ask("GET", "/a") == (200, b"kept")


def test_a_slow_store_takes_its_time(client) -> None:
    client.ask("PUT", "/a", bytes(200_000))
    client.set("slow", 0, 1.0, 0.2, 1_000_000)
    started = time.monotonic()
    assert client.ask("GET", "/a") == (200, bytes(200_000))
    assert time.monotonic() - started > 0.35


def test_a_cut_connection_is_no_answer(client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
    connection.request("GET", "/a")
    connection.getresponse().read()
    client.set("cut")
    assert connection.sock.recv(1) == b""
    connection.close()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.ask("GET", "/a")


def test_part_of_the_requests_suffers(client) -> None:
    client.set("error", 0, 0.5)
    told = {client.ask("GET", "/a")[0] for _ in range(40)}
    assert told == {200, 500}
