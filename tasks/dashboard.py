"""The screen people keep open: all groups in one artifact, and a chart of each one's history.

Rendered anew from the buckets every time; Prefect's vacuum may delete any of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from prefect.artifacts import Artifact
from prefect.context import FlowRunContext

from blocks.policy.overview import Overview, State, overdue_window
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.units import counted, format_size, slug
from tasks import reports
from tasks.asking import ask
from tasks.history_chart import history_chart
from tasks.lag_chart import as_image
from tasks.overview import cells, document, gather, headline, worst_first
from tasks.steps import CONTROL_S, step

DASHBOARD_KEY = "flashvault-dashboard"

SIGNS = {
    State.OK: "🟢",
    State.UNSCHEDULED: "⚪",
    State.DISABLED: "⚪",
    State.UNPROVEN: "🔴",
    State.NEVER: "🔴",
    State.OVERDUE: "🔴",
    State.REMOTE: "🔴",
    State.UNKNOWN: "🟡",
}
"""With the state in words beside them: nobody has to tell red from green."""

NBSP = "\N{NO-BREAK SPACE}"
FAR = timedelta(days=300)

log = logging.getLogger(__name__)


@step(name="look-and-draw", timeout_s=CONTROL_S)
def draw(wanted: Configuration) -> dict[str, Any]:
    """Write the dashboard, and a chart of each group with new restore points.

    Returns:
        `headline`, `markdown`, and the rows as documents: what was read stays here.
    """
    now = datetime.now(UTC)
    rows = gather(wanted, now)
    markdown = dashboard_markdown(rows, now)
    reports.artifact(DASHBOARD_KEY, markdown, headline(rows))
    clouds = {p.name: p for p in wanted.profiles if p.method == Method.CLOUD}
    drawn = sum(_draw_history(row, clouds.get(row.group)) for row in rows)
    return {
        "headline": headline(rows),
        "markdown": markdown,
        "charts_drawn": drawn,
        "groups": [document(row) for row in rows],
    }


def dashboard_markdown(rows: Sequence[Overview], at: datetime) -> str:
    """Show all groups as a table, those that need somebody first.

    The UI has room for half a dozen short columns beside its own: the rest is in the last one.
    """
    stored = sum(row.stored_bytes for row in rows)
    markdown = [
        f"## {headline(rows)}",
        "",
        f"As of {at:%Y-%m-%d %H:%M} UTC, from the buckets; {format_size(stored)} stored."
        " All times are UTC.",
        "",
        "| | state | group | last good | next due | restore points | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in worst_first(rows):
        told = [
            SIGNS[row.state],
            str(row.state) if row.is_good else f"**{row.state}**",
            _cell(row.group),
            _moment(row.last.taken_at if row.last else None, at),
            _moment(row.next_due, at),
            f"{len(row.history)}, {format_size(row.stored_bytes)}".replace(" ", NBSP)
            if row.history
            else "",
            _cell(_more(row)),
        ]
        markdown.append("| " + " | ".join(told) + " |")
    return "\n".join(markdown)


def _more(row: Overview) -> str:
    told = cells(row)
    named = ("remote", "verified", "last drill", "now")
    return "; ".join(
        [*filter(None, [told["note"]]), *(f"{name}: {told[name]}" for name in named if told[name])]
    )


def _moment(moment: datetime | None, now: datetime) -> str:
    """Print a time so that it stays on one line; the year only if it is far away."""
    if moment is None:
        return ""
    form = "%d %b %H:%M" if abs(now - moment) < FAR else "%d %b %Y"
    return moment.astimezone(UTC).strftime(form).replace(" ", NBSP)


def history_markdown(row: Overview, profile: BackupProfile | None) -> str:
    """Show a group's restore points as a chart, or an empty string if there are too few."""
    limit = overdue_window(profile) if profile and profile.enabled else None
    svg = history_chart(row.history, limit)
    if not svg:
        return ""
    return f"## {row.group}\n\n{as_image(svg, f'history of {row.group}')}\n"


def _draw_history(row: Overview, profile: BackupProfile | None) -> int:
    markdown = history_markdown(row, profile)
    if not markdown or FlowRunContext.get() is None:
        return 0
    key = f"history-{slug(row.group)}"
    # Restore points come hourly at most, this runs every quarter: the same chart is not sent twice.
    told = f"{counted(len(row.history), 'restore point')}, the newest {row.history[-1].id}"
    try:
        standing = cast("Artifact | None", ask(lambda: Artifact.get(key)))
    except Exception as error:  # noqa: BLE001 - a report, as in tasks.reports
        log.warning("artifact %s not read: %s", key, error)
        return 0
    if standing is not None and standing.description == told:
        return 0
    reports.artifact(key, markdown, told)
    return 1


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
