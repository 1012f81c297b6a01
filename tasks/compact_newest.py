"""Keep a group's newest restore point free of dead bytes, or a full, as COMPACTION asks."""

from __future__ import annotations

from typing import Any

from blocks.catalog import shelf
from blocks.catalog.point import Kind, RestorePoint
from blocks.image.segments import segment_bytes_of
from blocks.profile.model import BackupProfile, Configuration
from blocks.units import format_size, slug
from tasks import reports
from tasks.compact_point import CompactedPoint, compact_point
from tasks.compaction import CompactSettings, require_compactable
from tasks.live_frames import dead_shares
from tasks.progress import published
from tasks.protection import lock_point, profile_store
from tasks.publish import CLAIMED
from tasks.run import Run
from tasks.steps import CONTROL_S, run_log, step
from tasks.transfer import Progress, load_page


@step(name="look-at-{profile.name}", timeout_s=CONTROL_S)
def newest_point(
    wanted: Configuration, profile: BackupProfile, dead_percent: int
) -> tuple[RestorePoint, str]:
    """Return the group's newest restore point, and why it needs no compaction; empty if it does.

    Raises:
        PointMissing: the group has no restore point.
        Refused: it is encrypted.
    """
    bucket = profile_store(wanted, profile)
    point = shelf.find_point(shelf.existing_points(bucket, profile.name))
    if not dead_percent:
        is_full = point.kind is Kind.FULL
        return point, f"restore point {point.id} is a full already" if is_full else ""
    worst = 0.0
    for volume in point.volumes:
        require_compactable(volume, point.objects)
        pages = (load_page(bucket, ref, None) for ref in volume.pages)
        segment_extents = segment_bytes_of(volume.extent_bytes) // volume.extent_bytes
        worst = max(worst, *dead_shares(pages, point.objects, segment_extents).values(), 0.0)
    if worst * 100 > dead_percent:
        return point, ""
    return point, (
        f"at most {worst:.0%} of the objects restore point {point.id} uses is dead,"
        f" {dead_percent}% is allowed"
    )


# Not repeated: what a try has stored is void with its claim, and a key is never used twice.
@step(name="compact-{profile.name}", retries=0)
def compact_newest(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    point: RestorePoint,
    dead_percent: int,
) -> CompactedPoint:
    """Write the point anew under the run's id; it is committed after every frame was read back."""
    run.check()
    run.journal.made(CLAIMED, bucket=profile.bucket_name, group=profile.name, run=run.id)
    progress = Progress(label=f"compact {profile.name}", total_bytes=point.size_bytes)
    with published(progress):
        done = compact_point(
            profile_store(wanted, profile),
            point,
            stop=run.stop,
            progress=progress,
            settings=CompactSettings(dead_share=dead_percent / 100),
            run_id=run.id,
        )
    for warning in lock_point(wanted, profile, done.point):
        run_log().warning("%s", warning)
    run_log().info(
        "compacted %s into %s: %d bytes stored", point.id, done.point.id, done.point.stored_bytes
    )
    return done


def compacted_markdown(document: dict[str, Any]) -> str:
    """Show what was written to a person."""
    return "\n".join(
        [
            f"## {document['group']}: restore point `{document['of']}` written anew"
            f" as `{document['restore_point']}` ({document['kind']})",
            "",
            "| stored | copied inside the store | moved as it was | encoded again |",
            "|---:|---:|---:|---:|",
            f"| {format_size(document['stored_bytes'])} | {format_size(document['copied_bytes'])} "
            f"| {format_size(document['moved_bytes'])} "
            f"| {format_size(document['encoded_bytes'])} |",
        ]
    )


def report_compaction(document: dict[str, Any]) -> None:
    """Show it in Prefect."""
    group = document["group"]
    reports.artifact(f"compact-{slug(group)}", compacted_markdown(document), "Compaction")
    reports.event("compact.completed", group, restore_point=document["restore_point"])
