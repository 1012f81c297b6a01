"""A search for secrets in everything a run leaves behind."""

import base64
import contextlib
import gzip
import os
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.lab import s3

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Leak:
    """Where a secret was found. Never holds the secret."""

    secret: str
    where: str
    spelling: str


def spellings(secret: bytes) -> Mapping[str, bytes]:
    """Return the ways a secret may be written down."""
    encoded = base64.b64encode(secret)
    text = secret.decode("latin-1")
    return {
        "plain": secret,
        "base64": encoded.rstrip(b"="),
        "base64url": base64.urlsafe_b64encode(secret).rstrip(b"="),
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "URL": urllib.parse.quote(text, safe="").encode(),
        "JSON": text.encode("unicode_escape").replace(b'"', b'\\"'),
        "UTF-16": text.encode("utf-16-le"),
    }


def find_leaks(
    secrets: Mapping[str, bytes], roots: Iterable[Path], *, processes: bool = True
) -> list[Leak]:
    """Search files (also compressed ones and SQLite's texts) and process lists.

    Args:
        secrets: what to look for, by name; at least 8 bytes each.
        roots: files and folders.
        processes: also the command lines of all processes.
    """
    wanted = []
    for name, secret in secrets.items():
        assert len(secret) >= 8, f"{name} is too short to be searched for"
        found: dict[bytes, str] = {}
        for spelling, text in spellings(secret).items():
            found.setdefault(text, spelling)
        wanted += [(name, spelling, text) for text, spelling in found.items()]
    leaks = set()
    for where, content in _contents(roots, processes):
        for name, spelling, text in wanted:
            if text in content:
                leaks.add(Leak(name, where, spelling))
    return sorted(leaks, key=lambda leak: (leak.where, leak.secret, leak.spelling))


def _contents(roots: Iterable[Path], processes: bool) -> Iterator[tuple[str, bytes]]:
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and not path.is_symlink():
                yield from _file(path)
    if processes:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                yield f"process {entry.parent.name}", entry.read_bytes()
            except OSError:
                continue  # it ended meanwhile


def _file(path: Path) -> Iterator[tuple[str, bytes]]:
    head = b""
    overlap = b""
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            head = head or piece[:16]
            yield str(path), overlap + piece
            overlap = piece[-4096:]
    if head.startswith(b"\x1f\x8b"):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            yield f"{path} (decompressed)", gzip.decompress(path.read_bytes())
    if head.startswith(b"SQLite format 3\0"):
        yield f"{path} (rows)", _rows(path)


def _rows(path: Path) -> bytes:
    """Return every value of a database: long texts are cut into pages in the file."""
    rows = bytearray()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            quoted = '"' + table.replace('"', '""') + '"'
            for row in database.execute(f"select * from {quoted}"):
                for value in row:
                    if isinstance(value, str):
                        rows += value.encode() + b"\0"
                    elif isinstance(value, bytes):
                        rows += value + b"\0"
    database.close()
    return bytes(rows)


@pytest.fixture
def leaks():
    """Return the search."""
    return find_leaks


@pytest.fixture(scope="module")
def moto_server(tmp_path_factory):
    """Start moto, which plays Amazon's S3, IAM and KMS; return where it is.

    It comes from an environment of its own: none of what it needs is needed by the product.
    """
    program = os.environ.get("FLASHVAULT_MOTO") or shutil.which("moto_server")
    if program is None:
        pytest.skip("no moto_server here (set FLASHVAULT_MOTO)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000000"},
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(300):
                if s3.answers(endpoint):
                    break
                time.sleep(0.1)
            yield endpoint
        finally:
            server.terminate()
            server.wait()
