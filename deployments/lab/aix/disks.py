"""Disks: lspv, cfgmgr, lsattr, bootinfo, getconf, rmdev, chdev, lsdev, lspath. aix-host.md §1-3."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from deployments.lab.aix.odm import BLANK, LOCAL_DISK_MIB, MIB, Hdisk, Label, fresh_id
from deployments.lab.aix.programs import Complaint, options, program
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

FIRST_FREE = 1
DEFAULTS = {
    "reserve_policy": "no_reserve",
    "algorithm": "shortest_queue",
    "queue_depth": "20",
    "max_transfer": "0x100000",
}


@program("/usr/sbin/lspv")
def lspv(machine: Machine, words: list[str], streams: Io) -> int:
    """List disks; -u with UDIDs; one disk with its partitions."""
    flags, rest = options(words, "uPLlpM")
    with machine.lock:
        if rest:
            streams.say(_one_volume(machine, rest[0]))
            return 0
        for disk in _sorted(machine):
            group = machine.group_of(disk.name)
            is_on = bool(group) and machine.state.groups[group].is_on
            line = f"{disk.name:<16}{disk.pvid or BLANK:<36}{group or 'None':<16}"
            line += f"{'active' if is_on else '':<12}"
            if "u" in flags:
                line += f"{machine.udid(disk)}  {uuid.uuid5(uuid.NAMESPACE_OID, disk.uid)}"
            streams.say(f"{line.rstrip()}\n")
    return 0


def _sorted(machine: Machine) -> list[Hdisk]:
    disks = [disk for disk in machine.state.hdisks.values() if disk.is_available]
    return sorted(disks, key=lambda disk: int(disk.name.removeprefix("hdisk")))


def _one_volume(machine: Machine, name: str) -> str:
    disk = machine.hdisk(name)
    if disk is None:
        raise Complaint(
            f"0516-320 lspv: Physical volume {name} is not found in the Device\n"
            "\tConfiguration Database."
        )
    group = machine.state.groups.get(machine.group_of(name))
    if group is None:
        raise Complaint(
            f"0516-320 lspv: Physical volume {name} is not assigned to\n\ta volume group."
        )
    if not group.is_on:
        raise Complaint("0516-010 lspv: Volume group must be varied on; use varyonvg command.")
    size, step = size_mib(machine, disk) or 0, group.descriptor.partition_mib
    pairs = [
        (f"PHYSICAL VOLUME:    {name}", f"VOLUME GROUP:     {group.name}"),
        (f"PV IDENTIFIER:      {disk.pvid} VG IDENTIFIER", f"    {group.descriptor.vgid}"),
        ("PV STATE:           active", ""),
        ("STALE PARTITIONS:   0", "ALLOCATABLE:      yes"),
        (f"PP SIZE:            {step} megabyte(s)", "LOGICAL VOLUMES:  2"),
        (f"TOTAL PPs:          {size // step} ({size} megabytes)", "VG DESCRIPTORS:   1"),
    ]
    return "".join(f"{left:<39}{right}".rstrip() + "\n" for left, right in pairs)


def size_mib(machine: Machine, disk: Hdisk) -> int | None:
    """Return a disk's size in MiB; None when its LUN is gone."""
    if not disk.uid:
        return LOCAL_DISK_MIB
    lun = machine.san.lun(disk.uid)
    return lun.size_bytes // MIB if lun else None


@program("/usr/sbin/bootinfo")
def bootinfo(machine: Machine, words: list[str], streams: Io) -> int:
    """Print a disk's size in MiB (-s), the machine's kind (-K, -y)."""
    flags, _ = options(words, "s:Kyrpbe")
    if "s" not in flags:
        streams.say("64\n")
        return 0
    with machine.lock:
        disk = machine.hdisk(flags["s"].removeprefix("/dev/"))
        size = size_mib(machine, disk) if disk else None
    if size is None:
        raise Complaint(f"0301-159 bootinfo: Cannot open the device {flags['s']}.")
    streams.say(f"{size}\n")
    return 0


