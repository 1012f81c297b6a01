from datetime import time, timedelta

import pytest

from blocks.profile.model import BackupProfile, Configuration, Method
from deployments.schedules import (
    DASHBOARD,
    RESTORE_POOL,
    full_ticks,
    incremental_ticks,
    wanted_deployments,
    wanted_queues,
)

HOUR = timedelta(hours=1)


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
            "timezone": "Europe/Berlin",
        }
        | more
    )


@pytest.mark.parametrize("days", [1, 2, 30])
def test_a_full_is_looked_at_every_day_whatever_its_frequency(days):
    (tick,) = full_ticks(profile(backup_frequency=timedelta(days=days)))
    assert (tick.cron, tick.zone) == ("30 17 * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("hours", "days", "cron"),
    [
        (6, 1, "30 5,11,23 * * *"),
        (12, 1, "30 5 * * *"),
        (12, 2, "30 5,17 * * *"),
        (8, 1, "30 1,9 * * *"),
    ],
)
def test_incrementals_follow_the_clock_beside_the_full(hours, days, cron):
    asked = profile(incremental_frequency=hours * HOUR, backup_frequency=timedelta(days=days))
    (tick,) = incremental_ticks(asked)
    assert tick.cron == cron


@pytest.mark.parametrize("frequency", [5 * HOUR, timedelta(minutes=15), timedelta(seconds=30)])
def test_other_frequencies_are_intervals_from_a_fixed_moment(frequency):
    (tick,) = incremental_ticks(profile(incremental_frequency=frequency))
    assert tick.every == frequency
    assert f"{tick.anchor:%H:%M}" == "17:30"
    assert incremental_ticks(profile(incremental_frequency=frequency)) == (tick,)


def test_restores_have_their_own_pool_and_no_schedule():
    made = {item.name: item for item in wanted_deployments(Configuration(profiles=(profile(),)))}
    assert made["RG1-restore"].pool == RESTORE_POOL
    assert made["RG1-restore"].ticks == ()


def test_a_disabled_profile_is_paused_but_still_verified():
    off = Configuration(profiles=(profile(enabled=False),))
    made = {item.name: item for item in wanted_deployments(off)}
    assert made["RG1-full"].is_paused
    assert not made["RG1-verify"].is_paused
    assert not made["RG1-restore"].is_paused


def test_the_grace_is_a_parameter_of_the_deployment():
    asked = Configuration(profiles=(profile(grace_percent=25.0),))
    made = {item.name: item for item in wanted_deployments(asked)}
    assert made["RG1-full"].parameters == {"profile": "RG1", "mode": "full", "grace_percent": 25.0}


def test_one_dashboard_is_drawn_for_all_groups_beside_the_backups():
    both = Configuration(profiles=(profile(), profile(name="RG2")))
    (made,) = (item for item in wanted_deployments(both) if item.name == DASHBOARD)
    assert [tick.every for tick in made.ticks] == [timedelta(minutes=15)]
    assert made.pool == RESTORE_POOL, "no backlog of backups may hide how they stand"
    assert made.parameters == {}


def test_what_has_a_site_goes_to_its_queue_and_the_rest_anywhere():
    here, far = profile(), profile(name="RG2", site="kosice")
    made = {item.name: item for item in wanted_deployments(Configuration(profiles=(here, far)))}
    assert {made[name].queue for name in made if name.startswith("RG1-")} == {"default"}
    assert {made[name].queue for name in made if name.startswith("RG2-")} == {"kosice"}
    assert made["RG2-restore"].pool == RESTORE_POOL, "no backlog of the site's backups delays it"
    assert made["flashvault-reconcile"].queue == "default"
    assert made["flashvault-reconcile-kosice"].queue == "kosice"


def test_every_queue_that_needs_a_worker_is_known():
    far = profile(site="kosice", capture_workers=3)
    assert wanted_queues(Configuration(profiles=(far,))) == [
        ("flashvault", "kosice"),
        ("flashvault-capture", "kosice"),
        ("flashvault-restore", "default"),
        ("flashvault-restore", "kosice"),
    ]


def test_shares_have_a_pool_of_their_own_or_backups_would_wait_for_themselves():
    made = {
        item.name: item
        for item in wanted_deployments(Configuration(profiles=(profile(capture_workers=2),)))
    }
    share = made["RG1-capture"]
    assert (share.pool, share.limit, share.ticks) == ("flashvault-capture", None, ())
    assert "RG1-capture" not in {
        item.name for item in wanted_deployments(Configuration(profiles=(profile(),)))
    }


def test_a_drill_is_looked_at_daily_where_the_profile_asks_for_drills():
    asked = profile(drill_frequency=timedelta(days=30))
    made = {item.name: item for item in wanted_deployments(Configuration(profiles=(asked,)))}
    (tick,) = made["RG1-drill"].ticks
    assert (tick.cron, tick.zone) == ("30 5 * * *", "Europe/Berlin")
    assert tick.parameters == {"scheduled": True}
    assert made["RG1-drill"].parameters == {"group": "RG1"}, "a person's drill is made at once"


def test_without_drill_frequency_no_drill_is_scheduled():
    made = {item.name: item for item in wanted_deployments(Configuration(profiles=(profile(),)))}
    assert made["RG1-drill"].ticks == ()
