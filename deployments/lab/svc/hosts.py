"""Hosts, and which volume is shown to which. docs/reference/svc-cli.md §3-4."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Host, HostMap
from deployments.lab.svc.naming import find, free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System


@command("lshost")
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
    values="name fcwwpn hbawwpn iscsiname saswwpn type iogrp mask site portset hostcluster"
    " protocol nqn",
    flags="force",
    takes_object=False,
)
def mkhost(system: System, request: Request) -> Done:
    """Make a host."""
    host = add_host(system, request.get("name"), _new_ports(system, request))
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


@command("addhostport", values="hbawwpn fcwwpn iscsiname saswwpn", flags="force")
def addhostport(system: System, request: Request) -> Done:
    """Give a host another port."""
    host = find(system.state.hosts, request.object, "CMMVC5804E")
    host.ports += _new_ports(system, request)
    return Done()


@command("addhostiogrp", values="iogrp", flags="iogrpall")
def addhostiogrp(system: System, request: Request) -> Done:
    """Let a host use I/O groups: there is one."""
    find(system.state.hosts, request.object, "CMMVC5804E")
    return Done()


@command("rmhostport", values="hbawwpn fcwwpn iscsiname saswwpn", flags="force")
def rmhostport(system: System, request: Request) -> Done:
    """Take ports away from a host."""
    host = find(system.state.hosts, request.object, "CMMVC5804E")
    gone = _ports(request)
    if not set(gone) <= set(host.ports):
        raise Refusal("CMMVC5804E")
    host.ports = [port for port in host.ports if port not in gone]
    return Done()


@command("rmhostiogrp", values="iogrp", flags="iogrpall force")
def rmhostiogrp(system: System, request: Request) -> Done:
    """Take I/O groups away from a host: there is one, which stays."""
    find(system.state.hosts, request.object, "CMMVC5804E")
    return Done()


@command("lshostiogrp")
def lshostiogrp(system: System, request: Request) -> Table:
    """List the I/O groups a host may use."""
    find(system.state.hosts, request.object)
    return Table(names("id name"), [(number, f"io_grp{number}") for number in range(4)])


@command(
    "chhost",
    values="name type chapsecret site mask hostcluster portset iscsiusername",
    flags="nochapsecret nosite force",
)
def chhost(system: System, request: Request) -> Done:
    """Rename a host; other attributes are taken and change nothing here."""
    host = find(system.state.hosts, request.object, "CMMVC5804E")
    others = [other for other in system.state.hosts.values() if other is not host]
    host.name = new_name(others, request.get("name"), host.name)
    return Done()


def _new_ports(system: System, request: Request) -> list[str]:
    """Read ports that no host has yet."""
    known = {port for each in system.state.hosts.values() for port in each.ports}
    ports = _ports(request)
    is_iscsi = "iscsiname" in request.values
    is_sound = is_iscsi or all(re.fullmatch(r"[0-9A-Fa-f]{16}", port) for port in ports)
    if not is_sound or known & set(ports) or len(set(ports)) < len(ports):
        raise Refusal("CMMVC6578E" if is_iscsi else "CMMVC5867E")
    return ports


def _ports(request: Request) -> list[str]:
    """Read the ports a line names; an iSCSI name has colons of its own."""
    wwpns = request.get("hbawwpn") or request.get("fcwwpn") or request.get("saswwpn")
    if wwpns:
        return [port.upper() for port in wwpns.split(":") if port]
    iscsi = request.get("iscsiname")
    if not iscsi:
        raise Refusal("CMMVC5707E")
    return iscsi.split(",")
