"""Draw the lag of a remote copy over time, as an SVG that fits into markdown as a data URI."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from html import escape
from itertools import pairwise

from blocks.units import format_duration
from tasks.remote_memory import Sample

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 30
LINE, LIMIT, TROUBLE, INK = "#2563eb", "#dc2626", "#fde68a", "#6b7280"


def lag_chart(samples: Sequence[Sample], rpo: timedelta | None = None) -> str:
    """Return the chart as SVG: lag in blue, the RPO in red, yellow where it was not in sync."""
    known = [sample for sample in samples if sample.lag_s is not None]
    if len(known) < 2:
        return ""
    first, last = samples[0].at.timestamp(), samples[-1].at.timestamp()
    span = max(last - first, 1.0)
    limit = rpo.total_seconds() if rpo else 0.0
    highest = max(*(sample.lag_s or 0.0 for sample in known), limit, 1.0) * 1.1

    def x(at: float) -> float:
        return LEFT + (at - first) / span * (WIDTH - LEFT - RIGHT)

    def y(lag_s: float) -> float:
        return HEIGHT - BOTTOM - lag_s / highest * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    floor, ceiling = HEIGHT - BOTTOM, TOP
    for before, after in pairwise(samples):
        if before.condition != "in sync":
            begin, end = x(before.at.timestamp()), x(after.at.timestamp())
            parts.append(
                f'<rect x="{begin:.1f}" y="{ceiling}" width="{end - begin:.1f}"'
                f' height="{floor - ceiling}" fill="{TROUBLE}"/>'
            )
    parts.append(
        f'<text x="{LEFT + 6}" y="{TOP + 10}" fill="{INK}">lag; yellow where not in sync</text>'
    )
    for share in (0.0, 0.5, 1.0):
        lag_s = highest * share / 1.1
        label = format_duration(lag_s) if lag_s else "0"
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(lag_s):.1f}" y2="{y(lag_s):.1f}"'
            f' stroke="#e5e7eb"/><text x="{LEFT - 6}" y="{y(lag_s) + 4:.1f}" text-anchor="end"'
            f' fill="{INK}">{escape(label)}</text>'
        )
    if limit:
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"'
            f' stroke="{LIMIT}" stroke-dasharray="5 3"/>'
            f'<text x="{WIDTH - RIGHT}" y="{y(limit) - 4:.1f}" text-anchor="end"'
            f' fill="{LIMIT}">RPO {escape(format_duration(limit))}</text>'
        )
    points = " ".join(f"{x(s.at.timestamp()):.1f},{y(s.lag_s or 0.0):.1f}" for s in known)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    for sample, anchor in ((samples[0], "start"), (samples[-1], "end")):
        parts.append(
            f'<text x="{x(sample.at.timestamp()):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}"'
            f' fill="{INK}">{sample.at:%Y-%m-%d %H:%M:%S} UTC</text>'
        )
    return "".join([*parts, "</svg>"])


def as_image(svg: str, text: str) -> str:
    """Return markdown that shows an SVG; the UI strips raw SVG, but takes it as an image."""
    return f"![{text}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
