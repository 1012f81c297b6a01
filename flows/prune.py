"""Let go of restore points that retention no longer keeps: judge → trash → purge → sweep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from flows.endings import Ending, ended
from tasks.limits import places
from tasks.open import configuration
from tasks.prune import (
    judge_points,
    prune_ending_summary,
    pruned_document,
    pruned_markdown,
    report_prune,
    sweep_points,
)
from tasks.run import run_of
from tasks.undo import UNDO


@flow(name="prune", flow_run_name="prune-{group}", persist_result=False)
def prune(group: str, dry_run: bool = False) -> Any:
    """Prune the restore points of a resource group.

    Args:
        group: the resource group.
        dry_run: only say what would go, and why.
    """
    wanted = configuration()
    profile = wanted.profile(group)
    with run_of(group, "prune", UNDO) as run, places(run):
        verdicts, plan = judge_points(wanted, profile, datetime.now(UTC))
        report = None if dry_run else sweep_points(run, wanted, profile, verdicts)
        document = pruned_document(group, verdicts, plan, report)
    report_prune(document)
    return ended(
        Ending(
            outcome="planned" if dry_run else "pruned",
            summary=prune_ending_summary(document),
            report=document,
            markdown=pruned_markdown(document),
        )
    )
