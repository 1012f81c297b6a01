"""Signs of life of a worker that does a part of another's run, and its ear for "stop"."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blocks.catalog.orders import Beat
from blocks.catalog.owner import this_process
from blocks.errors import FlashvaultError
from tasks.counters import running
from tasks.run import Run
from tasks.steps import run_log

BEAT_S = 20.0
"""Between two signs of life. The owner waits for several (`tasks.crew.BEAT_LOST_S`)."""


@contextmanager
def beating(run: Run, beat: Callable[[int, Beat], bool]) -> Iterator[None]:
    """Give signs of life while the work lasts; stop the run when nobody waits for it.

    Args:
        run: the part's own.
        beat: writes one, by its number; says whether the work is still wanted.
    """
    over = threading.Event()
    worker = this_process()

    def go_on() -> None:
        number = 0
        while True:
            number += 1
            done = sum(counters.done_bytes for counters in running())
            try:
                is_wanted = beat(number, Beat(worker=worker, done_bytes=done))
            except FlashvaultError as error:  # a beat that is lost is no reason to stop
                run_log().warning("no sign of life written: %s", error)
                is_wanted = True
            if not is_wanted:
                run.stop.set()
            if over.wait(BEAT_S):
                return

    thread = threading.Thread(target=go_on, daemon=True, name="beat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(BEAT_S)
