"""What ran, as Prefect remembers it."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import FlowRunSort

from blocks.errors import Unreachable
from blocks.units import format_duration

LIMIT = 50


def runs(group: str = "") -> list[dict[str, str]]:
    """Return the latest runs, newest first: of a resource group, or all of ours.

    Runs that Prefect has made ahead of their time are left out.
    """
    tags = ["flashvault", *([f"group:{group}"] if group else [])]
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=tags),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    try:
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=LIMIT
            )
    except httpx.HTTPError as error:
        raise Unreachable(f"the Prefect server does not answer: {error}") from error
    return [
        {
            "STARTED_AT": f"{run.start_time:%Y-%m-%dT%H:%M:%SZ}" if run.start_time else "",
            "NAME": run.name,
            "STATE": run.state_name or "",
            "TOOK": format_duration(run.total_run_time.total_seconds()),
            "MESSAGE": (run.state.message or "").splitlines()[0][:100]
            if run.state and run.state.message
            else "",
            "ID": str(run.id),
        }
        for run in found
    ]
