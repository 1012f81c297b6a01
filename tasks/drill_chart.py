"""Draw a group's drills over time: how long each restore took, how much it was, which failed."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.catalog.drills import Drill
from blocks.units import format_duration, format_size
from tasks.history_chart import INCREMENTAL, LIMIT, MOST, Panel, bar_charts


def drill_chart(drills: Sequence[Drill]) -> str:
    """Return the chart as SVG, or an empty string if there are fewer than two drills.

    A drill that failed has no time to show: it is a red bar as high as the longest of the others.

    Args:
        drills: of one group, oldest first.
    """
    drills = drills[-MOST:]
    if len(drills) < 2:
        return ""
    longest = max(drill.rto_s for drill in drills) or 1.0
    panels = (
        Panel(
            "recovery time (RTO)",
            [drill.rto_s if drill.has_passed else longest for drill in drills],
            format_duration,
        ),
        Panel("restored", [d.size_bytes if d.has_passed else None for d in drills], format_size),
    )
    colours = [INCREMENTAL if drill.has_passed else LIMIT for drill in drills]
    legend = {"passed": INCREMENTAL, "failed": LIMIT}
    return bar_charts(panels, [drill.ended_at for drill in drills], colours, legend)
