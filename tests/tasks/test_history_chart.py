from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from blocks.catalog.point import Kind, PointId
from blocks.policy.overview import Kept
from tasks import history_chart as chart

EPOCH = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def kept(hours: float, kind: Kind = Kind.INCREMENTAL, **more) -> Kept:
    at = EPOCH + hours * HOUR
    return Kept(
        **{
            "id": PointId(f"P{hours}"),
            "kind": kind,
            "taken_at": at,
            "effective_at": at,
            "committed_at": at + timedelta(seconds=30),
            "size_bytes": 1000,
            "stored_bytes": 10,
            "changed_bytes": 20,
        }
        | more
    )


def test_every_point_has_its_values():
    points = [kept(0, Kind.FULL), kept(6), kept(18, stored_bytes=50, changed_bytes=100)]
    stored, took, rate, apart = chart.panels_of(points, None)
    assert list(stored.values) == [10, 10, 50]
    assert list(took.values) == [30, 30, 30]
    assert list(rate.values) == [None, pytest.approx(8.0), pytest.approx(20.0)]
    assert list(apart.values) == [None, 6 * 3600, 12 * 3600]


def test_it_is_an_svg_with_a_bar_for_each_value_and_the_limit():
    points = [kept(0, Kind.FULL), kept(6), kept(18)]
    root = etree.fromstring(chart.history_chart(points, 7 * HOUR).encode())
    bars = [e for e in root.iter("{*}rect") if float(e.get("y")) > 10]
    assert len(bars) == 3 + 3 + 2 + 2
    assert "overdue after 7h 00m" in "".join(root.itertext())
    width, height = float(root.get("width")), float(root.get("height"))
    for bar in bars:
        left, top = float(bar.get("x")), float(bar.get("y"))
        assert 0 <= left <= width - float(bar.get("width"))
        assert 0 <= top <= height - float(bar.get("height"))


def test_one_point_is_no_history_and_equal_times_are_drawn():
    assert chart.history_chart([kept(0)]) == ""
    assert chart.history_chart([kept(0), kept(0)])


@pytest.mark.parametrize("colour", [chart.INK, chart.FULL, chart.INCREMENTAL, chart.LIMIT])
def test_every_colour_is_seen_on_white_and_on_the_dark_theme(colour):
    for ground in ("#ffffff", "#0f1115"):
        assert contrast(colour, ground) >= 3.0
    assert not re.search(r"<rect[^>]*fill=.#fff", chart.history_chart([kept(0), kept(1)]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
