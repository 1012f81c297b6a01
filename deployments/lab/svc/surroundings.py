"""What volume drivers ask about before and beside their work: nodes, ports, fabric, capabilities.

Nothing of it changes how volumes copy. docs/reference/svc-cli.md §1, §4.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command
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


@command("lsguicapabilities")
def lsguicapabilities(system: System, request: Request) -> Detail:
    """Show what this model and its licences can do."""
    pairs = "license_scheme:9846 next_generation:no compression:yes flash:yes flashcopy:yes"
    pairs += " globalmirror:yes metromirror:yes remote_copy:yes easytier:yes encryption:no"
    lines: list[tuple[str, object]] = [tuple(pair.split(":", 1)) for pair in pairs.split()]  # type: ignore[misc]
    return Detail([lines])


@command("lsportip")
def lsportip(system: System, request: Request) -> Table:
    """List the Ethernet ports: none carries I/O."""
    columns = "id node_id node_name IP_address mask gateway IP_address_6 prefix_6 gateway_6 MAC"
    columns += " duplex state speed failover link_state host remote_copy host_6 remote_copy_6"
    return Table(names(columns))


@command("lsip")
def lsip(system: System, request: Request) -> Table:
    """List the addresses of Ethernet ports: none."""
    columns = "id node_id node_name port_id portset_id portset_name IP_address prefix vlan"
    columns += " gateway owner_id owner_name"
    return Table(names(columns))


@command("lsiscsiauth")
def lsiscsiauth(system: System, request: Request) -> Table:
    """List iSCSI secrets: none."""
    return Table(names("type id name iscsi_auth_method iscsi_chap_secret"))


@command("lsthrottle")
def lsthrottle(system: System, request: Request) -> Table:
    """List throttles: none."""
    columns = "id throttle_name object_id object_name throttle_type IOPs_limit bandwidth_limit_MB"
    return Table(names(columns))


@command("lsfcportsetmember")
def lsfcportsetmember(system: System, request: Request) -> Table:
    """List the ports of port sets: none."""
    return Table(names("id fc_io_port_id portset_id portset_name portset_type"))


@command("lstargetportfc")
def lstargetportfc(system: System, request: Request) -> Table:
    """List the ports hosts may log in to."""
    columns = "id WWPN WWNN port_id owning_node_id current_node_id nportid host_io_permitted"
    columns += " virtualized protocol"
    rows: list[list[object]] = []
    for number, (node, port) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2)), start=1):
        row: list[object] = [number, f"50050768011{number:05X}", f"500507680100{node:04X}", port]
        rows.append([*row, node, node, f"{number:06X}", "yes", "no", "scsi"])
    return Table(names(columns), rows)


@command("lsfabric", values="host wwpn node port cluster controller")
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


@command("addvdiskaccess", needs="iogrp")
def addvdiskaccess(system: System, request: Request) -> Done:
    """Let a volume be reached through an I/O group: there is one."""
    system.volume(request.object)
    if request.values["iogrp"] not in IO_GROUPS:
        raise Refusal("CMMVC5804E")
    return Done()


@command("addhostport", values="hbawwpn fcwwpn iscsiname saswwpn", flags="force")
def addhostport(system: System, request: Request) -> Done:
    """Give a host another port."""
    host = find(system.state.hosts, request.object, "CMMVC5804E")
    ports = request.get("hbawwpn") or request.get("fcwwpn") or request.get("iscsiname")
    if not ports:
        raise Refusal("CMMVC5707E")
    known = {port for each in system.state.hosts.values() for port in each.ports}
    new = [port for port in ports.split(":") if port]
    if known & set(new):
        raise Refusal("CMMVC6035E")
    host.ports += new
    return Done()


@command("addhostiogrp", values="iogrp", flags="iogrpall")
def addhostiogrp(system: System, request: Request) -> Done:
    """Let a host use I/O groups: there is one."""
    find(system.state.hosts, request.object, "CMMVC5804E")
    return Done()
