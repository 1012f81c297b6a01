"""Move a resource group's production: failover, failback, switch.

    survey → plan → approve → one order to the arrays → the hosts take over → report

What is lost and what is written over is in the plan, before anybody is asked. A run that died is
started again and goes on from what the arrays say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import flow

from blocks.policy.situation import Move, Plan
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.svc.model import RemoteState
from flows.approval import approve_move
from flows.endings import Ending, ended
from tasks.divergence import Difference
from tasks.move_report import move_document, move_markdown, report_move, told_at
from tasks.open import configuration as load_configuration
from tasks.remote_look import look, pause_s
from tasks.replication import watched
from tasks.run import Run, run_of
from tasks.takeover import (
    Survey,
    carry_out,
    measure_difference,
    plan_takeover,
    refuse_unless_possible,
    settle,
    survey,
    take_over,
)
from tasks.undo import UNDO


@flow(name="failover", flow_run_name="failover-{group}", persist_result=False)
def failover(
    group: str, dry_run: bool = False, approved: bool = False, allow_split: bool = False
) -> Any:
    """Make the second site's copy the production, the first being lost.

    Args:
        group: the resource group.
        dry_run: only say what would be done and what would be lost.
        approved: a person has seen the plan. If not, the run pauses and asks in the UI.
        allow_split: the other array is alive, and a person sees to it that nobody writes there.
    """
    wanted, asked = _asked(group)
    with run_of(f"{group} takeover", "failover", UNDO) as run:
        surveyed = survey(run, wanted, asked, with_cloud=True)
        plan = plan_takeover(surveyed, Move.FAILOVER, allow_split=allow_split)
        return _move(run, wanted, asked, surveyed, plan, dry_run=dry_run, approved=approved)


@flow(name="switch", flow_run_name="switch-{group}", persist_result=False)
def switch(group: str, dry_run: bool = False, approved: bool = False) -> Any:
    """Swap the sites' roles, both being well: nothing is lost. The group must be offline.

    Args:
        group: the resource group.
        dry_run: only say what would be done.
        approved: a person has seen the plan. If not, the run pauses and asks in the UI.
    """
    wanted, asked = _asked(group)
    with run_of(f"{group} takeover", "switch", UNDO) as run:
        surveyed = survey(run, wanted, asked)
        plan = plan_takeover(surveyed, Move.SWITCH)
        return _move(run, wanted, asked, surveyed, plan, dry_run=dry_run, approved=approved)


@flow(name="failback", flow_run_name="failback-{group}", persist_result=False)
def failback(
    group: str,
    dry_run: bool = False,
    approved: bool = False,
    keep_home: bool = False,
    measure: bool = False,
    wait_s: float = 600.0,
) -> Any:
    """Bring the production home: copy back what was written away, then swap the roles.

    Args:
        group: the resource group.
        dry_run: only say what would be done next, and what would be written over.
        approved: a person has seen the plan. If not, the run pauses and asks in the UI.
        keep_home: keep what the home site holds instead, giving up what was written away.
        measure: read both sites' volumes first and say how many bytes differ: what the disaster
            lost, and what was written away since.
        wait_s: how long to wait for the copy. It goes on without us; started again, this run
            continues where it is.
    """
    wanted, asked = _asked(group)
    with run_of(f"{group} takeover", "failback", UNDO) as run:
        surveyed = survey(run, wanted, asked)
        plan = plan_takeover(surveyed, Move.FAILBACK, keep_home=keep_home)
        measured = None
        if measure and not plan.refusal:
            measured = measure_difference(run, wanted, asked, surveyed)
        if dry_run or not plan.is_waiting:
            return _move(
                *(run, wanted, asked, surveyed, plan),
                dry_run=dry_run,
                approved=approved,
                measured=measured,
            )
        refuse_unless_possible(plan)
        document = move_document(asked, plan, surveyed, measured=measured)
        approve_move(group, plan.move, move_markdown(document), approved)
        carry_out(run, wanted, asked, plan)
        report_move(asked, document, move_markdown(document))
        if not _wait_for_copy(run, wanted, asked, wait_s):
            return ended(
                Ending(
                    outcome="copying",
                    summary=f"{group} is being copied home: see `flashvault sync {group}`, and"
                    f" say `flashvault failback {group}` again when it is in sync",
                    report=document,
                    markdown=move_markdown(document),
                )
            )
        surveyed = survey(run, wanted, asked)
        plan = plan_takeover(surveyed, Move.FAILBACK)
        return _move(
            *(run, wanted, asked, surveyed, plan),
            dry_run=False,
            approved=approved,
            measured=measured,
        )


def _asked(group: str) -> tuple[Configuration, BackupProfile]:
    wanted = load_configuration()
    return wanted, wanted.profile(group, method=Method.REMOTE_STORAGE)


def _move(
    run: Run,
    wanted: Configuration,
    asked: BackupProfile,
    surveyed: Survey,
    plan: Plan,
    *,
    dry_run: bool,
    approved: bool,
    measured: Sequence[Difference] | None = None,
) -> Any:
    """Approve a plan, carry it out, and let the hosts take over."""
    document = move_document(asked, plan, surveyed, measured=measured)
    if dry_run:
        return ended(_planned(plan, document))
    refuse_unless_possible(plan)
    if plan.order or plan.takes_over:
        approve_move(asked.name, plan.move, move_markdown(document), approved)
    began = datetime.now(UTC)
    state = carry_out(run, wanted, asked, plan)
    taken = None
    if plan.takes_over:
        taken = take_over(run, wanted, asked, plan, surveyed)
        settle(asked, plan, taken)
    done = datetime.now(UTC)
    document = move_document(asked, plan, surveyed, state, taken, began, done, measured=measured)
    markdown = move_markdown(document)
    report_move(asked, document, markdown)
    return ended(_moved(plan, document, markdown))


def _wait_for_copy(run: Run, wanted: Configuration, asked: BackupProfile, wait_s: float) -> bool:
    """Watch a copy for a bounded time; say whether it is complete."""
    began = time.monotonic()
    deadline = began + wait_s
    poll = look(run, wanted, asked)
    with watched(asked, poll) as counters:
        while True:
            states = {view.state for view in poll.views.values()}
            if states <= {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.CONSISTENT_COPYING}:
                return True
            if time.monotonic() >= deadline or RemoteState.INCONSISTENT_COPYING not in states:
                return False
            told = [view.progress for view in poll.views.values() if view.progress is not None]
            counters.move_to(min(told, default=None))
            run.stop.wait(pause_s(time.monotonic() - began, wait_s))
            run.check()
            poll = look(run, wanted, asked)


def _planned(plan: Plan, document: dict[str, Any]) -> Ending:
    return Ending(
        outcome="planned",
        summary=f"{plan.move} refused: {plan.refusal}" if plan.refusal else "nothing changed yet",
        exit_code=4 if plan.refusal else 0,
        report=document,
        markdown=move_markdown(document),
    )


def _moved(plan: Plan, document: dict[str, Any], markdown: str) -> Ending:
    group, faults = document["group"], document["faults"]
    what = f"{plan.move} of {group} to {plan.to} done"
    if not plan.order and not plan.takes_over:
        what = f"{plan.move} of {group}: nothing to do ({'; '.join(plan.notes)})"
    elif document["loss_s"]:
        what += f"; lost: what was written after {told_at(document['recovery_point'])}"
    if faults:
        what += f"; {len(faults)} things remain to be done by hand"
    return Ending(
        outcome=str(plan.move),
        summary=what,
        exit_code=3 if faults else 0,
        report=document,
        markdown=markdown,
    )
