"""What the array says about itself: system, nodes, pools, licences, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import views
from deployments.lab.svc.commands import Request, command, one_or_all
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names
from deployments.lab.svc.volumes import POOL_BYTES, free_bytes

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

CODE_LEVEL = "8.7.0.2 (build 170.4.2409261156000)"


@command("lssystem", takes_object=False)
def lssystem(system: System, request: Request) -> Detail:
    """Show the system; always the detailed view."""
    return described(system, request)


def described(system: System, request: Request) -> Detail:
    """Return what the system tells of itself."""
    used = POOL_BYTES - free_bytes(system)

    def capacity(count: int) -> str:
        return views.size(count, request.unit)

    lines: list[tuple[str, object]] = [
        ("id", system.state.id),
        ("name", system.state.name),
        ("location", "local"),
        ("partnership", None),
        ("total_mdisk_capacity", capacity(POOL_BYTES)),
        ("space_in_mdisk_grps", capacity(POOL_BYTES)),
        ("space_allocated_to_vdisks", capacity(used)),
        ("total_free_space", capacity(POOL_BYTES - used)),
        ("total_vdiskcopy_capacity", capacity(used)),
        ("total_used_capacity", capacity(used)),
        ("total_overallocation", 0),
        ("total_vdisk_capacity", capacity(used)),
        ("statistics_status", "on"),
        ("statistics_frequency", 5),
        ("cluster_locale", "en_US"),
        ("time_zone", "522 UTC"),
        ("code_level", CODE_LEVEL),
        ("console_IP", "127.0.0.1:443"),
        ("id_alias", system.state.id),
        ("gm_link_tolerance", 300),
        ("gm_inter_cluster_delay_simulation", 0),
        ("gm_intra_cluster_delay_simulation", 0),
        ("gm_max_host_delay", 5),
        ("inventory_mail_interval", 0),
        ("auth_service_configured", "no"),
        ("relationship_bandwidth_limit", 25),
        ("layer", "replication"),
        ("has_nas_key", "no"),
        ("local_fc_port_mask", "1" * 64),
        ("partner_fc_port_mask", "1" * 64),
        ("topology", "standard"),
        ("topology_status", None),
        ("rc_auth_method", "none"),
        ("vdisk_protection_time", 15),
        ("vdisk_protection_enabled", "no"),
        ("product_name", "IBM Storage Virtualize"),
        ("max_replication_delay", 0),
        ("partnership_exclusion_threshold", 315),
    ]
    return Detail([lines])


@command("lscluster")
def lscluster(system: System, request: Request) -> Table | Detail:
    """List this system and its partners, or show it: what `lssystem` was called before 6.3."""
    if request.target in {system.state.id, system.state.name}:
        return described(system, request)
    rows = [(*known, "", "", known[0]) for known in system.known_systems()]
    if request.target is not None:
        raise Refusal("CMMVC5753E" if request.target.isalnum() else "CMMVC5754E")
    return Table(names("id name location partnership bandwidth id_alias"), rows)


@command("lssystemip", takes_object=False)
def lssystemip(system: System, request: Request) -> Table:
    """List management addresses of this system and of its partners."""
    columns = "cluster_id cluster_name location port_id IP_address subnet_mask gateway"
    columns += " IP_address_6 prefix_6 gateway_6"
    rows = [
        (number, name, where, 1, "127.0.0.1", "255.0.0.0", "127.0.0.1", "", "", "")
        for number, name, where in system.known_systems()
    ]
    return Table(names(columns), rows)


def _nodes(system: System, request: Request) -> Table | Detail:
    columns = "id name UPS_serial_number WWNN status IO_group_id IO_group_name config_node"
    columns += " UPS_unique_id hardware iscsi_name iscsi_alias panel_name enclosure_id canister_id"
    columns += " enclosure_serial_number site_id site_name"
    rows: list[list[object]] = []
    for number in (1, 2):
        row: list[object] = [number, f"node{number}", "", f"500507680100{number:04X}", "online"]
        row += [0, "io_grp0", "yes" if number == 1 else "no", "", "SV3"]
        row += [f"iqn.1986-03.com.ibm:2145.{system.state.name}.node{number}", ""]
        rows.append([*row, f"01-{number}", "1", number, f"78{system.state.id[-5:]}", "", ""])
    if request.target is None:
        return Table(names(columns), rows)
    for row in rows:
        if request.target in {str(row[0]), row[1]}:
            ports: list[tuple[str, object]] = []
            for port in (1, 2):
                wwpn = f"50050768011{(int(request.target[-1]) - 1) * 2 + port:05X}"
                ports += [("port_id", wwpn), ("port_status", "active"), ("port_speed", "32Gb")]
            return Detail([[*zip(names(columns), row, strict=True), *ports]])
    raise Refusal("CMMVC5753E" if request.target.isdecimal() else "CMMVC5754E")


@command("lsnode")
def lsnode(system: System, request: Request) -> Table | Detail:
    """List the nodes (SVC's word), or show one with its ports."""
    return _nodes(system, request)


@command("lsnodecanister")
def lsnodecanister(system: System, request: Request) -> Table | Detail:
    """List the node canisters (FlashSystem's word), or show one."""
    return _nodes(system, request)


@command("lsmdiskgrp")
def lsmdiskgrp(system: System, request: Request) -> Table | Detail:
    """List the pools: one."""
    used = POOL_BYTES - free_bytes(system)
    fields: list[tuple[str, object]] = [
        ("id", 0),
        ("name", "Pool0"),
        ("status", "online"),
        ("mdisk_count", 1),
        ("vdisk_count", len(system.state.volumes)),
        ("capacity", views.size(POOL_BYTES, request.unit)),
        ("extent_size", 1024),
        ("free_capacity", views.size(POOL_BYTES - used, request.unit)),
        ("virtual_capacity", views.size(used, request.unit)),
        ("used_capacity", views.size(used, request.unit)),
        ("real_capacity", views.size(used, request.unit)),
        ("overallocation", 0),
        ("warning", 80),
        ("easy_tier", "auto"),
        ("easy_tier_status", "balanced"),
        ("compression_active", "no"),
        ("parent_mdisk_grp_id", 0),
        ("parent_mdisk_grp_name", "Pool0"),
        ("child_mdisk_grp_count", 0),
        ("type", "parent"),
        ("encrypt", "no"),
        ("site_id", None),
        ("site_name", None),
        ("data_reduction", "no"),
    ]
    if request.target is not None:
        if request.target not in {"0", "Pool0"}:
            raise Refusal("CMMVC5753E" if request.target.isdecimal() else "CMMVC5754E")
        return Detail([fields])
    return Table([name for name, _ in fields], [[value for _, value in fields]])


@command("lsiogrp")
def lsiogrp(system: System, request: Request) -> Table | Detail:
    """List the I/O groups, or show one."""
    volumes, hosts = len(system.state.volumes), len(system.state.hosts)
    rows = [(0, "io_grp0", 2, volumes, hosts, "", "")]
    rows += [(number, f"io_grp{number}", 0, 0, hosts, "", "") for number in (1, 2, 3)]
    rows.append((4, "recovery_io_grp", 0, 0, 0, "", ""))
    columns = "id name node_count vdisk_count host_count site_id site_name"
    memory = "flash_copy_total:20.0MB flash_copy_free:19.9MB remote_copy_total:20.0MB"
    memory += " remote_copy_free:19.9MB mirroring_total:20.0MB mirroring_free:19.9MB"
    memory += " raid_total:40.0MB raid_free:39.9MB"
    more: list[tuple[str, object]] = []
    for pair in memory.split():
        name, size = pair.split(":")
        more.append((f"{name}_memory", size))
    more += [("maintenance", "no"), ("compression_active", "no")]
    more += [("accessible_vdisk_count", volumes), ("compression_supported", "yes")]
    return one_or_all(names(columns), rows, request, more)


@command("lslicense", takes_object=False)
def lslicense(system: System, request: Request) -> Detail:
    """Show the licences."""
    lines: list[tuple[str, object]] = [
        ("used_flash", "0.00"),
        ("used_remote", "0.00"),
        ("used_virtualization", "0.00"),
        ("license_flash", 100),
        ("license_remote", 100),
        ("license_virtualization", 100),
        ("license_physical_disks", 0),
        ("license_physical_flash", "on"),
        ("license_physical_remote", "on"),
        ("used_compression_capacity", "0.00"),
        ("license_compression_capacity", 0),
        ("license_compression_enclosures", 0),
        ("license_easy_tier", 0),
    ]
    return Detail([lines])


@command("lseventlog", values="order count alert message monitoring fixed expired config inconfig")
def lseventlog(system: System, request: Request) -> Table | Detail:
    """List what happened on the array that a person should know, or show one event."""
    columns = "sequence_number last_timestamp object_type object_id object_name copy_id status"
    columns += " fixed event_id error_code description secondary_object_type secondary_object_id"
    rows: list[list[object]] = []
    for number, event in enumerate(system.state.events, start=100):
        row = [number, event.at, event.kind, event.object, event.name, "", "alert", "no"]
        rows.append([*row, event.event_id, event.error_code, event.text, "", ""])
    # All that is told here is an alert that nobody has fixed.
    if request.get("alert") == "no" or request.get("fixed") == "yes":
        rows = []
    if request.get("order") == "date":
        rows.sort(key=lambda row: str(row[1]))
    rows = rows[: request.number("count", len(rows), 0, 10**6)]
    return one_or_all(names(columns), rows, request)


@command("lsportfc")
def lsportfc(system: System, request: Request) -> Table | Detail:
    """List the fibre channel ports, or show one."""
    columns = "id fc_io_port_id port_id type port_speed node_id node_name WWPN nportid status"
    columns += " attachment cluster_use adapter_location adapter_port_id"
    rows = []
    for number, node in enumerate((1, 1, 2, 2)):
        port = number % 2 + 1
        row = [number, port, port, "fc", "32Gb", node, f"node{node}", f"50050768011{number:05X}"]
        rows.append([*row, f"{number:06X}", "active", "switch", "local_partner", 1, 1])
    return one_or_all(names(columns), rows, request)
