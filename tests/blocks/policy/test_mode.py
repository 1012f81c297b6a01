import itertools
import random
from datetime import UTC, datetime, time, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from blocks.catalog.point import Kind, RestorePoint
from blocks.host.base import GroupState
from blocks.policy.mode import Decision, decide, obstacle
from blocks.policy.schedule import elapsed, grace_of, slots
from blocks.profile.model import BackupProfile, Encryption, Method
from blocks.units import KIB

NOW = datetime(2026, 6, 1, 17, 30, 5, tzinfo=UTC)
CALM = {"start": datetime(2026, 1, 1, tzinfo=UTC), "outages": [], "seed": 0}
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
            "incremental_frequency": timedelta(hours=6),
        }
        | more
    )


def point(taken_at: datetime, kind: Kind = Kind.FULL, *, name: str = "", **more) -> RestorePoint:
    return RestorePoint.model_construct(
        id=name or f"{taken_at:%Y%m%d%H%M%S}",
        taken_at=taken_at,
        kind=kind,
        volumes=(SimpleNamespace(extent_bytes=more.pop("extent_bytes", 256 * KIB)),),
        digest_algorithm=more.pop("digest_algorithm", "blake3"),
    )


def test_nothing_there_means_a_full():
    for mode in ("auto", "full"):
        assert decide(profile(), [], NOW, mode=mode).kind is Kind.FULL


def test_a_scheduled_incremental_waits_for_the_first_full():
    decision = decide(profile(), [], NOW, mode="incremental")
    assert decision.kind is None
    assert decision.reason == "waits for the first full backup at 17:30"


def test_a_full_in_time_is_due_and_one_too_soon_is_skipped():
    yesterday = [point(NOW - DAY + timedelta(minutes=5))]
    assert decide(profile(), yesterday, NOW, mode="full").kind is Kind.FULL
    today = [point(NOW - 3 * HOUR)]
    decision = decide(profile(), today, NOW, mode="full")
    assert decision.kind is None
    assert decision.reason == "not due: the last full is 3h 00m old, every 24h 00m"


def test_force_makes_it_all_the_same():
    today = [point(NOW - 3 * HOUR)]
    assert decide(profile(), today, NOW, mode="full", force=True) == Decision(Kind.FULL, "forced")
    forced = decide(profile(), today, NOW, mode="incremental", force=True)
    assert forced.kind is Kind.INCREMENTAL


def test_a_disabled_profile_does_nothing_even_by_force():
    for mode in ("auto", "full", "incremental"):
        assert decide(profile(enabled=False), [], NOW, mode=mode, force=True).kind is None


def test_an_incremental_builds_on_the_newest_point():
    points = [point(NOW - 20 * HOUR), point(NOW - 7 * HOUR, Kind.INCREMENTAL, name="new")]
    decision = decide(profile(), points, NOW - HOUR, mode="incremental")
    assert (decision.kind, decision.parent) == (Kind.INCREMENTAL, "new")


def test_an_incremental_too_soon_after_any_backup_is_skipped():
    points = [point(NOW - 10 * HOUR), point(NOW - HOUR, Kind.INCREMENTAL)]
    assert decide(profile(), points, NOW, mode="incremental").kind is None


def test_an_incremental_steps_aside_at_the_time_of_the_full():
    points = [point(NOW - DAY), point(NOW - 6 * HOUR, Kind.INCREMENTAL)]
    decision = decide(profile(), points, NOW, mode="incremental")
    assert decision.kind is None
    assert decision.reason == "the full backup of 17:30 takes its place"


def test_an_incremental_makes_up_for_a_missed_full():
    points = [point(NOW - 2 * DAY), point(NOW - 30 * HOUR, Kind.INCREMENTAL)]
    decision = decide(profile(), points, NOW + 2 * HOUR, mode="incremental")
    assert decision.kind is Kind.FULL
    assert decision.is_catch_up


def test_a_damaged_point_is_not_built_upon_and_not_counted():
    points = [point(NOW - 10 * HOUR, name="bad")]
    assert decide(profile(), points, NOW, mode="full", distrusted={"bad"}).kind is Kind.FULL
    points.append(point(NOW - 7 * HOUR, Kind.INCREMENTAL, name="worse"))
    points.append(point(NOW - 12 * HOUR, name="good"))
    decision = decide(
        profile(), points, NOW - HOUR, mode="incremental", distrusted={"bad", "worse"}
    )
    assert decision.parent == "good"


