"""Look whether what is stored can be restored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from blocks.catalog.marks import clear_damage, mark_damaged, read_damage
from blocks.catalog.point import PointId, RestorePoint, VolumeImage
from blocks.image.cipher import Cipher
from blocks.policy.rolling import Coverage
from blocks.store.base import Store
from blocks.units import format_size, slug
from tasks import reports
from tasks.progress import published
from tasks.recovery import Verified, verify_volume
from tasks.run import Run
from tasks.steps import run_log, step
from tasks.transfer import Progress


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


def mark(
    source: Store, group: str, looked: Sequence[VerifiedVolume], read_whole: Sequence[str] = ()
) -> None:
    """Mark what is damaged: the next backup stores it again from the source.

    What was found before stays marked beside what is found now: a sample sees a part of it only.

    Args:
        source: the bucket.
        group: the resource group.
        looked: what was looked at.
        read_whole: points of which every byte was read: marks on them that are not found any more
            are taken away.
    """
    now = datetime.now(UTC)
    ranges: dict[tuple[PointId, str], set[tuple[int, int]]] = defaultdict(set)
    for volume in looked:
        for damage in volume.found.damaged:
            ranges[PointId(volume.point), damage.key].add((damage.offset, damage.length))
    known = read_damage(source, group) if ranges or read_whole else ()
    before = {(mark.point_id, mark.key): mark for mark in known}
    for (point, key), where in ranges.items():
        if (point, key) in before:
            where |= set(before[point, key].ranges)
        mark_damaged(source, group, point, key, sorted(where), now)
    healed: dict[PointId, list[str]] = defaultdict(list)
    for point, key in before:
        if point in read_whole and (point, key) not in ranges:
            healed[point].append(key)
    for point, keys in healed.items():
        run_log().warning("restore point %s is whole again: its marks are taken away", point)
        clear_damage(source, group, point, keys)


def verified_document(
    group: str,
    points: Sequence[RestorePoint],
    looked: Sequence[VerifiedVolume],
    depth: str,
    covered: Coverage | None = None,
) -> dict[str, Any]:
    """Return what was looked at, what is wrong, and how far everything has been read back."""
    damaged = sorted({volume.point for volume in looked if volume.found.damaged})
    return {
        "group": group,
        "depth": depth,
        "points": [point.id for point in points],
        "damaged_points": damaged,
        "volumes": [
            {
                "restore_point": volume.point,
                "disk": volume.disk,
                "bytes": volume.size_bytes,
                "checked_objects": volume.found.checked_objects,
                "checked_extents": volume.found.checked_extents,
                "damaged": [str(damage) for damage in volume.found.damaged],
            }
            for volume in looked
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
        else f"{count} restore points are whole"
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
    if covered := document["coverage"]:
        said = "yes" if covered["complete"] else f"**no, {covered['late']} objects are not**"
        lines += [
            "",
            f"Everything proven within {covered['within_days']} days: {said}"
            f" ({covered['objects']} objects, the oldest proof is of {covered['oldest_at']}).",
        ]
    return "\n".join(lines)
