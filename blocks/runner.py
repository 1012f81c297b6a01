"""Run one command on one machine: argv in, (status, stdout, stderr) or bytes out.

`Runner` is the promise, `LocalRunner` keeps it on this machine and `blocks.ssh.SshRunner` on
another. Nothing here knows what the commands mean. Every command and its answer is logged at DEBUG,
redacted once, here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from blocks.errors import RemoteError
from blocks.units import KIB, MIB

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * MIB
_LOGGED_CHARACTERS = 8192
WORDS_AT_ONCE = 200
"""Disks one command is told of: with a command for each, thousands would take minutes."""
KILL_S = 5.0
"""How long a killed child is waited for."""

Command = str | Sequence[str]
"""An argument list, quoted here; or a line for the remote shell, quoted by the caller."""

_SECRET_OPTION = re.compile(
    r"(?i)(-{1,2}(?:password|chapsecret|secretaccesskey|accesskeyid|passphrase|secret|token)[ =])"
    r"('[^']*'|\"[^\"]*\"|\S+)"
)


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Hide the values of secret options, and these secrets wherever they stand."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _SECRET_OPTION.sub(r"\1***", text)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command left behind. A negative status: it ended without telling one."""

    status: int
    stdout: str
    stderr: str


class Closing:
    """A stream that is let go when its `with` is left."""

    def close(self) -> None:
        """Let go."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class OutStream(Protocol):
    """The standard output of a running command."""

    def read_into(self, buffer: memoryview) -> int:
        """Read at least one byte and at most the buffer; 0 at the end of the output."""

    def finish(self) -> Completed:
        """Wait for the command's end; only its status tells whether the output was whole."""

    def close(self) -> None:
        """Let go, killing the command if it still runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class InStream(Protocol):
    """The standard input of a running command."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""

    def finish(self) -> Completed:
        """Say that this was all, and wait for the command's end."""

    def close(self) -> None:
        """Let go; without `finish` the command must be taken to have failed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Runner(Protocol):
    """Runs commands on one machine. Safe to use from several threads."""

    @property
    def address(self) -> str:
        """Where the commands run, for messages."""

    def run(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> Completed:
        """Run a command to its end; any exit status is an answer, not an error.

        Raises:
            Unreachable: no connection, it broke, or the answer took longer than `timeout_s`.
        """

    def stream_out(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> OutStream:
        """Start a command and read its output; `timeout_s` is the longest silence allowed."""

    def stream_in(self, command: Command, *, timeout_s: float = 60.0) -> InStream:
        """Start a command and write its input; `timeout_s` is the longest standstill allowed."""

    def close(self) -> None:
        """Let the machine go."""


def command_line(command: Command) -> str:
    """Spell a command for a remote shell."""
    return command if isinstance(command, str) else shlex.join(command)


def batches(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Part what a command is to be told of, so that no command line is too long.

    Linux refuses a word of 128 KiB, which a line for a shell is (execve(2), MAX_ARG_STRLEN).
    """
    for first in range(0, len(words), WORDS_AT_ONCE):
        yield words[first : first + WORDS_AT_ONCE]


def shown(text: str, secrets: Sequence[str] = ()) -> str:
    """Redact a text and cut it to what a log line may hold."""
    text = redact(text, secrets)
    if len(text) > _LOGGED_CHARACTERS:
        return f"{text[:_LOGGED_CHARACTERS]}… ({len(text)} characters)"
    return text


def log_answer(address: str, done: Completed, secrets: Sequence[str] = ()) -> None:
    """Log what a command answered."""
    said = shown(done.stdout, secrets)
    if done.stderr:
        said += f" stderr: {shown(done.stderr, secrets)}"
    log.debug("%s> status=%d %s", address, done.status, said)


