"""Alarms that need no living worker: what winds each up, and whom it tells."""

from datetime import timedelta
from uuid import uuid4

from prefect.events.actions import RunDeployment, SendNotification

from blocks.profile.model import BackupProfile, Configuration, Method
from deployments.automations import armed_by, wanted_automations
from deployments.schedules import ALARM

ALARM_ID, BLOCK = uuid4(), uuid4()
BACKUP, DRILL = "flashvault: RG1 overdue", "flashvault: RG1 drill overdue"


def wanted(**more):
    profile = BackupProfile(
        **{
            "name": "RG1",
            "enabled": True,
            "method": Method.CLOUD,
            "replicated_resources": "cg",
            "storage_names": ("svc1",),
            "bucket_name": "b",
            "notify_method": "/bin/tell",
        }
        | more
    )
    return wanted_automations(Configuration(profiles=(profile,)), {ALARM: ALARM_ID}, [BLOCK])


def test_without_drills_only_backups_can_be_overdue():
    assert BACKUP in wanted()
    assert DRILL not in wanted()


def test_a_drill_that_does_not_come_in_time_is_told_like_a_backup():
    switch = wanted(drill_frequency=timedelta(days=30))[DRILL]
    assert switch.trigger.expect == {"flashvault.drill.completed"}
    assert timedelta(days=30) < switch.trigger.within <= timedelta(days=31)
    run, told = sorted(switch.actions, key=lambda action: not isinstance(action, RunDeployment))
    assert run.deployment_id == ALARM_ID
    assert run.parameters["event"] == "drill_overdue"
    assert isinstance(told, SendNotification)
    assert "flashvault drill RG1" in told.body, "what to do next"


def test_making_one_switch_does_not_wind_up_the_other():
    made = wanted(drill_frequency=timedelta(days=30))
    assert armed_by(made[BACKUP]) == ["flashvault.policy.armed"]
    assert armed_by(made[DRILL]) == ["flashvault.policy.drill-armed"]
    assert not set(armed_by(made[DRILL])) & made[BACKUP].trigger.after
    assert armed_by(made["flashvault: a run failed"]) == []


def test_what_is_stored_of_a_disabled_group_is_drilled_all_the_same():
    made = wanted(enabled=False, drill_frequency=timedelta(days=30))
    assert BACKUP not in made
    assert DRILL in made
