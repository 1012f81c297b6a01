"""The search for secrets finds them, however they are written down."""

import base64
import gzip
import sqlite3
import subprocess
import sys

import pytest

SECRET = b'kX9+/"secret value\\7Q=='


@pytest.mark.parametrize(
    "write",
    [
        lambda s: b"log line with " + s + b" in it",
        lambda s: b"Authorization: Basic " + base64.b64encode(s),
        lambda s: base64.urlsafe_b64encode(s),
        lambda s: s.hex().encode(),
        lambda s: s.decode().encode("utf-16-le"),
        lambda s: gzip.compress(b"core: " + s),
        lambda s: b"x" * ((1 << 20) - 5) + s,
    ],
    ids=["plain", "base64", "base64url", "hex", "utf-16", "gzip", "across reads"],
)
def test_a_secret_in_a_file_is_found(tmp_path, leaks, write):
    (tmp_path / "log").write_bytes(write(SECRET))
    found = leaks({"key": SECRET}, [tmp_path], processes=False)
    assert {leak.secret for leak in found} == {"key"}
    assert SECRET.decode() not in repr(found)


def test_a_secret_in_a_database_is_found_even_across_pages(tmp_path, leaks):
    with sqlite3.connect(tmp_path / "prefect.db") as database:
        database.execute("create table log (message text)")
        for filler in range(0, 4096, 7):
            text = "x" * filler + SECRET.decode()
            database.execute("insert into log values (?)", (text,))
    database.close()
    found = leaks({"key": SECRET}, [tmp_path], processes=False)
    assert any("(rows)" in leak.where for leak in found)


def test_a_secret_on_a_command_line_is_found(leaks):
    secret = "s3cr3t-on-a-command-line"
    waiting = [sys.executable, "-c", "print('up', flush=True); input()", secret]
    child = subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"  # its command line is its own only now
    try:
        found = leaks({"password": secret.encode()}, [])
        assert f"process {child.pid}" in {leak.where for leak in found}
    finally:
        child.communicate(b"\n")


def test_nothing_is_found_where_nothing_is(tmp_path, leaks):
    (tmp_path / "log").write_bytes(b"kX9+/ secret value" * 1000)
    assert leaks({"key": SECRET}, [tmp_path], processes=False) == []


def test_a_secret_too_short_to_search_for_is_refused(leaks):
    with pytest.raises(AssertionError, match="too short"):
        leaks({"key": b"short"}, [])
