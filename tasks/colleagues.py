"""Start work on single volumes as Prefect runs on other workers, and ask how it stands."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling

from tasks.asking import Silent, ask
from tasks.run import Run

log = logging.getLogger(__name__)


class PrefectColleagues:
    """The workers of the pool `flashvault-capture`, by a deployment of the group."""

    def __init__(self, run: Run, deployment: str, **more: str) -> None:
        """Prepare to ask.

        Args:
            run: whose work it is.
            deployment: `capture-part/RG1-capture` or `restore-part/RG1-restore-part`.
            more: further parameters of each run.
        """
        self._more = more
        self._run = run
        self._deployment = deployment

    def start(self, uid: str, take: int) -> str:
        """Ask for a run of the deployment; asked again for the same take, it is the same run."""
        run = self._run
        asked: Any = run_deployment
        kind = self._deployment.rpartition("/")[2].removeprefix(f"{run.group}-")
        started = ask(
            lambda: asked(
                self._deployment,
                parameters={
                    "group": run.group,
                    "run_id": run.id,
                    "uid": uid,
                    "take": take,
                    **self._more,
                },
                timeout=0,
                tags=["flashvault", f"group:{run.group}", kind],
                idempotency_key=f"{run.id}.{uid}.{take}",
            )
        )
        return str(started.id)

    def has_ended(self, run: str) -> bool:
        """Say whether Prefect calls the run final; a server that is away knows of no end."""
        try:
            return ask(lambda: _is_final(run))
        except ObjectNotFound:
            return True
        except (Silent, httpx.HTTPError, PrefectHTTPStatusError) as error:
            log.info("the state of run %s is not known: %s", run, error)
            return False

    def cancel(self, run: str) -> None:
        """Have the run ended; if Prefect cannot be told, the run finds out in the bucket."""
        try:
            ask(lambda: _cancel(run))
        except (Silent, httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
            log.info("run %s not cancelled in Prefect: %s", run, error)


def _is_final(run: str) -> bool:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run)).state
    return state is not None and state.is_final()


def _cancel(run: str) -> None:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run)).state
        if state is None or not state.is_final():
            client.set_flow_run_state(UUID(run), Cancelling())
