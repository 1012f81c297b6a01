"""What a run tells Prefect: artifacts and events. A report that fails is logged, never raised."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event

from blocks.units import slug
from tasks.asking import ask

log = logging.getLogger(__name__)


def artifact(key: str, markdown: str, description: str = "") -> None:
    """Show markdown in the UI under a key; the same key again makes a history."""
    if FlowRunContext.get() is None:
        return
    try:
        ask(lambda: create_markdown_artifact(markdown, key=key, description=description or None))
    except Exception as error:  # noqa: BLE001 - the catalogue is the truth, this is a report
        log.warning("artifact %s not written: %s", key, error)


def table(key: str, rows: list[dict[str, Any]], description: str = "") -> None:
    """Show a searchable table in the UI under a key."""
    if FlowRunContext.get() is None:
        return
    try:
        ask(lambda: create_table_artifact(rows, key=key, description=description or None))
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("artifact %s not written: %s", key, error)


def progress(key: str, percent: float, description: str = "") -> None:
    """Show how far something is that outlives the run, under a key; a history like `artifact`."""
    if FlowRunContext.get() is None:
        return
    try:
        told = description or None
        ask(lambda: create_progress_artifact(min(percent, 100.0), key=key, description=told))
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("artifact %s not written: %s", key, error)


def event(name: str, group: str, event_id: UUID | None = None, **payload: Any) -> None:
    """Emit `flashvault.<name>` about a resource group, without waiting for the server.

    With an `event_id`, emitting it again is the same event: the server keeps one.
    """
    if FlowRunContext.get() is None:
        return
    try:
        ask(lambda: _emit(name, group, event_id, payload))
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("event %s not sent: %s", name, error)


def _emit(name: str, group: str, event_id: UUID | None, payload: dict[str, Any]) -> None:
    emit_event(
        event=f"flashvault.{name}",
        resource={
            "prefect.resource.id": f"flashvault.group.{slug(group)}",
            "prefect.resource.name": group,
        },
        payload=payload,
        id=event_id,
    )
