"""Clear what dead runs left behind, and set what Prefect says about them right.

Nothing here believes a state in Prefect, an age, or a pid: a run of this machine is dead when the
lock on its journal is free, a claim in the bucket when its process is gone for certain.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Completed, Crashed, Failed

from blocks.catalog.claims import clear_intent, read_fate, read_intents
from blocks.catalog.leftovers import remove_uncommitted
from blocks.catalog.point import image_folder
from blocks.catalog.writers import close_gone, open_writers, sweep
from blocks.errors import FlashvaultError, GroupBusy
from blocks.profile.model import Configuration, Method
from tasks.asking import is_silent
from tasks.journal import dead_journals
from tasks.open import configuration, has_api, store
from tasks.publish import CLAIMED
from tasks.run import ended_runs, forget_ended, note_died, unwind
from tasks.steps import run_log, step
from tasks.undo import UNDO

PENDING_MAX = timedelta(minutes=15)
"""A run that is about to start for longer than this lost its worker."""

SETTLE = timedelta(minutes=2)
"""A run that ended may still be telling the server so for this long, if its process lives."""

RIGHT = "set right by reconcile"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cleared:
    """One dead run, and what was left of it."""

    run: str
    group: str
    purpose: str
    flow_run: str
    unmade: int
    stuck: int
    is_committed: bool


@step(name="clear-dead-runs")
def clear_dead_runs() -> list[Cleared]:
    """Unmake, newest first, what the dead runs of this machine have left."""
    cleared = []
    for journal in dead_journals():
        left = journal.left()
        facts = journal.facts
        is_committed = any(made.kind == CLAIMED and _is_committed(made.facts) for made in left)
        stuck = unwind(journal, UNDO)
        run_log().warning(
            "run %s of %s died: %d things cleared, %d left for the next time",
            facts.get("id"),
            facts.get("group"),
            len(left) - len(stuck),
            len(stuck),
        )
        cleared.append(
            Cleared(
                run=str(facts.get("id", "")),
                group=str(facts.get("group", "")),
                purpose=str(facts.get("purpose", "")),
                flow_run=str(facts.get("flow_run", "")),
                unmade=len(left) - len(stuck),
                stuck=len(stuck),
                is_committed=is_committed,
            )
        )
    return cleared


@step(name="clear-dead-claims")
def clear_dead_claims() -> int:
    """End the claims in our buckets whose process, on this machine, is gone for certain."""
    wanted = configuration()
    return sum(
        _clear_claims(wanted, profile.name, profile.bucket_name)
        for profile in wanted.profiles
        if profile.method == Method.CLOUD
    )


def _clear_claims(wanted: Configuration, group: str, bucket_name: str) -> int:
    bucket = store(wanted, bucket_name)
    count = 0
    for intent in read_intents(bucket, group):
        try:
            is_committed = clear_intent(bucket, intent)
        except GroupBusy as error:
            log.info("claim stays: %s", error)
            continue
        if not is_committed:
            remove_uncommitted(bucket, image_folder(group, intent.run_id))
        run_log().warning("claim of dead run %s of %s cleared", intent.run_id, group)
        count += 1
    return count


@step(name="close-dead-writers")
def close_dead_writers() -> int:
    """Say of workers of a restore whose process, on this machine, is gone, that they write no more.

    Whoever owns the restore, or wants the disk next, waits for it (`blocks.catalog.writers`).
    """
    wanted = configuration()
    names = {profile.bucket_name for profile in wanted.profiles if profile.method == Method.CLOUD}
    count = 0
    for name in sorted(names):
        bucket = store(wanted, name)
        for writer in close_gone(bucket, open_writers(bucket)):
            run_log().warning("closed: %s", writer)
            count += 1
        sweep(bucket, datetime.now(UTC))
    return count


@step(name="set-states-right")
def set_states_right(cleared: list[Cleared]) -> int:
    """Tell Prefect how runs really ended: of the dead, and of those it could not be told about."""
    for dead in cleared:
        if dead.flow_run:  # written down: told later, if the server is away now
            note_died(dead.flow_run, is_done=dead.is_committed)
    if not has_api() or is_silent():
        return 0
    count = 0
    try:
        for flow_run, facts, is_alive in ended_runs():
            ended_at = datetime.fromisoformat(facts["ended_at"])
            if is_alive and datetime.now(UTC) - ended_at < SETTLE:
                continue
            count += _settle(flow_run, _state_of(facts))
            forget_ended(flow_run)
        count += _give_up_pending()
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        run_log().warning("Prefect could not be told: %s", error)
    return count


def _is_committed(facts: dict[str, Any]) -> bool:
    try:
        bucket = store(configuration(), facts["bucket"])
        return read_fate(bucket, facts["group"], facts["run"]).is_committed
    except FlashvaultError as error:
        log.warning("fate of run %s not known: %s", facts["run"], error)
        return False


def _state_of(facts: dict[str, Any]) -> State[Any]:
    told = f"{RIGHT}: {facts['summary']}"
    if facts["is_done"]:
        return Completed(message=told)
    return Crashed(message=told) if facts.get("has_died") else Failed(message=told)


def _settle(flow_run: str, state: State[Any]) -> int:
    """Set the state of a run that is still called running; 1 if that was needed.

    Or called crashed although it was done: its worker saw a process end that could not report.
    """
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(flow_run))
        except ObjectNotFound:
            return 0
        is_said = run.state is None or run.state.is_final()
        is_done = state.is_completed()
        if is_said and not (is_done and run.state is not None and run.state.is_crashed()):
            return 0
        client.set_flow_run_state(run.id, state, force=True)
    run_log().info("set the state of flow run %s to %s", run.name, state.name)
    return 1


def _give_up_pending() -> int:
    """End runs that wait for ever for a worker that took them and died."""
    pending: Any = {"state": {"type": {"any_": [StateType.PENDING.value]}}}
    count = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(**pending)):
            since = run.state.timestamp if run.state else None
            if "flashvault" in run.tags and since and datetime.now(UTC) - since > PENDING_MAX:
                message = f"{RIGHT}: no worker started it"
                client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                count += 1
    return count


def reconciled_document(
    cleared: list[Cleared], claims: int, writers: int, states: int
) -> dict[str, Any]:
    """Return what a reconcile did."""
    rows: list[dict[str, Any]] = [
        json.loads(json.dumps({name: getattr(dead, name) for name in Cleared.__slots__}))
        for dead in cleared
    ]
    return {
        "dead_runs": rows,
        "claims_cleared": claims,
        "writers_closed": writers,
        "states_set": states,
    }
