"""Clear the debris of dead runs: at worker start, every 15 minutes, and when one crashes."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.endings import Ending, ended
from tasks.reconcile import (
    clear_dead_claims,
    clear_dead_runs,
    close_dead_writers,
    reconciled_document,
    set_states_right,
)


@flow(name="reconcile", flow_run_name="reconcile", persist_result=False)
def reconcile() -> Any:
    """Unmake what dead runs of this machine left, then set their states in Prefect right."""
    writers = close_dead_writers()  # first: the order of a dead restore waits for them
    cleared = clear_dead_runs()
    claims = clear_dead_claims()
    states = set_states_right(cleared)
    document = reconciled_document(cleared, claims, writers, states)
    stuck = sum(dead.stuck for dead in cleared)
    return ended(
        Ending(
            outcome="reconciled",
            summary=f"{len(cleared)} dead runs and {claims} claims cleared, {states} states set"
            + (f", {writers} writers of restores closed" if writers else "")
            + (f", {stuck} things could not be cleared yet" if stuck else ""),
            exit_code=1 if stuck else 0,
            report=document,
        )
    )
