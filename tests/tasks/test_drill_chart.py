"""The recovery time over time, as a picture that says which drills failed."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from blocks.catalog.drills import Drill
from tasks.drill_chart import drill_chart
from tasks.history_chart import INCREMENTAL, LIMIT

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def drill(day, rto_s=0.0, fault=""):
    at = NOW + timedelta(days=day)
    return Drill(
        run_id=str(day), began_at=at, ended_at=at, rto_s=rto_s, size_bytes=1 << 30, fault=fault
    )


def bars(svg, colour):
    """Return the heights of the bars of a colour, without the legend's square."""
    found = [e for e in ET.fromstring(svg).iter() if e.get("fill") == colour and e.get("height")]
    return [float(e.get("height")) for e in found if e.get("height") != "10"]


def test_a_bar_is_as_high_as_the_restore_was_long_and_failures_are_red():
    svg = drill_chart([drill(0, 60), drill(30, 120), drill(60, fault="no"), drill(90, 90)])
    times = bars(svg, INCREMENTAL)[:3]
    assert times[0] * 2 == times[1]
    assert times[0] * 1.5 == times[2]
    assert bars(svg, LIMIT) == [times[1]]
    assert "2m" in svg, "the scale is told"
    assert "2026-06-01" in svg
    assert "failed" in svg


def test_one_drill_is_no_history_and_failures_alone_are_drawn():
    assert drill_chart([drill(0, 60)]) == ""
    assert bars(drill_chart([drill(0, fault="a"), drill(1, fault="b")]), LIMIT)
