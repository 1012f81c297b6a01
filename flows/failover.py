"""Move a resource group's production: failover, failback, switch.

    survey → plan → approve → survey again → one order to the arrays → the hosts take over → report

What is lost and what is written over is in the plan, before anybody is asked. What has changed
until the answer comes is refused. A run that died is started again and goes on from what the arrays
say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from prefect import flow

from blocks.policy.situation import Move, Plan, refuse_another
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.svc.model import RemoteState
from flows.approval import approve_move
from flows.endings import Ending, ended
from tasks.divergence import Difference
from tasks.move_report import move_document, move_markdown, report_move, told_at
from tasks.open import configuration as load_configuration
from tasks.remote_look import look, pause_s
from tasks.replication import watched
from tasks.run import Run, asking_of, run_of
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

    def see(run: Run) -> Seen:
        surveyed = survey(run, wanted, asked, with_cloud=True)
        return Seen(surveyed, plan_takeover(surveyed, Move.FAILOVER, allow_split=allow_split))

    return _move(wanted, asked, see, "failover", dry_run=dry_run, approved=approved)


@flow(name="switch", flow_run_name="switch-{group}", persist_result=False)
def switch(group: str, dry_run: bool = False, approved: bool = False) -> Any:
    """Swap the sites' roles, both being well: nothing is lost. The group must be offline.

    Args:
        group: the resource group.
        dry_run: only say what would be done.
        approved: a person has seen the plan. If not, the run pauses and asks in the UI.
    """
    wanted, asked = _asked(group)

    def see(run: Run) -> Seen:
        surveyed = survey(run, wanted, asked)
        return Seen(surveyed, plan_takeover(surveyed, Move.SWITCH))

    return _move(wanted, asked, see, "switch", dry_run=dry_run, approved=approved)


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

    def see(run: Run) -> Seen:
        surveyed = survey(run, wanted, asked)
        return Seen(surveyed, plan_takeover(surveyed, Move.FAILBACK, keep_home=keep_home))

    agreed = None
    if dry_run or not approved:
        agreed = _agree(wanted, asked, see, "failback", dry_run=dry_run, measure=measure)
        if dry_run:
            return ended(_planned(agreed.plan, agreed.document(asked)))
    with run_of(f"{group} takeover", "failback", UNDO) as run:
        seen = _see_again(see(run), agreed)
        if agreed is None and measure:
            seen = _measured(run, wanted, asked, seen)
        refuse_unless_possible(seen.plan)
        if seen.plan.is_waiting:
            document = seen.document(asked)
            carry_out(run, wanted, asked, seen.plan)
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
            seen = replace(_see_home(run, wanted, asked), measured=seen.measured)
            refuse_unless_possible(seen.plan)
            if not approved:  # the copy was; in its middle, nobody else may move the group
                approve_move(group, seen.plan.move, move_markdown(seen.document(asked)))
                seen = _see_again(_see_home(run, wanted, asked), seen)
        return _carry(run, wanted, asked, seen)


@dataclass(frozen=True, slots=True)
class Seen:
    """How the sites stand, and what is to be done about it."""

    surveyed: Survey
    plan: Plan
    measured: Sequence[Difference] | None = None
    """What differs between the sites, where somebody wanted to know."""

    def document(self, asked: BackupProfile) -> dict[str, Any]:
        """Return it for a person to decide, or a program."""
        return move_document(asked, self.plan, self.surveyed, measured=self.measured)


def _asked(group: str) -> tuple[Configuration, BackupProfile]:
    wanted = load_configuration()
    return wanted, wanted.profile(group, method=Method.REMOTE_STORAGE)


def _move(
    wanted: Configuration,
    asked: BackupProfile,
    see: Callable[[Run], Seen],
    name: str,
    *,
    dry_run: bool,
    approved: bool,
) -> Any:
    """Plan a move, have it approved, and make it."""
    agreed = None
    if dry_run or not approved:
        agreed = _agree(wanted, asked, see, name, dry_run=dry_run)
        if dry_run:
            return ended(_planned(agreed.plan, agreed.document(asked)))
    with run_of(f"{asked.name} takeover", name, UNDO) as run:
        seen = _see_again(see(run), agreed)
        refuse_unless_possible(seen.plan)
        return _carry(run, wanted, asked, seen)


def _agree(
    wanted: Configuration,
    asked: BackupProfile,
    see: Callable[[Run], Seen],
    name: str,
    *,
    dry_run: bool,
    measure: bool = False,
) -> Seen:
    """Show the plan to a person, and return what was agreed to. Nothing is locked meanwhile."""
    with asking_of(asked.name, name, is_all=dry_run) as run:
        seen = see(run)
        if measure:
            seen = _measured(run, wanted, asked, seen)
        if not dry_run:
            refuse_unless_possible(seen.plan)
            if seen.plan.is_any:
                approve_move(asked.name, seen.plan.move, move_markdown(seen.document(asked)))
    return seen


def _see_home(run: Run, wanted: Configuration, asked: BackupProfile) -> Seen:
    surveyed = survey(run, wanted, asked)
    return Seen(surveyed, plan_takeover(surveyed, Move.FAILBACK))


def _measured(run: Run, wanted: Configuration, asked: BackupProfile, seen: Seen) -> Seen:
    if seen.plan.refusal:
        return seen
    return replace(seen, measured=measure_difference(run, wanted, asked, seen.surveyed))


def _see_again(now: Seen, agreed: Seen | None) -> Seen:
    """Return how it stands now, if that is what was agreed to, perhaps a day ago."""
    if agreed is None:
        return now
    refuse_another(agreed.plan, now.plan)
    return replace(now, measured=agreed.measured)


def _carry(run: Run, wanted: Configuration, asked: BackupProfile, seen: Seen) -> Any:
    """Carry a plan out, and let the hosts take over."""
    plan, surveyed = seen.plan, seen.surveyed
    began = datetime.now(UTC)
    state = carry_out(run, wanted, asked, plan)
    taken = None
    if plan.takes_over:
        taken = take_over(run, wanted, asked, plan, surveyed)
        settle(asked, plan, taken)
    done = datetime.now(UTC)
    document = move_document(
        asked, plan, surveyed, state, taken, began, done, measured=seen.measured
    )
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
