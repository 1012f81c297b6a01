"""Processes of a lab: started in their own session, remembered on disk, stopped by their own id.

A process is only signalled when the start time recorded for its id still matches: a number that
the system has given to somebody else since then is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from blocks.errors import FlashvaultError

STOP_S = 8.0


@dataclass(frozen=True)
class Started:
    """One process of the lab. `ticks` is its start time in the kernel's clock ticks of `boot`."""

    name: str
    pid: int
    ticks: int
    boot: str

    @property
    def is_alive(self) -> bool:
        """Say whether this very process still runs."""
        return self.boot == boot_id() and start_ticks(self.pid) == self.ticks

    @property
    def has_left_children(self) -> bool:
        """Say whether it is gone, but something it started is not.

        The kernel gives a number to no new process while a session of that number lives.
        """
        return self.boot == boot_id() and start_ticks(self.pid) is None and _session_alive(self)


@dataclass(frozen=True)
class Register:
    """The list of processes of one lab, in `<lab>/run/processes.json`."""

    directory: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / "run" / "processes.json"

    def read(self) -> list[Started]:
        """Return what was started."""
        try:
            return [Started(**row) for row in json.loads(self.path.read_text())]
        except FileNotFoundError:
            return []

    def start(
        self, name: str, words: Sequence[str | Path], environment: Mapping[str, str]
    ) -> Started:
        """Start a process in its own session, its output in `<lab>/logs/<name>.log`."""
        logs = self.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with uninterrupted(), (logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in words],
                env=dict(environment),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ticks = start_ticks(process.pid)
            assert ticks is not None, "our own child cannot be gone before we have waited for it"
            started = Started(name, process.pid, ticks, boot_id())
            with self._changing():
                self._write([*self.read(), started])
        return started

    def stop(self, names: Sequence[str] | None = None) -> list[str]:
        """Stop processes, the last started first; return the names of those that were running."""
        with uninterrupted():
            return self._stop(names)

    def _stop(self, names: Sequence[str] | None) -> list[str]:
        listed = [row for row in self.read() if names is None or row.name in names]
        running = [row for row in reversed(listed) if row.is_alive or row.has_left_children]
        for row in running:
            _signal_session(row, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while any(_session_alive(row) for row in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        for row in running:
            _signal_session(row, signal.SIGKILL)
        with self._changing():
            self._write([row for row in self.read() if row not in listed])
        return [row.name for row in running]

    def _write(self, rows: Sequence[Started]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps([asdict(row) for row in rows]))
        draft.replace(self.path)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait: a process that is started must be written down, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, lambda got, _: came.append(got))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if came:
        signal.raise_signal(came[0])


def boot_id() -> str:
    """Return what tells this boot of the machine from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """Return a process's start time, or None when it is gone (a zombie is gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _session_alive(row: Started) -> bool:
    """Say whether any process of the session lives. Zombies are gone, only not yet waited for."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == row.pid and fields[0] != "Z":
                return True
    return False


def _signal_session(row: Started, number: signal.Signals) -> None:
    """Signal the process and what it started (its session is its own)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(row.pid, number)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(row.pid, os.WNOHANG)


def free_port() -> int:
    """Return a loopback port nobody listens on, and whose number plus 10000 is free as well.

    Below the kernel's own range where it can be: a port from there may be given to anybody's
    connection before the server that was promised it is up.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(max(low - 20_000, 1_024), low - 10_000) or range(20_000, 55_000)
    for _ in range(200):
        port = random.choice(candidates)  # noqa: S311 - no secret
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
    raise FlashvaultError("no free port on loopback")


def wait_until(
    ready: Callable[[], bool], what: str, *, process: Started, log: Path, limit_s: float
) -> None:
    """Wait until something is ready; say why it is not when its process ends or time runs out."""
    deadline = time.monotonic() + limit_s
    while not ready():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        if not process.is_alive or time.monotonic() > deadline:
            reason = "ended" if not process.is_alive else f"did not answer within {limit_s:.0f} s"
            tail = log.read_text(errors="replace").strip().splitlines()[-5:] if log.exists() else []
            raise FlashvaultError(f"{what} {reason}: {' / '.join(tail)}", hint=f"Its log is {log}.")
        time.sleep(0.05)
