"""Sixty days of schedules, run by run: what Prefect would start, and what policy makes of it.

The expected lists are in tests/golden/schedules; `pytest -s` prints them.
"""

import asyncio
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

from blocks.catalog.point import RestorePoint
from blocks.policy.mode import decide
from blocks.profile.model import BackupProfile, Method
from blocks.units import KIB
from deployments.schedules import full_ticks, incremental_ticks

GOLDEN = Path(__file__).parents[1] / "golden" / "schedules"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def profile(zone: str = "UTC", **more) -> BackupProfile:
    return BackupProfile(
        **{
            "name": "RG1",
            "enabled": True,
            "method": Method.CLOUD,
            "replicated_resources": "cg",
            "storage_names": ("storage1",),
            "bucket_name": "pha-bucket",
            "schedule": time(17, 30),
            "timezone": zone,
        }
        | more
    )


def dates(tick, start: datetime, end: datetime) -> list[datetime]:
    """When Prefect's own scheduler starts a run for a tick."""
    if tick.every is None:
        schedule = CronSchedule(cron=tick.cron, timezone=tick.zone)
    else:
        schedule = IntervalSchedule(
            interval=tick.every, anchor_date=tick.anchor, timezone=tick.zone
        )
    found = asyncio.run(schedule.get_dates(n=5000, start=start, end=end))
    return [datetime.fromtimestamp(date.timestamp(), UTC) for date in found]


def simulate(asked: BackupProfile, start: datetime, end: datetime, away=()) -> list[str]:
    """Run every tick through the gate; runs due while the host was away start when it is back.

    They all start then, in no order (of one deployment only one goes on): here the incremental
    first, which is the harder case.
    """
    ticks = [(at, "full") for tick in full_ticks(asked) for at in dates(tick, start, end)]
    if asked.incremental_frequency:
        for tick in incremental_ticks(asked):
            ticks += [(at, "incremental") for at in dates(tick, start, end)]
    runs: dict[tuple[datetime, str], None] = {}
    for at, mode in ticks:
        back = next((until for since, until in away if since <= at < until), None)
        runs[(back or at, mode)] = None
    home = ZoneInfo(asked.timezone)
    points: list[RestorePoint] = []
    printed = []
    for at, mode in sorted(runs, key=lambda run: (run[0], run[1] == "full")):
        now = at + timedelta(seconds=7)
        decision = decide(asked, points[-40:], now, mode=mode)
        if decision.kind is None:
            did = f"skipped ({decision.reason})"
        else:
            did = decision.kind.value + (" (catch-up)" if decision.is_catch_up else "")
            points.append(
                RestorePoint.model_construct(
                    id=f"{now:%Y%m%d%H%M}{mode}",
                    taken_at=now,
                    kind=decision.kind,
                    volumes=(SimpleNamespace(extent_bytes=256 * KIB),),
                    digest_algorithm="blake3",
                )
            )
        printed.append(f"{at.astimezone(home):%a %Y-%m-%d %H:%M %Z}  {mode:11}  {did}")
    return printed


def compare(name: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    sys.stdout.write(f"\n{name}\n{text}")
    assert text == (GOLDEN / f"{name}.txt").read_text()


def made(lines: list[str]) -> list[str]:
    return [line for line in lines if "skipped" not in line]


def test_daily_with_six_hourly_incrementals():
    asked = profile(incremental_frequency=6 * HOUR)
    start = datetime(2026, 1, 10, tzinfo=UTC)
    lines = simulate(asked, start, start + 60 * DAY)
    compare("daily-1730-and-6-hourly", lines)
    days = [start + number * DAY for number in range(60)]
    # Until the first full there is nothing to build on.
    expected = [f"{d:%Y-%m-%d} {at}" for d in days for at in ("05:30", "11:30", "17:30", "23:30")]
    assert [line[4:20] for line in made(lines)] == expected[2:]


def test_every_two_days_across_a_month_end():
    asked = profile(backup_frequency=2 * DAY)
    start = datetime(2026, 1, 10, tzinfo=UTC)
    lines = simulate(asked, start, start + 60 * DAY)
    compare("every-2-days", lines)
    assert [line[4:20] for line in made(lines)] == [
        f"{start + number * DAY:%Y-%m-%d} 17:30" for number in range(0, 60, 2)
    ]


@pytest.mark.parametrize(
    ("season", "start"),
    [("spring", datetime(2026, 3, 1, tzinfo=UTC)), ("autumn", datetime(2026, 10, 1, tzinfo=UTC))],
)
def test_berlin_across_both_clock_changes(season, start):
    asked = profile("Europe/Berlin", incremental_frequency=6 * HOUR)
    lines = simulate(asked, start, start + 60 * DAY)
    compare(f"berlin-{season}", lines)
    fulls = [line for line in made(lines) if "  full" in line[24:]]
    assert {line[15:20] for line in fulls} == {"17:30"}
    assert len(fulls) == 60
    # Not one incremental is lost on the night of 23 hours, nor made twice on that of 25.
    assert len(made(lines)) in {60 * 4 - 1, 60 * 4 - 2}
    assert not [line for line in lines[4:] if "skipped" in line]


@pytest.mark.parametrize("at", ["02:00", "02:30", "03:00"])
def test_berlin_at_the_hour_that_changes(at):
    hour, minute = map(int, at.split(":"))
    asked = profile("Europe/Berlin", schedule=time(hour, minute))
    for start in (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)):
        lines = simulate(asked, start, start + 60 * DAY)
        days = [datetime.fromisoformat(line[4:14]) for line in made(lines)]
        # Every day has one, whichever way Prefect takes the hour that is not or is twice.
        assert days == [days[0] + number * DAY for number in range(len(days))]
        assert len(days) >= 60
        assert len(lines) == len(days)


def test_a_host_that_is_off_for_three_days_makes_up_once():
    asked = profile(incremental_frequency=6 * HOUR)
    start = datetime(2026, 1, 10, tzinfo=UTC)
    since, until = datetime(2026, 2, 1, 12, tzinfo=UTC), datetime(2026, 2, 4, 12, tzinfo=UTC)
    lines = simulate(asked, start, start + 60 * DAY, away=[(since, until)])
    compare("off-for-3-days", lines)
    assert [line for line in made(lines) if "catch-up" in line] == [
        "Wed 2026-02-04 12:00 UTC  incremental  full (catch-up)"
    ]
    back = [line for line in lines if line[4:14] in {"2026-02-04", "2026-02-05"}]
    assert [line[15:20] for line in made(back)] == [
        "12:00",
        "23:30",
        "05:30",
        "11:30",
        "17:30",
        "23:30",
    ]