@program("/usr/bin/getconf")
def getconf(machine: Machine, words: list[str], streams: Io) -> int:
    """Print DISK_SIZE of a device, in MiB."""
    if words[1:2] != ["DISK_SIZE"] or len(words) < 3:
        raise Complaint(f"getconf: Invalid argument ({' '.join(words[1:2])})")
    name = re.sub(r"^/dev/r?", "", words[2])
    with machine.lock:
        disk = machine.hdisk(name)
        size = size_mib(machine, disk) if disk else None
    if size is None:
        raise Complaint(f"getconf: Invalid path name ({words[2]})")
    streams.say(f"{size}\n")
    return 0


@program("/usr/sbin/lsattr")
def lsattr(machine: Machine, words: list[str], streams: Io) -> int:
    """Print attributes of a disk: -El disk [-a name[,name]] [-F format] [-O]."""
    flags, _ = options(words, "EDHOl:a:F:")
    name = flags.get("l", "")
    with machine.lock:
        disk = machine.hdisk(name)
        if disk is None:
            raise Complaint(
                "lsattr: 0514-519 The following device was not found in the customized\n"
                f"\tdevice configuration database:\n\t{name}",
                255,
            )
        known = _attributes(machine, disk)
    wanted = flags["a"].replace(",", " ").split() if "a" in flags else list(known)
    for attribute in wanted:
        if attribute not in known:
            raise Complaint(
                'lsattr: 0514-528 The "' + attribute + '" attribute does not exist in the'
                " predefined\n\tdevice configuration database.",
                255,
            )
        value = known[attribute]
        described = {"attribute": attribute, "value": value, "description": "", "user_settable": ""}
        form = flags.get("F")
        if form:
            words_of = re.split(r"([a-z_]+)", form)
            streams.say("".join(described.get(word, word) for word in words_of) + "\n")
        else:
            streams.say(f"{attribute:<15} {value:<40} {attribute.replace('_', ' ')} False\n")
    return 0


def _attributes(machine: Machine, disk: Hdisk) -> dict[str, str]:
    size = size_mib(machine, disk) or 0
    return {
        **DEFAULTS,
        "pvid": f"{disk.pvid}{'0' * 16}" if disk.pvid else BLANK,
        "size_in_mb": str(size),
        "unique_id": machine.udid(disk),
        **disk.attributes,
    }


@program("/usr/sbin/cfgmgr")
def cfgmgr(machine: Machine, words: list[str], streams: Io) -> int:
    """Configure every LUN that is new or was forgotten; one that cannot be does not stop others."""
    options(words, "l:i:fspvn")
    failures = []
    with machine.lock:
        state = machine.state
        by_uid = {disk.uid: disk for disk in state.hdisks.values()}
        for uid in machine.san.luns():
            disk = by_uid.get(uid)
            if disk is None:
                taken = {int(name.removeprefix("hdisk")) for name in state.hdisks}
                number = next(n for n in range(FIRST_FREE, 100000) if n not in taken)
                disk = state.hdisks[f"hdisk{number}"] = Hdisk(f"hdisk{number}", uid, "", False)
            if not disk.is_available and (reason := configure(machine, disk)):
                failures.append(reason)
        machine.changed()
    if failures:
        raise Complaint("\n".join(failures))
    return 0


def configure(machine: Machine, disk: Hdisk) -> str:
    """Make a disk available and read its PVID; return why not.

    A PVID that a varied-on volume group has already keeps the disk from being configured, as AIX
    does (aix-host.md §6): copies are configured while they are blank.
    """
    label = machine.label(disk.name)
    pvid = label.pvid if label else ""
    for group in machine.state.groups.values():
        if group.is_on and pvid and pvid in group.descriptor.pvids:
            return (
                "Method error (/usr/lib/methods/cfgscsidisk -l " + disk.name + " ):\n"
                "        0514-024 Two or more device configuration databases"
                f" have the physical volume identifier {pvid}."
            )
    disk.is_available, disk.pvid = True, pvid
    return ""


