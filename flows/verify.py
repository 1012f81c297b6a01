"""Look whether what is stored can be restored: structure, or every frame.

points → every volume of each, side by side → report, marks, alarm
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from blocks.catalog import shelf
from flows.endings import Ending, ended
from tasks.limits import places
from tasks.plan import Asked, configured, open_source
from tasks.protection import reading_ciphers
from tasks.results import results_of
from tasks.run import run_of
from tasks.steps import side_by_side
from tasks.undo import UNDO
from tasks.verify import (
    mark,
    report_verify,
    verified_document,
    verified_markdown,
    verify_image,
)


@flow(
    name="verify",
    flow_run_name="verify-{group}",
    task_runner=side_by_side(),
    persist_result=False,
)
def verify(
    group: str,
    point: str = "",
    deep: bool = False,
    sample: float | None = None,
    bucket: str = "",
) -> Any:
    """Verify restore points of a resource group.

    Args:
        group: the resource group.
        point: id of one restore point; all if not given.
        deep: read and decode every frame, not only ask for every object.
        sample: with `deep`, only so many percent of the frames, chosen anew each time.
        bucket: a URL such as s3://bucket/prefix: no configuration is needed then.
    """
    asked = Asked(group, {}, bucket=bucket)
    source = open_source(configured(asked), asked)
    with run_of(group, "verify", UNDO) as run, places(group):
        found = shelf.points(source, group)
        if point:
            found = [shelf.find_point(found, point_id=point)]
        ciphers = reading_ciphers(asked, source, found, metadata_only=not deep)
        outcomes = [
            verify_image.submit(run, each, volume, source, deep, sample, ciphers[each.id])
            for each in found
            for volume in each.volumes
        ]
        looked = results_of(run, outcomes)
        depth = "deep" if deep and sample is None else f"{sample} % deep" if deep else "structure"
        document = verified_document(group, found, looked, depth)
        mark(source, group, looked)
    report_verify(document)
    damaged = len(document["damaged_points"])
    return ended(
        Ending(
            outcome="damaged" if damaged else "verified",
            summary=f"{damaged} of {len(found)} restore points of {group} are damaged"
            if damaged
            else f"{len(found)} restore points of {group} are whole ({depth})",
            exit_code=3 if damaged else 0,
            report=document,
            markdown=verified_markdown(document),
        )
    )
