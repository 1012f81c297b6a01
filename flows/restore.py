"""Restore a resource group: restore point → volumes.

    find the point → plan → approve → plan again → write (volumes side by side) → prove → import
    → look inside → report

Exit 0 only if the digest over every whole device equals the map's. Needs no Prefect server, and
with `bucket` nothing but the bucket.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from prefect import flow

from blocks.policy.recovery import RestorePlan, refuse_another
from blocks.units import counted
from flows.approval import approve, plan_markdown
from flows.endings import Ending, ended
from tasks.colleagues import PrefectColleagues
from tasks.importing import import_restored
from tasks.inside import faults_of, look_inside
from tasks.limits import places
from tasks.plan import Asked, plan
from tasks.protection import reading_cipher
from tasks.restore import restore_disk
from tasks.restore_crew import restore_with_crew, why_alone
from tasks.restored import plan_document, report_restore, restored_document, restored_markdown
from tasks.results import results_of
from tasks.run import asking_of, run_of
from tasks.steps import side_by_side
from tasks.targets import held_by
from tasks.undo import UNDO

Importing = Literal["auto", "import", "recreate", "no"]


@flow(
    name="restore",
    flow_run_name="restore-{group}",
    task_runner=side_by_side(),
    persist_result=False,
)
def restore(  # noqa: PLR0913 - the form a person fills in
    group: str,
    to: dict[str, str],
    point: str = "",
    at: datetime | None = None,
    bucket: str = "",
    node: str = "",
    host: str = "",
    importing: Importing = "auto",
    dry_run: bool = False,
    force: bool = False,
    approved: bool = False,
    verify: bool = False,
    allow_bad: bool = False,
    fsck: bool = False,
    mount: bool = False,
    workers: int = 1,
) -> Any:
    """Write volumes of a restore point onto disks, and prove that they are there.

    Onto files, backups go on meanwhile; onto disks, they wait until it has ended. While a person
    reads the plan they go on, and what has changed until the answer is refused.

    Args:
        group: the resource group.
        to: disk (or volume) of the point → disk of the node, or a path on this machine.
        point: id of the restore point; the latest if neither it nor `at` is given.
        at: the latest point at or before this moment.
        bucket: a URL such as s3://bucket/prefix: nothing else is needed then.
        node: the node whose disk names are meant; the group's owner if not given.
        host: the host that writes; the profile's if not given.
        importing: what to do with the volume group: importvg, recreatevg beside the original,
            what fits, or nothing.
        dry_run: only say what would be written.
        force: write over disks that are not blank. Disks in use are refused all the same.
        approved: a person has seen the plan. If not, the run pauses and asks in the UI.
        verify: read everything back from the disks afterwards.
        allow_bad: write what is whole and list what is not.
        fsck: check the restored file systems afterwards, read-only.
        mount: mount them read-only afterwards, look at the root directory, and unmount them.
        workers: how many workers write disks at once, where the profile has CAPTURE_WORKERS
            (`tasks.restore_crew`); what other workers cannot do is done here.
    """
    began = datetime.now(UTC)
    asked = Asked(group, to, point, at, bucket, node, host, force)
    agreed = None
    if dry_run or not approved:
        agreed = agree(asked, dry_run=dry_run)
        if dry_run:
            return ended(planned(agreed))
        asked = replace(asked, point=agreed.point.id, at=None)
    lock = held_by(group, "restore", to)
    with run_of(group, "restore", UNDO, lock=lock) as run, places(run):
        plan_made, source, writers = plan(run, asked)
        if agreed is not None:
            refuse_another(agreed, plan_made)
        cipher = reading_cipher(asked, source, plan_made.point)
        alone = why_alone(asked, plan_made, source)
        if workers > 1 and not alone:
            disks = restore_with_crew(
                run,
                asked,
                plan_made,
                source,
                writers,
                allow_bad=allow_bad,
                read_back=verify,
                cipher=cipher,
                colleagues=lambda secret: PrefectColleagues(
                    run, f"restore-part/{group}-restore-part", secret=secret
                ),
                workers=workers,
            )
        else:
            outcomes = [
                restore_disk.submit(
                    run,
                    plan_made,
                    placement,
                    source,
                    writers[placement.volume.uid],
                    allow_bad,
                    verify,
                    cipher,
                )
                for placement in plan_made.placements
            ]
            disks = results_of(run, outcomes)
        imported = import_restored(run, asked, plan_made, disks, importing)
        looks = look_inside(run, plan_made, writers, disks, imported, fsck=fsck, mount=mount)
    document = restored_document(plan_made, disks, imported, looks, began)
    if workers > 1 and alone:
        document["warnings"].append(f"one worker wrote everything: {alone}")
    report_restore(document)
    return ended(restored(document))


def agree(asked: Asked, *, dry_run: bool) -> RestorePlan:
    """Show the plan to a person, and return what was agreed to; backups go on meanwhile."""
    with asking_of(asked.group, "restore", is_all=dry_run) as run:
        plan_made, _, _ = plan(run, asked)
        if not dry_run:
            approve(plan_made)
    return plan_made


def planned(plan_made: RestorePlan) -> Ending:
    """Say what would be done."""
    return Ending(
        outcome="planned",
        summary="nothing written",
        report=plan_document(plan_made),
        markdown=plan_markdown(plan_made),
    )


def restored(document: dict[str, Any]) -> Ending:
    """Say what was done: proven, with damage listed, or proven and no file system for all that."""
    bad = sum(len(row["bad"]) for row in document["volumes"])
    faults = faults_of(document["file_systems"])
    summary = (
        f"{counted(len(document['volumes']), 'volume')} of {document['group']} restored"
        f" from {document['restore_point']}"
    )
    if bad:
        summary += f", {counted(bad, 'range')} damaged and left zero (see the list)"
    elif faults:
        summary += (
            f" and proven, but the look inside failed: {faults[0]}."
            " The restored bytes are left as they are"
        )
    return Ending(
        outcome="damaged" if bad else "unusable" if faults else "restored",
        summary=summary,
        exit_code=3 if bad else 1 if faults else 0,
        report=document,
        markdown=restored_markdown(document),
    )
