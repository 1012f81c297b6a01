"""Back up a resource group: profile → restore point.

    decide → preflight → claim → snapshot → capture (volumes side by side) → publish → after

With CAPTURE_WORKERS other workers capture volumes of the same snapshot (`flows.capture`).

The restore point is written last; until it exists there is none. Everything a run makes is
journalled first and unmade on any way out, by this process or by the next reconcile.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from prefect import flow

from blocks.errors import GroupBusy
from flows.endings import Ending, ended, skipped
from tasks.backed_up import backup_document, backup_markdown, report_backup
from tasks.capture import capture
from tasks.capture_crew import capture_with_crew, wants_crew
from tasks.colleagues import PrefectColleagues
from tasks.decide import decide_backup
from tasks.limits import places, reading_host
from tasks.open import configuration as load_configuration
from tasks.preflight import preflight
from tasks.protection import watch
from tasks.publish import claim, publish
from tasks.reconcile import clear_dead_runs
from tasks.results import results_of
from tasks.run import run_of
from tasks.snapshot import release, take_snapshot
from tasks.steps import side_by_side
from tasks.undo import UNDO

Mode = Literal["auto", "full", "incremental"]

SIBLING_WAIT_S = 60.0
"""Schedules tick together: a full and the incremental of its slot begin in the same second. The one
that only finds out that it has nothing to do must not cost the other its turn."""


@flow(
    name="backup",
    flow_run_name="backup-{profile}-{mode}",
    task_runner=side_by_side(),
    persist_result=False,
)
def backup(
    profile: str, mode: Mode = "auto", force: bool = False, grace_percent: float | None = None
) -> Any:
    """Back up every volume of a resource group as one restore point.

    Args:
        profile: the resource group, which is the profile's name.
        mode: full, incremental, or what is due.
        force: even if it is not due.
        grace_percent: of the frequency; a run that early still counts as due.
    """
    try:
        return _backup(profile, mode, force, grace_percent)
    except GroupBusy as error:
        if force:
            raise
        # For a schedule nothing is wrong: the next tick looks again.
        return ended(skipped(profile, str(error)))


def _backup(profile: str, mode: Mode, force: bool, grace_percent: float | None) -> Any:
    wanted = load_configuration()
    asked = wanted.profile(profile, method="cloud")
    clear_dead_runs()
    with run_of(profile, "backup", UNDO, wait_s=0.0 if force else SIBLING_WAIT_S) as run:
        now = datetime.now(UTC)
        decision = decide_backup(wanted, asked, mode, force, grace_percent, now)
        if decision.is_skip:
            return ended(skipped(profile, decision.reason))
        reader = reading_host(wanted, asked)
        with places(run, asked.storage_names, asked.bucket_name, reader=reader):
            seen = preflight(run, wanted, asked, decision)
            decision = decision.on_volumes(asked, {pair.source.uid for pair in seen.pairs})
            decision = claim(run, wanted, asked, decision)
            snapshot = take_snapshot(run, wanted, asked, seen)
            if wants_crew(asked, seen):
                others = PrefectColleagues(run, f"capture-part/{profile}-capture")
                captured = capture_with_crew(run, wanted, asked, decision, seen, snapshot, others)
            else:
                outcomes = [
                    capture.submit(run, wanted, asked, decision, seen, snapshot, pair)
                    for pair in seen.pairs
                ]
                captured = results_of(run, outcomes)
            point = publish(run, wanted, asked, decision, seen, snapshot, captured)
            release(wanted, asked, seen)
            alarms = watch(wanted, asked, decision, point)
    document = backup_document(point, decision, captured, began_at=now)
    document["warnings"] += alarms
    report_backup(asked, document, decision)
    return ended(backed_up(document))


def backed_up(document: dict[str, Any]) -> Ending:
    """Say that there is a new restore point."""
    return Ending(
        outcome="backed_up",
        summary=f"{document['kind']} restore point {document['restore_point']}"
        f" of {document['group']}",
        report=document,
        markdown=backup_markdown(document),
    )
