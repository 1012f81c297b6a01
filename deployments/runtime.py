"""Run a flow here and now: under Prefect if its server answers, without it if not.

Prefect reads its settings once, when it is imported: nothing here may import it before
`prepare_environment`, or the run would end up on a private throw-away server.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import wraps
from typing import TYPE_CHECKING, Any

import httpx

from deployments import settings

if TYPE_CHECKING:
    from flows.endings import Ending

HEALTH_S = 3.0

log = logging.getLogger(__name__)


def prepare_environment(*, quiet: bool) -> None:
    """Set what Prefect reads when it is imported; call before anything imports it.

    Args:
        quiet: keep the log off the terminal, where progress bars or nothing should be. Tracebacks
            never go there: a person gets one error with its hint, the log has the rest.
    """
    settings.prepare()
    os.environ.update(settings.BY_HAND)
    if quiet and not os.environ.get("FLASHVAULT_TRACEBACK"):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def has_server() -> bool:
    """Say whether the Prefect server this process is set up for answers, and has its database."""
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return False
    try:
        return httpx.get(f"{url}/ready", timeout=HEALTH_S).is_success
    except httpx.HTTPError as error:
        log.debug("no answer from %s: %s", url, error)
        return False


def found_server() -> bool:
    """Do as `has_server`; if one is known and away, say so, and let nothing wait for it."""
    if has_server():
        return True
    if os.environ.get("PREFECT_API_URL"):
        from tasks.asking import note_silence

        note_silence()
        _say("Prefect does not answer: running without it")
    return False


def require_server() -> None:
    """Insist on a Prefect server that answers, where nothing else can.

    Raises:
        ConfigError: none is known.
        Unreachable: it does not answer.
    """
    from blocks.errors import Unreachable

    settings.require()
    if not has_server():
        raise Unreachable(
            f"the Prefect server at {os.environ['PREFECT_API_URL']} does not answer",
            hint="`flashvault status`, `backup` and `restore` do without it.",
        )


def run_flow(flow: Any, parameters: Mapping[str, Any]) -> Ending:
    """Run a flow in this process and return how it ended; its errors are raised as they are.

    A Prefect server that is ill changes nothing about the work: if it fails before the flow has
    begun, the flow runs without it; if it goes away later, how the flow itself ended counts.
    """
    from flows import endings
    from tasks.asking import note_silence

    endings.forget()
    if not found_server():
        return _without_prefect(flow, parameters)
    from prefect import tags
    from prefect.settings import get_current_settings

    known = get_current_settings().api.url
    assert known == os.environ["PREFECT_API_URL"], "Prefect was imported before its settings"

    wanted = flow.validate_parameters(dict(parameters))
    body = _Body(flow.fn)
    group = parameters.get("group") or parameters.get("profile")
    try:
        with tags("flashvault", *([f"group:{group}"] if group else [])):
            state = body.of(flow)(**wanted, return_state=True)
    except Exception as error:
        if not body.has_begun:
            note_silence()
            _say(f"Prefect cannot begin a run ({_first_line(error)}): running without it")
            return _without_prefect(flow, parameters)
        if body.fault is not None:
            raise body.fault from None
        given = endings.last()
        if given is None:
            raise
        log.warning("the run ended, but Prefect could not be told", exc_info=True)
        return given
    given = endings.last()
    if given is None:
        state.result(raise_on_failure=True)
        raise AssertionError(f"{flow.name} gave no ending: {state}")
    return given


def _without_prefect(flow: Any, parameters: Mapping[str, Any]) -> Ending:
    from flows.endings import Ending

    ending = flow.fn(**parameters)
    assert isinstance(ending, Ending)
    return ending


class _Body:
    """A flow's function under Prefect: whether it has begun, and the error it ended with."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.has_begun = False
        self.fault: BaseException | None = None

    def of(self, flow: Any) -> Any:
        """Return the flow with this body; its parameters are validated before."""

        @wraps(self.function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.has_begun = True
            try:
                return self.function(*args, **kwargs)
            except BaseException as error:
                self.fault = error
                raise
            finally:
                _tell_nobody_who_is_away()

        watched = copy(flow)
        watched.fn = run
        watched.should_validate_parameters = False  # by types that are known where `function` is
        return watched


def _tell_nobody_who_is_away() -> None:
    """Have Prefect's engine not try for minutes to say how the run ended, while a person waits."""
    from prefect.context import FlowRunContext

    from tasks.asking import Silent, note_silence

    context = FlowRunContext.get()
    if context is None or has_server():
        return
    note_silence()
    _say("Prefect does not answer: the next `flashvault reconcile` tells it how this run ended")

    def untold(*_args: Any, **_kwargs: Any) -> None:
        raise Silent("Prefect's server does not answer")

    setattr(context.client, "set_flow_run_state", untold)  # noqa: B010 - of this one client


def leave_at_once_if_silent(status: str | int | None) -> None:
    """End this process here if Prefect is silent: its threads would try to reach it for minutes."""
    asking = sys.modules.get("tasks.asking")
    if asking is None or not asking.is_silent() or isinstance(status, str):
        return
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status or 0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
