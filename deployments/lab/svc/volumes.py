"""Volumes, hosts, and which volume is shown to which host. docs/reference/svc-cli.md §3-4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import views
from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Host, HostMap, Volume
from deployments.lab.svc.naming import find, free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

UNIT_BYTES = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4, "pb": 1024**5}

VOLUME_COLUMNS = names(
    "id name IO_group_id IO_group_name status mdisk_grp_id mdisk_grp_name capacity type FC_id"
    " FC_name RC_id RC_name vdisk_UID fc_map_count copy_count fast_write_state se_copy_count"
    " RC_change compressed_copy_count parent_mdisk_grp_id parent_mdisk_grp_name owner_id owner_name"
    " formatting encrypt volume_id volume_name function volume_group_id volume_group_name protocol"
    " is_snapshot snapshot_count volume_type replication_mode is_safeguarded_snapshot"
    " safeguarded_snapshot_count restore_in_progress"
)


@command("lsvdisk", flags="bytes gui", values="unit")
def lsvdisk(system: System, request: Request) -> Table | Detail:
    """List volumes, or show one with its copies."""
    in_bytes = request.has("bytes")
    if request.target is not None:
        return _volume_detail(system, system.volume(request.target), in_bytes)
    rows = []
    for volume in system.state.volumes.values():
        fields = _volume_fields(system, volume, in_bytes)
        rows.append([fields.get(name, "") for name in VOLUME_COLUMNS])
    return Table(VOLUME_COLUMNS, rows)


def _many(things: list[tuple[int, str]]) -> tuple[object, object]:
    """Name the only one of a volume's mappings or relationships; `many` stands for several."""
    if len(things) > 1:
        return "many", "many"
    return things[0] if things else (None, None)


def _volume_fields(system: System, volume: Volume, in_bytes: bool) -> dict[str, object]:
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
        "mdisk_grp_id": 0,
        "mdisk_grp_name": volume.pool,
        "capacity": views.size(volume.capacity, in_bytes=in_bytes),
        "type": "striped",
        "FC_id": fc_id,
        "FC_name": fc_name,
        "RC_id": rc_id,
        "RC_name": rc_name,
        "vdisk_UID": volume.uid,
        "fc_map_count": len(maps),
        "copy_count": 1,
        "fast_write_state": "empty",
        "se_copy_count": 1,
        "RC_change": "no",
        "compressed_copy_count": 0,
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


def _volume_detail(system: System, volume: Volume, in_bytes: bool) -> Detail:
    fields = _volume_fields(system, volume, in_bytes)
    own = names(
        "id name IO_group_id IO_group_name status mdisk_grp_id mdisk_grp_name capacity type"
    )
    later = names(
        "FC_id FC_name RC_id RC_name vdisk_UID fc_map_count copy_count se_copy_count RC_change"
        " compressed_copy_count volume_id volume_name function volume_group_id volume_group_name"
        " protocol is_snapshot snapshot_count restore_in_progress"
    )
    capacity = fields["capacity"]
    whole: list[tuple[str, object]] = [(name, fields[name]) for name in own]
    whole += [
        ("formatted", "yes"),
        ("formatting", "no"),
        ("mdisk_id", 0),
        ("mdisk_name", "mdisk0"),
    ]
    whole += [(name, fields.get(name, "")) for name in later]
    whole += [
        ("throttling", 0),
        ("preferred_node_id", 1),
        ("fast_write_state", "empty"),
        ("cache", "readwrite"),
        ("udid", None),
        ("sync_rate", 50),
        ("mirror_write_priority", "latency"),
        ("filesystem", None),
    ]
    copy: list[tuple[str, object]] = [
        ("copy_id", 0),
        ("status", fields["status"]),
        ("sync", "yes"),
        ("auto_delete", "no"),
        ("primary", "yes"),
        ("mdisk_grp_id", 0),
        ("mdisk_grp_name", volume.pool),
        ("type", "striped"),
        ("used_capacity", capacity),
        ("real_capacity", capacity),
        ("free_capacity", views.size(0, in_bytes=in_bytes)),
        ("overallocation", 100),
        ("autoexpand", "on"),
        ("warning", 80),
        ("grainsize", 256),
        ("se_copy", "yes"),
        ("easy_tier", "on"),
        ("easy_tier_status", "balanced"),
        ("compressed_copy", "no"),
        ("parent_mdisk_grp_id", 0),
        ("parent_mdisk_grp_name", volume.pool),
        ("encrypt", "no"),
    ]
    return Detail([whole, copy])


@command("lsvdiskcopy", flags="bytes", values="copy")
def lsvdiskcopy(system: System, request: Request) -> Table:
    """List the copies of volumes: one each."""
    columns = names(
        "vdisk_id vdisk_name copy_id status sync primary mdisk_grp_id mdisk_grp_name capacity type"
        " se_copy easy_tier easy_tier_status compressed_copy"
    )
    found = [system.volume(request.target)] if request.target else system.state.volumes.values()
    rows = []
    for volume in found:
        fields = _volume_fields(system, volume, request.has("bytes"))
        first = (volume.id, volume.name, 0, fields["status"], "yes", "yes", 0, volume.pool)
        rows.append((*first, fields["capacity"], "striped", "yes", "on", "balanced", "no"))
    return Table(columns, rows)


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


