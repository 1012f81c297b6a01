"""The counters of every step of this process that is moving bytes now, for displays to poll."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Counters(Protocol):
    """Bytes to do and done; `tasks.pipeline.Progress` is one."""

    label: str
    total_bytes: int

    @property
    def done_bytes(self) -> int:
        """Bytes of the volume dealt with so far."""


_running: list[Counters] = []
_guard = threading.Lock()


def running() -> list[Counters]:
    """List the counters of every step of this process that is moving bytes now."""
    with _guard:
        return list(_running)


@contextmanager
def tracked(counters: Counters) -> Iterator[None]:
    """List a step's counters for as long as it runs."""
    with _guard:
        _running.append(counters)
    try:
        yield
    finally:
        with _guard:
            _running.remove(counters)
