"""The one retry policy: transient errors of the tree are tried again, nothing else is.

Every step looks before it acts, so that another try after an ambiguous failure is safe.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from blocks.errors import FlashvaultError

RETRIES = 3
FIRST_WAIT_S = 2.0
JITTER = 0.5


def is_transient(error: BaseException) -> bool:
    """Say whether another try can help."""
    return isinstance(error, FlashvaultError) and error.transient


def waits(retries: int = RETRIES) -> Iterator[float]:
    """Yield the pause before each further try, in seconds: 2, 4, 8 and a little chance."""
    for attempt in range(retries):
        yield FIRST_WAIT_S * 2**attempt * (1 + JITTER * random.random())  # noqa: S311 - spreads load


def retry_condition(_task: Any, _task_run: Any, state: Any) -> bool:
    """Prefect's form of `is_transient`."""
    try:
        state.result()
    except Exception as error:  # noqa: BLE001 - whatever the step raised is judged, not swallowed
        return is_transient(error)
    return False


def with_retries(
    action: Callable[[], Any],
    *,
    retries: int,
    wait: Callable[[float], Any],
    note: Callable[..., Any],
) -> Any:
    """Run an action under the policy, outside Prefect.

    Args:
        action: safe to repeat.
        retries: further tries after the first.
        wait: sleeps; given seconds, returns true to give up waiting (a stop was asked for).
        note: a logger's warning method.
    """
    pauses = waits(retries)
    while True:
        try:
            return action()
        except FlashvaultError as error:
            pause = next(pauses, None) if error.transient else None
            if pause is None:
                raise
            note("%s; trying again in %.0f s", error, pause)
            if wait(pause):
                raise
