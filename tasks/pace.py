"""How fast restores went on this machine, and so how long the next one should take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from blocks.policy.recovery import RestorePlan
from tasks.journal import state_directory
from tasks.steps import run_log

RECENT = 5
SMALL_BYTES = 16 << 20
"""A smaller restore says more about its beginning and end than about the bytes between."""


def remember_pace(document: Mapping[str, Any]) -> None:
    """Note how long a restore took, unless it was one that went on or was damaged."""
    volumes = document["volumes"]
    if any(row["skipped_bytes"] or not row["proven"] for row in volumes):
        return
    row = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "group": document["group"],
        "data_bytes": document["data_bytes"],
        "restore_s": document["restore_s"],
    }
    path = state_directory() / "restores" / "pace.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:  # what is restored does not fail for a note
        run_log().warning("how long it took is not noted: %s", error)


def expected_s(plan: RestorePlan) -> float | None:
    """Return how long a restore should take, by the last ones: the group's own, else any.

    None when none was made on this machine: then only a drill can tell.
    """
    rows = [row for row in _noted() if row["data_bytes"] >= min(SMALL_BYTES, plan.data_bytes or 1)]
    own = [row for row in rows if row["group"] == plan.point.group]
    recent = (own or rows)[-RECENT:]
    if not recent:
        return None
    return float(median(row["restore_s"] * plan.data_bytes / row["data_bytes"] for row in recent))


def _noted() -> list[dict[str, Any]]:
    try:
        text = (state_directory() / "restores" / "pace.jsonl").read_text()
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            if row["data_bytes"] > 0 and row["restore_s"] > 0 and row["group"]:
                found.append(row)
        except (ValueError, KeyError, TypeError):
            continue  # cut short where a process was killed
    return found
