"""Look whether what is stored can be restored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from blocks.catalog.findings import Findings, write_down
from blocks.catalog.marks import Damage
from blocks.catalog.point import PointId, RestorePoint, VolumeImage
from blocks.image.cipher import Cipher
from blocks.policy.rolling import Coverage
from blocks.store.base import Store
from blocks.units import counted, format_size, slug
from tasks import reports
from tasks.progress import published
from tasks.run import Run
from tasks.steps import run_log, step
from tasks.transfer import Progress
from tasks.verification import Verified, verify_volume


@dataclass(frozen=True, slots=True)
class VerifiedVolume:
    """One volume of one point, looked at."""

    point: str
    disk: str
    size_bytes: int
    found: Verified


@step(name="verify-{volume.disk}")
def verify_image(
    run: Run,
    point: RestorePoint,
    volume: VolumeImage,
    source: Store,
    deep: bool,
    sample: float | None,
    cipher: Cipher | None = None,
) -> VerifiedVolume:
    """Look at one volume of a restore point; a difference is read twice before it is damage."""
    run.check()
    progress = Progress(label=f"verify {volume.disk}", total_bytes=volume.size_bytes)
    with published(progress):
        found = verify_volume(
            volume,
            point.objects,
            source,
            deep=deep,
            sample=sample,
            stop=run.stop,
            progress=progress,
            cipher=cipher,
        )
    if found.damaged:
        run_log().error("%s of restore point %s is damaged: %s", volume.disk, point.id, found)
    return VerifiedVolume(point.id, volume.disk, volume.size_bytes, found)


def write_findings(
    source: Store,
    run: Run,
    known: Sequence[Damage],
    points: Sequence[RestorePoint],
    looked: Sequence[VerifiedVolume],
    read_whole: Sequence[PointId] = (),
) -> Findings:
    """Mark what is damaged: the next backup stores it again from the source.

    What was found before stays marked beside what is found now: a sample sees a part of it only.
    What was pruned since it was read is not damage.

    Args:
        source: the bucket.
        run: the run that looked.
        known: the marks that were there before the first byte was read.
        points: what was read.
        looked: what was seen.
        read_whole: points of which every byte was read: marks on them that are not found any more
            are taken away.
    """
    ranges: dict[tuple[PointId, str], set[tuple[int, int]]] = defaultdict(set)
    for volume in looked:
        for damage in volume.found.damaged:
            ranges[PointId(volume.point), damage.key].add((damage.offset, damage.length))
    read = [point.id for point in points]
    now = datetime.now(UTC)
    found = write_down(source, run.group, run.id, known, read, ranges, now, read_whole=read_whole)
    for point in sorted(found.pruned):
        run_log().info("restore point %s was pruned while it was read", point)
    for point in sorted(found.healed):
        run_log().warning("restore point %s is whole again: its marks are taken away", point)
    return found


def of_points_there(looked: Sequence[VerifiedVolume], found: Findings) -> list[VerifiedVolume]:
    """Leave out what was seen of points that have been pruned since."""
    return [volume for volume in looked if volume.point not in found.pruned]


def verified_document(
    group: str,
    points: Sequence[RestorePoint],
    looked: Sequence[VerifiedVolume],
    findings: Findings,
    depth: str,
    covered: Coverage | None = None,
) -> dict[str, Any]:
    """Return what was looked at, what is wrong, and how far everything has been read back."""
    return {
        "group": group,
        "depth": depth,
        "points": [point.id for point in points if point.id not in findings.pruned],
        "damaged_points": sorted({point for point, _ in findings.damaged}),
        "pruned_meanwhile": sorted(findings.pruned),
        "volumes": [
            {
                "restore_point": volume.point,
                "disk": volume.disk,
                "bytes": volume.size_bytes,
                "checked_objects": volume.found.checked_objects,
                "checked_extents": volume.found.checked_extents,
                "damaged": [str(damage) for damage in volume.found.damaged],
            }
            for volume in of_points_there(looked, findings)
        ],
        "coverage": coverage_document(covered) if covered else None,
    }


def coverage_document(covered: Coverage) -> dict[str, Any]:
    """Return how far everything has been read back, as JSON shows it."""
    return {
        "within_days": covered.within_days,
        "complete": covered.is_complete,
        "objects": covered.objects,
        "late": covered.late,
        "oldest_at": covered.oldest_at.isoformat(timespec="seconds") if covered.oldest_at else None,
    }


def report_verify(document: dict[str, Any]) -> None:
    """Show what was found in Prefect, and raise the alarm if something is damaged."""
    group = document["group"]
    reports.artifact(f"verify-{slug(group)}", verified_markdown(document), "What was verified")
    if document["damaged_points"]:
        reports.event("damage.found", group, restore_points=document["damaged_points"])
    else:
        reports.event("verify.completed", group, depth=document["depth"])


def verified_markdown(document: dict[str, Any]) -> str:
    """Show what was found to a person."""
    count = len(document["points"])
    verdict = (
        f"**{len(document['damaged_points'])} of {count} restore points are damaged**"
        if document["damaged_points"]
        else f"{counted(count, 'restore point')} {'is' if count == 1 else 'are'} whole"
        if not document["coverage"]
        else "nothing is wrong"
    )
    lines = [
        f"## {document['group']}: {verdict} ({document['depth']})",
        "",
        "| restore point | disk | size | objects | extents read | damage |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| `{row['restore_point']}` | {row['disk']} | {format_size(row['bytes'])} "
        f"| {row['checked_objects']} | {row['checked_extents']} "
        f"| {'; '.join(row['damaged'][:3]) or 'none'} |"
        for row in document["volumes"]
    ]
    if document["pruned_meanwhile"]:
        names = ", ".join(f"`{point}`" for point in document["pruned_meanwhile"])
        lines += ["", f"Pruned while they were read: {names}."]
    if covered := document["coverage"]:
        said = "yes" if covered["complete"] else f"**no, {covered['late']} objects are not**"
        lines += [
            "",
            f"Everything proven within {covered['within_days']} days: {said}"
            f" ({covered['objects']} objects, the oldest proof is of {covered['oldest_at']}).",
        ]
    return "\n".join(lines)