def test_with_every_full_damaged_an_incremental_makes_a_full_and_does_not_wait():
    points = [point(NOW - 7 * HOUR, name="bad")]
    now = NOW - HOUR
    assert decide(profile(), points, now, mode="incremental", distrusted=()).parent == "bad"
    decision = decide(profile(), points, now, mode="incremental", distrusted={"bad"})
    assert (decision.kind, decision.parent) == (Kind.FULL, None)
    assert decision.reason == "what is stored is damaged"
    assert decision.warnings


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"extent_bytes": 1024 * KIB}, "EXTENT_SIZE changed"),
        ({"digest_algorithm": "blake3-keyed"}, "ENCRYPTION changed"),
    ],
)
def test_a_parent_that_does_not_fit_means_a_full_and_a_warning(changed, words):
    points = [point(NOW - 7 * HOUR, **changed)]
    decision = decide(profile(), points, NOW, mode="incremental")
    assert decision.kind is Kind.FULL
    assert words in decision.warnings[0]


def test_switching_to_our_own_encryption_means_a_full():
    points = [point(NOW - 7 * HOUR)]
    asked = profile(encryption=Encryption.CLIENT)
    assert decide(asked, points, NOW, mode="incremental").kind is Kind.FULL


def test_a_point_from_the_future_never_stops_backups():
    points = [point(NOW + 3650 * DAY, name="2036"), point(NOW - 7 * HOUR)]
    decision = decide(profile(), points, NOW + 17 * HOUR, mode="full")
    assert decision.kind is Kind.FULL
    assert "2036" in decision.warnings[0]


def test_a_deployments_own_grace_wins():
    points = [point(NOW - 20 * HOUR)]
    assert decide(profile(), points, NOW, mode="full").kind is None
    assert decide(profile(), points, NOW, mode="full", grace_percent=20).kind is Kind.FULL


def test_auto_without_incrementals_makes_fulls_only():
    asked = profile(incremental_frequency=None)
    assert decide(asked, [point(NOW - 7 * HOUR)], NOW).kind is None
    assert decide(asked, [point(NOW - DAY)], NOW).kind is Kind.FULL


def test_only_an_online_group_of_a_stable_cluster_is_backed_up():
    assert obstacle(GroupState.ONLINE) == ""
    assert "not stable" in obstacle(GroupState.ONLINE, is_cluster_stable=False)
    for state in set(GroupState) - {GroupState.ONLINE}:
        assert "not ONLINE" in obstacle(state)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    days=st.integers(1, 20),
    percent=st.floats(0, 20),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    at=st.times(),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    outages=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 30)), max_size=4),
    seed=st.integers(0, 9),
)
@example(days=1, percent=0.0, zone="Europe/Berlin", at=time(2, 30), **CALM)
@example(days=1, percent=1.0, zone="Australia/Lord_Howe", at=time(2, 15), **CALM)
def test_over_two_years_of_daily_ticks_nothing_is_missed_and_nothing_done_twice(
    days, percent, zone, at, start, outages, seed
):
    at = at.replace(second=0, microsecond=0)
    every = days * DAY
    asked = profile(schedule=at, timezone=zone, backup_frequency=every, grace_percent=percent)
    grace = grace_of(every, percent)
    away = {day + more for day, length in outages for more in range(length)}
    chance = random.Random(seed)
    made: list[RestorePoint] = []
    catch_ups = 0
    for number, tick in enumerate(slots(start, start + 730 * DAY, at, zone)):
        if number in away:
            continue
        now = tick + timedelta(seconds=chance.uniform(0, 55))
        last = made[-1].taken_at if made else None
        decision = decide(asked, made[-3:], now, mode="full")
        if last is not None:
            _, longer = elapsed(last, now, zone)
            assert (decision.kind is None) == (longer < every - grace)
        if decision.kind is not None:
            made.append(point(now, name=str(number)))
            catch_ups += decision.is_catch_up
            # Done again in the same minutes, as two schedulers would: nothing.
            again = decide(asked, made[-3:], now + timedelta(minutes=3), mode="full")
            assert again.kind is None
    gaps = [
        elapsed(before.taken_at, after.taken_at, zone) for before, after in itertools.pairwise(made)
    ]
    minute = timedelta(minutes=1)
    assert all(longer >= every - grace for _, longer in gaps)
    # Every gap that is longer than the frequency is one outage's, and one catch-up follows it.
    late = [shorter for shorter, _ in gaps if shorter >= every + grace]
    assert catch_ups == len(late) <= len(outages)
    if not outages:
        near = HOUR + minute
        assert all(shorter - near <= every <= longer + near for shorter, longer in gaps)
