"""FlashCopy's lists. docs/reference/svc-cli.md §4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import flashcopy
from deployments.lab.svc.commands import Request, command
from deployments.lab.svc.model import Mapping, MappingGroup
from deployments.lab.svc.states import (
    group_state,
)
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

CONCISE = names(
    "id name source_vdisk_id source_vdisk_name target_vdisk_id target_vdisk_name group_id"
    " group_name status progress copy_rate clean_progress incremental partner_FC_id"
    " partner_FC_name restoring start_time rc_controlled"
)


@command("lsfcmap", flags="showhidden")
def lsfcmap(system: System, request: Request) -> Table | Detail:
    """List mappings, or show one."""
    if request.target is not None:
        return Detail([_detail(system, flashcopy.mapping(system, request.target))])
    rows = []
    for mapping in system.state.mappings.values():
        fields = dict(_detail(system, mapping, quick=True))
        rows.append([fields[name] for name in CONCISE])
    return Table(CONCISE, rows)


def _detail(system: System, mapping: Mapping, *, quick: bool = False) -> list[tuple[str, object]]:
    state = system.state
    group = state.mapping_groups.get(mapping.group) if mapping.group is not None else None
    partner = flashcopy.partner(system, mapping)
    return [
        ("id", mapping.id),
        ("name", mapping.name),
        ("source_vdisk_id", mapping.source),
        ("source_vdisk_name", state.volumes[mapping.source].name),
        ("target_vdisk_id", mapping.target),
        ("target_vdisk_name", state.volumes[mapping.target].name),
        ("group_id", group and group.id),
        ("group_name", group and group.name),
        ("status", mapping.status),
        ("progress", int(mapping.progress)),
        ("copy_rate", mapping.copy_rate),
        ("start_time", mapping.start_time),
        ("dependent_mappings", 0),
        ("autodelete", "on" if mapping.deletes_itself else "off"),
        ("clean_progress", 100),
        ("clean_rate", mapping.clean_rate),
        ("incremental", "on" if mapping.is_incremental else "off"),
        ("difference", 100 if quick else _shown_difference(system, mapping)),
        ("grain_size", mapping.grain_kib),
        ("IO_group_id", 0),
        ("IO_group_name", "io_grp0"),
        ("partner_FC_id", partner and partner.id),
        ("partner_FC_name", partner and partner.name),
        ("restoring", mapping.is_restoring),
        ("rc_controlled", "no"),
        ("keep_target", mapping.keeps_target),
        ("type", "generic"),
        ("restore_progress", int(mapping.progress) if mapping.is_restoring else 0),
        ("fc_controlled", "no"),
        ("owner_id", None),
        ("owner_name", None),
    ]


def _shown_difference(system: System, mapping: Mapping) -> int:
    """Percent of grains that differ; 100 unless an incremental mapping has been copied once."""
    if not (mapping.is_incremental and mapping.copied_once):
        return 100
    percent = flashcopy.difference(system, mapping)
    return int(percent) if percent in {0.0, 100.0} else min(99, max(1, round(percent)))


@command("lsfcmapprogress")
def lsfcmapprogress(system: System, request: Request) -> Table:
    """Show the background copy of one mapping."""
    mapping = flashcopy.mapping(system, request.object)
    return Table(("id", "progress"), [(mapping.id, int(mapping.progress))])


@command("lsfcconsistgrp")
def lsfcconsistgrp(system: System, request: Request) -> Table | Detail:
    """List groups, or show one with its members."""
    if request.target is None:
        return Table(
            ("id", "name", "status", "start_time", "owner_id", "owner_name"),
            [
                (group.id, group.name, _group_status(system, group), group.start_time, None, None)
                for group in system.state.mapping_groups.values()
            ],
        )
    group = flashcopy.mapping_group(system, request.target)
    lines: list[tuple[str, object]] = [
        ("id", group.id),
        ("name", group.name),
        ("status", _group_status(system, group)),
        ("autodelete", "on" if group.deletes_itself else "off"),
        ("start_time", group.start_time),
        ("owner_id", None),
        ("owner_name", None),
    ]
    for member in flashcopy.members_of(system, group.id):
        lines += [("FC_mapping_id", member.id), ("FC_mapping_name", member.name)]
    return Detail([lines])


def _group_status(system: System, group: MappingGroup) -> str:
    return group_state({member.status for member in flashcopy.members_of(system, group.id)})
