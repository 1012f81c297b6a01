"""What is kept and told of a drill: in the bucket, in Prefect, and to a person when it failed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from blocks.catalog.drills import Drill, Drills, write_drill
from blocks.errors import (
    ConfigError,
    FlashvaultError,
    GroupBusy,
    PointMissing,
    Refused,
    Stopped,
)
from blocks.units import format_duration, format_size, slug
from tasks import reports
from tasks.drill import Wish
from tasks.drill_chart import drill_chart
from tasks.lag_chart import as_image
from tasks.notify import notify
from tasks.pace import remember_pace
from tasks.plan import Asked, configured, open_source
from tasks.restored import looks_markdown
from tasks.run import Run, describe
from tasks.steps import run_log

SHOWN = 30


@contextmanager
def told_if_failed(run: Run, wish: Wish, began_at: datetime) -> Iterator[None]:
    """Let a drill that fails be known: in the bucket, by an event, and by NOTIFY_METHOD.

    A run that was stopped, or had to wait for another, says nothing about a restore. Neither does a
    refusal that a person reads at once; of a scheduled drill nobody would read it.
    """
    try:
        yield
    except (Stopped, GroupBusy):
        raise
    except Exception as error:
        if wish.is_scheduled or not isinstance(error, (ConfigError, PointMissing, Refused)):
            _tell_failed(run, wish, began_at, describe(error))
        raise


def _tell_failed(run: Run, wish: Wish, began_at: datetime, fault: str) -> None:
    group = wish.asked.group
    _remember(
        wish.asked,
        Drill(
            run_id=run.id,
            began_at=began_at,
            ended_at=datetime.now(UTC),
            restore_point=wish.asked.point,
            fault=fault[:1000],
            host=socket.gethostname(),
        ),
    )
    reports.event("drill.failed", group, fault=fault[:1000])
    if wish.profile is not None:
        notify(wish.profile, "drill_failed", "error", fault[:1000], job_id=run.id)


def report_drill(run: Run, wish: Wish, began_at: datetime, document: dict[str, Any]) -> str:
    """Keep the record of a drill that passed, and show it in Prefect.

    Args:
        run: the drill's.
        wish: what it was asked to do.
        began_at: aware.
        document: what was restored (`tasks.restored.restored_document`); a record that cannot be
            kept is added to its warnings.

    Returns:
        The report in markdown.
    """
    group = wish.asked.group
    drill = Drill(
        run_id=run.id,
        began_at=began_at,
        ended_at=datetime.now(UTC),
        restore_point=document["restore_point"],
        size_bytes=document["write_bytes"],
        rto_s=document["rto_s"],
        host=socket.gethostname(),
    )
    history = _remember(wish.asked, drill)
    if history is None:
        document["warnings"].append("the drill passed, but the bucket does not keep its record")
    markdown = drilled_markdown(document, history or Drills((drill,)))
    remember_pace(document)
    reports.artifact(f"drill-{slug(group)}", markdown, "The newest drill, and those before it")
    reports.event("drill.completed", group, rto_s=document["rto_s"])
    return markdown


def _remember(asked: Asked, drill: Drill) -> Drills | None:
    """Keep a drill's record in the bucket; None if that was not possible, and the log says why."""
    try:
        return write_drill(open_source(configured(asked), asked), asked.group, drill)
    except FlashvaultError as error:  # a bucket that may only be read is enough for a drill
        run_log().warning("the record of this drill is not kept: %s", describe(error))
        return None


def drilled_markdown(document: dict[str, Any], history: Drills) -> str:
    """Show a drill and how long earlier ones took."""
    group = document["group"]
    lines = [
        f"## {group}: drill passed in {format_duration(document['rto_s'])}",
        "",
        f"Restore point `{document['restore_point']}`, taken {document['taken_at']}, was restored"
        f" onto scratch disks ({format_size(document['write_bytes'])}) and proven.",
        "",
    ]
    if svg := drill_chart(history.entries):
        lines += [as_image(svg, f"drills of {group}"), ""]
    lines += ["| when | restore point | size | RTO |", "|---|---|---:|---:|"]
    lines += [
        f"| {drill.ended_at.astimezone(UTC):%Y-%m-%d %H:%M} | `{drill.restore_point}` "
        f"| {format_size(drill.size_bytes)} | {format_duration(drill.rto_s)} |"
        if drill.has_passed
        else f"| {drill.ended_at.astimezone(UTC):%Y-%m-%d %H:%M} | | | **failed** |"
        for drill in list(reversed(history.entries))[:SHOWN]
    ]
    lines += [f"- **{warning}**" for warning in document["warnings"]]
    lines += looks_markdown(document["file_systems"])
    if document.get("probe"):
        lines += ["", "The probe said:", "", "```", document["probe"], "```"]
    return "\n".join(lines)
