"""What volume drivers ask about before and beside their work: nodes, ports, fabric, capabilities.

Nothing of it changes how volumes copy. docs/reference/svc-cli.md §1, §4.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from deployments.lab.svc import partnerships
from deployments.lab.svc.commands import Done, Request, command, one_or_all
from deployments.lab.svc.naming import find
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

IO_GROUPS = ("0", "io_grp0")


@command("svqueryclock", takes_object=False)
def svqueryclock(system: System, request: Request) -> Done:
    """Print the system's clock."""
    moment = datetime.datetime.fromtimestamp(system.clock.now(), tz=datetime.UTC)
    return Done(moment.strftime("%a %b %d %H:%M:%S UTC %Y\n"))


@command("lsguicapabilities", takes_object=False)
def lsguicapabilities(system: System, request: Request) -> Detail:
    """Show what this model and its licences can do."""
    pairs = "license_scheme:9846 next_generation:no compression:yes flash:yes flashcopy:yes"
    pairs += " globalmirror:yes metromirror:yes remote_copy:yes easytier:yes encryption:no"
    lines: list[tuple[str, object]] = [tuple(pair.split(":", 1)) for pair in pairs.split()]  # type: ignore[misc]
    return Detail([lines])


@command("lsportip")
def lsportip(system: System, request: Request) -> Table | Detail:
    """List the Ethernet ports: none carries I/O."""
    columns = "id node_id node_name IP_address mask gateway IP_address_6 prefix_6 gateway_6 MAC"
    columns += " duplex state speed failover link_state host remote_copy host_6 remote_copy_6"
    return one_or_all(names(columns), (), request)


@command("lsip")
def lsip(system: System, request: Request) -> Table | Detail:
    """List the addresses of Ethernet ports: none."""
    columns = "id node_id node_name port_id portset_id portset_name IP_address prefix vlan"
    columns += " gateway owner_id owner_name"
    return one_or_all(names(columns), (), request)


@command("lsiscsiauth", takes_object=False)
def lsiscsiauth(system: System, request: Request) -> Table:
    """List iSCSI secrets: none."""
    return Table(names("type id name iscsi_auth_method iscsi_chap_secret"))


@command("lsthrottle")
def lsthrottle(system: System, request: Request) -> Table | Detail:
    """List throttles: none."""
    columns = "id throttle_name object_id object_name throttle_type IOPs_limit bandwidth_limit_MB"
    return one_or_all(names(columns), (), request)


@command("lsfcportsetmember", takes_object=False)
def lsfcportsetmember(system: System, request: Request) -> Table:
    """List the ports of port sets: none."""
    return Table(names("id fc_io_port_id portset_id portset_name portset_type"))


@command("lstargetportfc")
def lstargetportfc(system: System, request: Request) -> Table | Detail:
    """List the ports hosts may log in to."""
    columns = "id WWPN WWNN port_id owning_node_id current_node_id nportid host_io_permitted"
    columns += " virtualized protocol"
    rows: list[list[object]] = []
    for number, (node, port) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2)), start=1):
        row: list[object] = [number, f"50050768011{number:05X}", f"500507680100{node:04X}", port]
        rows.append([*row, node, node, f"{number:06X}", "yes", "no", "scsi"])
    return one_or_all(names(columns), rows, request)


@command("lsfabric", values="host wwpn node port cluster controller", takes_object=False)
def lsfabric(system: System, request: Request) -> Table:
    """List logins: each port of each host to both nodes."""
    columns = "remote_wwpn remote_nportid id node_name local_wwpn local_port local_nportid state"
    columns += " name cluster_name type"
    wanted = request.get("host")
    hosts = list(system.state.hosts.values())
    if wanted is not None:
        hosts = [find(system.state.hosts, wanted, "CMMVC5804E")]
    rows: list[list[object]] = []
    for host in hosts:
        for port in [port for port in host.ports if request.get("wwpn") in {None, port}]:
            for node in (1, 2):
                row: list[object] = [port, "010200", node, f"node{node}"]
                row += [f"500507680110{node:04X}", 1, "010500", "active"]
                rows.append([*row, host.name, "", "host"])
    return Table(names(columns), rows)


@command("lsvdiskaccess")
def lsvdiskaccess(system: System, request: Request) -> Table:
    """List the I/O groups a volume can be reached through."""
    volume = system.volume(request.object)
    columns = names("VDisk_id VDisk_name IO_group_id IO_group_name")
    return Table(columns, [(volume.id, volume.name, *IO_GROUPS)])


@command("rmvdiskaccess", needs="iogrp")
def rmvdiskaccess(system: System, request: Request) -> Done:
    """Close a volume's way through an I/O group; the last one stays."""
    system.volume(request.object)
    raise Refusal("CMMVC5767E" if request.values["iogrp"] in IO_GROUPS else "CMMVC5804E")


@command("addvdiskaccess", needs="iogrp")
def addvdiskaccess(system: System, request: Request) -> Done:
    """Let a volume be reached through an I/O group: there is one."""
    system.volume(request.object)
    if request.values["iogrp"] not in IO_GROUPS:
        raise Refusal("CMMVC5804E")
    return Done()


@command("lsfcmapdependentmaps")
def lsfcmapdependentmaps(system: System, request: Request) -> Table:
    """List mappings that need this one's target: none, each target is a whole copy."""
    find(system.state.mappings, request.object)
    return Table(names("fc_id fc_name"))


@command("lsvdiskdependentmaps")
def lsvdiskdependentmaps(system: System, request: Request) -> Table:
    """List mappings that must end before this volume can be a target of another: none."""
    system.volume(request.object)
    return Table(names("id name"))


@command("lsfcmapcandidate")
def lsfcmapcandidate(system: System, request: Request) -> Table:
    """List volumes that take part in fewer mappings than they may."""
    return Table(("id",), [(number,) for number in system.state.volumes])


@command("lsrcrelationshipcandidate", values="aux master")
def lsrcrelationshipcandidate(system: System, request: Request) -> Table:
    """List volumes that could be in a relationship: here, or on the system named."""
    other = system
    if request.target is not None and request.target not in {system.state.id, system.state.name}:
        other = partnerships.peer(system, request.target)
    master = system.volume(request.values["master"]) if "master" in request.values else None
    rows = [
        (volume.id, volume.name)
        for volume in other.state.volumes.values()
        if not other.relationships_of(volume)
        and (master is None or (volume.capacity == master.capacity and volume is not master))
    ]
    return Table(names("id vdisk_name"), rows)


@command("lsvdiskmember")
def lsvdiskmember(system: System, request: Request) -> Table:
    """List the managed disks a volume is on: one."""
    system.volume(request.object)
    return Table(("id",), [(0,)])


@command("lsvdiskextent")
def lsvdiskextent(system: System, request: Request) -> Table:
    """Count a volume's extents of 1 GiB on each managed disk."""
    volume = system.volume(request.object)
    rows = [(0, -(-volume.capacity // 1024**3), copy) for copy in sorted(volume.copies)]
    return Table(names("id number_extents copy_id"), rows)


@command("lscloudcallhome", takes_object=False)
def lscloudcallhome(system: System, request: Request) -> Detail:
    """Show whether the array calls IBM: it does not."""
    return Detail([[("status", "disabled"), ("connection", ""), ("error_sequence_number", "")]])


@command("registerplugin", values="name version uniquekey metadata", takes_object=False)
def registerplugin(system: System, request: Request) -> Done:
    """Take note of a driver that introduces itself."""
    return Done()
