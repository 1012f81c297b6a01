"""One call to Prefect's server, with a deadline: a run never waits for a report or a favour.

Prefect's client tries six times with a minute's patience each. A server that is frozen, or behind a
firewall that swallows packets, so costs seven minutes a call, and a run makes a dozen of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from prefect.context import FlowRunContext

T = TypeVar("T")

ANSWER_S = 5.0
"""Patience where there is something to fall back on. A healthy server answers within 0.1 s."""

NEEDED_S = 30.0
"""Patience where what is asked for is all there is, and the server may only be restarting."""

SILENCE_S = 120.0
"""After a call without an answer nobody waits for another one, for this long or until one comes."""

_silent_until = 0.0


class Silent(Exception):
    """Prefect's server gave no answer in time."""


def is_silent() -> bool:
    """Say whether Prefect's server lately let this process wait in vain."""
    return time.monotonic() < _silent_until


def note_silence() -> None:
    """Remember that Prefect's server did not answer."""
    global _silent_until
    _silent_until = time.monotonic() + SILENCE_S


def ask(call: Callable[[], T], *, is_needed: bool = False) -> T:
    """Make a call to Prefect's server, and wait for its answer, but not for long.

    The call is made in any case, beside the run. One that was given up may still come to its end
    when the server is back: nothing may be asked that does harm late.

    Args:
        call: talks to the server; runs in a thread of its own, with the caller's context.
        is_needed: nothing can replace the answer. A run under Prefect, whose server answered when
            it began, then waits also where the server was silent just now.

    Raises:
        Silent: there was no answer in time.
        Exception: what the call raised.
    """
    answer: Future[T] = Future()
    threading.Thread(
        target=copy_context().run, args=(_answer, call, answer), daemon=True, name="ask-prefect"
    ).start()
    try:
        return answer.result(_patience_s(is_needed=is_needed))
    except TimeoutError:
        if answer.done():
            return answer.result()  # it came just now, or is a timeout of the call's own
        note_silence()
        raise Silent("Prefect's server does not answer") from None


def _patience_s(*, is_needed: bool) -> float:
    if is_needed and FlowRunContext.get() is not None:
        return NEEDED_S
    if is_silent():
        return 0.0
    return NEEDED_S if is_needed else ANSWER_S


def _answer(call: Callable[[], T], answer: Future[T]) -> None:
    global _silent_until
    try:
        told = call()
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        answer.set_exception(error)
    else:
        _silent_until = 0.0
        answer.set_result(told)
