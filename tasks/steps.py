"""A step: a Prefect task inside a Prefect flow run, and a plain function outside of one.

The same flow body so runs with or without a Prefect server: a restore on a bare machine, with
nothing but the bucket, needs none (docs/adr/0006-steps-without-a-server.md).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TagsContext
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff

from tasks.retries import FIRST_WAIT_S, JITTER, RETRIES, retry_condition, with_retries

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

SIDE_BY_SIDE = 4
"""Steps of one run that may run at once: volumes being captured or restored. Each has its own part
buffers, so this bounds the memory of a run (`tasks.capture.settings_of`)."""

CONTROL_S = 900.0
"""A step that only asks and decides is given up after this long."""

log = logging.getLogger(__name__)


def _is_news(record: logging.LogRecord) -> bool:
    """Say whether a line of Prefect's belongs in the story a run's log tells.

    That each step ended well is seen in the run's graph; in the log it would be every other line.
    """
    return not record.getMessage().startswith("Finished in state Completed")


logging.getLogger("prefect.task_runs").addFilter(_is_news)

_pool_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


class Outcome(Protocol[R_co]):
    """What `Step.submit` returns."""

    def result(self) -> R_co:
        """Wait for the step; return its value or raise its error."""


class Step(Generic[P, R]):
    """One step of a flow."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        retries: int,
        timeout_s: float | None,
    ) -> None:
        self.function = function
        self.retries = retries
        # The step keeps its own name in the run's graph; `name` may use the step's parameters.
        self._task: Task[P, R] = task(
            task_run_name=name,
            cache_policy=NO_CACHE,
            retries=retries,
            retry_delay_seconds=cast("Any", exponential_backoff(backoff_factor=FIRST_WAIT_S)),
            retry_jitter_factor=JITTER,
            retry_condition_fn=retry_condition,
            # A last net only: a step blocked in a system call is not interrupted by it. Every
            # socket, channel and child process has a deadline of its own.
            timeout_seconds=timeout_s,
            persist_result=False,
        )(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step now."""
        if FlowRunContext.get() is not None:
            with _without_tags():
                return self._task(*args, **kwargs)
        return self.plain(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Run the step beside others; ask the returned outcome for its result."""
        if FlowRunContext.get() is not None:
            with _without_tags():
                return cast("Outcome[R]", self._task.submit(*args, **kwargs))
        outcome: Future[R] = _threads().submit(self.plain, *args, **kwargs)
        return outcome

    def plain(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step without Prefect, under the same retry policy."""
        return cast(
            "R",
            with_retries(
                lambda: self.function(*args, **kwargs),
                retries=self.retries,
                wait=time.sleep,
                note=log.warning,
            ),
        )


def step(
    *,
    name: str,
    retries: int = RETRIES,
    timeout_s: float | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of a function that is safe to repeat.

    Args:
        name: of the run in the UI; may use the function's parameters.
        retries: further tries after a transient error.
        timeout_s: when to give the step up; none for those that move a volume's bytes.
    """

    def decorate(function: Callable[P, R]) -> Step[P, R]:
        return Step(function, name=name, retries=retries, timeout_s=timeout_s)

    return decorate


def _without_tags() -> TagsContext:
    """Keep the tags of the flow run from its tasks.

    Before Prefect begins a task that has a tag, its server must give a place at the limit of that
    tag, also where there is no such limit: without an answer the task never runs. So with tags a
    backup would end where the server went away.
    """
    return TagsContext(current_tags=set())


def side_by_side() -> Any:
    """Return the task runner of a flow whose volumes go side by side: threads, and a bound."""
    return ThreadPoolTaskRunner(max_workers=SIDE_BY_SIDE)


def run_log() -> logging.Logger | logging.LoggerAdapter[Any]:
    """Return the run's logger inside Prefect, the module's own outside."""
    try:
        return get_run_logger()
    except Exception:  # noqa: BLE001 - no run here: MissingContextError and its kin
        return log


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="step")
        return _pool
