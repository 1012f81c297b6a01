"""One run: its id, its stop event, and its journal of what must be unmade."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prefect.context import FlowRunContext
from ulid import ULID

from blocks.catalog.point import PointId
from blocks.errors import FlashvaultError, HostError, Stopped
from tasks.journal import GroupLock, Journal, Made, journal_path, keeping, state_directory
from tasks.steps import run_log

Undo = Callable[[dict[str, Any]], None]
"""Unmakes one thing, from the facts in the journal alone; safe to repeat."""


@dataclass(frozen=True, slots=True)
class Run:
    """What every step of a run is handed. `id` names everything the run makes."""

    id: PointId
    group: str
    purpose: str
    journal: Journal
    stop: threading.Event = field(default_factory=threading.Event)
    lock: str = ""
    """What the run keeps others from: its group, or work of its own beside the group's."""

    def check(self) -> None:
        """Raise `Stopped` if the run was asked to stop."""
        if self.stop.is_set():
            raise Stopped(f"{self.purpose} of {self.group} was stopped")


@contextmanager
def run_of(
    group: str, purpose: str, undo: dict[str, Undo], *, lock: str = "", wait_s: float = 0.0
) -> Iterator[Run]:
    """Own a run from its first step to its last: on any way out, unmake what is left of it.

    Args:
        group: the resource group.
        purpose: `backup`, `restore` …, for people.
        undo: how to unmake each kind of thing the run may journal.
        lock: this machine's lock that is held all the while; the group's if not given. A run that
            only reads has one of its own, and keeps no backup waiting.
        wait_s: how long to wait for the lock, in seconds.

    Raises:
        GroupBusy: another run of this machine has the lock.
    """
    run_id = PointId(str(ULID()))
    lock = lock or group
    held = GroupLock(lock, purpose, wait_s)
    try:
        with _owned(run_id, group, purpose, run_id, undo, lock) as run:
            yield run
    finally:
        held.close()


@contextmanager
def part_of(run_id: PointId, group: str, purpose: str, part: str) -> Iterator[Run]:
    """Work for a run that another process owns, under its id; the group stays the owner's.

    What is left of a part that dies is the owner's to unmake; its journal here lets the next
    reconcile set its state in Prefect right.
    """
    with _owned(run_id, group, purpose, f"{run_id}.{part}", {}) as run:
        yield run


@contextmanager
def asking_of(group: str, purpose: str, *, is_all: bool) -> Iterator[Run]:
    """Look, plan, and wait for a person, who may take a day: nothing is locked, and nothing made.

    What was seen may be untrue when the answer comes: whoever goes on looks again.

    Args:
        group: the resource group.
        purpose: of the run that follows.
        is_all: the flow run is over with this.
    """
    run_id = PointId(str(ULID()))
    with _owned(run_id, group, purpose, f"{run_id}.asking", {}, is_all=is_all) as run:
        yield run


@contextmanager
def _owned(
    run_id: PointId,
    group: str,
    purpose: str,
    file: str,
    undo: dict[str, Undo],
    lock: str = "",
    *,
    is_all: bool = True,
) -> Iterator[Run]:
    journal = Journal(
        journal_path(file),
        facts={
            "id": run_id,
            "group": group,
            "purpose": purpose,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "flow_run": flow_run_id(),
            "config": os.environ.get("FLASHVAULT_CONFIG", ""),
        },
    )
    run = Run(run_id, group, purpose, journal, lock=lock or group)
    with _stopped_by_signals(run.stop):
        try:
            yield run
        except BaseException as error:  # a cancel is no Exception, and must end the movers too
            run.stop.set()
            _remember_ended(journal.facts.get("flow_run"), is_done=False, summary=describe(error))
            raise
        else:
            if is_all:
                flow_run = journal.facts.get("flow_run")
                _remember_ended(flow_run, is_done=True, summary=f"{purpose} ended well")
        finally:
            unwind(journal, undo)


def unwind(journal: Journal, undo: dict[str, Undo]) -> list[Made]:
    """Unmake everything a run has left, the newest first; return what could not be unmade.

    What fails stays in the journal for the next reconcile: one thing that cannot be unmade does
    not keep the others.
    """
    stuck = []
    for made in journal.left():
        try:
            undo[made.kind](made.facts)
        except Exception as error:  # noqa: BLE001 - noted, kept, and tried again by reconcile
            run_log().warning("could not unmake %s %s: %s", made.kind, made.facts, error)
            stuck.append(made)
        else:
            journal.unmade(made)
    if stuck:
        journal.close()
    else:
        journal.finish()
    return stuck


def ended_runs() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield the Prefect runs that ended on this machine and may not have been able to say so.

    With how each ended, and whether its process lives on: it may be telling the server just now.
    """
    for path in sorted((state_directory() / "ended").glob("*.json")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_alive = False
            except BlockingIOError:
                is_alive = True
            yield path.stem, json.load(file), is_alive


def forget_ended(flow_run: str) -> None:
    """Forget a run whose state in Prefect is right."""
    (state_directory() / "ended" / f"{flow_run}.json").unlink(missing_ok=True)


def amend_ended(*, is_done: bool, summary: str) -> None:
    """Say more exactly how this run ended, once its report is made: damage is no good end."""
    flow_run = flow_run_id()
    if (state_directory() / "ended" / f"{flow_run}.json").exists():
        _remember_ended(flow_run, is_done=is_done, summary=summary)


def note_died(flow_run: str, *, is_done: bool) -> None:
    """Remember that a run's process died, unless the run had said how it ended."""
    if not (state_directory() / "ended" / f"{flow_run}.json").exists():
        summary = "its process died" + ("; the restore point is there" if is_done else "")
        os.close(_written(flow_run, is_done=is_done, summary=summary, has_died=True))


def _remember_ended(flow_run: str | None, *, is_done: bool, summary: str) -> None:
    if not flow_run:
        return
    try:
        # Its lock is never given back: it is free when the process has ended.
        _written(flow_run, is_done=is_done, summary=summary, has_died=False)
    except HostError as error:  # what is done is done, and what failed has an error of its own
        run_log().warning("how the run ended is not noted: %s", error)


def _written(flow_run: str, **facts: Any) -> int:
    """Write down how a run ended; return the descriptor that holds the file's lock."""
    ended_at = datetime.now(UTC).isoformat()
    partial = state_directory() / "ended" / f"{flow_run}.partial"
    with keeping(partial):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({**facts, "ended_at": ended_at}).encode())
        partial.rename(partial.with_suffix(".json"))
    return descriptor


def flow_run_id() -> str:
    """Return the id of Prefect's run, empty outside one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set the stop event on SIGTERM and SIGINT too: threads of submitted tasks get nothing else.

    Prefect's own handler runs after ours and ends the flow.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def asked(number: int, frame: Any) -> None:
        stop.set()
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def describe(error: BaseException) -> str:
    """Say what went wrong in one line, with its hint."""
    if isinstance(error, FlashvaultError) and error.hint:
        return f"{error} ({error.hint})"
    return f"{type(error).__name__}: {error}"
