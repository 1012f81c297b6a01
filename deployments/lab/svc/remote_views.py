"""Remote copy's lists. docs/reference/svc-cli.md §4."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from deployments.lab.svc import mirror
from deployments.lab.svc.commands import Request, command
from deployments.lab.svc.mirror import Unit
from deployments.lab.svc.model import Relationship, RemoteGroup
from deployments.lab.svc.naming import find
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

GROUP_COLUMNS = names(
    "id name master_cluster_id master_cluster_name aux_cluster_id aux_cluster_name primary state"
    " relationship_count copy_type cycling_mode freeze_time"
)
RELATIONSHIP_COLUMNS = names(
    "id name master_cluster_id master_cluster_name master_vdisk_id master_vdisk_name"
    " aux_cluster_id aux_cluster_name aux_vdisk_id aux_vdisk_name primary consistency_group_id"
    " consistency_group_name state bg_copy_priority progress copy_type cycling_mode freeze_time"
)


@command("lsrcconsistgrp")
def lsrcconsistgrp(system: System, request: Request) -> Table | Detail:
    """List groups, or show one with its relationships."""
    if request.target is None:
        rows = []
        for group in system.state.remote_groups.values():
            fields = dict(_group_fields(system, group))
            rows.append([fields[name] for name in GROUP_COLUMNS])
        return Table(GROUP_COLUMNS, rows)
    group = _group(system, request.target)
    lines = _group_fields(system, group, is_detail=True)
    for each in mirror.members(system, group):
        lines += [("RC_rel_id", each.id), ("RC_rel_name", each.name)]
    return Detail([lines])


def _group_fields(
    system: System, group: RemoteGroup, *, is_detail: bool = False
) -> list[tuple[str, object]]:
    members = mirror.members(system, group)
    return [
        ("id", group.id),
        ("name", group.name),
        ("master_cluster_id", _id_of(system, group.master)),
        ("master_cluster_name", group.master),
        ("aux_cluster_id", _id_of(system, group.aux)),
        ("aux_cluster_name", group.aux),
        ("primary", group.mirror.primary),
        ("state", group.mirror.state),
        ("relationship_count", len(members)),
        ("freeze_time", _freeze_time(system, group)),
        ("status", ""),
        ("sync", mirror.sync_of(system, group) if is_detail else ""),
        ("copy_type", group.copy_type),
        ("cycling_mode", group.cycling_mode),
        ("cycle_period_seconds", group.cycle_s),
    ]


@command("lsrcrelationship")
def lsrcrelationship(system: System, request: Request) -> Table | Detail:
    """List relationships, or show one."""
    if request.target is not None:
        one = find(system.state.relationships, request.target)
        return Detail([_relationship_fields(system, one, is_detail=True)])
    rows = []
    for each in system.state.relationships.values():
        fields = dict(_relationship_fields(system, each))
        rows.append([fields[name] for name in RELATIONSHIP_COLUMNS])
    return Table(RELATIONSHIP_COLUMNS, rows)


def _relationship_fields(
    system: System, each: Relationship, *, is_detail: bool = False
) -> list[tuple[str, object]]:
    unit = mirror.unit_of(system, each)
    group = unit if isinstance(unit, RemoteGroup) else None
    return [
        ("id", each.id),
        ("name", each.name),
        ("master_cluster_id", _id_of(system, each.master)),
        ("master_cluster_name", each.master),
        ("master_vdisk_id", _volume_id(system, each.master, each.master_volume)),
        ("master_vdisk_name", each.master_volume),
        ("aux_cluster_id", _id_of(system, each.aux)),
        ("aux_cluster_name", each.aux),
        ("aux_vdisk_id", _volume_id(system, each.aux, each.aux_volume)),
        ("aux_vdisk_name", each.aux_volume),
        ("primary", unit.mirror.primary),
        ("consistency_group_id", group and group.id),
        ("consistency_group_name", group and group.name),
        ("state", unit.mirror.state),
        ("bg_copy_priority", 50),
        ("progress", mirror.progress_of(system, each)),
        ("freeze_time", _freeze_time(system, unit)),
        ("status", _status(system, each)),
        ("sync", mirror.sync_of(system, unit) if is_detail else ""),
        ("copy_type", each.copy_type),
        ("cycling_mode", each.cycling_mode),
        ("cycle_period_seconds", each.cycle_s),
        *_change_fields(system, each),
    ]


def _status(system: System, each: Relationship) -> str:
    """Say whether both volumes are online."""
    unit = mirror.unit_of(system, each)
    for side, owner, name in (
        ("master", each.master, each.master_volume),
        ("aux", each.aux, each.aux_volume),
    ):
        other = system.network.systems[owner]
        if not other.is_online(other.volume(name)):
            return "primary_offline" if side == unit.mirror.primary else "secondary_offline"
    return "online"


def _change_fields(system: System, each: Relationship) -> list[tuple[str, object]]:
    """Return the change volumes; of the other system only while it can be asked."""
    fields: list[tuple[str, object]] = []
    for side, owner in (("master", each.master), ("aux", each.aux)):
        name = each.change_volumes.get(side)
        volumes = system.network.systems[owner].state.volumes.values()
        number = next((volume.id for volume in volumes if volume.name == name), None)
        fields += [(f"{side}_change_vdisk_id", number), (f"{side}_change_vdisk_name", name)]
    return fields


@command("lsrcrelationshipprogress")
def lsrcrelationshipprogress(system: System, request: Request) -> Table:
    """Show the background copy of one relationship."""
    each = find(system.state.relationships, request.object)
    return Table(("id", "progress"), [(each.id, mirror.progress_of(system, each))])


def _freeze_time(system: System, unit: Unit) -> str:
    """Print when the secondary was frozen, to the minute."""
    frozen_at = unit.mirror.frozen_at
    if frozen_at is None:
        return ""
    moment = datetime.datetime.fromtimestamp(frozen_at, tz=datetime.UTC)
    return moment.strftime("%y/%m/%d/%H/%M")


def _id_of(system: System, name: str) -> str:
    if name == system.state.name:
        return system.state.id
    partner = system.state.partners.get(name)
    return partner.id if partner else ""


def _volume_id(system: System, array: str, volume: str) -> int | None:
    other = system.network.systems.get(array)
    if other is None:
        return None
    return next((v.id for v in other.state.volumes.values() if v.name == volume), None)


def _group(system: System, word: str) -> RemoteGroup:
    return find(system.state.remote_groups, word)
