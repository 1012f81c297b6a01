from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.catalog.point import Kind, RestorePoint
from blocks.catalog.shelf import Shelf, ShelvedPoint
from blocks.errors import CorruptData
from blocks.policy.mode import decide
from blocks.policy.overview import (
    Overview,
    Remote,
    State,
    next_due,
    overdue_window,
    overview,
    remote_overview,
)
from blocks.policy.schedule import slots
from blocks.profile.model import BackupProfile, Method
from blocks.units import KIB

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def profile(**more) -> BackupProfile:
    return BackupProfile(
        **{
            "name": "RG1",
            "enabled": True,
            "method": Method.CLOUD,
            "replicated_resources": "cg",
            "storage_names": ("storage1",),
            "bucket_name": "pha-bucket",
            "schedule": time(17, 30),
        }
        | more
    )


def shelved(taken_at: datetime, kind: Kind = Kind.FULL, **more) -> ShelvedPoint:
    point = RestorePoint.model_construct(
        id=f"{taken_at:%Y%m%d%H%M%S}",
        taken_at=taken_at,
        committed_at=taken_at,
        kind=kind,
        digest_algorithm="blake3",
        volumes=(
            SimpleNamespace(
                size_bytes=100, stored_bytes=7, changed_bytes=9, extent_bytes=256 * KIB
            ),
        ),
    )
    return ShelvedPoint(point, more.pop("stored_at", taken_at), **more)


def look(*points: ShelvedPoint, now: datetime = NOW, **more) -> Overview:
    asked = more.pop("profile", profile())
    return overview("RG1", asked, Shelf(points, **more), now)


def test_a_group_with_a_point_in_time_is_ok():
    row = look(shelved(NOW - 20 * HOUR), shelved(NOW - 2 * HOUR, Kind.INCREMENTAL))
    assert (row.state, len(row.history), row.stored_bytes) == (State.OK, 2, 14)
    assert row.age == 2 * HOUR
    assert row.is_good
    assert not row.is_overdue


def test_a_group_is_overdue_exactly_after_its_window():
    window = overdue_window(profile())
    taken = NOW - window
    assert look(shelved(taken)).state is State.OK
    late = look(shelved(taken), now=NOW + timedelta(seconds=1))
    assert late.state is State.OVERDUE
    assert late.overdue_at == NOW
    assert late.is_overdue
    assert not late.is_good


def test_a_group_never_backed_up_is_overdue_not_fine():
    row = look()
    assert row.state is State.NEVER
    assert row.is_overdue
    assert row.next_due == datetime(2026, 6, 1, 17, 30, tzinfo=UTC)


def test_neither_trash_nor_damage_nor_the_future_is_a_last_good_point():
    good = shelved(NOW - 3 * DAY)
    row = look(
        good,
        shelved(NOW - 3 * HOUR, is_damaged=True),
        shelved(NOW - 2 * HOUR, trashed_at=NOW),
        shelved(NOW + DAY, stored_at=NOW + DAY),
    )
    assert row.last is not None
    assert row.last.id == good.point.id
    assert row.state is State.OVERDUE
    assert row.damaged == 1
    assert len(row.history) == 3
    assert "1 damaged" in row.why
    assert "1 from the future" in row.why


def test_a_record_that_cannot_be_read_is_told():
    lost = SimpleNamespace(key="points/RG1/x.json", error=CorruptData("x"))
    assert look(shelved(NOW - HOUR), unreadable=(lost,)).why == "1 unreadable"


def test_a_disabled_profile_is_never_overdue():
    row = look(shelved(NOW - 90 * DAY), profile=profile(enabled=False))
    assert row.state is State.DISABLED
    assert row.next_due is None


def test_a_bucket_without_a_profile_shows_what_is_there():
    row = overview("RG1", None, Shelf((shelved(NOW - 90 * DAY),)), NOW)
    assert row.state is State.UNSCHEDULED
    assert row.age == 90 * DAY


@given(
    ago=st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=3)),
    days=st.integers(1, 4),
    hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_the_next_due_slot_is_the_first_at_which_a_full_is_decided(ago, days, hour, zone):
    asked = profile(schedule=time(hour, 15), backup_frequency=days * DAY, timezone=zone)
    last = shelved(NOW - ago)
    due = next_due(asked, last.point.taken_at, last.point.taken_at, NOW)
    ticks = slots(NOW - ago + timedelta(seconds=1), NOW + 20 * DAY, asked.schedule, zone)
    first = next(tick for tick in ticks if decide(asked, [last.point], tick, mode="full").kind)
    assert due == first


@pytest.mark.parametrize(("hours", "wanted"), [(6, 4), (1, -1)])
def test_an_incremental_may_be_due_before_the_full(hours, wanted):
    asked = profile(incremental_frequency=hours * HOUR, schedule=time(23, 0))
    assert next_due(asked, NOW - 13 * HOUR, NOW - 2 * HOUR, NOW) == NOW + wanted * HOUR


def test_a_remote_copy_counts_only_while_somebody_looks():
    asked = profile(
        method=Method.REMOTE_STORAGE,
        storage_names=("a", "b"),
        bucket_name="",
        backup_frequency=None,
    )
    fresh = Remote("in sync", NOW - DAY, NOW - timedelta(minutes=1), is_well=True)
    behind = Remote("stopped", NOW - DAY, NOW, is_well=False)
    old = Remote("in sync", NOW - DAY, NOW - HOUR, is_well=True)

    def state(remote: Remote | None) -> State:
        return remote_overview(asked, remote, NOW, timedelta(minutes=30)).state

    assert [state(r) for r in (fresh, behind, old, None)] == [
        State.OK,
        State.REMOTE,
        State.UNKNOWN,
        State.UNKNOWN,
    ]
