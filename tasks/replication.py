"""Watch a remote copy: judge what was looked at, tell what changed, show the history.

A poll is a handful of short commands on each array and holds nothing open afterwards: a copy that
takes days is watched by many short runs, which remember each other (`tasks.remote_memory`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from blocks.policy.loss import fallen_silent, in_utc
from blocks.policy.replication import (
    Condition,
    Health,
    Memory,
    Notice,
    Transition,
    follow,
    joint_recovery_point,
    judge,
    time_left,
)
from blocks.profile.model import BackupProfile
from blocks.units import format_duration, slug
from tasks import reports
from tasks.lag_chart import as_image, lag_chart
from tasks.notify import Severity, notify
from tasks.progress import published
from tasks.remote_look import Poll
from tasks.remote_memory import Sample, append_history, remember
from tasks.remote_setup import Checked
from tasks.steps import run_log

CHECK_EVERY = timedelta(hours=1)
"""How often the parts that change seldom are looked at: members, sizes, host maps, the bucket."""

CHART_POLLS = 400
TOLD_ROWS = 15

SEVERITIES: dict[Transition, Severity] = {
    Transition.IN_SYNC: "info",
    Transition.RECOVERED: "info",
    Transition.DEGRADED: "warning",
    Transition.RPO_BREACHED: "error",
}


def is_check_due(memory: Memory, poll: Poll) -> bool:
    """Say whether the seldom parts are to be looked at in this poll.

    While they have a fault, in every poll: it must not be told for an hour after it is mended.
    """
    if memory.checked_at is None or memory.faults:
        return True
    return not timedelta(0) <= poll.at - memory.checked_at < CHECK_EVERY


def judged(
    profile: BackupProfile, memory: Memory, poll: Poll, checked: Checked | None
) -> tuple[Health, Memory]:
    """Judge a poll: its health, and the memory to keep, with what is to be told."""
    silent = fallen_silent(memory.silent_since, poll.silent, poll.at)
    memory = memory.model_copy(update={"silent_since": silent})
    if checked is not None:
        memory = memory.model_copy(
            update={
                "checked_at": poll.at,
                "faults": checked.faults,
                "cloud_point": checked.cloud_point or memory.cloud_point,
                # What cannot be asked on the worst day: kept from the last good one.
                "volume_groups": {**memory.volume_groups, **checked.volume_groups},
            }
        )
    health = judge(poll.views, memory, poll.at, rpo=profile.rpo, problems=poll.problems)
    if memory.faults and health.condition is Condition.IN_SYNC:
        health = replace(
            health,
            condition=Condition.IMPAIRED,
            why=f"{health.why}, but the group is not as it must be",
        )
    if memory.faults:
        health = replace(health, notes=(*health.notes, *memory.faults))
    memory, told = follow(memory, health)
    notices = (
        Notice(
            transition=transition,
            at=health.at,
            condition=health.condition,
            state=str(health.state or ""),
            lag_s=_seconds(health.lag),
            why=health.why,
        )
        for transition in told
    )
    return health, memory.model_copy(update={"untold": (*memory.untold, *notices)})


def remember_and_tell(
    profile: BackupProfile, memory: Memory
) -> tuple[Memory, tuple[Transition, ...]]:
    """Write down what a poll saw, then tell what is new; return the memory and what was told.

    Each change is written down before it is told, and crossed out once it is told: a run that is
    killed loses none. One killed in the instant between telling and crossing out tells it again,
    with the same id, for an alarm twice is better than none.
    """
    told = tuple(notice.transition for notice in memory.untold)
    remember(profile.name, memory)
    while memory.untold:
        _tell(profile, memory.untold[0])
        memory = memory.model_copy(update={"untold": memory.untold[1:]})
        remember(profile.name, memory)
    return memory, told


def _tell(profile: BackupProfile, notice: Notice) -> None:
    """Emit an event and run the notify method."""
    name = f"remote.{notice.transition}"
    id_ = uuid.uuid5(uuid.NAMESPACE_URL, f"flashvault:{profile.name}:{name}:{notice.at}")
    reports.event(
        name,
        profile.name,
        event_id=id_,
        condition=str(notice.condition),
        state=notice.state,
        lag_s=notice.lag_s,
        detail=notice.why,
    )
    severity = SEVERITIES[notice.transition]
    notify(profile, f"remote_{notice.transition}", severity, notice.why, notice_id=str(id_))
    run_log().warning("%s: remote %s: %s", profile.name, notice.transition, notice.why)


def health_document(
    profile: BackupProfile, poll: Poll, health: Health, memory: Memory, told: tuple[Transition, ...]
) -> dict[str, Any]:
    """Return what a poll saw, as the command line's JSON shows it."""
    left = time_left(memory)
    joint = joint_recovery_point(health.recovery_point, memory.cloud_point)
    return {
        "group": profile.name,
        "remote_group": profile.replicated_resources,
        "at": health.at.isoformat(),
        "condition": str(health.condition),
        "state": str(health.state or ""),
        "why": health.why,
        "primary": health.primary,
        "is_healthy": health.is_healthy,
        "recovery_point": _iso(health.recovery_point),
        "lag_s": _seconds(health.lag),
        "rpo_s": _seconds(profile.rpo),
        "is_rpo_breached": health.is_breached,
        "cloud_point": _iso(memory.cloud_point),
        "newest_of_both": _newest(health.recovery_point, memory.cloud_point),
        "joint_recovery_point": _iso(joint),
        "joint_lag_s": None if joint is None else _seconds(health.at - joint),
        "progress": None if health.progress is None else round(health.progress, 1),
        "left_s": _seconds(left),
        "told": [str(transition) for transition in told],
        "notes": list(health.notes),
        "relationships": _relationship_rows(poll),
    }


