"""Prove a restore on disks nobody needs, and tear it down.

newest point → scratch disks → import → look inside → the user's probe → tear down → RTO
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import flow

from flows.endings import Ending, ended
from tasks.drill import (
    drilled_markdown,
    journal_import,
    probe,
    refuse_unusable,
    remember_drill,
    report_drill,
    scratch_targets,
)
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
) -> Any:
    """Restore onto disks nobody needs, look whether it works, and take it away again.

    Args:
        group: the resource group.
        to: disks given for drills, by disk of the point; what is on them is written over. Without
            any, files in a scratch directory are used and removed.
        point: id of the restore point; the newest if not given.
        command: a program that looks at what was restored and ends with 0 if it likes it.
        directory: where the scratch files go.
        bucket: a URL such as s3://bucket/prefix: no configuration is needed then.
        fsck: check the restored file systems, read-only.
        mount: mount them read-only, look at the root directory, and unmount them.
    """
    began = datetime.now(UTC)
    asked = Asked(group, to or {}, point, bucket=bucket, force=True)
    with run_of(group, "drill", UNDO) as run, places(run):
        asked = replace(asked, to=scratch_targets(run, asked, directory))
        planned, source, writers = plan(run, asked)
        cipher = reading_cipher(asked, source, planned.point)
        outcomes = [
            restore_disk.submit(
                run, planned, placement, source, writers[placement.volume.uid], False, True, cipher
            )
            for placement in planned.placements
        ]
        disks = results_of(run, outcomes)
        imported = import_restored(run, asked, planned, disks, "recreate", journal_import(run))
        looks = look_inside(run, planned, writers, disks, imported, fsck=fsck, mount=mount)
        refuse_unusable(group, looks)
        said = probe(run, asked, command, disks, imported)
        document = {**restored_document(planned, disks, imported, looks, began), "probe": said}
    markdown = drilled_markdown(document, remember_drill(document))
    report_drill(document, markdown)
    return ended(
        Ending(
            outcome="drilled",
            summary=f"drill of {group} passed: restored and proven in {document['rto_s']:.1f} s",
            report=document,
            markdown=markdown,
        )
    )
