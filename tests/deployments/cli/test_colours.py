"""Colours are for people at terminals: none in a pipe, and none with NO_COLOR."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

ESCAPE = b"\x1b["


@pytest.fixture
def words(flashvault, tmp_path) -> list[str]:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 4096)
    url = f"file://{tmp_path / 'bucket'}"
    assert flashvault(f"image put {disk} --to {url} --name RG1 --json").status == 0
    return [sys.executable, "-m", "deployments.cli", "status", "--bucket", url]


def at_a_terminal(words: list[str], **more: str) -> bytes:
    """Run a command with a terminal of its own, and return what it shows."""
    plain = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    env = {**plain, "TERM": "xterm-256color", "COLUMNS": "120", **more}
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0, shown
    assert b"RG1" in shown
    return shown


def test_a_terminal_has_colours(words):
    assert ESCAPE in at_a_terminal(words)


def test_no_color_switches_them_off_at_a_terminal(words):
    shown = at_a_terminal(words, NO_COLOR="1")
    colours = [ESCAPE + b"3%d" % number for number in range(8)]
    assert not [colour for colour in colours if colour in shown]


def test_a_pipe_has_none_whatever_the_terminal_is(words):
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    env["TERM"] = "xterm-256color"
    done = subprocess.run(words, env=env, capture_output=True, check=True)
    assert b"RG1" in done.stdout
    assert b"\x1b" not in done.stdout + done.stderr
