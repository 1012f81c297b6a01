"""What running steps have done so far, for the terminal and the Prefect UI to look at.

Movers only add to counters; a side thread publishes them and swallows its own failures: a Prefect
server that is away never holds up a byte (design: the catalogue is the truth, the run a report).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from tasks.counters import Counters, tracked

EVERY_S = 3.0
"""Pause between two publications: the API costs 10 to 20 ms each."""

log = logging.getLogger(__name__)


@contextmanager
def published(counters: Counters) -> Iterator[None]:
    """Show a step's counters while it runs: here, and as a progress artifact in Prefect."""
    over = threading.Event()
    thread = None
    if TaskRunContext.get() is not None:
        # With the run's context: the artifact is the step's. Making it may take minutes, too.
        thread = threading.Thread(
            target=copy_context().run, args=(_publish, counters, over), daemon=True, name="progress"
        )
        thread.start()
    try:
        with tracked(counters):
            yield
    finally:
        over.set()
        if thread is not None:
            thread.join(EVERY_S)


def _created(counters: Counters) -> UUID | None:
    try:
        create: Any = create_progress_artifact
        return cast("UUID", create(progress=0.0, description=counters.label))
    except Exception as error:  # noqa: BLE001 - a report must not stop the work
        log.debug("no progress artifact: %s", error)
        return None


def _publish(counters: Counters, over: threading.Event) -> None:
    artifact = _created(counters)
    if artifact is None:
        return
    shown = -1.0
    while True:
        last = over.wait(EVERY_S)
        done = 100.0 * counters.done_bytes / max(counters.total_bytes, 1)
        if done != shown:
            try:
                update: Any = update_progress_artifact
                update(artifact, min(done, 100.0))
                shown = done
            except Exception as error:  # noqa: BLE001 - as above
                log.debug("progress not published: %s", error)
        if last:
            return
