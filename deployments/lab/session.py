"""A login without a command: lines typed at a prompt, or a script piped in without a terminal.

`ssh HOST` asks for a terminal, whose line editing the server's side does; `ssh -T HOST < script`
asks for none, so that nothing but the commands' answers is printed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import paramiko

from deployments.lab.shell import Io, Sink, is_unfinished

LEAVES = re.compile(r"(?:exit|quit|logout)(?:\s+(\d+))?")
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]?|O?.?)")
LINE_LIMIT = 64 * 1024


class Terminal:
    """The typing side: echoes, corrects, ends lines; prints line ends as a terminal wants them."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._line = ""
        self._was_return = False

    def write(self, data: bytes) -> None:
        """Print."""
        self._channel.sendall(data.replace(b"\n", b"\r\n"))

    def lines(self) -> Iterator[str]:
        """Yield typed lines until the other side leaves (Ctrl-D on an empty line)."""
        while data := self._channel.recv(4096):
            for char in ESCAPE.sub("", data.decode(errors="replace")):
                if char == "\x04" and not self._line:
                    return
                if (line := self._take(char)) is not None:
                    yield line

    def _take(self, char: str) -> str | None:
        """Take a key; return a line when it is complete."""
        was_return, self._was_return = self._was_return, char == "\r"
        if char == "\n" and was_return:
            return None
        if char in "\r\n":
            line, self._line = self._line, ""
            self.write(b"\n")
            return f"{line}\n"
        if char == "\x03":
            self._line = ""
            self.write(b"^C\n")
            return ""
        if char in "\x7f\b":
            if self._line:
                self._line = self._line[:-1]
                self.write(b"\b \b")
        elif char.isprintable() and len(self._line) < LINE_LIMIT:
            self._line += char
            self.write(char.encode())
        return None


def piped_lines(channel: paramiko.Channel) -> Iterator[str]:
    """Yield the lines of a script as they come."""
    for line in channel.makefile("rb"):
        yield line.decode(errors="replace")


def serve(
    lines: Iterator[str], execute: Callable[[str, Io], int], out: Sink, err: Sink, prompt: str
) -> int:
    """Answer lines until one leaves; return the status of the last.

    A command may take several lines, and variables live as long as the session.
    """
    streams = Io(io.BytesIO(), out, err)
    status, pending = 0, ""
    out.write(prompt.encode())
    for line in lines:
        # Ctrl-C: what was typed so far is forgotten.
        pending = f"{pending}{line}" if line else ""
        if pending and is_unfinished(pending):
            out.write(b"> " if prompt else b"")
            continue
        text, pending = pending.strip(), ""
        if leaving := LEAVES.fullmatch(text):
            return int(leaving.group(1) or status) & 255
        if text:
            status = execute(text, streams)
        out.write(prompt.encode())
    return execute(pending, streams) if pending.strip() else status