@command(
    "mkvdisk",
    values="mdiskgrp pool size unit name iogrp rsize warning grainsize copies vtype mdisk udid"
    " easytier cache syncrate accessiogrp node",
    flags="autoexpand compressed thin deduplicated nofmtdisk fmtdisk noautoexpand createsync",
    takes_object=False,
)
def mkvdisk(system: System, request: Request) -> Done:
    """Make a volume of zeros."""
    if not request.get("size") or not (request.get("mdiskgrp") or request.get("pool")):
        raise Refusal("CMMVC5707E")
    unit = UNIT_BYTES.get(request.get("unit") or "mb")
    if unit is None:
        raise Refusal("CMMVC5711E", request.values["unit"])
    capacity = request.number("size", 0, 1, 2**60) * unit
    if capacity % 512:
        raise Refusal("CMMVC5711E", request.values["size"])
    volume = add_volume(system, request.get("name"), capacity)
    return Done(f"Virtual Disk, id [{volume.id}], successfully created\n")


def add_volume(system: System, name: str | None, capacity: int) -> Volume:
    """Make a volume with a UID never used before."""
    state = system.state
    number = free_id(state.volumes)
    name = new_name(state.volumes.values(), name, f"vdisk{number}")
    uid = f"{state.uid_prefix}{state.next_uid:0{32 - len(state.uid_prefix)}X}"
    state.next_uid += 1
    system.shelf.create((state.name, name), capacity)
    volume = state.volumes[number] = Volume(number, name, uid, capacity)
    return volume


@command("chvdisk", values="name")
def chvdisk(system: System, request: Request) -> Done:
    """Rename a volume."""
    volume = system.volume(request.object)
    others = [other for other in system.state.volumes.values() if other is not volume]
    name = new_name(others, request.get("name"), volume.name)
    if name != volume.name:
        system.shelf.rename((system.state.name, volume.name), name)
        _rename_in_relationships(system, volume.name, name)
        volume.name = name
    return Done()


def _rename_in_relationships(system: System, old: str, new: str) -> None:
    here = system.state.name
    for other in system.network.systems.values():
        for each in other.state.relationships.values():
            if (each.master, each.master_volume) == (here, old):
                each.master_volume = new
            if (each.aux, each.aux_volume) == (here, old):
                each.aux_volume = new


@command("expandvdisksize", needs="size", values="unit")
def expandvdisksize(system: System, request: Request) -> Done:
    """Make a volume larger; not while it is in a mapping or relationship."""
    volume = system.volume(request.object)
    if _is_in_use(system, volume):
        raise Refusal("CMMVC5767E")
    unit = UNIT_BYTES.get(request.get("unit") or "mb", 1024**2)
    volume.capacity += request.number("size", 0, 1, 2**60) * unit
    system.shelf.create((system.state.name, volume.name), volume.capacity)
    return Done()


def _is_in_use(system: System, volume: Volume) -> bool:
    maps = system.state.mappings.values()
    return bool(system.relationships_of(volume)) or any(
        volume.id in {mapping.source, mapping.target} for mapping in maps
    )


@command("rmvdisk", flags="force removehostmappings removefcmaps removercrelationships")
def rmvdisk(system: System, request: Request) -> Done:
    """Remove a volume that is neither mapped nor copied; -force removes host maps with it."""
    volume = system.volume(request.object)
    state = system.state
    is_mapped = any(shown.volume == volume.id for shown in state.host_maps)
    loose = request.has("force") or request.has("removehostmappings")
    if _is_in_use(system, volume) or (is_mapped and not loose):
        raise Refusal("CMMVC5840E")
    state.host_maps = [shown for shown in state.host_maps if shown.volume != volume.id]
    del state.volumes[volume.id]
    system.shelf.remove((state.name, volume.name))
    return Done()


# Hosts -----------------------------------------------------------------------------------------


@command("lshost", values="gui")
def lshost(system: System, request: Request) -> Table | Detail:
    """List hosts, or show one with its ports."""
    columns = "id name port_count iogrp_count status site_id site_name host_cluster_id"
    columns += " host_cluster_name protocol owner_id owner_name"
    if request.target is None:
        rows = [
            (host.id, host.name, len(host.ports), 4, "online", "", "", "", "", "scsi", "", "")
            for host in system.state.hosts.values()
        ]
        return Table(names(columns), rows)
    host = find(system.state.hosts, request.target)
    lines: list[tuple[str, object]] = [
        ("id", host.id),
        ("name", host.name),
        ("port_count", len(host.ports)),
        ("type", "generic"),
        ("mask", "1" * 64),
        ("iogrp_count", 4),
        ("status", "online"),
        ("site_id", None),
        ("site_name", None),
        ("host_cluster_id", None),
        ("host_cluster_name", None),
        ("protocol", "scsi"),
    ]
    for port in host.ports:
        lines += [("WWPN", port), ("node_logged_in_count", 2), ("state", "active")]
    return Detail([lines])


