"""File systems: mount, umount, df, fsck, chfs with its freeze, lsfs. aix-host.md §6-7.

Only what the commands answer is simulated: a mounted file system holds no files here, the bytes of
its volumes are whatever was written to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.aix.odm import Stanza
from deployments.lab.aix.programs import Complaint, options, program
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

BLOCKS_PER_MIB = 2048


@program("/usr/sbin/mount")
def mount(machine: Machine, words: list[str], streams: Io) -> int:
    """Mount a file system by its mount point, or a device on a directory; alone: list them."""
    _, rest = options(words, "rv:o:fpn:t:a")
    with machine.lock:
        state = machine.state
        if not rest:
            streams.say(
                "  node       mounted        mounted over    vfs       date        options\n"
            )
            streams.say("-------- ---------------  ---------------  ------ ------------ -------\n")
            for place, device in {"/": "/dev/hd4", **state.mounted}.items():
                streams.say(f"         {device:<16} {place:<16} jfs2   Nov 01 00:00 rw\n")
            return 0
        device, place = _what_to_mount(machine, rest)
        if place in state.mounted or device in state.mounted.values():
            raise Complaint(
                f"mount: 0506-324 Cannot mount {device} on {place}: The requested resource is busy."
            )
        if not _has_device(machine, device):
            raise Complaint(
                f"mount: 0506-324 Cannot mount {device} on {place}: A file or"
                " directory in the path name does not exist."
            )
        state.mounted[place] = device
        machine.changed()
    return 0


def _what_to_mount(machine: Machine, rest: list[str]) -> tuple[str, str]:
    if len(rest) > 1:
        return rest[0], rest[1]
    stanza = _stanza(machine, rest[0])
    if stanza is None:
        raise Complaint(f"mount: 0506-333 {rest[0]} is not in /etc/filesystems.")
    return stanza.device, stanza.mount


def _stanza(machine: Machine, name: str) -> Stanza | None:
    for stanza in machine.state.file_systems.values():
        if name in {stanza.mount, stanza.device}:
            return stanza
    return None


def _has_device(machine: Machine, device: str) -> bool:
    """Say whether a logical volume can be opened: its group is varied on."""
    return any(
        group.is_on and f"/dev/{volume.name}" == device
        for group in machine.state.groups.values()
        for volume in group.descriptor.logical_volumes
    )


@program("/usr/sbin/umount", "/usr/sbin/unmount")
def umount(machine: Machine, words: list[str], streams: Io) -> int:
    """Unmount a file system; it thaws with it."""
    _, rest = options(words, "fst:n:a")
    with machine.lock:
        state = machine.state
        name = rest[0] if rest else ""
        found = [place for place, device in state.mounted.items() if name in {place, device}]
        if not found:
            raise Complaint(f"umount: 0506-347 Cannot find anything to unmount: {name}")
        state.mounted.pop(found[0])
        state.frozen.pop(found[0], None)
        machine.changed()
    return 0


@program("/usr/bin/df", "/usr/sbin/df")
def df(machine: Machine, words: list[str], streams: Io) -> int:
    """Show what is mounted: -k, -m, -g choose the unit."""
    flags, rest = options(words, "kmgPIisvMT:")
    divisor, head = 1, "512-blocks"
    for flag, size, text in (
        ("k", 2, "1024-blocks"),
        ("m", 2048, "MB blocks"),
        ("g", 2048 * 1024, "GB blocks"),
    ):
        if flag in flags:
            divisor, head = size, text
    with machine.lock:
        rows = {"/": ("/dev/hd4", 4096), **_mounted_sizes(machine)}
    missing = [
        name for name in rest if name not in rows and name not in {d for d, _ in rows.values()}
    ]
    if missing:
        raise Complaint(f"df: {missing[0]}: A file or directory in the path name does not exist.")
    streams.say(f"Filesystem    {head:>12}      Free %Used    Iused %Iused Mounted on\n")
    for place, (device, mib) in rows.items():
        if not rest or place in rest or device in rest:
            blocks = mib * BLOCKS_PER_MIB // divisor
            streams.say(
                f"{device:<14}{blocks:>12} {blocks // 2:>9}   50%     1000     1% {place}\n"
            )
    return 0


def _mounted_sizes(machine: Machine) -> dict[str, tuple[str, int]]:
    sizes = {
        f"/dev/{volume.name}": volume.partitions * group.descriptor.partition_mib
        for group in machine.state.groups.values()
        for volume in group.descriptor.logical_volumes
    }
    return {
        place: (device, sizes.get(device, 0)) for place, device in machine.state.mounted.items()
    }


@program("/usr/sbin/fsck")
def fsck(machine: Machine, words: list[str], streams: Io) -> int:
    """Check a file system that is not mounted."""
    _, rest = options(words, "fpnyV:o:i:d:t:")
    name = rest[-1] if rest else ""
    with machine.lock:
        stanza = _stanza(machine, name)
        device = stanza.device if stanza else name
        if not _has_device(machine, device):
            raise Complaint(
                f"fsck: 0506-023 Cannot open {device}: A file or directory in the path"
                " name does not exist.",
                8,
            )
        if device in machine.state.mounted.values():
            raise Complaint(f"fsck: 0506-085 {device} is mounted.", 8)
    streams.say(
        f"The current volume is: {device}\n"
        "Primary superblock is valid.\n*** Phase 1 - Initial inode scan\n"
        "File system is clean.\n"
    )
    return 0


@program("/usr/sbin/logredo")
def logredo(machine: Machine, words: list[str], streams: Io) -> int:
    """Replay a file system's log."""
    streams.say("J2_LOGREDO:Logredo complete\n")
    return 0


