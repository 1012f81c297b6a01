"""Waiting until a group of copies is in a state: asked again and again, ever more rarely."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from blocks.errors import Stopped, SvcStateError

GROWTH = 1.5


class Found(Protocol):
    """A group as the array shows it."""

    @property
    def name(self) -> str:
        """Its name."""


Group = TypeVar("Group", bound=Found)


@dataclass(frozen=True)
class Pace:
    """How long to wait between two looks: at first, and at most."""

    first_s: float
    most_s: float


@dataclass(frozen=True)
class Patience:
    """When to give up: at `until` on this clock, or when asked to."""

    until: float
    clock: Callable[[], float] = time.monotonic
    stop: threading.Event | None = None

    def check(self, name: str, what: str) -> None:
        """Give up if it is time.

        Raises:
            SvcStateError: the deadline has passed.
            Stopped: `stop` was set.
        """
        if self.stop is not None and self.stop.is_set():
            raise Stopped(f"asked to stop while group {name} was {what}")
        if self.clock() >= self.until:
            raise SvcStateError(f"group {name} is {what} at the deadline")

    def pause(self, seconds: float) -> None:
        """Wait, or until asked to stop."""
        (self.stop or threading.Event()).wait(seconds)


def wait_for(
    look: Callable[[], Group],
    state_of: Callable[[Group], StrEnum],
    states: Collection[StrEnum],
    pace: Pace,
    patience: Patience,
    on_poll: Callable[[Group], None] | None = None,
) -> Group:
    """Look at a group until it is in one of these states; `on_poll` sees every answer.

    Raises:
        SvcStateError: it did not get there in time.
        Stopped: it was asked to stop.
    """
    interval = pace.first_s
    while True:
        group = look()
        if on_poll is not None:
            on_poll(group)
        state = state_of(group)
        if state in states:
            return group
        wanted = " or ".join(sorted(states))
        patience.check(group.name, f"still {state}, not {wanted}")
        patience.pause(interval)
        interval = min(interval * GROWTH, pace.most_s)