@command(
    "mkhost",
    values="name fcwwpn hbawwpn iscsiname saswwpn type iogrp mask",
    flags="force",
    takes_object=False,
)
def mkhost(system: System, request: Request) -> Done:
    """Make a host."""
    ports = request.get("fcwwpn") or request.get("hbawwpn") or request.get("iscsiname")
    if not ports:
        raise Refusal("CMMVC5707E")
    host = add_host(system, request.get("name"), ports.split(":"))
    return Done(f"Host, id [{host.id}], successfully created\n")


def add_host(system: System, name: str | None, ports: list[str]) -> Host:
    """Make a host."""
    hosts = system.state.hosts
    number = free_id(hosts)
    host = hosts[number] = Host(number, new_name(hosts.values(), name, f"host{number}"), ports)
    return host


@command("rmhost", flags="force")
def rmhost(system: System, request: Request) -> Done:
    """Remove a host; with -force also its maps."""
    host = find(system.state.hosts, request.object)
    state = system.state
    if any(shown.host == host.id for shown in state.host_maps) and not request.has("force"):
        raise Refusal("CMMVC5767E")
    state.host_maps = [shown for shown in state.host_maps if shown.host != host.id]
    del state.hosts[host.id]
    return Done()


@command(
    "mkvdiskhostmap", needs="host", values="scsi scsilist", flags="force allowmismatchedscsiids"
)
def mkvdiskhostmap(system: System, request: Request) -> Done:
    """Show a volume to a host."""
    volume = system.volume(request.object)
    host = find(system.state.hosts, request.values["host"], "CMMVC5804E")
    maps = system.state.host_maps
    if any(shown.volume == volume.id and shown.host == host.id for shown in maps):
        raise Refusal("CMMVC5879E" if request.get("scsi") else "CMMVC6071E")
    if any(shown.volume == volume.id for shown in maps) and not request.has("force"):
        raise Refusal("CMMVC6071E")
    taken = {shown.scsi_id for shown in maps if shown.host == host.id}
    scsi_id = request.number("scsi", free_id(taken), 0, 2047)
    if scsi_id in taken:
        raise Refusal("CMMVC5879E")
    maps.append(HostMap(volume.id, host.id, scsi_id))
    return Done(f"Virtual Disk to Host map, id [{scsi_id}], successfully created\n")


@command("rmvdiskhostmap", needs="host")
def rmvdiskhostmap(system: System, request: Request) -> Done:
    """Take a volume away from a host."""
    volume = system.volume(request.object)
    host = find(system.state.hosts, request.values["host"], "CMMVC5804E")
    kept = [
        shown
        for shown in system.state.host_maps
        if (shown.volume, shown.host) != (volume.id, host.id)
    ]
    if len(kept) == len(system.state.host_maps):
        raise Refusal("CMMVC5842E")
    system.state.host_maps = kept
    return Done()


@command("lshostvdiskmap")
def lshostvdiskmap(system: System, request: Request) -> Table:
    """List maps by host: all, or one host's."""
    state = system.state
    wanted = None if request.target is None else find(state.hosts, request.target).id
    columns = "id name SCSI_id vdisk_id vdisk_name vdisk_UID IO_group_id IO_group_name"
    columns += " mapping_type host_cluster_id host_cluster_name protocol"
    rows = []
    for shown in sorted(state.host_maps, key=lambda shown: (shown.host, shown.scsi_id)):
        if wanted is None or shown.host == wanted:
            host, volume = state.hosts[shown.host], state.volumes[shown.volume]
            first = (host.id, host.name, shown.scsi_id, volume.id, volume.name, volume.uid)
            rows.append((*first, 0, "io_grp0", "private", "", "", "scsi"))
    return Table(names(columns), rows, prints_empty_header=False)


@command("lsvdiskhostmap")
def lsvdiskhostmap(system: System, request: Request) -> Table:
    """List the hosts a volume is shown to; nothing at all when there are none."""
    state = system.state
    volume = system.volume(request.object)
    columns = "id name SCSI_id host_id host_name vdisk_UID IO_group_id IO_group_name mapping_type"
    columns += " host_cluster_id host_cluster_name protocol"
    tail = (volume.uid, 0, "io_grp0", "private", "", "", "scsi")
    rows = [
        (volume.id, volume.name, shown.scsi_id, shown.host, state.hosts[shown.host].name, *tail)
        for shown in state.host_maps
        if shown.volume == volume.id
    ]
    return Table(names(columns), rows, prints_empty_header=False)
