"""Run a flow here and now: under Prefect if its server answers, without it if not.

Prefect reads its settings once, when it is imported: nothing here may import it before
`prepare_environment`, or the run would end up on a private throw-away server.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
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
    if quiet and not os.environ.get("FLASHVAULT_TRACEBACK"):
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def has_server() -> bool:
    """Say whether the Prefect server this process is set up for answers."""
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return False
    try:
        return httpx.get(f"{url}/health", timeout=HEALTH_S).is_success
    except httpx.HTTPError as error:
        log.debug("no answer from %s: %s", url, error)
        return False


def run_flow(flow: Any, parameters: Mapping[str, Any]) -> Ending:
    """Run a flow in this process and return how it ended; its errors are raised as they are.

    A Prefect server that goes away in the middle changes nothing about the work; if the run's last
    report cannot be delivered, the ending the flow itself gave is what counts.
    """
    from flows import endings
    from tasks.asking import note_silence

    endings.forget()
    if not has_server():
        if os.environ.get("PREFECT_API_URL"):
            note_silence()
            sys.stderr.write("Prefect does not answer: running without it\n")
        ending = flow.fn(**parameters)
        assert isinstance(ending, endings.Ending)
        return ending
    from prefect import tags
    from prefect.settings import get_current_settings

    known = get_current_settings().api.url
    assert known == os.environ["PREFECT_API_URL"], "Prefect was imported before its settings"

    group = parameters.get("group") or parameters.get("profile")
    try:
        with tags("flashvault", *([f"group:{group}"] if group else [])):
            state = flow(**parameters, return_state=True)
    except Exception:
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
