"""When a drill is due, and what is wrong when none passes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from blocks.catalog.drills import Drill, Drills
from blocks.policy.drilling import drill_fault, drill_window, why_no_drill
from blocks.policy.schedule import slots
from blocks.profile.model import BackupProfile, Method

NOW = datetime(2026, 6, 1, 5, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def profile(days: int | None = 30, **more) -> BackupProfile:
    return BackupProfile(
        name="RG1",
        enabled=True,
        method=Method.CLOUD,
        replicated_resources="cg",
        storage_names=("svc1",),
        bucket_name="b",
        drill_frequency=None if days is None else timedelta(days=days),
        **more,
    )


def drills(*ago: float, failed: float | None = None) -> Drills:
    made = [_drill(NOW - DAY * days) for days in ago]
    if failed is not None:
        made.append(_drill(NOW - DAY * failed, fault="the probe of RG1 ended with 1"))
    return Drills(tuple(sorted(made, key=lambda drill: drill.began_at)))


def _drill(at: datetime, fault: str = "") -> Drill:
    return Drill(run_id=str(at), began_at=at, ended_at=at + timedelta(hours=1), fault=fault)


def test_the_first_drill_is_due_at_once_and_the_next_after_the_frequency():
    assert why_no_drill(profile(), drills(), NOW) == ""
    assert "not due" in why_no_drill(profile(), drills(29), NOW)
    assert why_no_drill(profile(), drills(30), NOW) == ""


def test_without_a_frequency_no_drill_is_due():
    assert "DRILL_FREQUENCY" in why_no_drill(profile(None), drills(), NOW)


def test_a_failed_drill_is_tried_again_at_the_next_tick():
    assert why_no_drill(profile(), drills(31, failed=1), NOW) == ""


def test_over_two_years_every_drill_comes_in_its_time_and_none_is_overdue():
    asked = profile(7, timezone="Europe/Berlin")
    passed: list[Drill] = []
    end = NOW + 730 * DAY
    for tick in slots(NOW, end, time(5, 30), "Europe/Berlin"):
        assert drill_fault(asked, Drills(tuple(passed)), NOW, tick) == ""
        if not why_no_drill(asked, Drills(tuple(passed)), tick):
            passed.append(_drill(tick))
    assert len(passed) == 105


def test_a_drill_that_failed_last_is_a_fault_until_one_passes():
    assert "the probe of RG1" in drill_fault(profile(), drills(2, failed=1), NOW - 90 * DAY, NOW)
    assert drill_fault(profile(), drills(1, failed=2), NOW - 90 * DAY, NOW) == ""


def test_none_for_too_long_is_a_fault_that_says_what_to_do():
    told = drill_fault(profile(), drills(40), NOW - 90 * DAY, NOW)
    assert told == "no drill has passed since 2026-04-22: flashvault drill RG1"
    assert drill_fault(profile(), drills(30), NOW - 90 * DAY, NOW) == ""


def test_a_new_group_has_the_whole_window_for_its_first_drill():
    window = drill_window(profile())
    assert window is not None
    assert drill_fault(profile(), drills(), NOW - window, NOW) == ""
    told = drill_fault(profile(), drills(), NOW - window - timedelta(seconds=1), NOW)
    assert told == "no drill has passed ever: flashvault drill RG1"
    assert drill_fault(profile(), drills(), None, NOW) == "", (
        "without a point nothing can be drilled"
    )


def test_without_a_frequency_nobody_is_told_of_drills():
    assert drill_window(profile(None)) is None
    assert drill_fault(profile(None), drills(failed=1), NOW - 90 * DAY, NOW) == ""
