"""The iron: drives, arrays, enclosures, ports. None of it changes; monitoring tools ask for it.

One control enclosure of two canisters with twelve drives in one array. docs/reference/svc-cli.md
has none of these lists: their columns are those that public monitoring scripts read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deployments.lab.svc import views
from deployments.lab.svc.commands import Request, command
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names
from deployments.lab.svc.volumes import POOL_BYTES

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

DRIVES = 12
DRIVE_BYTES = 960 * 10**9 // 512 * 512

LISTS: dict[str, tuple[str, list[str]]] = {
    "lsdrive": (
        "id status error_sequence_number use tech_type capacity mdisk_id mdisk_name member_id"
        " enclosure_id slot_id node_id node_name auto_manage drive_class_id",
        [
            f"{number}:online::member:tier0_flash:{DRIVE_BYTES}:0:mdisk0:{number}:1:{number + 1}"
            ":::inactive:0"
            for number in range(DRIVES)
        ],
    ),
    "lsmdisk": (
        "id name status mode mdisk_grp_id mdisk_grp_name capacity ctrl_LUN_# controller_name UID"
        " tier encrypt site_id site_name distributed dedupe over_provisioned supports_unmap",
        [f"0:mdisk0:online:array:0:Pool0:{POOL_BYTES}::::tier0_flash:no:::yes:no:no:yes"],
    ),
    "lsarray": (
        "mdisk_id mdisk_name status mdisk_grp_id mdisk_grp_name capacity raid_status raid_level"
        " redundancy strip_size tier encrypt distributed",
        [f"0:mdisk0:online:0:Pool0:{POOL_BYTES}:online:raid6:2:256:tier0_flash:no:yes"],
    ),
    "lsenclosure": (
        "id status type managed IO_group_id IO_group_name product_MTM serial_number total_canisters"
        " online_canisters total_PSUs online_PSUs drive_slots total_fan_modules online_fan_modules"
        " total_sems online_sems",
        ["1:online:control:yes:0:io_grp0:4680-3P4:78F0001:2:2:2:2:12:0:0:0:0"],
    ),
    "lsenclosurecanister": (
        "enclosure_id canister_id status type node_id node_name",
        ["1:1:online:node:1:node1", "1:2:online:node:2:node2"],
    ),
    "lsenclosurebattery": (
        "enclosure_id battery_id status charging_status recondition_needed percent_charged"
        " end_of_life_warning canister_id battery_slot",
        ["1:1:online:idle:no:100:no:1:1", "1:2:online:idle:no:100:no:2:1"],
    ),
    "lsenclosurepsu": (
        "enclosure_id PSU_id status input_power",
        ["1:1:online:ac", "1:2:online:ac"],
    ),
    "lsenclosureslot": (
        "enclosure_id slot_id port_1_status port_2_status drive_present drive_id",
        [f"1:{number + 1}:online:online:yes:{number}" for number in range(DRIVES)],
    ),
    "lsenclosurefanmodule": ("enclosure_id fan_module_id status", []),
    "lsquorum": (
        "quorum_index status id name controller_id controller_name active object_type override"
        " site_id site_name",
        [
            "0:online:0::::yes:drive:no::",
            "1:online:1::::no:drive:no::",
            "2:online:2::::no:drive:no::",
        ],
    ),
    "lscontroller": ("id controller_name ctrl_s/n vendor_id product_id_low product_id_high", []),
    "lsportsas": (
        "id port_id port_speed node_id node_name WWPN status switch_WWPN attachment type"
        " adapter_location adapter_port_id",
        [
            f"{number}:{number % 2 + 1}:12Gb:{node}:node{node}:50050768011C{number:04X}"
            f":offline_unconfigured::none:host:2:{number % 2 + 1}"
            for number, node in enumerate((1, 1, 2, 2))
        ],
    ),
    "lsportethernet": (
        "id node_id node_name port_id MAC state duplex speed link_state",
        [
            f"{node}:{node}:node{node}:1:40:f2:e9:00:00:0{node}:configured:Full:1Gb/s:active"
            for node in (1, 2)
        ],
    ),
    "lsvdiskprogress": ("id progress estimated_completion_time", []),
    "lsmigrate": ("migrate_type progress migrate_source_vdisk_index", []),
    "lsrepairvdiskcopyprogress": ("vdisk_id vdisk_name copy_id task progress", []),
    "lshostcluster": ("id name status host_count mapping_count port_count protocol", []),
    "lssite": ("id site_name", ["1:site1", "2:site2", "3:site3"]),
    "lsemailuser": ("id name address user_type error warning info inventory", []),
    "lsemailserver": ("id name IP_address port status", []),
    "lsdnsserver": ("id name type IP_address status", []),
    "lssnmpserver": ("id name IP_address error warning info port community", []),
    "lssyslogserver": ("id name IP_address facility error warning info", []),
    "lsfeature": ("id name state license_key trial_expiration_date serial_num mtm", []),
    "lsvolumegroup": (
        "id name volume_count backup_status last_backup_time owner_id owner_name"
        " safeguarded_policy_id safeguarded_policy_name replication_policy_id"
        " replication_policy_name",
        [],
    ),
    "lsvolumegroupsnapshot": (
        "id name volume_group_id volume_group_name time state matches_group parent_uid"
        " expiration_time protection_provisioned_capacity protection_written_capacity"
        " operation_start_time operation_completion_estimate owner_id owner_name auto_snapshot",
        [],
    ),
    "lsvolumegroupreplication": ("id name replication_policy_id replication_policy_name", []),
    "lssnapshotpolicy": ("policy_id policy_name volume_group_count", []),
    "lsreplicationpolicy": ("id name rpo_alert topology volume_group_count", []),
    "lspartition": ("id name preferred_management_system_name active_management_system_name", []),
    "lsportset": ("id name type port_count host_count lossless owner_id owner_name", []),
    "lsownershipgroup": ("id name", []),
    "lsdumps": ("id filename", []),
    "lsportusb": (
        "id node_id node_name node_side port_id status encryption_state service_state",
        ["0:1:node1:rear:1:inactive::", "1:2:node2:rear:1:inactive::"],
    ),
    "lsarraymember": (
        "mdisk_id mdisk_name member_id drive_id new_drive_id spare_protection balanced",
        [f"0:mdisk0:{number}:{number}::1:exact" for number in range(DRIVES)],
    ),
    "lsarraymemberprogress": (
        "mdisk_id mdisk_name member_id drive_id task new_drive_id progress"
        " estimated_completion_time",
        [],
    ),
    "lsarrayinitprogress": (
        "mdisk_id mdisk_name progress estimated_completion_time",
        ["0:mdisk0:100:"],
    ),
    "lsarraysyncprogress": (
        "mdisk_id mdisk_name progress estimated_completion_time",
        ["0:mdisk0:100:"],
    ),
    "lsdriveprogress": ("id task progress estimated_completion_time", []),
    "lsdriveclass": (
        "id RPM capacity IO_group_id IO_group_name tech_type block_size candidate_count"
        " superior_count total_count transport_protocol",
        [f"0::{DRIVE_BYTES}:0:io_grp0:tier0_flash:512:0:0:{DRIVES}:nvme"],
    ),
    "lsdiscoverystatus": (
        "id scope IO_group_id IO_group_name status",
        ["0:fc_fabric:::inactive"],
    ),
    "lsfreeextents": ("id number_of_extents", []),
    "lsldapserver": ("id name error_sequence_number IP_address", []),
    "lskeyserver": ("id name status primary IP_address port type", []),
    "lscloudaccount": ("id name type status mode active_volume_count backup_volume_count", []),
    "lsvolumebackup": ("volume_UID volume_id volume_name system_id system_name", []),
    "lsvolumesnapshot": (
        "volume_id volume_name snapshot_name time snapshot_id state volume_group_name parent_uid"
        " expiration_time auto_snapshot",
        [],
    ),
    "lssafeguardedpolicy": ("policy_id policy_name", []),
    "lsproxy": ("enabled url port username_set password_set certificate", ["no::0:no:no:no"]),
    "lsdependentvdisks": ("vdisk_id vdisk_name", []),
    "lsclustercandidate": ("id configured cluster_name", []),
    "lsnodehw": (
        "id name status IO_group_id IO_group_name hardware actual_different actual_valid"
        " memory_configured memory_actual memory_valid cpu_count cpu_configured cpu_actual",
        [f"{node}:node{node}:online:0:io_grp0:SV3:no:yes:256:256:yes:2::" for node in (1, 2)],
    ),
}
"""A list's columns and its rows. Where a row has more colons than columns they are an address's."""

CAPACITIES = {"capacity"}
SHEETS: dict[str, str] = {
    # Not licensed, and nothing prepared: a public how-to shows a FlashSystem in this state.
    "lsencryption": "status=licensed error_sequence_number= usb_rekey=no_key usb_key_copies=0"
    " usb_key_filename= usb_rekey_filename= keyserver_status=licensed keyserver_rekey=no_key"
    " keyserver_pmk_uid= keyserver_pmk_rekey_uid= recovery_key_status=licensed"
    " recovery_key_rekey=no_key recovery_key_name= recovery_key_rekey_name=",
    "lssecurity": "sslprotocol=5 sshprotocol=2 gui_timeout_mins=30 cli_timeout_mins=15"
    " min_password_length=8 password_special_chars=0 password_upper_case=0"
    " password_lower_case=0 password_digits=0 check_password_history=no max_password_history=6"
    " min_password_age_days=1 password_expiry_days=0 expiry_warning_days=14"
    " superuser_locking=disabled max_failed_login_attempts=0 lockout_period_mins=0"
    " rest_timeout_mins=60 ssh_grace_time_secs=60 ssh_max_tries=6",
    "lsupdate": "status=success event_sequence_number= progress= estimated_completion_time="
    " suggested_action=start system_new_code_level= system_forced=no"
    " system_next_node_status=none system_next_node_time= system_next_node_id="
    " system_next_node_name= system_next_pause_time=",
    "lsldap": "type=itds enabled=no error_sequence_number= username= security=none"
    " user_attribute= group_attribute= auth_cache_minutes=10 nested_group_search=off",
    "lscopystatus": "status=idle",
    "lssystemcert": "valid=yes",
}
"""Sheets of one object, as `attribute=value`. They have a detailed view only."""

SELECTORS = {"lsenclosureslot": "slot", "lsenclosurebattery": "battery", "lsenclosurepsu": "psu"}
"""Lists whose object is an enclosure, with the option that chooses one of its parts."""


OPTIONS = {
    "lsdependentvdisks": "node drive enclosure canister slot controller mdisk mdiskgrp",
}


def _handler(name: str) -> Callable[[System, Request], Table | Detail]:
    columns = names(LISTS[name][0])
    selector = SELECTORS.get(name, "canister" if name == "lsenclosurecanister" else "")

    def show(system: System, request: Request) -> Table | Detail:
        rows = []
        for text in LISTS[name][1]:
            cells: list[str] = text.split(":")
            if name == "lsportethernet":
                cells = [*cells[:4], ":".join(cells[4:10]), *cells[10:]]
            told = dict(zip(columns, cells, strict=True))
            for column in CAPACITIES & set(told):
                told[column] = views.size(int(told[column]), request.unit)
            rows.append(told)
        word = request.target
        if word is not None and name != "lsdumps":
            rows = [told for told in rows if word in (told[columns[0]], told.get("name"))]
            if not rows:
                raise Refusal("CMMVC5753E" if word.isdecimal() else "CMMVC5754E")
        wanted = request.get(selector) if selector else None
        if wanted is not None:
            rows = [told for told in rows if told[columns[1]] == wanted]
            if not rows:
                raise Refusal("CMMVC5804E")
        if word is not None and len(rows) == 1:
            return Detail([list(rows[0].items())])
        return Table(columns, [list(told.values()) for told in rows])

    show.__doc__ = f"List {name.removeprefix('ls')}."
    return show


for _name in LISTS:
    _values = SELECTORS.get(_name, "canister" if _name == "lsenclosurecanister" else "")
    command(_name, values=f"{_values} prefix {OPTIONS.get(_name, '')}")(_handler(_name))


def _sheet(text: str) -> Callable[[System, Request], Detail]:
    pairs = [pair.partition("=") for pair in text.split()]

    def show(system: System, request: Request) -> Detail:
        return Detail([[(name, value) for name, _, value in pairs]])

    return show


for _name, _text in SHEETS.items():
    _show = _sheet(_text)
    _show.__doc__ = f"Show {_name.removeprefix('ls')}."
    command(_name, takes_object=False)(_show)


@command("showtimezone", takes_object=False)
def showtimezone(system: System, request: Request) -> Table:
    """Show the time zone that is set."""
    return Table(names("id timezone"), [(522, "UTC")])


@command("lssevdiskcopy", values="copy")
def lssevdiskcopy(system: System, request: Request) -> Table:
    """List the thin and compressed copies of volumes."""
    columns = "vdisk_id vdisk_name copy_id mdisk_grp_id mdisk_grp_name capacity used_capacity"
    columns += " real_capacity free_capacity overallocation autoexpand warning grainsize se_copy"
    columns += " compressed_copy"
    chosen = [system.volume(request.target)] if request.target else system.state.volumes.values()
    rows = []
    for volume in chosen:
        size = views.size(volume.capacity, request.unit)
        free = views.size(0, request.unit)
        for copy in sorted(volume.copies) if volume.is_thin else []:
            row: list[object] = [volume.id, volume.name, copy, 0, "Pool0", size, size, size, free]
            rows.append([*row, 100, "on", 80, 256, "yes", volume.is_compressed])
    return Table(names(columns), rows)


STATISTICS = names(
    "compression_cpu_pc cpu_pc fc_mb fc_io sas_mb sas_io iscsi_mb iscsi_io write_cache_pc"
    " total_cache_pc vdisk_mb vdisk_io vdisk_ms mdisk_mb mdisk_io mdisk_ms drive_mb drive_io"
    " drive_ms vdisk_r_mb vdisk_r_io vdisk_r_ms vdisk_w_mb vdisk_w_io vdisk_w_ms mdisk_r_mb"
    " mdisk_r_io mdisk_r_ms mdisk_w_mb mdisk_w_io mdisk_w_ms drive_r_mb drive_r_io drive_r_ms"
    " drive_w_mb drive_w_io drive_w_ms power_w temp_c temp_f iplink_mb iplink_io"
    " cloud_up_mb cloud_up_ms cloud_down_mb cloud_down_ms iser_mb iser_io"
)
"""What arrays measure of themselves. Nothing is measured here: all are 0, an idle array."""


@command("lssystemstats", values="history")
def lssystemstats(system: System, request: Request) -> Table:
    """List what the system measures of itself."""
    columns = names("stat_name stat_current stat_peak stat_peak_time")
    chosen = [request.get("history") or request.target] if _chosen(request) else STATISTICS
    return Table(columns, [(name, 0, 0, system.stamp()) for name in chosen])


def _node_statistics(system: System, request: Request) -> Table:
    columns = names("node_id node_name stat_name stat_current stat_peak stat_peak_time")
    numbers = [1, 2]
    if request.target is not None:
        numbers = [number for number in numbers if request.target in {str(number), f"node{number}"}]
        if not numbers:
            raise Refusal("CMMVC5753E" if request.target.isdecimal() else "CMMVC5754E")
    rows = [
        (number, f"node{number}", name, 0, 0, system.stamp())
        for number in numbers
        for name in STATISTICS
    ]
    return Table(columns, rows)


def _chosen(request: Request) -> bool:
    word = request.get("history") or request.target
    if word is not None and word not in STATISTICS:
        raise Refusal("CMMVC5711E", word)
    return word is not None


@command("lsnodestats", values="history")
def lsnodestats(system: System, request: Request) -> Table:
    """List what the nodes measure of themselves."""
    return _node_statistics(system, request)


@command("lsnodecanisterstats", values="history")
def lsnodecanisterstats(system: System, request: Request) -> Table:
    """List what the node canisters measure of themselves."""
    return _node_statistics(system, request)


@command("lsenclosurestats", values="history")
def lsenclosurestats(system: System, request: Request) -> Table:
    """List what the enclosures measure of themselves."""
    columns = names("enclosure_id stat_name stat_current stat_peak stat_peak_time")
    shown = ("power_w", "temp_c", "temp_f")
    return Table(columns, [(1, name, 0, 0, system.stamp()) for name in shown])
