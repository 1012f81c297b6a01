"""Volumes as they are listed. docs/reference/svc-cli.md §4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import views
from deployments.lab.svc.commands import Request, command
from deployments.lab.svc.model import Volume
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

VOLUME_COLUMNS = names(
    "id name IO_group_id IO_group_name status mdisk_grp_id mdisk_grp_name capacity type FC_id"
    " FC_name RC_id RC_name vdisk_UID fc_map_count copy_count fast_write_state se_copy_count"
    " RC_change compressed_copy_count parent_mdisk_grp_id parent_mdisk_grp_name owner_id owner_name"
    " formatting encrypt volume_id volume_name function volume_group_id volume_group_name protocol"
    " is_snapshot snapshot_count volume_type replication_mode is_safeguarded_snapshot"
    " safeguarded_snapshot_count restore_in_progress"
)


@command("lsvdisk")
def lsvdisk(system: System, request: Request) -> Table | Detail:
    """List volumes, or show one with its copies."""
    unit = request.unit
    if request.target is not None:
        return _volume_detail(system, system.volume(request.target), unit)
    rows = []
    for volume in system.state.volumes.values():
        fields = volume_fields(system, volume, unit)
        rows.append([fields.get(name, "") for name in VOLUME_COLUMNS])
    return Table(VOLUME_COLUMNS, rows)


def _many(things: list[tuple[int, str]]) -> tuple[object, object]:
    """Name the only one of a volume's mappings or relationships; `many` stands for several."""
    if len(things) > 1:
        return "many", "many"
    return things[0] if things else (None, None)


def volume_fields(system: System, volume: Volume, unit: str) -> dict[str, object]:
    """Return what every view tells of a volume."""
    state = system.state
    maps = [
        (mapping.id, mapping.name)
        for mapping in state.mappings.values()
        if volume.id in {mapping.source, mapping.target}
    ]
    relationships = system.relationships_of(volume)
    fc_id, fc_name = _many(maps)
    rc_id, rc_name = _many(relationships)
    return {
        "id": volume.id,
        "name": volume.name,
        "IO_group_id": 0,
        "IO_group_name": "io_grp0",
        "status": "online" if system.is_online(volume) else "offline",
        "mdisk_grp_id": 0 if len(volume.copies) == 1 else "many",
        "mdisk_grp_name": volume.pool if len(volume.copies) == 1 else "many",
        "capacity": views.size(volume.capacity, unit),
        "type": "striped" if len(volume.copies) == 1 else "many",
        "FC_id": fc_id,
        "FC_name": fc_name,
        "RC_id": rc_id,
        "RC_name": rc_name,
        "vdisk_UID": volume.uid,
        "fc_map_count": len(maps),
        "copy_count": len(volume.copies),
        "fast_write_state": "empty",
        "se_copy_count": len(volume.copies) * (volume.is_thin and not volume.is_compressed),
        "RC_change": "no",
        "compressed_copy_count": len(volume.copies) * volume.is_compressed,
        "parent_mdisk_grp_id": 0,
        "parent_mdisk_grp_name": volume.pool,
        "formatting": "no",
        "encrypt": "no",
        "volume_id": volume.id,
        "volume_name": volume.name,
        "protocol": "scsi" if any(m.volume == volume.id for m in state.host_maps) else "",
        "is_snapshot": "no",
        "snapshot_count": 0,
        "is_safeguarded_snapshot": "no",
        "safeguarded_snapshot_count": 0,
        "restore_in_progress": "no",
    }


def _volume_detail(system: System, volume: Volume, unit: str) -> Detail:
    fields = volume_fields(system, volume, unit)
    own = names(
        "id name IO_group_id IO_group_name status mdisk_grp_id mdisk_grp_name capacity type"
    )
    later = names(
        "FC_id FC_name RC_id RC_name vdisk_UID fc_map_count copy_count se_copy_count RC_change"
        " compressed_copy_count volume_id volume_name function volume_group_id volume_group_name"
        " protocol is_snapshot snapshot_count restore_in_progress"
    )
    whole: list[tuple[str, object]] = [(name, fields[name]) for name in own]
    whole += [
        ("formatted", "yes"),
        ("formatting", "no"),
        ("mdisk_id", 0),
        ("mdisk_name", "mdisk0"),
    ]
    whole += [(name, fields.get(name, "")) for name in later]
    whole += [
        ("throttling", volume.settings.get("throttling", "0")),
        ("preferred_node_id", 1),
        ("fast_write_state", "empty"),
        ("cache", volume.settings.get("cache", "readwrite")),
        ("udid", volume.settings.get("udid")),
        ("sync_rate", volume.settings.get("sync_rate", "50")),
        ("mirror_write_priority", "latency"),
        ("filesystem", None),
    ]
    sections = [copy_fields(system, volume, copy, unit) for copy in sorted(volume.copies)]
    return Detail([whole, *sections])


def copy_fields(system: System, volume: Volume, copy: int, unit: str) -> list[tuple[str, object]]:
    """Return what the detailed views tell of one copy."""
    capacity = views.size(volume.capacity, unit)
    settings = volume.settings
    return [
        ("copy_id", copy),
        ("status", "online" if system.is_online(volume) else "offline"),
        ("sync", "yes"),
        ("auto_delete", "no"),
        ("primary", copy == volume.copies[0]),
        ("mdisk_grp_id", 0),
        ("mdisk_grp_name", volume.pool),
        ("type", "striped"),
        ("used_capacity", capacity),
        ("real_capacity", capacity),
        ("free_capacity", views.size(0, unit)),
        ("overallocation", 100),
        ("autoexpand", settings.get("autoexpand", "on") if volume.is_thin else ""),
        ("warning", settings.get("warning", "80") if volume.is_thin else ""),
        ("grainsize", 256 if volume.is_thin else ""),
        ("se_copy", volume.is_thin and not volume.is_compressed),
        ("easy_tier", settings.get("easy_tier", "on")),
        ("easy_tier_status", "balanced"),
        ("compressed_copy", volume.is_compressed),
        ("uncompressed_used_capacity", capacity),
        ("parent_mdisk_grp_id", 0),
        ("parent_mdisk_grp_name", volume.pool),
        ("encrypt", "no"),
    ]


@command("lsvdiskfcmappings")
def lsvdiskfcmappings(system: System, request: Request) -> Table:
    """List the FlashCopy mappings a volume takes part in."""
    volume = system.volume(request.object)
    rows = [
        (mapping.id, mapping.name)
        for mapping in system.state.mappings.values()
        if volume.id in {mapping.source, mapping.target}
    ]
    return Table(("id", "name"), rows, prints_empty_header=False)
