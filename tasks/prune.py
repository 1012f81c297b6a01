"""Let go of restore points that retention no longer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from blocks.catalog.prune import UNDELETE_WINDOW as WINDOW
from blocks.catalog.prune import PrunePlan, PruneReport, plan_prune, sweep
from blocks.catalog.view import look
from blocks.errors import ConfigError
from blocks.policy.retention import Verdict, given_up, judge
from blocks.profile.model import BackupProfile, Configuration
from blocks.units import format_size, slug
from tasks import reports
from tasks.protection import profile_store
from tasks.run import Run
from tasks.steps import CONTROL_S, run_log, step


@step(name="judge-{profile.name}", timeout_s=CONTROL_S)
def judge_points(
    wanted: Configuration, profile: BackupProfile, now: datetime
) -> tuple[list[Verdict], PrunePlan]:
    """Decide about every restore point, and say what a prune would do about it."""
    if profile.retention is None:
        raise ConfigError(
            f"{profile.title} has no RETENTION: everything is kept",
            hint=f"flashvault modify backup_profile {profile.name} RETENTION=last=7,daily=14",
        )
    view = look(profile_store(wanted, profile), profile.name)
    verdicts = judge(
        view.shelf.points, profile.retention, now=now, timezone=ZoneInfo(profile.timezone)
    )
    for verdict in verdicts:
        if verdict.is_doubtful:
            run_log().warning("%s: %s", verdict.point_id, "; ".join(verdict.reasons))
    return verdicts, plan_prune(view, given_up(verdicts), now=now, window=WINDOW)


@step(name="sweep-{profile.name}")
def sweep_points(
    run: Run, wanted: Configuration, profile: BackupProfile, verdicts: Sequence[Verdict]
) -> PruneReport:
    """Carry the verdicts out: trash, purge what was in the trash long enough, sweep orphans."""
    run.check()
    assert profile.retention is not None
    report = sweep(
        profile_store(wanted, profile),
        profile.name,
        given_up(verdicts),
        minimum=profile.retention.minimum,
        window=WINDOW,
    )
    run_log().info(
        "pruned %s: %d points to the trash, %d purged, %d objects deleted, %d bytes freed",
        profile.name,
        len(report.trashed),
        len(report.purged),
        report.deleted_objects,
        report.freed_bytes,
    )
    return report


def pruned_document(
    group: str, verdicts: Sequence[Verdict], plan: PrunePlan, report: PruneReport | None
) -> dict[str, Any]:
    """Return the verdicts with their reasons, and what was or would be done."""
    return {
        "group": group,
        "dry_run": report is None,
        "verdicts": [
            {
                "restore_point": verdict.point_id,
                "taken_at": verdict.taken_at.isoformat(),
                "keep": verdict.is_kept,
                "reasons": list(verdict.reasons),
                "doubtful": verdict.is_doubtful,
            }
            for verdict in verdicts
        ],
        "trash": list(plan.trash if report is None else report.trashed),
        "purge": list(plan.purge if report is None else report.purged),
        "orphans": len(plan.orphan_keys),
        "deleted_objects": 0 if report is None else report.deleted_objects,
        "freed_bytes": plan.freed_bytes if report is None else report.freed_bytes,
    }


def report_prune(document: dict[str, Any]) -> None:
    """Show the verdicts in Prefect."""
    group = document["group"]
    reports.artifact(f"prune-{slug(group)}", pruned_markdown(document), "Retention's verdicts")
    reports.event("prune.completed", group, purged=document["purge"])


def pruned_markdown(document: dict[str, Any]) -> str:
    """Show the verdicts to a person."""
    would = "would be " if document["dry_run"] else ""
    lines = [
        f"## {document['group']}: {len(document['trash'])} points {would}put into the trash,"
        f" {len(document['purge'])} {would}purged,"
        f" {format_size(document['freed_bytes'])} {would}freed",
        "",
        "| restore point | taken | verdict | why |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{row['restore_point']}` | {row['taken_at']} | {'keep' if row['keep'] else 'give up'} "
        f"| {'; '.join(row['reasons'])} |"
        for row in document["verdicts"]
    ]
    return "\n".join(lines)


def prune_ending_summary(document: dict[str, Any]) -> str:
    """Say in one line what was, or would be, done."""
    kept = sum(row["keep"] for row in document["verdicts"])
    verb = "would be freed" if document["dry_run"] else "freed"
    return (
        f"{kept} of {len(document['verdicts'])} restore points of {document['group']} kept,"
        f" {format_size(document['freed_bytes'])} {verb}"
    )