def report_health(
    profile: BackupProfile, document: dict[str, Any], health: Health, told: tuple[Transition, ...]
) -> str:
    """Show the poll and the history in Prefect; return it for a terminal, without the chart."""
    samples = append_history(profile.name, health, told)
    markdown = health_markdown(document, samples, profile.rpo)
    key = slug(profile.name)
    chart = lag_chart(samples[-CHART_POLLS:], profile.rpo)
    shown = f"{markdown}\n\n{as_image(chart, f'Lag of {profile.name}')}" if chart else markdown
    reports.artifact(f"remote-{key}", shown, "The remote copy and its lag")
    if health.progress is not None:
        reports.progress(f"remote-copy-{key}", health.progress, _copy_line(document))
    elif {Transition.IN_SYNC, Transition.RECOVERED} & set(told):
        reports.progress(f"remote-copy-{key}", 100.0, "the second site follows")
    return markdown


def health_markdown(document: dict[str, Any], samples: list[Sample], rpo: timedelta | None) -> str:
    """Show a remote copy to a person: now, over time, and what was told."""
    lag = document["lag_s"]
    lines = [
        f"## {document['group']}: {document['condition']}",
        "",
        f"{document['why']}.",
        "",
        f"- lag: {'unknown' if lag is None else _duration(lag)}"
        + (f", RPO {_duration(rpo.total_seconds())}" if rpo else ", no RPO set"),
        f"- recovery point: {_told_at(document['recovery_point']) or 'none at the second site'}",
        f"- primary: {document['primary'] or 'none'}",
    ]
    if document["cloud_point"]:
        newest = "the cloud" if document["newest_of_both"] == "cloud" else "the second site"
        lines.append(
            f"- newest restore point in the cloud: {_told_at(document['cloud_point'])};"
            f" newest of both: {newest}"
        )
    if document["progress"] is not None:
        lines.append(f"- {_copy_line(document)}")
    lines += [f"- **{note}**" for note in document["notes"]]
    lines += [
        "",
        "| relationship | state | progress | status | freeze time |",
        "|---|---|---:|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['state']} | {row['progress']} | {row['status']} |"
        f" {_told_at(row['freeze_time'])} |"
        for row in document["relationships"]
    ]
    told = [sample for sample in samples if sample.told][-TOLD_ROWS:]
    if told:
        lines += ["", "| when (UTC) | told | why |", "|---|---|---|"]
        lines += [
            f"| {sample.at:%Y-%m-%d %H:%M:%S} | {', '.join(sample.told)} | {sample.why} |"
            for sample in reversed(told)
        ]
    return "\n".join(lines)


class CopyCounters:
    """How far a copy is, in bytes, for whoever shows progress."""

    def __init__(self, label: str, total_bytes: int) -> None:
        self.label = label
        self.total_bytes = total_bytes
        self.done_bytes = 0

    def move_to(self, percent: float | None) -> None:
        """Say how far it is now; nothing where the array told nothing."""
        if percent is not None:
            self.done_bytes = int(self.total_bytes * percent / 100)


@contextmanager
def watched(profile: BackupProfile, poll: Poll) -> Iterator[CopyCounters]:
    """Show a copy that is being watched, on the terminal and in Prefect."""
    total_bytes = max((sum(view.sizes) for view in poll.views.values()), default=0)
    counters = CopyCounters(f"copy of {profile.name}", max(total_bytes, 1))
    with published(counters):
        yield counters


def _copy_line(document: dict[str, Any]) -> str:
    left = document["left_s"]
    eta = "" if left is None else f", about {_duration(left)} left"
    return f"copying: {document['progress']:.1f} %{eta}"


def _relationship_rows(poll: Poll) -> list[dict[str, Any]]:
    """Return one row a relationship, from the array whose half is frozen, else from the primary."""
    views = sorted(poll.views.values(), key=lambda v: (v.frozen_at is None, not v.is_primary))
    if not views:
        return []
    return [
        {
            "name": each.name,
            "master": each.master_volume_name,
            "aux": each.aux_volume_name,
            "state": str(each.state),
            "progress": "" if each.progress is None else each.progress,
            "status": each.status,
            "sync": each.sync,
            "freeze_time": _iso(views[0].frozen_at) if each.freeze_time else None,
        }
        for each in views[0].relationships
    ]


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _newest(copy: datetime | None, cloud: datetime | None) -> str | None:
    """Say which method brings back the newest state, None if neither does."""
    if copy is None and cloud is None:
        return None
    return "second site" if cloud is None or (copy is not None and copy >= cloud) else "cloud"


def _told_at(moment: str | None) -> str:
    return in_utc(datetime.fromisoformat(moment)) if moment else ""


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 1)


def _duration(seconds: float) -> str:
    return format_duration(seconds) if seconds else "0 s"
