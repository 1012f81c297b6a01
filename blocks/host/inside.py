"""What is on restored disks: file systems, checked and mounted without a byte written to them.

A restore proves the bytes; this asks whether a file system can be made of them. A checker runs in
its read-only mode, a mount is read-only and replays no log. So the copy of a mounted file system
may look unclean: *log not replayed* says that nothing else was found, and the first real mount
replays it. Source: docs/reference/aix-host.md §6, §8; e2fsck(8), xfs_repair(8), fsck (AIX).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from blocks.runner import Completed

FSCK_TIMEOUT_S = 6 * 3600.0
MOUNT_TIMEOUT_S = 900.0
NOT_INSTALLED = 127

Run = Callable[..., Completed]
"""Runs words on the node: `run(words, timeout_s=…)`."""

_NO_LOG = {
    "ext3": ",noload",
    "ext4": ",noload",
    # The original may be mounted beside its copy.
    "xfs": ",norecovery,nouuid",
}
_CHECKS = {
    "ext2": ["e2fsck", "-fn"],
    "ext3": ["e2fsck", "-fn"],
    "ext4": ["e2fsck", "-fn"],
    "xfs": ["xfs_repair", "-n"],
    "btrfs": ["btrfs", "check", "--readonly"],
}
_UNREPLAYED = ("skipping journal recovery", "valuable metadata changes in a log")
_NO_FILES = frozenset({"", "LVM2_member", "swap", "crypto_LUKS", "linux_raid_member"})
_JFS_ROW = re.compile(r"^(\S+)\s+(jfs2?)\s+\d+\s+\d+\s+\d+\s+\S+\s+(\S+)\s*$")


class Fsck(StrEnum):
    """What a checker said."""

    CLEAN = "clean"
    UNREPLAYED = "log not replayed"
    DAMAGED = "damaged"
    UNKNOWN = "not checked"


@dataclass(frozen=True, slots=True)
class Look:
    """One file system, looked at."""

    device: str
    kind: str
    mount_point: str = ""
    """Where it would be mounted, where the node knows that."""
    fsck: Fsck = Fsck.UNKNOWN
    entries: int | None = None
    """Names in its root directory; None when it was not mounted."""
    faults: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether everything that was asked for went well."""
        return not self.faults


def look_at_jfs(run: Run, listed: str, directory: str, *, fsck: bool, mount: bool) -> list[Look]:
    """Look at the JFS and JFS2 file systems of a volume group that is varied on.

    Args:
        run: runs words on the node.
        listed: what `lsvg -l` printed of the group.
        directory: where to mount them, one after the other; made and removed here.
        fsck: check them.
        mount: mount them.
    """
    looks = []
    for line in listed.splitlines():
        row = _JFS_ROW.match(line)
        if row is None:
            continue
        look = Look(f"/dev/{row[1]}", row[2], row[3] if row[3].startswith("/") else "")
        if fsck:
            done = run(["/usr/sbin/fsck", "-n", look.device], timeout_s=FSCK_TIMEOUT_S)
            look = _judged(look, "fsck", done)
        if mount:
            words = ["/usr/sbin/mount", "-r", look.device, directory]
            look = _mounted(look, run, words, directory, umount="/usr/sbin/umount")
        looks.append(look)
    return looks


def look_at_linux(
    run: Run, devices: Sequence[str], directory: str, *, fsck: bool, mount: bool
) -> list[Look]:
    """Look at the file systems right on devices or files; what holds none is left out.

    Args:
        run: runs words on the node.
        devices: paths of disks, logical volumes or image files.
        directory: where to mount them, one after the other; made and removed here.
        fsck: check them.
        mount: mount them.
    """
    looks = []
    for device in devices:
        kind = run(["blkid", "-p", "-o", "value", "-s", "TYPE", device]).stdout.strip()
        if kind in _NO_FILES:
            continue
        look = Look(device, kind)
        is_file = run(["test", "-b", device]).status != 0
        if fsck and kind in _CHECKS:
            words = [*_CHECKS[kind], *(["-f"] if kind == "xfs" and is_file else []), device]
            look = _judged(look, words[0], run(words, timeout_s=FSCK_TIMEOUT_S))
        if mount and kind == "btrfs":
            fault = "not mounted: a copy of a btrfs beside its original is mistaken for it"
            look = _with_fault(look, fault)
        elif mount:
            how = f"ro,nodev,nosuid,noexec{_NO_LOG.get(kind, '')}{',loop' * is_file}"
            words = ["mount", "-t", kind, "-o", how, device, directory]
            look = _mounted(look, run, words, directory, umount="umount")
        looks.append(look)
    return looks


def _judged(look: Look, command: str, done: Completed) -> Look:
    said = f"{done.stdout}\n{done.stderr}"
    if done.status == 0:
        return replace(look, fsck=Fsck.CLEAN)
    if done.status == NOT_INSTALLED:
        return _with_fault(look, f"not checked: the node has no {command}")
    if any(sign in said for sign in _UNREPLAYED):
        # What it found may be only what the log would set right.
        return replace(look, fsck=Fsck.UNREPLAYED)
    fault = f"{command} ended with status {done.status}: {_tail(said)}"
    return replace(_with_fault(look, fault), fsck=Fsck.DAMAGED)


def _mounted(look: Look, run: Run, words: Sequence[str], directory: str, *, umount: str) -> Look:
    made = run(["mkdir", directory])
    if made.status != 0:
        return _with_fault(look, f"no directory to mount it on: {_tail(made.stderr)}")
    try:
        done = run(words, timeout_s=MOUNT_TIMEOUT_S)
        if done.status != 0:
            return _with_fault(look, f"cannot be mounted: {_tail(done.stderr or done.stdout)}")
        listed = run(["ls", "-A", directory], timeout_s=MOUNT_TIMEOUT_S)
        if listed.status == 0:
            look = replace(look, entries=len(listed.stdout.splitlines()))
        else:
            look = _with_fault(look, f"mounted, but unreadable: {_tail(listed.stderr)}")
        gone = run([umount, directory], timeout_s=MOUNT_TIMEOUT_S)
        if gone.status != 0:
            look = _with_fault(look, f"still mounted on {directory}: {_tail(gone.stderr)}")
        return look
    finally:
        run(["rmdir", directory])


def _with_fault(look: Look, fault: str) -> Look:
    return replace(look, faults=(*look.faults, fault))


def _tail(text: str) -> str:
    return " ".join(text.split())[-300:]
