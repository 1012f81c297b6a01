"""Look whether what is stored can be restored: structure, every frame, or the frames that are due.

marks → points → every volume of each, side by side → what is still there → marks, report, alarm

A verify reads for hours and keeps nobody waiting: it has a lock and a place of its own, so that no
two of them read the same, and weighs what it found against the catalog as it is then
(`blocks.catalog.findings`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow

from blocks.catalog import shelf
from blocks.catalog.marks import read_damage
from blocks.catalog.point import RestorePoint
from blocks.errors import ConfigError, PointMissing
from blocks.store.base import Store
from blocks.units import counted
from flows.endings import Ending, ended
from tasks.limits import places
from tasks.plan import Asked, configured, open_source
from tasks.protection import reading_ciphers
from tasks.results import results_of
from tasks.rolling import Ciphers, images_by_volume, read_slice, remember, remember_all, slice_of
from tasks.run import Run, run_of
from tasks.steps import side_by_side
from tasks.undo import UNDO
from tasks.verify import (
    of_points_there,
    report_verify,
    verified_document,
    verified_markdown,
    verify_image,
    write_findings,
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
    within_days: int = 0,
    bucket: str = "",
) -> Any:
    """Verify restore points of a resource group.

    Args:
        group: the resource group.
        point: id of one restore point; all if not given.
        deep: read and decode every frame, not only ask for every object.
        sample: with `deep`, only so many percent of the frames, chosen anew each time.
        within_days: with `deep`, only what is due so that daily runs read every frame once in so
            many days; each frame once, however many points share it.
        bucket: a URL such as s3://bucket/prefix: no configuration is needed then.
    """
    if within_days and (point or sample is not None or not deep):
        raise ConfigError(
            "within_days goes with deep, and neither with a point nor with a sample",
            hint="flashvault verify RG1 --within 30",
        )
    began = datetime.now(UTC)
    asked = Asked(group, {}, bucket=bucket)
    source = open_source(configured(asked), asked)
    with run_of(group, "verify", UNDO, lock=f"{group} verify") as run, places(run):
        known = read_damage(source, group)
        # A group that is registered may have no backup yet; a name typed with a bucket has some.
        found = shelf.existing_points(source, group) if bucket else shelf.points(source, group)
        if point:
            found = [shelf.find_point(found, point_id=point)]
        ciphers = reading_ciphers(asked, source, found, metadata_only=not deep)
        if within_days:
            document = verify_slice(run, source, found, ciphers, within_days)
        else:
            is_whole = deep and sample is None
            depth = "deep" if is_whole else f"{sample} % deep" if deep else "structure"
            outcomes = [
                verify_image.submit(run, each, volume, source, deep, sample, ciphers[each.id])
                for each in found
                for volume in each.volumes
            ]
            looked = results_of(run, outcomes)
            read_whole = [each.id for each in found] if is_whole else []
            findings = write_findings(source, run, known, found, looked, read_whole)
            if point and findings.pruned:
                raise PointMissing(f"restore point {point} of {group} was pruned while it was read")
            document = verified_document(group, found, looked, findings, depth)
            if is_whole and not point:
                there = [each for each in found if each.id not in findings.pruned]
                remember_all(source, run, there, of_points_there(looked, findings), began)
    report_verify(document)
    damaged = len(document["damaged_points"])
    return ended(
        Ending(
            outcome="damaged" if damaged else "verified",
            summary=f"{damaged} of {len(document['points'])} restore points of {group} are damaged"
            if damaged
            else sound(document),
            exit_code=3 if damaged else 0,
            report=document,
            markdown=verified_markdown(document),
        )
    )


def sound(document: dict[str, Any]) -> str:
    """Say that nothing is wrong, and how much of it was looked at."""
    group, depth, covered = document["group"], document["depth"], document["coverage"]
    if not document["points"]:
        return f"{group} has no restore point yet: nothing was verified"
    if covered is None:
        count = len(document["points"])
        are = "is" if count == 1 else "are"
        return f"{counted(count, 'restore point')} of {group} {are} whole ({depth})"
    proven = "yes" if covered["complete"] else f"no, {covered['late']} objects are late"
    return (
        f"nothing wrong in {depth} of {group}; everything proven within"
        f" {covered['within_days']} days: {proven}"
    )


def verify_slice(
    run: Run, source: Store, found: list[RestorePoint], ciphers: Ciphers, within_days: int
) -> dict[str, Any]:
    """Read what is due of every volume, side by side, and write down that it was read."""
    now = datetime.now(UTC)
    chosen = slice_of(source, run.group, found, now, within_days)
    outcomes = [
        read_slice.submit(run, uid, images, chosen.due, source, ciphers)
        for uid, images in images_by_volume(found).items()
    ]
    read = results_of(run, outcomes)
    looked = [row for volume in read for row in volume.looked]
    findings = write_findings(source, run, chosen.marks, found, looked)
    covered = remember(source, run, chosen, found, read, findings.pruned, now, within_days)
    depth = f"the {len(chosen.due)} of {len(chosen.since)} objects that were due"
    return verified_document(run.group, found, looked, findings, depth, covered)
