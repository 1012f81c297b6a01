"""A write-ahead journal of what a run makes on arrays, hosts and buckets, so that it is unmade.

One file per run, one JSON line per event, flushed to disk *before* the thing is made. The process
that owns the run holds a lock on the file for as long as it lives: whoever gets the lock knows that
the owner is dead, whatever its pid has become since (docs/explanation/crash-consistency.md).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.errors import GroupBusy, HostError
from blocks.units import slug

LOCK_POLL_S = 0.2


def state_directory() -> Path:
    """Return where this machine keeps journals and locks.

    `FLASHVAULT_STATE`, else /var/lib/flashvault for root, else the user's own state directory.
    Nothing in it is needed for a restore.
    """
    if chosen := os.environ.get("FLASHVAULT_STATE"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/flashvault")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "flashvault"


@contextmanager
def keeping(path: Path) -> Iterator[None]:
    """Make the directory of a file of this machine's state, and say clearly if nothing fits there.

    Raises:
        HostError: the directory or the file cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except OSError as error:
        raise HostError(
            f"cannot write {path}: {error.strerror}",
            hint="Locks and journals are kept there: make room, or name a directory that can be"
            " written with FLASHVAULT_STATE.",
        ) from error


@dataclass(frozen=True, slots=True)
class Made:
    """Something a run made, or was about to make when it died."""

    number: int
    kind: str
    facts: dict[str, Any]


class Journal:
    """The journal of one run, held open and locked by its owner."""

    def __init__(self, path: Path, *, facts: dict[str, Any] | None = None) -> None:
        """Open and lock a journal.

        Args:
            path: the file; created if it is not there.
            facts: what the run is, for a new journal.

        Raises:
            GroupBusy: its owner is alive.
            HostError: it cannot be written.
        """
        self.path = path
        self._guard = threading.Lock()
        with keeping(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise GroupBusy(f"the run of {path.name} is alive") from error
        self.facts: dict[str, Any] = {}
        self._open: dict[int, Made] = {}
        self._next = 1
        self._read()
        if facts is not None and not self.facts:
            self.facts = facts
            self._write({"run": facts})

    def made(self, kind: str, **facts: Any) -> Made:
        """Write down that something is about to be made; returns when that is on disk."""
        with self._guard:
            made = Made(self._next, kind, facts)
            self._next += 1
            self._open[made.number] = made
            self._write({"made": made.number, "kind": kind, "facts": facts})
        return made

    def unmade(self, made: Made) -> None:
        """Write down that it is gone, or is meant to stay."""
        with self._guard:
            if self._open.pop(made.number, None) is not None:
                self._write({"unmade": made.number})

    def note(self, **facts: Any) -> None:
        """Add facts about the run, such as how it ended."""
        with self._guard:
            self.facts = {**self.facts, **facts}
            self._write({"run": self.facts})

    def left(self) -> list[Made]:
        """List what is still there, the newest first: the order to unmake it in."""
        with self._guard:
            return sorted(self._open.values(), key=lambda made: -made.number)

    def finish(self) -> None:
        """Remove the journal: nothing is left of the run but what was meant to stay."""
        assert not self._open, "a journal with open entries is not finished"
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let the journal go; what is left in it is for the next reconcile."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, event: dict[str, Any]) -> None:
        with keeping(self.path):
            os.write(self._descriptor, json.dumps(event, default=str).encode() + b"\n")
            os.fsync(self._descriptor)

    def _read(self) -> None:
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.write(self._descriptor, b"\n")  # or our first line would join the one cut short
        for line in data.split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the last line of a run that died while writing it: nothing was made yet
            if "run" in event:
                self.facts = event["run"]
            elif "made" in event:
                made = Made(event["made"], event["kind"], event["facts"])
                self._open[made.number] = made
                self._next = made.number + 1
            elif "unmade" in event:
                self._open.pop(event["unmade"], None)


def journal_path(run_id: str) -> Path:
    """Return where a run's journal is."""
    return state_directory() / "runs" / f"{run_id}.jsonl"


def dead_journals() -> Iterator[Journal]:
    """Open the journals of runs of this machine whose process is gone, the oldest first.

    The caller holds each one until it closes it, so that two reconciles never do the same work.
    """
    for path in sorted((state_directory() / "runs").glob("*.jsonl")):
        try:
            journal = Journal(path)
        except GroupBusy:
            continue
        if not path.exists():  # finished between the listing and the lock
            journal.close()
            continue
        yield journal


class GroupLock:
    """One run at a time for a resource group on this machine; gone with the process."""

    def __init__(self, group: str, purpose: str, wait_s: float = 0.0) -> None:
        """Take the lock at once, or within `wait_s` seconds, or not at all.

        Raises:
            GroupBusy: another run of this machine has the group.
        """
        deadline = time.monotonic() + wait_s
        while True:
            try:
                self._take(group, purpose)
            except GroupBusy:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LOCK_POLL_S)
            else:
                return

    def _take(self, group: str, purpose: str) -> None:
        path = state_directory() / "locks" / slug(group)
        with keeping(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 200, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise GroupBusy(
                f"resource group {group} is in use by {holder or 'another run'}",
                hint="Wait for that run to end; `flashvault runs` shows it.",
            ) from error
        with keeping(path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{purpose} (pid {os.getpid()})".encode(), 0)

    def close(self) -> None:
        """Give the group back."""
        os.close(self._descriptor)
