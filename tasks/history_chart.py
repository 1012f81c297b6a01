"""Draw a group's restore points over time: stored, duration, change rate and gap, as one SVG.

No background of its own and mid tones only, so that it is legible on the UI's light and dark theme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise

from blocks.catalog.point import Kind
from blocks.policy.overview import Kept
from blocks.units import format_duration, format_size

WIDTH, PANEL, GAP = 560, 96, 28
LEFT, RIGHT, TOP, BOTTOM = 84, 10, 26, 28
"""As wide as the UI's column for it, so that it is not made smaller."""

INK, GRID = "#7d8590", "#7d859055"
FULL, INCREMENTAL, LIMIT = "#3b82f6", "#14a08a", "#e0564a"
MOST = 400
"""Points drawn at most: more bars than these would be thinner than a pixel."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart: a value of each point; None where it has none."""

    title: str
    values: Sequence[float | None]
    show: Callable[[float], str]
    limit: float = 0.0


def history_chart(points: Sequence[Kept], limit: timedelta | None = None) -> str:
    """Return the chart as SVG, or an empty string if there are fewer than two points.

    Args:
        points: of one group, oldest first.
        limit: how long the next restore point may take before it is overdue.
    """
    points = points[-MOST:]
    if len(points) < 2:
        return ""
    colours = [FULL if point.kind is Kind.FULL else INCREMENTAL for point in points]
    legend = {"full": FULL, "incremental": INCREMENTAL}
    return bar_charts(panels_of(points, limit), [p.taken_at for p in points], colours, legend)


def bar_charts(
    panels: Sequence[Panel],
    moments: Sequence[datetime],
    colours: Sequence[str],
    legend: Mapping[str, str],
) -> str:
    """Return panels of bars over the same time, one below the other, as SVG.

    Args:
        panels: each has a value for every moment.
        moments: of the bars, oldest first, at least two.
        colours: of the bars.
        legend: name → colour.
    """
    height = TOP + len(panels) * (PANEL + GAP) + BOTTOM
    first, last = moments[0].timestamp(), moments[-1].timestamp()
    span = max(last - first, 1.0)
    bar = max(1.0, min(8.0, (WIDTH - LEFT - RIGHT) / len(moments) * 0.6))
    xs = [
        LEFT + bar / 2 + (at.timestamp() - first) / span * (WIDTH - LEFT - RIGHT - bar)
        for at in moments
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13"'
        f' fill="{INK}">',
        *_legend(legend),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, colours, xs, bar, TOP + number * (PANEL + GAP))
    for x, anchor, at in ((LEFT, "start", moments[0]), (WIDTH - RIGHT, "end", moments[-1])):
        parts.append(
            f'<text x="{x}" y="{height - 10}" text-anchor="{anchor}">{at:%Y-%m-%d %H:%M} UTC</text>'
        )
    return "".join([*parts, "</svg>"])


def panels_of(points: Sequence[Kept], limit: timedelta | None) -> tuple[Panel, ...]:
    """Return what is drawn, one value for each point."""
    return (
        Panel("stored by each restore point", [p.stored_bytes for p in points], format_size),
        Panel("from snapshot to restore point", [_took(p) for p in points], format_duration),
        Panel("change rate, per day", _change_rates(points), _percent),
        Panel(
            "since the restore point before",
            [None, *(_apart(before, after) for before, after in pairwise(points))],
            format_duration,
            limit.total_seconds() if limit else 0.0,
        ),
    )


def _percent(share: float) -> str:
    return f"{share:.2g} %" if share < 10 else f"{share:,.0f} %"


def _took(point: Kept) -> float:
    return max((point.committed_at - point.taken_at).total_seconds(), 0.0)


def _apart(before: Kept, after: Kept) -> float:
    return max((after.taken_at - before.taken_at).total_seconds(), 0.0)


def _change_rates(points: Sequence[Kept]) -> list[float | None]:
    """Return percent of the data changed per day; a full says nothing about that."""
    rates: list[float | None] = [None]
    for before, after in pairwise(points):
        apart = _apart(before, after)
        is_known = after.kind is Kind.INCREMENTAL and apart and after.size_bytes
        rates.append(
            100.0 * after.changed_bytes / after.size_bytes / (apart / 86400) if is_known else None
        )
    return rates


def _panel(
    panel: Panel, colours: Sequence[str], xs: Sequence[float], bar: float, top: float
) -> list[str]:
    known = [value for value in panel.values if value is not None]
    highest = max(*known, panel.limit, 0.0) if known else 0.0
    floor = top + PANEL
    scale = (PANEL - 22) / highest if highest else 0.0
    parts = [
        f'<text x="{LEFT}" y="{top + 10}" font-weight="bold">{escape(panel.title)}</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="{GRID}"/>',
    ]
    if not highest:
        return [*parts, f'<text x="{LEFT}" y="{floor - 6}">nothing yet</text>']
    for share in (0.5, 1.0):
        y = floor - highest * share * scale
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(panel.show(highest * share))}</text>"
        )
    for colour, x, value in zip(colours, xs, panel.values, strict=True):
        if value is None:
            continue
        tall = max(value * scale, 1.0)
        parts.append(
            f'<rect x="{x - bar / 2:.1f}" y="{floor - tall:.1f}" width="{bar:.1f}"'
            f' height="{tall:.1f}" fill="{colour}"/>'
        )
    if panel.limit:
        y = floor - panel.limit * scale
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LIMIT}"'
            f' stroke-dasharray="5 3"/><text x="{WIDTH - RIGHT}" y="{y - 4:.1f}"'
            f' text-anchor="end" fill="{LIMIT}">overdue after'
            f" {escape(format_duration(panel.limit))}</text>"
        )
    return parts


def _legend(legend: Mapping[str, str]) -> list[str]:
    parts, x = [], LEFT
    for name, colour in legend.items():
        parts.append(
            f'<rect x="{x}" y="5" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 14}" y="14">{name}</text>'
        )
        x += 26 + 8 * len(name)
    return parts
