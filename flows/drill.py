"""Prove a restore on disks nobody needs, and tear it down.

    due? → newest point → scratch disks → import → look inside → the user's probe → tear down
    → RTO, kept in the bucket

Scheduled by DRILL_FREQUENCY; what a person does not say is taken from the profile's DRILL_
attributes. One that fails is kept too, and told.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import flow

from blocks.errors import GroupBusy
from flows.endings import Ending, ended, skipped
from tasks.drill import (
    Wish,
    journal_import,
    probe,
    refuse_production,
    refuse_unusable,
    scratch_targets,
    why_skip,
    wished,
)
from tasks.drilled import report_drill, told_if_failed
from tasks.importing import import_restored
from tasks.inside import look_inside
from tasks.limits import places
from tasks.plan import Asked, plan
from tasks.protection import reading_cipher
from tasks.restore import restore_disk
from tasks.restored import restored_document
from tasks.results import results_of
from tasks.run import run_of
from tasks.steps import side_by_side
from tasks.targets import held_by
from tasks.undo import UNDO


@flow(name="drill", flow_run_name="drill-{group}", task_runner=side_by_side(), persist_result=False)
def drill(
    group: str,
    to: dict[str, str] | None = None,
    point: str = "",
    command: str = "",
    directory: str = "",
    bucket: str = "",
    fsck: bool = False,
    mount: bool = False,
    scheduled: bool = False,
) -> Any:
    """Restore onto disks nobody needs, look whether it works, and take it away again.

    Onto files, backups go on meanwhile; onto disks, they wait until it has ended.

    Args:
        group: the resource group.
        to: disks given for drills, by disk of the point; what is on them is written over. Without
            any the profile's DRILL_TARGETS, else files in a scratch directory, which are removed.
        point: id of the restore point; the newest if not given.
        command: a program that looks at what was restored and ends with 0 if it likes it; the
            profile's DRILL_PROBE if not given.
        directory: where the scratch files go; the profile's DRILL_DIRECTORY if not given.
        bucket: a URL such as s3://bucket/prefix: no configuration is needed then.
        fsck: check the restored file systems, read-only; the profile's DRILL_FSCK does so too.
        mount: mount them read-only, look at the root directory, and unmount them; or DRILL_MOUNT.
        scheduled: only if DRILL_FREQUENCY says that a drill is due, and the group is free.
    """
    began = datetime.now(UTC)
    wish = wished(
        Asked(group, to or {}, point, bucket=bucket, force=True),
        directory=directory,
        command=command,
        fsck=fsck,
        mount=mount,
        is_scheduled=scheduled,
    )
    try:
        return _drill(wish, began)
    except GroupBusy as error:
        if not scheduled:
            raise
        # A backup or a restore has the group: the next tick looks again.
        return ended(skipped(group, str(error)))


def _drill(wish: Wish, began: datetime) -> Any:
    asked = wish.asked
    with (
        run_of(asked.group, "drill", UNDO, lock=held_by(asked.group, "drill", asked.to)) as run,
        told_if_failed(run, wish, began),
        places(run),
    ):
        if reason := why_skip(run, wish, began):
            return ended(skipped(asked.group, reason))
        asked = replace(asked, to=scratch_targets(run, asked, wish.directory))
        planned, source, writers = plan(run, asked)
        refuse_production(run, asked, planned)
        cipher = reading_cipher(asked, source, planned.point)
        outcomes = [
            restore_disk.submit(
                run, planned, placement, source, writers[placement.volume.uid], False, True, cipher
            )
            for placement in planned.placements
        ]
        disks = results_of(run, outcomes)
        imported = import_restored(run, asked, planned, disks, "recreate", journal_import(run))
        looks = look_inside(
            run, planned, writers, disks, imported, fsck=wish.fsck, mount=wish.mount
        )
        refuse_unusable(asked.group, looks)
        said = probe(run, asked, wish.command, disks, imported)
        document = {**restored_document(planned, disks, imported, looks, began), "probe": said}
    markdown = report_drill(run, wish, began, document)
    took = document["rto_s"]
    return ended(
        Ending(
            outcome="drilled",
            summary=f"drill of {asked.group} passed: restored and proven in {took:.1f} s",
            report=document,
            markdown=markdown,
        )
    )
