"""Volume groups: lsvg, varyonvg, varyoffvg, importvg, exportvg, recreatevg. aix-host.md §3, §6."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deployments.lab.aix.odm import (
    Descriptor,
    Hdisk,
    Label,
    LogicalVolume,
    Stanza,
    VolumeGroup,
    fresh_id,
)
from deployments.lab.aix.programs import Complaint, options, program
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

FIRST_MAJOR = 40


def known_group(machine: Machine, command: str, name: str) -> VolumeGroup:
    """Find a volume group, or complain as LVM does."""
    group = machine.state.groups.get(name)
    if group is None:
        raise Complaint(
            f"0516-306 {command}: Unable to find volume group {name} in the Device\n"
            "\tConfiguration Database."
        )
    return group


def _operand(command: str, rest: list[str]) -> str:
    if not rest:
        raise Complaint(f"0516-602 {command}: Logical volume name not entered.")
    return rest[0]


@program("/usr/sbin/lsvg")
def lsvg(machine: Machine, words: list[str], streams: Io) -> int:
    """List volume groups (-o: varied on), or show one (-p: its disks, -l: its volumes)."""
    flags, rest = options(words, "oLn:ilpMPF")
    with machine.lock:
        state = machine.state
        if not rest:
            names = [g.name for g in state.groups.values() if g.is_on or "o" not in flags]
            streams.say("".join(f"{name}\n" for name in names))
            return 0
        group = known_group(machine, "lsvg", rest[0])
        if not group.is_on:
            raise Complaint("0516-010 lsvg: Volume group must be varied on; use varyonvg command.")
        if "p" in flags:
            streams.say(_disks_of(machine, group))
        elif "l" in flags:
            streams.say(_volumes_of(machine, group))
        else:
            streams.say(_report(machine, group))
    return 0


def _partitions(machine: Machine, group: VolumeGroup, hdisk: str) -> int:
    lun = machine.lun(hdisk)
    return (lun.size_bytes >> 20) // group.descriptor.partition_mib - 1 if lun else 0


def _disks_of(machine: Machine, group: VolumeGroup) -> str:
    text = f"{group.name}:\n"
    text += "PV_NAME           PV STATE          TOTAL PPs   FREE PPs    FREE DISTRIBUTION\n"
    for hdisk in group.hdisks:
        lun = machine.lun(hdisk)
        status = "active" if lun and lun.is_readable else "missing"
        total = _partitions(machine, group, hdisk)
        text += f"{hdisk:<18}{status:<18}{total:<12}{0:<12}00..00..00..00..00\n"
    return text


def _volumes_of(machine: Machine, group: VolumeGroup) -> str:
    text = f"{group.name}:\n"
    text += "LV NAME             TYPE       LPs     PPs     PVs  LV STATE      MOUNT POINT\n"
    for volume in group.descriptor.logical_volumes:
        is_open = _is_open(machine, group, volume)
        status = "open/syncd" if is_open else "closed/syncd"
        count = f"{volume.partitions:<8}{volume.partitions:<8}{volume.disks:<5}"
        text += f"{volume.name:<20}{volume.kind:<11}{count}{status:<14}{volume.mount or 'N/A'}\n"
    return text


def _is_open(machine: Machine, group: VolumeGroup, volume: LogicalVolume) -> bool:
    """Say whether a logical volume is in use: mounted, or the log of something mounted."""
    devices = set(machine.state.mounted.values())
    if volume.kind == "jfs2log":
        return any(f"/dev/{v.name}" in devices for v in group.descriptor.logical_volumes)
    return f"/dev/{volume.name}" in devices


def _report(machine: Machine, group: VolumeGroup) -> str:
    step = group.descriptor.partition_mib
    total = sum(_partitions(machine, group, hdisk) for hdisk in group.hdisks)
    opened = sum(_is_open(machine, group, v) for v in group.descriptor.logical_volumes)
    permission = "read-only" if group.is_read_only else "read/write"
    count = len(group.hdisks)
    pairs = [
        (f"VOLUME GROUP:       {group.name}", f"VG IDENTIFIER:  {group.descriptor.vgid}"),
        ("VG STATE:           active", f"PP SIZE:        {step} megabyte(s)"),
        (
            f"VG PERMISSION:      {permission}",
            f"TOTAL PPs:      {total} ({total * step} megabytes)",
        ),
        ("MAX LVs:            256", "FREE PPs:       0 (0 megabytes)"),
        (
            f"LVs:                {len(group.descriptor.logical_volumes)}",
            f"USED PPs:       {total}",
        ),
        (f"OPEN LVs:           {opened}", f"QUORUM:         {count // 2 + 1} (Enabled)"),
        (f"TOTAL PVs:          {count}", "VG DESCRIPTORS: 3"),
        ("STALE PVs:          0", "STALE PPs:      0"),
        (f"ACTIVE PVs:         {count}", "AUTO ON:        no"),
    ]
    if group.descriptor.is_concurrent:
        pairs.append(("Concurrent:         Enhanced-Capable", "Auto-Concurrent: Disabled"))
    return "".join(f"{left:<45}{right}\n" for left, right in pairs)


@program("/usr/sbin/varyonvg")
def varyonvg(machine: Machine, words: list[str], streams: Io) -> int:
    """Vary a volume group on; it needs its disks, with the PVIDs it knows."""
    flags, rest = options(words, "bcfnpqrstuOMT")
    with machine.lock:
        group = known_group(machine, "varyonvg", _operand("varyonvg", rest))
        vary_on(machine, group, is_forced="f" in flags, is_read_only="r" in flags)
        machine.changed()
    return 0


def vary_on(
    machine: Machine, group: VolumeGroup, *, is_forced: bool = False, is_read_only: bool = False
) -> None:
    """Vary a volume group on, or complain about copies or quorum."""
    found = 0
    for hdisk in group.hdisks:
        label = machine.label(hdisk)
        if label and label.descriptor and label.descriptor.vgid == group.descriptor.vgid:
            found += 1
    if not found:
        raise Complaint(
            "0516-013 varyonvg: The volume group cannot be varied on because\n"
            "\tthere are no good copies of the descriptor area."
        )
    if found * 2 <= len(group.hdisks) and len(group.hdisks) > 1 and not is_forced:
        raise Complaint(
            "0516-052 varyonvg: Volume group cannot be varied on without a\n"
            "\tquorum. More physical volumes in the group must be active."
        )
    group.is_on, group.is_read_only = True, is_read_only


@program("/usr/sbin/varyoffvg")
def varyoffvg(machine: Machine, words: list[str], streams: Io) -> int:
    """Vary a volume group off; nothing of it may be mounted."""
    _, rest = options(words, "s")
    with machine.lock:
        group = known_group(machine, "varyoffvg", _operand("varyoffvg", rest))
        vary_off(machine, group)
        machine.changed()
    return 0


def vary_off(machine: Machine, group: VolumeGroup) -> None:
    """Vary a volume group off, or complain that it is in use."""
    if any(_is_open(machine, group, volume) for volume in group.descriptor.logical_volumes):
        raise Complaint(
            "0516-012 lvaryoffvg: Logical volume must be closed.  If the logical\n"
            "\tvolume contains a filesystem, the umount command will close\n"
            "\tthe LV device.\n"
            f"0516-942 varyoffvg: Unable to vary off volume group {group.name}."
        )
    group.is_on = group.is_read_only = False


@program("/usr/sbin/exportvg")
def exportvg(machine: Machine, words: list[str], streams: Io) -> int:
    """Forget a volume group that is varied off, and its file systems."""
    _, rest = options(words, "")
    with machine.lock:
        group = known_group(machine, "exportvg", _operand("exportvg", rest))
        if group.is_on:
            raise Complaint(
                "0516-764 exportvg: The volume group must be varied off\n\tbefore exporting."
            )
        del machine.state.groups[group.name]
        for stanza in list(machine.state.file_systems.values()):
            if stanza.volume_group == group.name:
                del machine.state.file_systems[stanza.mount]
        machine.changed()
    return 0


@program("/usr/sbin/lvlstmajor")
def lvlstmajor(machine: Machine, words: list[str], streams: Io) -> int:
    """Print the free major numbers."""
    with machine.lock:
        streams.say(f"{_free_major(machine)}...\n")
    return 0


def _free_major(machine: Machine) -> int:
    return max([FIRST_MAJOR - 1, *(group.major for group in machine.state.groups.values())]) + 1


@program("/usr/sbin/importvg")
def importvg(machine: Machine, words: list[str], streams: Io) -> int:
    """Learn a volume group from one of its disks, and vary it on unless -n."""
    flags, rest = options(words, "V:y:nfFcxRO:Lp:")
    with machine.lock:
        if not rest or machine.hdisk(rest[0]) is None:
            name = rest[0] if rest else ""
            raise Complaint(
                f"0516-306 getlvodm: Unable to find {name} in the Device\n"
                "\tConfiguration Database.\n"
                f"0516-776 importvg: Cannot import {name} as {flags.get('y', '')}."
            )
        group = _import(machine, rest[0], flags)
        streams.say(f"{group.name}\n")
        if "n" not in flags and not group.descriptor.is_concurrent:
            vary_on(machine, group, is_forced="f" in flags)
        machine.changed()
    return 0


def _import(machine: Machine, hdisk: str, flags: dict[str, str]) -> VolumeGroup:
    name = flags.get("y") or f"vg{len(machine.state.groups):02}"
    label = machine.label(hdisk)
    if label is None or label.descriptor is None:
        raise Complaint(
            "0516-022 : Illegal parameter or structure value.\n"
            f"0516-780 importvg: Unable to import volume group from {hdisk}."
        )
    _refuse_name(machine, "importvg", name)
    if owner := machine.group_of(hdisk):
        raise Complaint(f"0516-360 importvg: Disk {hdisk} already belongs to group {owner}.")
    members = [_member(machine, pvid, hdisk, label) for pvid in label.descriptor.pvids]
    missing = [
        pvid for pvid, member in zip(label.descriptor.pvids, members, strict=True) if member is None
    ]
    if missing and "f" not in flags:
        raise Complaint(
            f"0516-056 varyonvg: The volume group {name} is not varied on because a\n"
            "\tphysical volume is marked missing. Run diagnostics.\n"
            f"0516-780 importvg: Unable to import volume group from {hdisk}."
        )
    found = [member for member in members if member]
    for disk in found:
        disk_label = machine.label(disk.name)
        assert disk_label is not None
        disk.pvid = disk_label.pvid
    return _learn(machine, name, label.descriptor, found, flags)


def _refuse_name(machine: Machine, command: str, name: str) -> None:
    if name in machine.state.groups:
        raise Complaint(
            f"0516-360 getvgname: The device name {name} is already used; choose a\n"
            f"\tdifferent name.\n0516-776 {command}: Cannot import as {name}."
        )


def _member(machine: Machine, pvid: str, first: str, label: Label) -> Hdisk | None:
    """Find the free disk with a PVID; of several copies the one next to the disk named."""

    def distance(disk: Hdisk) -> tuple[int, int]:
        number = int(disk.name.removeprefix("hdisk")) - int(first.removeprefix("hdisk"))
        return abs(number), -number

    if pvid == label.pvid:
        return machine.state.hdisks[first]
    candidates = []
    for disk in machine.state.hdisks.values():
        if disk.is_available and not machine.group_of(disk.name):
            told = machine.label(disk.name)
            if told and told.pvid == pvid:
                candidates.append(disk)
    return min(candidates, key=distance, default=None)


def _learn(
    machine: Machine,
    name: str,
    descriptor: Descriptor,
    disks: list[Hdisk],
    flags: dict[str, str],
) -> VolumeGroup:
    state = machine.state
    major = int(flags.get("V") or _free_major(machine))
    if any(group.major == major for group in state.groups.values()):
        raise Complaint(f"0516-1775 importvg: The major number {major} is already used.")
    group = VolumeGroup(name, descriptor, [disk.name for disk in disks], major)
    state.groups[name] = group
    for volume in descriptor.logical_volumes:
        if volume.mount:
            stanza = Stanza(volume.mount, f"/dev/{volume.name}", name)
            state.file_systems.setdefault(volume.mount, stanza)
    return group


@program("/usr/sbin/recreatevg")
def recreatevg(machine: Machine, words: list[str], streams: Io) -> int:
    """Make copied disks a volume group of their own: new PVIDs, VGID and names."""
    flags, rest = options(words, "y:pfY:l:L:nV:dO")
    with machine.lock:
        disks = [machine.hdisk(name) for name in rest]
        if not rest or None in disks:
            bad = next((n for n, d in zip(rest, disks, strict=True) if d is None), "")
            raise Complaint(f"0516-306 recreatevg: Unable to find physical volume {bad}.")
        found = [disk for disk in disks if disk]
        name = flags.get("y") or f"vg{len(machine.state.groups):02}"
        descriptor = _checked_descriptor(machine, name, found, is_partial="f" in flags)
        renamed = _rewrite(machine, descriptor, found, flags)
        if "d" not in flags:
            group = _learn(machine, name, renamed, found, flags)
            streams.say(f"{name}\n")
            if "n" not in flags and not renamed.is_concurrent:
                vary_on(machine, group)
        machine.changed()
    return 0


def _checked_descriptor(
    machine: Machine, name: str, disks: list[Hdisk], *, is_partial: bool
) -> Descriptor:
    labels = {disk.name: machine.label(disk.name) for disk in disks}
    for hdisk, label in labels.items():
        if label is None or label.descriptor is None:
            raise Complaint(
                f"0516-1391 recreatevg: Physical volume {hdisk} has no volume group\n"
                "\tdescriptor area that can be read."
            )
        if owner := machine.group_of(hdisk):
            raise Complaint(
                f"0516-1397 recreatevg: The physical volume {hdisk} belongs to the volume\n"
                f"\tgroup {owner}."
            )
    _refuse_name(machine, "recreatevg", name)
    told = [label for label in labels.values() if label and label.descriptor]
    first = told[0].descriptor
    assert first is not None
    listed = [label.pvid for label in told]
    vgids = {label.descriptor.vgid for label in told if label.descriptor}
    is_whole = sorted(listed) == sorted(first.pvids)
    if len(vgids) > 1 or not (is_whole or (is_partial and set(listed) <= set(first.pvids))):
        raise Complaint(
            "0516-1970 recreatevg: The list of physical volumes does not match the\n"
            "\tvolume group descriptor area: "
            f"{len(first.pvids)} disks make the volume group, {len(listed)} were given."
        )
    return first


def _rewrite(
    machine: Machine, old: Descriptor, disks: list[Hdisk], flags: dict[str, str]
) -> Descriptor:
    """Write new identifiers and names onto the disks."""
    stamp = str(machine.now())
    new_pvid = {}
    for disk in disks:
        label = machine.label(disk.name)
        assert label is not None
        new_pvid[label.pvid] = (disk, fresh_id(disk.uid, stamp))
    keep_names = "d" in flags or flags.get("l")
    prefix, mount_prefix = flags.get("Y", "fs"), flags.get("L", "/fs").rstrip("/")
    volumes = [
        replace(v)
        if keep_names
        else replace(
            v,
            name="" if prefix == "NA" else f"{prefix}{v.name}",
            mount=v.mount and f"{mount_prefix}{v.mount}",
        )
        for v in old.logical_volumes
    ]
    for volume, original in zip(volumes, old.logical_volumes, strict=True):
        volume.name = volume.name or original.name
    fresh = Descriptor(
        vgid=fresh_id("vg", stamp, *new_pvid, digits=32),
        pvids=[new_pvid[pvid][1] for pvid in old.pvids if pvid in new_pvid],
        logical_volumes=volumes,
        partition_mib=old.partition_mib,
        is_concurrent=old.is_concurrent,
    )
    for disk, pvid in new_pvid.values():
        machine.san.write_label(disk.uid, Label(pvid, fresh))
        disk.pvid = pvid
    return fresh


@program("/usr/sbin/lqueryvg")
def lqueryvg(machine: Machine, words: list[str], streams: Io) -> int:
    """Read a disk's descriptor area without importing it: -Atp disk."""
    flags, _ = options(words, "AtNFncDaLvp:g:")
    with machine.lock:
        label = machine.label(flags.get("p", "").removeprefix("/dev/"))
    if label is None or label.descriptor is None:
        raise Complaint("0516-066 lqueryvg: Physical volume is not a volume group member.")
    area = label.descriptor
    streams.say(
        f"Max LVs:        256\nPP Size:        {(area.partition_mib << 20).bit_length() - 1}\n"
    )
    for number, volume in enumerate(area.logical_volumes, start=1):
        head = "Logical:" if number == 1 else ""
        streams.say(f"{head:<16}{area.vgid}.{number}   {volume.name} 1\n")
    for number, pvid in enumerate(area.pvids, start=1):
        head = "Physical:" if number == 1 else ""
        streams.say(f"{head:<16}{pvid}                2   0\n")
    streams.say(f"VGid:           {area.vgid}\n")
    return 0
