"""Wait for steps that run side by side: one that fails stops the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from blocks.errors import Stopped
from tasks.run import Run
from tasks.steps import Outcome

R = TypeVar("R")


def results_of(run: Run, outcomes: Sequence[Outcome[R]]) -> list[R]:
    """Return all results in order; on the first failure stop the others and raise it.

    An error that came first is the cause; those of steps that were told to stop are not.
    """
    faults: list[BaseException] = []
    with ThreadPoolExecutor(max(len(outcomes), 1), thread_name_prefix="wait") as pool:
        waits = [pool.submit(outcome.result) for outcome in outcomes]
        for wait in as_completed(waits):
            fault = wait.exception()
            if fault is not None:
                run.stop.set()
                faults.append(fault)
    for fault in faults:
        if not isinstance(fault, Stopped):
            raise fault
    if faults:
        raise faults[0]
    return [wait.result() for wait in waits]
