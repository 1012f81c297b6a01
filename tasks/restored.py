"""The report of a restore: what is back, how long it took, how much was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.policy.recovery import RestorePlan
from blocks.units import counted, format_duration, format_size, slug
from tasks import reports
from tasks.importing import Imported
from tasks.pace import expected_s, remember_pace
from tasks.restore import RestoredDisk

LISTED = 100
"""Damaged ranges that a person is shown; the document has all of them."""


def plan_document(plan: RestorePlan) -> dict[str, Any]:
    """Return a plan as the command line's JSON shows it."""
    return {
        "group": plan.point.group,
        "restore_point": plan.point.id,
        "taken_at": plan.point.taken_at.isoformat(),
        "write_bytes": plan.write_bytes,
        "data_bytes": plan.data_bytes,
        "expected_s": round(expected, 1) if (expected := expected_s(plan)) is not None else None,
        "volumes": [
            {
                "name": placement.volume.name,
                "disk": placement.volume.disk,
                "uid": placement.volume.uid,
                "bytes": placement.volume.size_bytes,
                "target": placement.disk.name,
                "target_path": placement.disk.path,
            }
            for placement in plan.placements
        ],
        "notes": list(plan.notes),
    }


def restored_document(
    plan: RestorePlan,
    disks: Sequence[RestoredDisk],
    imported: Sequence[Imported],
    looks: Sequence[Mapping[str, Any]],
    began_at: datetime,
) -> dict[str, Any]:
    """Return what a restore did, with the RTO it took and the RPO it means."""
    now = datetime.now(UTC)
    document = plan_document(plan)
    by_uid = {disk.uid: disk for disk in disks}
    for row in document["volumes"]:
        disk = by_uid[row["uid"]]
        row.update(
            read_bytes=disk.read_bytes,
            written_bytes=disk.written_bytes,
            skipped_bytes=disk.skipped_bytes,
            proven=disk.is_proven,
            written_by=disk.host,
            bad=[{"offset": offset, "bytes": length} for offset, length in disk.bad],
        )
    document.update(
        restore_s=round((now - began_at).total_seconds(), 3),
        rto_s=round((now - began_at).total_seconds(), 3),
        rpo_s=round((began_at - plan.point.taken_at).total_seconds(), 3),
        imported=[
            {"volume_group": i.volume_group, "name": i.name, "node": i.node, "how": i.how}
            for i in imported
            if not i.fault
        ],
        file_systems=list(looks),
    )
    document["warnings"] = [
        f"volume group {i.volume_group} is not imported on {i.node}: {i.fault}"
        for i in imported
        if i.fault
    ]
    return document


def restored_markdown(document: dict[str, Any]) -> str:
    """Show a restore's report to a person."""
    lines = [
        f"## {document['group']}: restored in {format_duration(document['rto_s'])}",
        "",
        f"Restore point `{document['restore_point']}`, taken {document['taken_at']}:"
        f" the state {format_duration(document['rpo_s'])} before the restore began.",
        "",
        "| volume | onto | size | fetched | written | proven |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in document["volumes"]:
        proven = "whole device" if row["proven"] else f"**{counted(len(row['bad']), 'bad range')}**"
        lines.append(
            f"| {row['disk']} | {row['target']} | {format_size(row['bytes'])} "
            f"| {format_size(row['read_bytes'])} | {format_size(row['written_bytes'])} "
            f"| {proven} |"
        )
    if len({row["written_by"] for row in document["volumes"]}) > 1:
        lines += ["", "Written by:", ""]
        lines += [f"- {row['disk']}: {row['written_by']}" for row in document["volumes"]]
    lines += damage_markdown(document["volumes"])
    lines += [
        f"- volume group {i['volume_group']} is {i['name']} on {i['node']}"
        for i in document["imported"]
    ]
    lines += [f"- **{warning}**" for warning in document["warnings"]]
    lines += looks_markdown(document["file_systems"])
    return "\n".join(lines)


def damage_markdown(volumes: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what could not be restored, by place on the disk, if anything."""
    rows = [(volume["disk"], bad) for volume in volumes for bad in volume["bad"]]
    if not rows:
        return []
    lines = [
        "",
        "**Damaged in the store, and left zero on the disk:**",
        "",
        "| volume | from byte | to byte | size |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {disk} | {bad['offset']} | {bad['offset'] + bad['bytes'] - 1}"
        f" | {format_size(bad['bytes'])} |"
        for disk, bad in rows[:LISTED]
    ]
    if len(rows) > LISTED:
        lines.append(f"| … {len(rows) - LISTED} more: see --json | | | |")
    return [*lines, ""]


def looks_markdown(looks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Show what was found inside, if anybody asked."""
    if not looks:
        return []
    lines = ["", "| file system | type | fsck | mounted | verdict |", "|---|---|---|---|---|"]
    for row in looks:
        place = f" ({row['mount_point']})" if row["mount_point"] else ""
        mounted = f"yes, {row['entries']} in its root" if row["mounted"] else "no"
        verdict = "good" if row["ok"] else f"**{'; '.join(row['faults'])}**"
        lines.append(
            f"| {row['device'] or '—'}{place} | {row['type']} | {row['fsck']} | {mounted}"
            f" | {verdict} |"
        )
    return lines


def report_restore(document: dict[str, Any]) -> None:
    """Show the report in Prefect, and say that it happened."""
    group = document["group"]
    remember_pace(document)
    reports.artifact(f"restore-{slug(group)}", restored_markdown(document), "What was restored")
    reports.event(
        "restore.completed",
        group,
        restore_point=document["restore_point"],
        rto_s=document["rto_s"],
        rpo_s=document["rpo_s"],
    )
