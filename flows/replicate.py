"""Watch a resource group's Global Mirror: look → start if safe → judge → tell → show.

One poll a run, or a bounded watch: a copy that takes days is followed by many short runs, which
hold no thread and no connection in between (docs/explanation/remote-storage.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from prefect import flow

from blocks.errors import GroupBusy
from blocks.policy.replication import Condition, Health, Memory, Transition
from blocks.policy.situation import Move, Plan, refuse_another
from blocks.profile.model import BackupProfile, Configuration, Method
from flows.approval import approve_move
from flows.endings import Ending, ended, skipped
from tasks.move_report import move_document, move_markdown
from tasks.open import configuration as load_configuration
from tasks.remote_look import Poll, look, pause_s
from tasks.remote_memory import recall
from tasks.remote_setup import check
from tasks.replication import (
    health_document,
    is_check_due,
    judged,
    remember_and_tell,
    report_health,
    watched,
)
from tasks.run import Run, asking_of, run_of
from tasks.takeover import (
    carry_out,
    plan_takeover,
    refuse_unless_possible,
    survey,
    would_start,
)
from tasks.undo import UNDO


@flow(name="replicate", flow_run_name="replicate-{profile}", persist_result=False)
def replicate(
    profile: str,
    start: bool = True,
    resync: bool = False,
    approved: bool = False,
    watch_s: float = 0.0,
) -> Any:
    """Look at a group's remote copy, start it where that costs nothing, and tell what changed.

    Args:
        profile: the resource group, which is the profile's name.
        start: start a copy that has stopped, if no consistent copy is given up by it.
        resync: start it even so: until the changes are copied the second site holds nothing usable.
        approved: a person has seen what a resync gives up. If not, the run pauses and asks.
        watch_s: while a copy is under way, keep looking for so many seconds.
    """
    wanted = load_configuration()
    asked = wanted.profile(profile, method=Method.REMOTE_STORAGE)
    if not asked.enabled:
        return ended(skipped(profile, "the profile is disabled (ENABLE_BACKUP=no)"))
    agreed = _agree(wanted, asked) if resync and not approved else None
    try:
        with run_of(f"{profile} remote", "replicate", UNDO) as run:
            return _replicate(
                run, wanted, asked, start=start, resync=resync, agreed=agreed, watch_s=watch_s
            )
    except GroupBusy as busy:
        # Another poll is under way, or watches a copy: it tells what there is to tell.
        return ended(skipped(profile, str(busy)))


def _replicate(
    run: Run,
    wanted: Configuration,
    asked: BackupProfile,
    *,
    start: bool,
    resync: bool,
    agreed: Plan | None,
    watch_s: float,
) -> Any:
    poll, started = look(run, wanted, asked), ""
    if resync or (start and would_start(poll)):
        started = _start(run, wanted, asked, resync=resync, agreed=agreed)
        poll = look(run, wanted, asked)
    seen = _judged(run, wanted, asked, poll)
    if watch_s and seen.health.condition is Condition.COPYING:
        seen = _watch(run, wanted, asked, seen, watch_s)
    document = {
        **health_document(asked, seen.poll, seen.health, seen.memory, seen.told),
        "started": started,
    }
    return ended(
        Ending(
            outcome=str(seen.health.condition).replace(" ", "_"),
            summary=f"{asked.name}: {seen.health.why}",
            report=document,
            markdown=report_health(asked, document, seen.health, seen.told),
        )
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """One poll, judged and remembered; `told` of all polls of this run."""

    poll: Poll
    health: Health
    memory: Memory
    told: tuple[Transition, ...]


def _agree(wanted: Configuration, asked: BackupProfile) -> Plan:
    """Have a resync approved; the polls go on meanwhile."""
    with asking_of(asked.name, "resync", is_all=False) as run:
        surveyed = survey(run, wanted, asked)
        plan = plan_takeover(surveyed, Move.RESYNC)
        refuse_unless_possible(plan)
        approve_move(asked.name, plan.move, move_markdown(move_document(asked, plan, surveyed)))
    return plan


def _start(
    run: Run, wanted: Configuration, asked: BackupProfile, *, resync: bool, agreed: Plan | None
) -> str:
    """Start a copy that has stopped, where that is safe or was asked for; say what was done."""
    try:
        with run_of(f"{asked.name} takeover", "start", UNDO):
            surveyed = survey(run, wanted, asked)
            plan = plan_takeover(surveyed, Move.RESYNC if resync else Move.START)
            if resync:
                if agreed is not None:
                    refuse_another(agreed, plan)
                refuse_unless_possible(plan)
            if plan.refusal:
                return f"not started: {plan.refusal}. {plan.hint}"
            if plan.order is None:
                return ""
            carry_out(run, wanted, asked, plan)
            return f"started: {plan.overwrites or 'the copy goes on where it stopped'}"
    except GroupBusy as busy:
        return f"not started: {busy}"


def _judged(run: Run, wanted: Configuration, asked: BackupProfile, poll: Poll) -> Seen:
    """Judge a poll and tell what is new, so that no alarm is lost and none told twice."""
    memory = recall(asked.name)
    checked = check(run, wanted, asked, poll) if is_check_due(memory, poll) else None
    health, memory = judged(asked, memory, poll, checked)
    memory, told = remember_and_tell(asked, memory)
    return Seen(poll, health, memory, told)


def _watch(
    run: Run, wanted: Configuration, asked: BackupProfile, seen: Seen, watch_s: float
) -> Seen:
    """Poll on while the copy is under way; every poll is remembered as any other."""
    began = time.monotonic()
    deadline = began + watch_s
    told = seen.told
    with watched(asked, seen.poll) as counters:
        while seen.health.condition is Condition.COPYING and time.monotonic() < deadline:
            counters.move_to(seen.health.progress)
            run.stop.wait(pause_s(time.monotonic() - began, watch_s))
            run.check()
            seen = _judged(run, wanted, asked, look(run, wanted, asked))
            told = (*told, *seen.told)
    return Seen(seen.poll, seen.health, seen.memory, told)