class LocalRunner:
    """Runs commands on this machine, with the same promises as `SshRunner`."""

    @property
    def address(self) -> str:
        """This machine's name in messages."""
        return "localhost"

    def run(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> Completed:
        """Run a command to its end (see `Runner.run`)."""
        with self._start(command, timeout_s, stdin or b"") as stream:
            stream.deadline = time.monotonic() + timeout_s
            return stream.collect()

    def stream_out(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> OutStream:
        """Start a command and read its output (see `Runner.stream_out`)."""
        return self._start(command, timeout_s, stdin or b"")

    def stream_in(self, command: Command, *, timeout_s: float = 60.0) -> InStream:
        """Start a command and write its input (see `Runner.stream_in`)."""
        return self._start(command, timeout_s, None)

    def close(self) -> None:
        """Nothing is kept between commands."""

    def _start(self, command: Command, timeout_s: float, stdin: bytes | None) -> _LocalStream:
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        log.debug("%s$ %s", self.address, shown(command_line(command)))
        return _LocalStream(self.address, argv, timeout_s, stdin)


class _LocalStream(Closing):
    """A running child process: its input, output and end.

    Stderr, and input known beforehand, go through temporary files, so that one thread can serve the
    remaining pipe without a deadlock.
    """

    def __init__(
        self, address: str, argv: list[str], timeout_s: float, stdin: bytes | None
    ) -> None:
        self.deadline: float | None = None
        self._address = address
        self._line = shlex.join(argv)
        self._timeout_s = timeout_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        try:
            self._child = self._spawn(argv, stdin)
        except OSError as error:
            self._stderr.close()
            raise RemoteError(f"{address}: cannot run '{argv[0]}': {error}") from error

    def read_into(self, buffer: memoryview) -> int:
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], self._time_left())[0]:
            raise self._broken(f"no answer within {self._timeout_s:.0f} s")
        return os.readv(self._child.stdout.fileno(), [buffer])

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._child.stdin is not None
        view = memoryview(data).cast("B")
        pipe = self._child.stdin.fileno()
        os.set_blocking(pipe, False)
        while len(view):
            if not select.select([], [pipe], [], self._time_left())[1]:
                raise self._broken(f"it took no input for {self._timeout_s:.0f} s")
            try:
                view = view[os.write(pipe, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                done = self.collect()
                reason = done.stderr.strip() or f"status {done.status}"
                raise self._broken(f"it ended: {reason}") from error

    def finish(self) -> Completed:
        if self._child.stdin is not None:
            self._child.stdin.close()
        return self.collect()

    def collect(self) -> Completed:
        """Read what is left of both outputs, then the status."""
        pieces = bytearray()
        buffer = memoryview(bytearray(256 * KIB))
        while count := self.read_into(buffer):
            pieces += buffer[:count]
            if len(pieces) > MAX_ANSWER_BYTES:
                raise self._broken("its answer does not end")
        try:
            status = self._child.wait(timeout=self._time_left())
        except subprocess.TimeoutExpired as error:
            raise self._broken(f"no end within {self._timeout_s:.0f} s") from error
        self._stderr.seek(0)
        stderr = self._stderr.read(MAX_ANSWER_BYTES)
        done = Completed(status, pieces.decode(errors="replace"), stderr.decode(errors="replace"))
        log_answer(self._address, done)
        return done

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGKILL)
        # One that hangs in a system call, on a disk that is gone, does not even die: let it be.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=KILL_S)
        for pipe in (self._child.stdin, self._child.stdout, self._stderr):
            if pipe is not None:
                pipe.close()

    def _spawn(self, argv: list[str], stdin: bytes | None) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as known_input:
            known_input.write(stdin or b"")
            known_input.seek(0)
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if stdin is None else known_input,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
                bufsize=0,
            )

    def _time_left(self) -> float:
        if self.deadline is None:
            return self._timeout_s
        return max(0.001, min(self._timeout_s, self.deadline - time.monotonic()))

    def _broken(self, reason: str) -> RemoteError:
        return RemoteError(f"{self._address}: '{shown(self._line)[:120]}': {reason}")