@program("/usr/sbin/chfs")
def chfs(machine: Machine, words: list[str], streams: Io) -> int:
    """Freeze a JFS2 (-a freeze=SECONDS), extend (refreeze=SECONDS), thaw (freeze=off)."""
    flags, rest = options(words, "a:n:A:m:u:p:t:d:")
    attribute, _, value = flags.get("a", "").partition("=")
    place = rest[0] if rest else ""
    with machine.lock:
        state = machine.state
        if place not in state.file_systems and place not in state.mounted:
            raise Complaint(f"chfs: 0506-915 No record in /etc/filesystems for {place}.")
        if attribute not in {"freeze", "refreeze"}:
            return 0
        if place not in state.mounted:
            raise Complaint(
                f"chfs: {place} is not mounted. A file system must be mounted to be"
                " frozen or thawed."
            )
        until = state.frozen.get(place, 0.0)
        is_frozen = until > machine.now()
        if value == "off":
            state.frozen.pop(place, None)
            machine.changed()
            if not is_frozen:
                raise Complaint(f"fscntl: {place}: The file system is not frozen.")
            return 0
        if not value.isdecimal() or not int(value):
            raise Complaint(f"chfs: 0506-909 Attribute value {value} is not valid for freeze.")
        if is_frozen and attribute == "freeze":
            raise Complaint(f"fscntl: {place}: The file system is already frozen.")
        if not is_frozen and attribute == "refreeze":
            raise Complaint(f"fscntl: {place}: The file system is not frozen.")
        state.frozen[place] = machine.now() + int(value)
        machine.changed()
    return 0


def thaw_expired(machine: Machine) -> bool:
    """Thaw what was frozen for longer than it asked; say whether anything was."""
    frozen, now = machine.state.frozen, machine.now()
    expired = [place for place, until in frozen.items() if until <= now]
    for place in expired:
        del frozen[place]
    return bool(expired)


@program("/usr/sbin/lsfs")
def lsfs(machine: Machine, words: list[str], streams: Io) -> int:
    """List /etc/filesystems."""
    _, rest = options(words, "qclalv:u:")
    streams.say(f"{'Name':<15} Nodename   {'Mount Pt':<22} VFS   Size    Options    Auto Acct\n")
    with machine.lock:
        stanzas = list(machine.state.file_systems.values())
    shown = [s for s in stanzas if not rest or {s.mount, s.device} & set(rest)]
    for stanza in shown:
        streams.say(
            f"{stanza.device:<15} --         {stanza.mount:<22} jfs2  --      rw         no   no\n"
        )
    if rest and not shown:
        raise Complaint(
            f"lsfs: 0506-915 No record matching {rest[0]} was found in /etc/filesystems."
        )
    return 0
