"""What Prefect's server does by itself: alarms that need no living worker, and clearing up.

The overdue alarm is a dead man's switch on the server: every restore point winds it up again
(event `flashvault.backup.completed`), and so does `flashvault apply` when it makes the switch
(`flashvault.policy.armed`), or a group that never completed a backup would never be noticed. Drills
have a switch of their own, where DRILL_FREQUENCY asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.events.actions import ActionTypes, DoNothing, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from blocks.policy.drilling import drill_window
from blocks.policy.overview import overdue_window
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.units import format_duration, slug
from deployments.schedules import ALARM, RECONCILE, sites

ARMED = "flashvault.policy.armed"
COMPLETED = "flashvault.backup.completed"
DRILL_ARMED = "flashvault.policy.drill-armed"
DRILLED = "flashvault.drill.completed"
PREFIX = "flashvault: "
HEARTBEAT_LOST = timedelta(minutes=10)
"""Three times Prefect's heartbeat, and a little: it reports false alarms, so the answer is a look
by the reconcile flow, never a changed state."""

Deployments = Mapping[str, UUID]


def resource_of(group: str) -> str:
    """Return the resource that events about a resource group are about."""
    return f"flashvault.group.{slug(group)}"


def wanted_automations(
    configuration: Configuration, deployments: Deployments, alarm_blocks: Sequence[UUID]
) -> dict[str, AutomationCore]:
    """Return every automation by its name.

    Args:
        configuration: what is wanted.
        deployments: the ids of deployments by name; those not there get no automation.
        alarm_blocks: Prefect notification blocks that are told of alarms.
    """
    clouds = [profile for profile in configuration.profiles if profile.method == Method.CLOUD]
    found = [_overdue(profile, deployments, alarm_blocks) for profile in clouds if profile.enabled]
    found.extend(
        _drill_overdue(profile, window, deployments, alarm_blocks)
        for profile in clouds
        if (window := drill_window(profile)) is not None
    )
    found.extend(_failed(alarm_blocks))
    # One for each site: only a backup host knows what is left on it, and died on it.
    names = [RECONCILE, *(f"{RECONCILE}-{site}" for site in sites(configuration))]
    if looks := [deployments[name] for name in names if name in deployments]:
        found.extend(_crashed(looks))
    return {automation.name: automation for automation in found}


def _overdue(
    profile: BackupProfile, deployments: Deployments, alarm_blocks: Sequence[UUID]
) -> AutomationCore:
    within = overdue_window(profile)
    long = format_duration(within.total_seconds())
    subject = f"Backup of {profile.name} is overdue"
    body = (
        f"Resource group {profile.name} has had no new restore point for {long}. "
        f"Look at `flashvault query runs RG_NAME={profile.name}`, and whether the worker is alive."
    )
    told = {"detail": f"no restore point for {long}"}
    answers = _answers(profile, subject, body, told, deployments, alarm_blocks)
    description = f"No restore point of {profile.name} for {long}."
    return _dead_man(profile, "overdue", description, within, ARMED, COMPLETED, answers)


def _drill_overdue(
    profile: BackupProfile,
    within: timedelta,
    deployments: Deployments,
    alarm_blocks: Sequence[UUID],
) -> AutomationCore:
    long = format_duration(within.total_seconds())
    subject = f"Drill of {profile.name} is overdue"
    body = (
        f"No restore of resource group {profile.name} was proven by a drill for {long}. "
        f"Look at `flashvault status {profile.name}`, then run `flashvault drill {profile.name}`."
    )
    told = {"detail": f"no drill has passed for {long}", "event": "drill_overdue"}
    answers = _answers(profile, subject, body, told, deployments, alarm_blocks)
    description = f"No drill of {profile.name} passed for {long}."
    return _dead_man(profile, "drill overdue", description, within, DRILL_ARMED, DRILLED, answers)


def _answers(
    profile: BackupProfile,
    subject: str,
    body: str,
    told: dict[str, Any],
    deployments: Deployments,
    alarm_blocks: Sequence[UUID],
) -> list[ActionTypes]:
    """Return whom an alarm is told: every notification block, and NOTIFY_METHOD on a worker."""
    actions: list[ActionTypes] = [_tell(block, subject, body) for block in alarm_blocks]
    if profile.notify_method and ALARM in deployments:
        parameters = {"group": profile.name, **told}
        actions.append(RunDeployment(deployment_id=deployments[ALARM], parameters=parameters))
    return actions or [DoNothing()]


def _dead_man(
    profile: BackupProfile,
    what: str,
    description: str,
    within: timedelta,
    armed: str,
    expected: str,
    answers: list[ActionTypes],
) -> AutomationCore:
    """Return a switch that goes off when the expected event does not come again in time.

    `armed` is sent when the switch is made (`deployments.register`): one for each kind of switch,
    so that making one does not give another one more time.
    """
    return AutomationCore(
        name=f"{PREFIX}{profile.name} {what}",
        description=description,
        tags=["flashvault", f"group:{profile.name}"],
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": resource_of(profile.name)}),
            after={armed, expected},
            expect={expected},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=answers,
    )


def armed_by(automation: AutomationCore) -> list[str]:
    """Return the events that wind a switch up when it is made; none if it is no switch."""
    trigger = automation.trigger
    after = trigger.after if isinstance(trigger, EventTrigger) else set()
    return sorted(after & {ARMED, DRILL_ARMED})


def _failed(alarm_blocks: Sequence[UUID]) -> list[AutomationCore]:
    if not alarm_blocks:
        return []
    body: Any = "{{ flow_run.name }}: {{ flow_run.state.message }} {{ flow_run|ui_url }}"
    return [
        AutomationCore(
            name=f"{PREFIX}a run failed",
            description="Tells a person that a run failed, crashed or timed out.",
            tags=["flashvault"],
            trigger=EventTrigger(
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=_ours(),
                expect={f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[_tell(block, "A run of flashvault failed", body) for block in alarm_blocks],
        )
    ]


def _crashed(reconciles: Sequence[UUID]) -> list[AutomationCore]:
    runs = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    answer: list[ActionTypes] = [RunDeployment(deployment_id=each) for each in reconciles]
    return [
        AutomationCore(
            name=f"{PREFIX}a run crashed",
            description="Clears up after a run whose process died.",
            tags=["flashvault"],
            trigger=EventTrigger(
                match=runs,
                match_related=_ours(),
                expect={"prefect.flow-run.Crashed"},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=answer,
        ),
        AutomationCore(
            name=f"{PREFIX}a run fell silent",
            description="Looks after a run that sends no heartbeat: its host may be dead.",
            tags=["flashvault"],
            trigger=EventTrigger(
                match=runs,
                match_related=_ours(),
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=HEARTBEAT_LOST,
            ),
            actions=answer,
        ),
    ]


def _ours() -> ResourceSpecification:
    return ResourceSpecification(
        {"prefect.resource.id": "prefect.tag.flashvault", "prefect.resource.role": "tag"}
    )


def _tell(block: UUID, subject: str, body: str) -> SendNotification:
    return SendNotification(block_document_id=block, subject=subject, body=body)
