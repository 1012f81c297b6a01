"""A person reads the plan and says yes: in the UI, where the run waits; or earlier, in the CLI."""

from __future__ import annotations

import time

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout, PrefectHTTPStatusError
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field
from ulid import ULID

from blocks.errors import Refused
from blocks.host.base import Disk
from blocks.policy.loss import in_utc
from blocks.policy.recovery import RestorePlan
from blocks.units import counted, format_duration, format_size
from tasks.pace import expected_s
from tasks.steps import run_log

WAIT_S = 24 * 3600
"""How long a restore or a move waits for its approval."""

LOOK_S = 5
"""Between two looks whether a person has answered, in seconds."""

UNANSWERED = (httpx.HTTPError, PrefectHTTPStatusError)


class Confirmation(RunInput):
    """The form the UI shows."""

    group: str = Field(title="Type the resource group's name to confirm")
    approver: str = Field(title="Your name", min_length=2)


def approve(plan: RestorePlan) -> None:
    """Return when a person has agreed to the plan. Nothing should be locked meanwhile.

    Raises:
        Refused: nobody did, or the name typed is another.
    """
    _ask(plan.point.group, "the restore", plan_markdown(plan))


def approve_move(group: str, move: str, plan: str) -> None:
    """Return when a person has agreed to move a group between its sites.

    Args:
        group: the resource group.
        move: `failover`, `failback` …
        plan: in markdown.

    Raises:
        Refused: nobody did, or the name typed is another.
    """
    _ask(group, f"the {move}", plan)


def _ask(group: str, what: str, plan: str) -> None:
    if FlowRunContext.get() is None:
        raise Refused(
            f"{what} was not approved",
            hint="Say --yes after reading the plan (--dry-run shows it).",
        )
    form = Confirmation.with_initial_data(description=plan)
    run_log().info(
        "%s waits for a person who has read the plan: press Resume in the menu above", what
    )
    try:
        answer = _answer(form)
    except FlowPauseTimeout as error:
        raise Refused(
            f"nobody approved {what} within {format_duration(WAIT_S)}",
            hint="Ask again: the plan is made anew.",
        ) from error
    if answer.group.strip() != group:
        raise Refused(f"'{answer.group}' is not the name of the group, {group}")
    run_log().info("%s was approved by %s", what, answer.approver)


def _answer(form: type[Confirmation]) -> Confirmation:
    """Wait for the form; a server that goes away meanwhile is waited for, too."""
    key = str(ULID()).lower()  # one answer is not for both questions of a move that asks twice
    while True:
        try:
            return pause_flow_run(
                wait_for_input=form, timeout=WAIT_S, poll_interval=LOOK_S, key=key
            )
        except UNANSWERED as error:
            run_log().warning("Prefect does not answer, the approval waits for it: %s", error)
        # Asked again with the same key, Prefect pauses a run that it had not paused yet, and hands
        # out the answer to one that a person has resumed. It must not be paused just then.
        while _may_be_paused():
            time.sleep(LOOK_S)


def _may_be_paused() -> bool:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(context.flow_run.id).state
    except UNANSWERED:
        return True
    return state is not None and state.is_paused()


def expected_words(seconds: float | None) -> str:
    """Say how long a restore should take."""
    if seconds is None:
        return "How long it takes is not known: nothing was restored on this machine yet."
    return f"It should take about {format_duration(seconds)}, as the last restores here did."


def _named(disk: Disk) -> str:
    return disk.name if disk.name == disk.path else f"{disk.name} (`{disk.path}`)"


def plan_markdown(plan: RestorePlan) -> str:
    """Show a plan to the person who decides."""
    point = plan.point
    size = format_size(plan.write_bytes)
    lines = [
        f"**{size} on {counted(len(plan.placements), 'disk')} will be written over.**",
        "",
        f"{format_size(plan.data_bytes)} of it is data, the rest zeros."
        f" {expected_words(expected_s(plan))}",
        "",
        f"Restore point `{point.id}` of **{point.group}**, taken {in_utc(point.taken_at)}.",
        "",
        "| volume | size | onto |",
        "|---|---|---|",
    ]
    lines += [
        f"| {p.volume.disk} ({p.volume.name}) | {format_size(p.volume.size_bytes)}"
        f" | {_named(p.disk)} |"
        for p in plan.placements
    ]
    lines += ["", *(f"- {note}" for note in plan.notes)]
    return "\n".join(lines)