@program("/usr/sbin/mkdev")
def mkdev(machine: Machine, words: list[str], streams: Io) -> int:
    """Make a defined disk available: -l disk."""
    flags, _ = options(words, "l:hqS")
    with machine.lock:
        disk = machine.state.hdisks.get(flags.get("l", ""))
        if disk is None:
            raise _unknown("mkdev", flags.get("l", ""))
        if reason := "" if disk.is_available else configure(machine, disk):
            raise Complaint(reason)
        machine.changed()
    streams.say(f"{disk.name} Available\n")
    return 0


def _unknown(command: str, name: str) -> Complaint:
    return Complaint(
        f"{command}: 0514-519 The following device was not found in the customized\n"
        f"\tdevice configuration database:\n\t{name}"
    )


@program("/usr/sbin/rmdev")
def rmdev(machine: Machine, words: list[str], streams: Io) -> int:
    """Unconfigure a disk (-l), and forget it (-d)."""
    flags, _ = options(words, "dl:RhqS")
    name = flags.get("l", "")
    with machine.lock:
        disk = machine.state.hdisks.get(name)
        if disk is None:
            raise _unknown("rmdev", name)
        if is_held(machine, name):
            raise Complaint(f"Method error (/usr/lib/methods/ucfgdevice):\n{BUSY}")
        if "d" in flags:
            del machine.state.hdisks[name]
        else:
            disk.is_available = False
        machine.changed()
    streams.say(f"{name} {'deleted' if 'd' in flags else 'Defined'}\n")
    return 0


BUSY = (
    "\t0514-062 Cannot perform the requested function because the\n\t\t specified device is busy."
)


def is_held(machine: Machine, hdisk: str) -> bool:
    """Say whether a varied-on volume group holds a disk open."""
    group = machine.group_of(hdisk)
    return bool(group) and machine.state.groups[group].is_on


@program("/usr/sbin/chdev")
def chdev(machine: Machine, words: list[str], streams: Io) -> int:
    """Change a disk's attribute; pv=yes reads or writes its PVID, pv=clear erases it."""
    flags, _ = options(words, "l:a:PT")
    name, (attribute, _, value) = flags.get("l", ""), flags.get("a", "").partition("=")
    with machine.lock:
        disk = machine.hdisk(name)
        if disk is None:
            raise _unknown("chdev", name)
        if attribute != "pv":
            disk.attributes[attribute] = value
        elif is_held(machine, name) and value == "clear":
            raise Complaint(f"Method error (/usr/lib/methods/chgdisk):\n{BUSY}")
        else:
            lun = machine.lun(name)
            if lun is None or not lun.is_writable:
                raise Complaint(
                    "Method error (/usr/lib/methods/chgdisk):\n\t0514-047 Cannot access a device."
                )
            label = machine.san.label(lun.uid)
            if value == "clear":
                machine.san.write_label(lun.uid, None)
                disk.pvid = ""
            else:
                if label is None:
                    label = Label(fresh_id(lun.uid, str(machine.now())))
                    machine.san.write_label(lun.uid, label)
                disk.pvid = label.pvid
        machine.changed()
    streams.say(f"{name} changed\n")
    return 0


@program("/usr/sbin/lsdev")
def lsdev(machine: Machine, words: list[str], streams: Io) -> int:
    """List disks: -Cc disk."""
    options(words, "CPc:l:t:s:S:F:Hr:p:")
    with machine.lock:
        for disk in machine.state.hdisks.values():
            status = "Available" if disk.is_available else "Defined  "
            kind = "MPIO IBM 2145 FC Disk" if disk.uid else "Virtual SCSI Disk Drive"
            streams.say(f"{disk.name} {status} 01-00-02 {kind}\n")
    return 0


@program("/usr/sbin/lspath")
def lspath(machine: Machine, words: list[str], streams: Io) -> int:
    """List the paths of disks: two each, failed when the LUN is gone."""
    flags, _ = options(words, "l:p:w:s:F:H")
    with machine.lock:
        luns = machine.san.luns()
        for disk in _sorted(machine):
            if flags.get("l") in {None, disk.name}:
                word = "Enabled" if not disk.uid or disk.uid in luns else "Failed "
                streams.say("".join(f"{word} {disk.name} fscsi{port}\n" for port in (0, 1)))
    return 0
