"""What Prefect has, compared with what is wanted: a hand's change counts as much as ours."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.utilities.callables import parameter_schema

from deployments.schedules import Tick, Wanted

JOB = {"command": "python -m deployments.shim", "stream_output": False}
"""Through the shim, or a stopped worker would kill the backups it started."""


def flow_of(item: Wanted) -> Any:
    """Return the flow of an entrypoint, or None if this installation does not have it."""
    module, _, name = item.entrypoint.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            return None
        raise


@cache
def schema_of(flow: Any) -> dict[str, Any]:
    """Return the schema of a flow's parameters, which makes the form in the UI."""
    schema: dict[str, Any] = parameter_schema(flow).model_dump_for_openapi()
    return schema


def schedule_of(tick: Tick) -> DeploymentScheduleCreate:
    """Return a tick as a schedule of Prefect."""
    schedule: CronSchedule | IntervalSchedule
    if tick.every is not None:
        schedule = IntervalSchedule(
            interval=tick.every, anchor_date=tick.anchor, timezone=tick.zone
        )
    else:
        schedule = CronSchedule(cron=tick.cron, timezone=tick.zone)
    return DeploymentScheduleCreate(
        schedule=schedule, active=True, parameters=tick.parameters, slug=tick.slug
    )


def differences(item: Wanted, standing: DeploymentResponse) -> list[str]:
    """Return the fields in which a deployment is not as wanted: ours changed, or a hand's."""
    flow = flow_of(item)
    options = standing.concurrency_options
    limit = standing.global_concurrency_limit
    pairs: dict[str, tuple[Any, Any]] = {
        "description": (item.description, standing.description),
        "entrypoint": (item.entrypoint, standing.entrypoint),
        "parameters": (item.parameters, standing.parameters),
        "parameter schema": (schema_of(flow), standing.parameter_openapi_schema),
        "tags": (sorted(item.tags), sorted(standing.tags)),
        "work pool": (item.pool, standing.work_pool_name),
        "work queue": (item.queue, standing.work_queue_name),
        "job": (JOB, standing.job_variables),
        "paused": (item.is_paused, standing.paused),
        "concurrency": (
            (item.limit, ConcurrencyLimitStrategy.CANCEL_NEW if item.limit else None),
            (
                limit.limit if limit else None,
                options.collision_strategy if options else None,
            ),
        ),
        "schedules": (
            sorted(_tick_key(schedule_of(tick)) for tick in item.ticks),
            sorted(_tick_key(schedule) for schedule in standing.schedules),
        ),
    }
    return [name for name, (ours, theirs) in pairs.items() if ours != theirs]


def _tick_key(schedule: Any) -> str:
    kind = schedule.schedule
    if isinstance(kind, CronSchedule):
        when = f"cron {kind.cron} {kind.timezone}"
    elif isinstance(kind, IntervalSchedule):
        when = f"every {kind.interval} from {kind.anchor_date.timestamp()} {kind.timezone}"
    else:
        when = repr(kind)
    parameters = sorted((schedule.parameters or {}).items())
    return f"{schedule.slug} {when} {bool(schedule.active)} {parameters}"


def canonical(automation: AutomationCore | Automation) -> dict[str, Any]:
    """Return what of an automation is ours to decide, in one order."""
    kept = automation.model_dump(
        mode="json", include={"name", "description", "enabled", "tags", "trigger", "actions"}
    )
    return {key: _plain(value) for key, value in kept.items()}


def _plain(value: Any) -> Any:
    """Drop ids the server gave and what is empty, and order what has no order."""
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in sorted(value.items())
            if key != "id" and inner not in (None, [], {})
        }
    if isinstance(value, list):
        return sorted((_plain(inner) for inner in value), key=repr)
    return value
