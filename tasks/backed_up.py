"""The report of a backup: what can be restored now, what it took, what looks odd."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.catalog.point import RestorePoint
from blocks.profile.model import BackupProfile
from blocks.units import format_duration, format_size, slug
from tasks import reports
from tasks.capture import CapturedVolume
from tasks.decide import Decision
from tasks.notify import notify


def backup_document(
    point: RestorePoint,
    decision: Decision,
    captured: Sequence[CapturedVolume],
    *,
    began_at: datetime,
) -> dict[str, Any]:
    """Return what a backup did, as the command line's JSON shows it."""
    took = (datetime.now(UTC) - began_at).total_seconds()
    return {
        "group": point.group,
        "restore_point": point.id,
        "kind": str(point.kind),
        "parent": point.parent,
        "reason": decision.reason,
        "taken_at": point.taken_at.isoformat(),
        "committed_at": point.committed_at.isoformat(),
        "bytes": point.size_bytes,
        "stored_bytes": point.stored_bytes,
        "backup_s": round(took, 3),
        "volumes": [
            {
                "name": volume.name,
                "disk": volume.disk,
                "uid": volume.uid,
                "volume_group": volume.volume_group,
                "bytes": volume.size_bytes,
                "read_bytes": volume.read_bytes,
                "zero_bytes": volume.zero_bytes,
                "changed_bytes": volume.changed_bytes,
                "stored_bytes": volume.stored_bytes,
                "keys": list(volume.image_keys),
            }
            for volume in point.volumes
        ],
        "warnings": [volume.warning for volume in captured if volume.warning],
    }


def backup_markdown(document: dict[str, Any]) -> str:
    """Show a new restore point to a person."""
    rate = document["bytes"] / max(document["backup_s"], 0.001)
    taken = datetime.fromisoformat(document["taken_at"])
    took = format_duration(document["backup_s"])
    lines = [
        f"## {document['group']}: {document['kind']} restore point `{document['restore_point']}`",
        "",
        f"Taken {_taken(taken)}; {format_size(document['bytes'])} in {took}"
        f" ({format_size(rate)}/s), {format_size(document['stored_bytes'])} stored."
        f" Why: {document['reason']}.",
        "",
        "| disk | volume | size | zero | changed | stored |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['disk']} | {row['name']} | {format_size(row['bytes'])}"
        f" | {format_size(row['zero_bytes'])} | {format_size(row['changed_bytes'])}"
        f" | {format_size(row['stored_bytes'])} |"
        for row in document["volumes"]
    ]
    lines += [f"- **warning**: {warning}" for warning in document["warnings"]]
    return "\n".join(lines)


def report_backup(profile: BackupProfile, document: dict[str, Any], decision: Decision) -> None:
    """Show the restore point and its history in Prefect, and tell who wants to know."""
    group = document["group"]
    key = slug(group)
    reports.artifact(f"restore-point-{key}", backup_markdown(document), "The newest restore point")
    told = f"The restore points of {group}, the newest first"
    reports.table(f"restore-points-{key}", history_rows(decision.history, document), told)
    reports.event(
        "backup.completed",
        group,
        restore_point=document["restore_point"],
        kind=document["kind"],
        stored_bytes=document["stored_bytes"],
    )
    notify(
        profile,
        "backup_succeeded",
        "info",
        f"{document['kind']} restore point {document['restore_point']}",
        job_id=document["restore_point"],
        objects=" ".join(key for row in document["volumes"] for key in row["keys"]),
    )


def history_rows(
    history: Sequence[RestorePoint], newest: dict[str, Any], *, most: int = 50
) -> list[dict[str, Any]]:
    """Return the group's restore points for a table, the newest first."""
    rows = [
        {
            "restore point": newest["restore_point"],
            "taken": _taken(datetime.fromisoformat(newest["taken_at"])),
            "kind": newest["kind"],
            "size": format_size(newest["bytes"]),
            "stored": format_size(newest["stored_bytes"]),
        }
    ]
    rows += [
        {
            "restore point": point.id,
            "taken": _taken(point.taken_at),
            "kind": str(point.kind),
            "size": format_size(point.size_bytes),
            "stored": format_size(point.stored_bytes),
        }
        for point in reversed(history)
    ]
    return rows[:most]


def _taken(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
