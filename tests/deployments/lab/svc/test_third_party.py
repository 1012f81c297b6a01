"""What public SVC clients send, in their order, over real SSH, and what they read in the answers.

Taken from what they do with the answers: OpenStack's volume driver (`!`, sections, `[id]`), IBM's
SSH library (`,`, `|| echo`, `catxmlspec`), monitoring plugins (`:`, many lists on one line),
scripts of administrators (loops in the array's own shell). Only their commands are here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from answers import Check, made, pairs, refused, rows, says, silent, table

SEQUENCES: dict[str, list[tuple[str, Check]]] = {
    "a volume driver sets itself up": [
        ("svcinfo lssystem -delim !", pairs("!", code_level=r"\d+\.\d+\.\d+\.\d+ \(build .*\)")),
        ("svcinfo lslicense -delim !", pairs("!", license_compression_capacity=r"\d+")),
        ("svcinfo lsguicapabilities -delim !", pairs("!", license_scheme=r"\w+")),
        ("svcinfo lsnode -delim !", table("!", "id", "WWNN", "iscsi_name", "status", least=2)),
        ("svcinfo lsnode -delim ! 1", pairs("!", port_status="active")),
        ("svcinfo lsiogrp -delim !", table("!", "id", "node_count", "vdisk_count", least=1)),
        ("svcinfo lsportip -delim !", table("!", "node_id", "IP_address", "IP_address_6", "state")),
        ("svcinfo lsip -delim ! -filtervalue portset_name=p", table("!", "node_id", "IP_address")),
        ("svcinfo lsportfc -delim ! -filtervalue node_id=1", table("!", "WWPN", "status", least=2)),
        (
            "svcinfo lstargetportfc -delim ! -filtervalue current_node_id=1:host_io_permitted=yes",
            table("!", "WWPN", "protocol", least=2),
        ),
        ("svcinfo lsfcportsetmember -delim !", table("!", "fc_io_port_id", "portset_id")),
        ('svcinfo lsmdiskgrp -bytes -delim ! "Pool0"', pairs("!", capacity=r"\d+")),
        ("svcinfo lsmdiskgrp -delim ! -nohdr", rows("!", 10, 1)),
        ("svcinfo lscloudcallhome -delim !", pairs("!", status="disabled")),
        ("svcinfo lsthrottle -delim ! -filtervalue throttle_type=vdisk", table("!", "id")),
        ('svctask registerplugin -name "C" -version "2" -metadata "{}"', silent),
    ],
    "a volume driver makes, maps and removes a volume": [
        (
            'svctask mkvdisk -name "v1" -mdiskgrp "Pool0" -iogrp 0 -size 1 -unit gb -rsize 2%'
            " -autoexpand -warning 0% -grainsize 256 -easytier on",
            made,
        ),
        ('svcinfo lsvdisk -bytes -delim ! "v1"', pairs("!", capacity="1073741824")),
        ('svcinfo lsvdisk -bytes -delim ! "nope"', refused("CMMVC5754E")),
        ("svcinfo lsvdisk -bytes -delim ! -filtervalue mdisk_grp_name=Pool0", table("!", "name")),
        ('svctask mkhost -force -hbawwpn 50014380186AA11C -name "h1"', made),
        ('svctask addhostport -force -hbawwpn 50014380186AA11D "h1"', silent),
        ('svctask addhostiogrp -iogrpall "h1"', silent),
        ('svcinfo lshost -delim ! "h1"', pairs("!", port_count="2", WWPN="50014380186AA11D")),
        ('svcinfo lsfabric -delim ! -host "h1"', table("!", "remote_wwpn", "name", least=4)),
        ('svctask mkvdiskhostmap -force -host "h1" -scsi 3 "v1"', made),
        ('svctask mkvdiskhostmap -host "node1" -scsi 77 "v1"', refused("CMMVC6071E")),
        ('svcinfo lsvdiskhostmap -delim ! "v1"', table("!", "host_name", "SCSI_id", least=1)),
        ('svcinfo lshostvdiskmap -delim ! "h1"', table("!", "vdisk_name", "vdisk_UID", least=1)),
        ('svctask rmvdisk "v1"', refused("CMMVC5840E")),
        ('svctask rmvdiskhostmap -host "h1" "v1"', silent),
        ('svctask rmvdiskhostmap -host "h1" "v1"', refused("CMMVC5842E")),
        ('svctask expandvdisksize -size 1 -unit gb "v1"', silent),
        ('svcinfo lsvdisk -bytes -delim ! "v1"', pairs("!", capacity="2147483648")),
        ('svctask chvdisk -rate 500 "v1"', silent),
        ('svcinfo lsvdisk -bytes -delim ! "v1"', pairs("!", throttling="500")),
        ('svctask chvdisk -name v2 "v1"', silent),
        ('svctask addvdiskcopy -rsize 2% -autoexpand -easytier on -mdiskgrp "Pool0" "v2"', made),
        ('svcinfo lsvdiskcopy -delim ! "v2"', table("!", "copy_id", "primary", "sync", least=2)),
        ('svcinfo lsvdiskcopy -delim ! -copy 1 "v2"', pairs("!", primary="no", sync="yes")),
        ('svcinfo lsvdisksyncprogress -delim ! -copy 1 "v2"', table("!", "progress", least=1)),
        ('svctask rmvdiskcopy -copy 1 "v2"', silent),
        ('svctask chhost -chapsecret s3cr3ts3cr3t "h1"', silent),
        ('svctask rmhost "h1"', silent),
        ('svctask rmvdisk -force "v2"', silent),
    ],
    "a volume driver clones by FlashCopy": [
        ('svctask mkfcmap -source "Node1_6" -target "Node1_7" -copyrate 0 -cleanrate 50', made),
        ('svcinfo lsvdiskfcmappings -delim ! "Node1_6"', table("!", "id", "name", least=1)),
        ("svcinfo lsfcmap -filtervalue id=2 -delim !", table("!", "status", "progress", least=1)),
        ("svctask startfcmap 2", refused("CMMVC5903E")),
        ("svctask prestartfcmap 2", silent),
        ("svctask stopfcmap 2", refused("CMMVC5903E")),
        ("svctask chfcmap -copyrate 150 -autodelete on 2", silent),
        ("svcinfo lsfcmap -filtervalue target_vdisk_name=Node1_7 -delim !", table("!", least=1)),
        ("svctask rmfcmap -force 2", refused("CMMVC5903E")),
        ("svctask mkfcconsistgrp -name g1", made),
        ("svcinfo lsfcconsistgrp -delim ! g1", pairs("!", status="empty")),
        ("svctask startfcconsistgrp g1", refused("CMMVC5903E")),
        ("svctask rmfcconsistgrp -force g1", silent),
    ],
    "a volume driver mirrors to the other array": [
        ("svcinfo lspartnershipcandidate -delim !", table("!", "id", "configured", "name")),
        (
            "svcinfo lspartnership -filtervalue name=storage2 -delim !",
            table("!", "partnership", least=1),
        ),
        (
            "svctask mkrcrelationship -master Node1_6 -aux Node2_1 -cluster storage2 -global",
            made,
        ),
        ("svcinfo lsrcrelationship -delim ! rcrel0", pairs("!", state="inconsistent_stopped")),
        ("svctask startrcrelationship -force rcrel0", silent),
        ("svctask stoprcrelationship -access rcrel0", refused("CMMVC5982E")),
        ("svctask mkrcconsistgrp -name rg -cluster storage2", made),
        ("svcinfo lsrcconsistgrp -delim ! rg", pairs("!", copy_type="empty_group", state="empty")),
        ("svctask stoprcrelationship rcrel0", silent),
        ("svctask chrcrelationship -consistgrp rg rcrel0", silent),
        ("svctask startrcrelationship rcrel0", refused("CMMVC5951E")),
        ("svctask chrcrelationship -noconsistgrp rcrel0", silent),
        ("svctask chrcrelationship -cyclingmode multi rcrel0", silent),
        ("svctask chrcrelationship -cycleperiodseconds 60 rcrel0", silent),
        ("svctask chrcrelationship -masterchange Node1_7 rcrel0", silent),
        ("svctask rmrcrelationship -force rcrel0", silent),
        ('svctask rmrcconsistgrp -force "rg"', silent),
    ],
    "a library asks with its tag": [
        ("svcinfo lsvdisk -delim , -bytes || echo CLI_ERR $?", table(",", "vdisk_UID", least=6)),
        (
            "svcinfo lsvdisk -delim , 'nope' || echo CLI_ERR $?",
            says(r"\ACLI_ERR 1\n\Z"),
        ),
        (
            "svctask mkvdisk -mdiskgrp 'Pool0' -name 'p1' -size 64 -unit 'mb' || echo CLI_ERR $?",
            made,
        ),
        ("svctask rmvdisk 'p1' || echo CLI_ERR $?", silent),
    ],
    "monitoring reads one list after the other": [
        (
            'echo "==lsdrive=="; lsdrive -delim : ; echo "==end=="; echo "==lsarray=="; lsarray'
            ' -delim : ; echo "==end=="',
            says(r"==lsarray==\nmdisk_id:mdisk_name:status"),
        ),
        ("lsdrive -bytes -delim :", table(":", "id", "status", "capacity", "slot_id", least=12)),
        ("( lsdrive -filtervalue enclosure_id=1:slot_id=3 -delim : -nohdr )", rows(":", 14, 1)),
        ("lsdrive 0", says("^status online$")),
        ("lsenclosure -delim :", table(":", "id", "status", "serial_number", least=1)),
        ("lsenclosurecanister -delim :", table(":", "canister_id", "node_name", least=2)),
        ("lsenclosurebattery -delim :", table(":", "battery_id", "end_of_life_warning", least=2)),
        ("lsenclosurepsu -delim :", table(":", "PSU_id", "status", least=2)),
        ("lsenclosureslot -slot 1 1", says("^drive_present yes$")),
        ("lsmdisk -filtervalue status=degraded -delim :", table(":", "mdisk_grp_name")),
        ("lsmdiskgrp -delim : -bytes", table(":", "used_capacity", "free_capacity", least=1)),
        ("lsportsas -delim :", table(":", "status", least=4)),
        ("lsquorum -delim :", table(":", "quorum_index", "active", least=3)),
        ("svcinfo lssystemstats -delim :", table(":", "stat_name", "stat_peak_time", least=30)),
        ("svcinfo lsnodestats -delim :", table(":", "node_id", "stat_current", least=60)),
        ("lssystemstats -history cpu_pc -delim :", table(":", "stat_current", least=1)),
        (
            "svcinfo lseventlog -message no -alert yes -filtervalue"
            " 'last_timestamp>=200101000000:fixed=no' -delim :",
            table(":", "sequence_number", "event_id", "description"),
        ),
        (
            "lseventlog -expired no -fixed no -monitoring no -message no -order severity",
            says("^sequence_number"),
        ),
        ("sainfo lsservicenodes -delim :", table(":", "panel_name", "node_status", least=2)),
        ("svcinfo catauditlog -first 5 -delim :", table(":", "audit_seq_no", "action_cmd")),
        ("svcinfo lsemailuser -delim :", table(":", "address", "user_type")),
        ("IFS=:; lspartnership -delim :", table(":", "partnership", least=2)),
        ("lscluster -delim :", table(":", "id", "name", "location", least=2)),
        ("lsuser -delim :", table(":", "usergrp_name", "ssh_key", least=2)),
        ("svcconfig backup", says("CMMVC6155I")),
        ("lsdumps -prefix /dumps/iostats", says("^id filename")),
    ],
    "an inventory asks for everything": [
        ("svcinfo lsencryption", says("^keyserver_status licensed$")),
        ("svcinfo lssecurity -delim :", pairs(":", sshprotocol=r"\d")),
        ("svcinfo lsupdate -delim :", pairs(":", status="success")),
        ("svcinfo lsportusb", says("^id node_id")),
        ("svcinfo lsarraymember -delim :", table(":", "member_id", "drive_id", least=12)),
        ("svcinfo lsarrayinitprogress", says("100")),
        ("svcinfo lsarraysyncprogress", says("100")),
        ("svcinfo lsdriveclass -delim :", table(":", "total_count", least=1)),
        ("svcinfo lsdiscoverystatus -delim :", table(":", "status", least=1)),
        ("showtimezone -delim :", table(":", "timezone", least=1)),
        ("svcinfo lscopystatus", says("^status idle$")),
        ("lsdependentvdisks -delim : -drive 3", table(":", "vdisk_id")),
        ("lssystem -gui -delim :", pairs(":", name="storage1")),
        ("lsiogrp 0", says("^flash_copy_free_memory 19.9MB$")),
        ("lsiogrp 9", refused("CMMVC5753E")),
        ("lspartnership -delim : storage2", pairs(":", partnership="fully_configured")),
        ("lspartnership nowhere", refused("CMMVC5754E")),
        ("lsportfc 1", says("^WWPN ")),
        ("lsportip 1", refused("CMMVC5753E")),
        ("lssystem 1", refused("CMMVC6070E")),
        (
            "svctask mkvdisk -autoexpand -grainsize 256 -iogrp 0 -mdiskgrp Pool0 -name t1"
            " -node node1 -rsize 0% -size 1073741824 -unit b",
            made,
        ),
        (
            'lssevdiskcopy -delim " " -nohdr | cut -d " " -f 1-2,11,12,14,15',
            says(r"^\d+ t1 on 80 yes no$"),
        ),
        ("lshost 0;echo;lshost 1;echo;", says("^name node1$")),
    ],
    "what is too much or no port is refused": [
        ("mkvdisk -name x -mdiskgrp Pool0 -size 99 -unit pb", refused("CMMVC8710E")),
        ("mkvdisk -name x -mdiskgrp Pool0 -size 1 -unit gb", made),
        ("expandvdisksize -size 11 -unit tb x", refused("CMMVC5860E")),
        ("mkvolume -name y -size 1 -unit gb -pool Pool0 -volumegroup g", refused("CMMVC5804E")),
        ("mkhost -name h -fcwwpn 5001438018:6AA", refused("CMMVC5867E")),
        ("mkhost -name h -fcwwpn 500143801860aa11:500143801860AA12", made),
        ("addhostport -fcwwpn 500143801860AA12 node1", refused("CMMVC5867E")),
        ("mkhost -name i -iscsiname iqn.1993-08.org.debian:01:abc", made),
        ("mkhost -name j -iscsiname iqn.1993-08.org.debian:01:abc", refused("CMMVC6578E")),
    ],
    "an administrator's scripts": [
        ("lsvdisk Node1_1|grep vdisk_UID", says("^vdisk_UID [0-9A-F]{32}$")),
        (
            "set -e ; svcinfo lsvdisk -nohdr -delim : -filtervalue vdisk_name=Node1_1",
            says("^(?:[^:]*:){13}[0-9A-F]{32}:"),
        ),
        ("set -e ; svcinfo lsvdisk -delim : nowhere ; echo never", refused("CMMVC5754E")),
        (
            "svcinfo lsrcrelationship -nohdr -delim : -bytes -filtervalue RC_rel_name=none",
            silent,
        ),
        ("lsfcmap -nohdr -delim : -filtervalue source_vdisk_name=Node1_1", rows(":", 18, 1)),
        (
            "lsnodecanister -nohdr |while read id name IO_group_id;do lsnodecanister $id;echo;done"
            " && lsdrive -nohdr |while read id name;do lsdrive $id ;echo;done",
            says("^drive_class_id 0$|^slot_id 12$"),
        ),
        (
            "lsvdisk -nohdr -delim : | while IFS=: read id name rest; do"
            ' lsvdiskhostmap -nohdr $id >/dev/null || echo "$name"; done; echo done',
            says(r"\Adone\n\Z"),
        ),
        (
            'for vd in `lsvdisk -nohdr -filtervalue name="Node1_[12]*" | while read id name x;'
            " do echo $name; done`; do echo -n $vd; done",
            says(r"\A\Z"),
        ),
        (
            "for vd in $(lsvdisk -nohdr -filtervalue 'name=Node1_*' -delim : | cut -d: -f2);"
            ' do [ "$vd" != Node1_1 ] && echo $vd; done | sort | head -1',
            says(r"\ANode1_2\n\Z"),
        ),
        (
            "newTgts=(`svcinfo lsfcmap -nohdr -filtervalue source_vdisk_id=0 -delim :| while"
            ' IFS=: read id n srcId srcName tgtId tgtName gId gName status junk; do echo "$id'
            ' $tgtId $status"; done`); echo ${#newTgts[@]} ${newTgts[2]}',
            says(r"\A3 idle_or_copied\n\Z"),
        ),
        ("svcinfo lsfcmapdependentmaps -nohdr 0", silent),
        ("lsvdisk -filtervalue 'capacity>1gb' -nohdr", silent),
        ("lsvdisk -filtervalue 'capacity<=4mb' -nohdr -delim :", rows(":", 20, 6)),
        ("lsvdisk -unit kb -delim : Node1_1", pairs(":", capacity="4096.00KB")),
        ("lsvdisk -delim=, -nohdr", rows(",", 20, 6)),
        ('lshostvdiskmap -delim "," | grep -w node1 | wc -l', says("^6$")),
        (
            "svctask mkvdisk -cache readwrite -copies 1 -iogrp io_grp0 -mdiskgrp Pool0 -name s1"
            " -size 64 -unit mb -syncrate 50 -vtype striped",
            made,
        ),
        ("svctask mkvdisk -mdiskgrp Pool0:Pool0 -copies 2 -name s2 -size 64 -unit mb", made),
        ("lsvdisk -delim : s2", pairs(":", copy_count="2", mdisk_grp_name="Pool0")),
        ("svctask mkvdisk -mdiskgrp nopool -name s3 -size 64 -unit mb", refused("CMMVC5754E")),
        ("svctask rmvdisk s1:s2", silent),
        ("svctask mkvolume -name s4 -pool Pool0 -size 64 -unit mb -thin", made),
        ("rmvolume -removehostmappings -removefcmaps -removercrelationships s4", silent),
        ("lsvdisk -h", says("-filtervalue value")),
        ("help lsfcmap", says("^lsfcmap$")),
        ("mkvolumegroup -name vg", refused("CMMVC7205E")),
        ("perl -e 1", refused("rbash: perl: command not found", 127)),
        ("lsvdisk -delim |", refused("rbash: -c: line 0: syntax error", 2)),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_public_clients_commands_are_answered_as_it_expects(client, name: str) -> None:
    for line, check in SEQUENCES[name]:
        answer = client(line)
        try:
            check(answer)
        except (AssertionError, KeyError, ValueError, IndexError) as error:
            pytest.fail(f"{line!r}: {error!r}\n{answer}")


def test_the_cli_describes_itself_as_a_library_builds_its_methods_from(client) -> None:
    root = ET.fromstring(client("catxmlspec").out)
    assert (root.tag, root.get("version")) == ("ArraySyntax", "2.0")
    found = {
        (executable.get("name"), command.get("name")): command
        for executable in root.iter("Executable")
        for command in executable.iter("Command")
    }
    assert ("svcinfo", "lsvdisk") in found
    made_by = found[("svctask", "mkfcmap")]
    needed = {p.get("name") for p in made_by.iter("ValueParam") if p.get("required") == "true"}
    assert needed == {"-source", "-target"}
    for executable, name in found:
        assert name is not None
        assert name.startswith(("ls", "cat", "show", "svq", "help")) == (executable == "svcinfo")


def test_an_action_is_in_the_audit_log_without_its_secret(client) -> None:
    assert client("svctask mkhost -fcwwpn 50014380186AA11E -name audited").status == 0
    assert client("svctask chhost -chapsecret hunter2hunter2 audited").status == 0
    assert client("svctask rmvdisk nope").status == 1
    log = client("catauditlog -first 3 -delim !").out
    assert "mkhost -fcwwpn 50014380186AA11E -name audited" in log
    assert "chhost -chapsecret *** audited" in log
    assert "hunter2" not in log
    assert [line.split("!")[5] for line in log.splitlines()[1:]] == ["0", "0", "1"]
