"""A Linux node, remote or this machine: by-id names, multipath, LVM, fsfreeze.

A disk is found by its name below `/dev/disk/by-id`, never by `sdX`. With a `LocalRunner` disks are
opened right here; otherwise through `dd` on the node. Source: docs/reference/aix-host.md §8.
"""

from __future__ import annotations

import logging
import posixpath
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from blocks.errors import DiskMissing, HostError, RemoteError, TargetInUse
from blocks.host import powerha
from blocks.host.base import Disk, GroupState, Reader, Writer
from blocks.host.dd import gnu_read, gnu_write, gnu_zero
from blocks.host.identity import uid_from_wwid
from blocks.host.inside import Look, look_at_linux
from blocks.host.listings import LSBLK_COLUMNS, held_devices, report_rows, table_rows
from blocks.host.local import LocalReader, LocalWriter
from blocks.host.quiesce import frozen_each
from blocks.host.remote import RemoteReader, RemoteWriter
from blocks.runner import Completed, LocalRunner, Runner, batches

log = logging.getLogger(__name__)
T = TypeVar("T")

BY_ID = "/dev/disk/by-id"
DISCOVER_TIMEOUT_S = 300.0
GROUP_TIMEOUT_S = 600.0
LOOK_TIMEOUT_S = 30.0
"""LVM's reports wait for its lock without end, and lsblk for a disk that does not answer. A healthy
node answers within a second."""
NEVER_FROZEN = frozenset({"/", "/usr", "/var", "/boot", "/tmp", "/home", "/opt"})  # noqa: S108
# The multipath device, then any name of the LUN: a single path of it comes last.
_PREFERENCE = ("dm-uuid-mpath-", "wwn-", "scsi-3", "")
_NOT_INSTALLED = 127
_SOME_GONE = {"lsblk": 64}
"""The exit status of a list without devices that went while it was made."""

_TOOLS = "PATH=$PATH:/usr/sbin:/sbin"
"""An administrator's session, or a bare one, may lack the directories of the tools."""

_RESCAN = (
    "for host in /sys/class/scsi_host/host*/scan; do"
    ' if [ -w "$host" ]; then echo "- - -" > "$host"; fi; done;'
    # A LUN that was made larger on the array keeps its old size here until it is asked for.
    " for disk in /sys/block/sd*/device/rescan; do"
    ' if [ -w "$disk" ]; then echo 1 > "$disk"; fi; done;'
    " if command -v multipath >/dev/null; then multipath -r >/dev/null; fi;"
    " if command -v udevadm >/dev/null; then udevadm settle --timeout=60; fi"
)


class LinuxHost:
    """One Linux node.

    `is_standalone` says that no cluster software decides where its resource groups run: the group
    is then always online here.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        device_directory: str = BY_ID,
        is_standalone: bool = False,
    ) -> None:
        self._name = name
        self._runner = runner
        self._device_directory = str(device_directory)
        self._is_standalone = is_standalone

    @property
    def name(self) -> str:
        """Its name, as registered."""
        return self._name

    def discover(self) -> list[Disk]:
        """Rescan the SCSI hosts and multipath, then list all disks."""
        if self._device_directory == BY_ID:
            done = self._runner.run(f"{_TOOLS}; {_RESCAN}", timeout_s=DISCOVER_TIMEOUT_S)
            if done.status != 0:
                log.warning("rescan host=%s status=%d: %s", self._name, done.status, _said(done))
        return self.disks()

    def disks(self) -> list[Disk]:
        """List the disks with a vdisk UID, with exact sizes and what holds them."""
        named = self._named_devices()
        sizes = self._sizes(sorted({path for names in named.values() for _, path in names}))
        groups = self._volume_groups_by_device() if self._has_block_device(sizes) else {}
        busy = self._busy_devices(sorted(sizes))
        # A link may outlive its device: the best name that still leads to one is taken.
        found = [
            (uid, next(((name, path) for name, path in names if path in sizes), None))
            for uid, names in sorted(named.items())
        ]
        return [
            Disk(
                name=place[0],
                path=place[1],
                size_bytes=sizes[place[1]],
                uid=uid,
                volume_group=groups.get(place[1], ""),
                is_active=place[1] in busy,
            )
            for uid, place in found
            if place is not None
        ]

    def open_read(self, disk: Disk) -> Reader:
        """Open a disk for reading, after dropping what the node cached of it."""
        self._flush_cache(disk)
        if isinstance(self._runner, LocalRunner):
            return LocalReader(disk.path)
        return RemoteReader(self._runner, disk.path, disk.size_bytes, read_command=gnu_read)

    def open_write(self, disk: Disk) -> Writer:
        """Open a disk for writing, unless something on the node holds it.

        A disk without a UID is a path an operator chose; on this machine a file is made for it.
        """
        if disk.uid and disk.uid not in {now.uid for now in self.disks() if now.path == disk.path}:
            raise DiskMissing(f"{disk.name} on {self._name} is no longer volume {disk.uid}")
        if self._is_busy(disk.path):
            raise TargetInUse(
                f"{disk.name} on {self._name} is mounted, used by LVM or held open",
                hint="Unmount it and deactivate its volume group, or choose another disk.",
            )
        if isinstance(self._runner, LocalRunner):
            return LocalWriter(disk.path, create_bytes=None if disk.uid else disk.size_bytes)
        return RemoteWriter(
            self._runner,
            disk.path,
            disk.size_bytes,
            read_command=gnu_read,
            write_command=gnu_write,
            zero_command=gnu_zero,
        )

    def group_state(self, group: str) -> GroupState:
        """Ask PowerHA, where it is installed."""
        if self._is_standalone:
            return GroupState.ONLINE
        done = self._run([powerha.CLRGINFO, "-s", group])
        if done.status != 0:
            return GroupState.UNKNOWN
        states = powerha.parse_group_states(done.stdout, group)
        hostname = self._run(["uname", "-n"]).stdout.strip()
        for name in (self._name, hostname, hostname.split(".")[0]):
            if name in states:
                return states[name]
        return GroupState.UNKNOWN

    def is_cluster_stable(self) -> bool:
        """Ask the cluster manager; true where there is none."""
        if self._run(["test", "-x", powerha.CLRGINFO]).status != 0:
            return True
        return powerha.parse_stable(self._run([powerha.LSSRC, "-ls", "clstrmgrES"]).stdout)

    def volume_groups(self, group: str) -> list[str]:
        """Ask clmgr for the volume groups of a resource group; none where there is no cluster."""
        if self._run(["test", "-x", powerha.CLMGR]).status != 0:
            return []
        done = self._checked([powerha.CLMGR, "query", "resource_group", group])
        return powerha.parse_volume_groups(done.stdout)

    def frozen(
        self, volume_groups: Sequence[str], timeout_s: float
    ) -> AbstractContextManager[None]:
        """Freeze the mounted file systems of these volume groups (see `Host.frozen`).

        fsfreeze knows no timeout: a watchdog on the node thaws when this process cannot.
        """
        watchdogs: dict[str, str] = {}

        def freeze(mount: str) -> None:
            watchdogs[mount] = self._start_watchdog(mount, timeout_s)
            self._checked(["fsfreeze", "-f", mount])

        def thaw(mount: str) -> bool:
            done = self._run(["fsfreeze", "-u", mount])
            if watchdogs.get(mount):
                self._run(["kill", watchdogs[mount]])
            return done.status == 0

        return frozen_each(
            self._file_systems(volume_groups), freeze=freeze, thaw=thaw, timeout_s=timeout_s
        )

    def thaw(self, volume_groups: Sequence[str]) -> None:
        """Thaw every mounted file system of these volume groups; one not frozen stays so."""
        for mount in self._file_systems(volume_groups):
            if self._run(["fsfreeze", "-u", mount]).status == 0:
                log.warning("thawed %s, which a dead run left frozen", mount)

    def import_group(self, name: str, disks: Sequence[Disk], *, major: int | None = None) -> None:
        """Make LVM look again and activate the group. `major` means nothing to Linux.

        Raises:
            HostError: LVM finds the group on other disks than these, or cannot activate it.
        """
        if self._has_devices_file():
            for disk in disks:
                self._checked(["lvmdevices", "-y", "--adddev", disk.path])
        self._run(["pvscan", "--cache"], timeout_s=GROUP_TIMEOUT_S)
        # Only an exported group needs this; on any other it fails and changes nothing.
        self._run(["vgimport", name], timeout_s=GROUP_TIMEOUT_S)
        self._require_group_on(name, disks)
        self._checked(["vgchange", "-ay", name], timeout_s=GROUP_TIMEOUT_S)
        log.info("imported volume_group=%s host=%s disks=%d", name, self._name, len(disks))

    def recreate_group(self, name: str, disks: Sequence[Disk]) -> None:
        """Run vgimportclone: new UUIDs and group name, then activate."""
        if not disks:
            raise HostError(f"volume group {name} has no disks to recreate")
        paths = [disk.path for disk in disks]
        words = ["vgimportclone", "-n", name, "--import"]
        if self._has_devices_file():
            words.append("--importdevices")
        self._checked([*words, *paths], timeout_s=GROUP_TIMEOUT_S)
        self._checked(["vgchange", "-ay", name], timeout_s=GROUP_TIMEOUT_S)
        log.info("recreated volume_group=%s host=%s disks=%d", name, self._name, len(disks))

    def release_group(self, name: str) -> None:
        """Deactivate the group. Its file systems must be unmounted."""
        self._checked(["vgchange", "-an", name], timeout_s=GROUP_TIMEOUT_S)
        log.info("released volume_group=%s host=%s", name, self._name)

    def has_group(self, name: str) -> bool:
        """Look for it in vgs."""
        return (name,) in self._report(["vgs"], "vg", "vg_name")

    def look_inside(
        self, volume_group: str, disks: Sequence[Disk], directory: str, *, fsck: bool, mount: bool
    ) -> list[Look]:
        """Run the checker of each kind, and mount -o ro (see `Host.look_inside`)."""
        devices = [disk.path for disk in disks]
        if volume_group:
            volumes = self._report(["lvs", volume_group], "lv", "lv_dm_path")
            devices = [path for (path,) in volumes]
        return look_at_linux(self._run, devices, directory, fsck=fsck, mount=mount)

    def leave(self, directory: str) -> None:
        """Run umount and rmdir, where there is still something (see `Host.leave`)."""
        if self._run(["test", "-d", directory]).status != 0:
            return
        if self._run(["mountpoint", "-q", directory]).status == 0:
            self._checked(["umount", directory])
        self._checked(["rmdir", directory])

    def _has_devices_file(self) -> bool:
        """Say whether LVM sees only the devices that are listed (RHEL 9 and its like)."""
        return self._run(["test", "-s", "/etc/lvm/devices/system.devices"]).status == 0

    def _require_group_on(self, name: str, disks: Sequence[Disk]) -> None:
        """Refuse a group that LVM takes from other disks.

        Of two disks with the same identity it shows one: beside its original a copy is not seen,
        and it would be the original that is activated.
        """
        groups = self._volume_groups_by_device()
        found = {path for path, group in groups.items() if group == name}
        wanted = {self._run(["readlink", "-f", disk.path]).stdout.strip() for disk in disks}
        if found != wanted:
            raise HostError(
                f"volume group {name} on {self._name} is on other disks: "
                f"{', '.join(sorted(found)) or 'none'}, not {', '.join(sorted(wanted))}",
                hint="Beside its original, import the copies under another name (vgimportclone).",
            )

    def _is_busy(self, path: str) -> bool:
        real = self._run(["readlink", "-f", path]).stdout.strip() or path
        return real in self._busy_devices([real])

    def _named_devices(self) -> dict[str, list[tuple[str, str]]]:
        """Map each vdisk UID to its (name, device path) below the device directory, best first."""
        directory = self._device_directory
        if directory == BY_ID and self._run(["test", "-d", directory]).status == 1:
            return {}
        words = ["find", "-H", directory, "-mindepth", "1", "-maxdepth", "1"]
        done = self._checked([*words, "-printf", r"%y\t%f\t%l\n"])
        names: dict[str, list[tuple[int, str, str]]] = {}
        for line in done.stdout.splitlines():
            kind, name, link = line.split("\t", 2) if line.count("\t") >= 2 else ("", "", "")
            uid = uid_from_wwid(name)
            if not uid or kind not in {"l", "f", "b"}:
                continue
            path = posixpath.join(directory, link if kind == "l" else name)
            rank = next(i for i, start in enumerate(_PREFERENCE) if name.startswith(start))
            names.setdefault(uid, []).append((rank, name, posixpath.normpath(path)))
        return {uid: [each[1:] for each in sorted(found)] for uid, found in names.items()}

    def _sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Ask for exact sizes; a path that is gone is left out."""
        script = (
            'for path do if [ -b "$path" ]; then size=$(blockdev --getsize64 "$path");'
            ' else size=$(stat -Lc %s "$path"); fi; echo "$size $path"; done'
        )
        sizes = {}
        for batch in batches(paths):
            done = self._run(["sh", "-c", script, "sh", *batch])
            known = set(batch)
            for line in done.stdout.splitlines():
                size, _, path = line.partition(" ")
                if size.isascii() and size.isdigit() and path in known:
                    sizes[path] = int(size)
        return sizes

    def _has_block_device(self, paths: Iterable[str]) -> bool:
        """Tell whether any path may be a block device; where only files were seen, none is.

        LVM lies on block devices only, and pvs refuses anyone but root: the lab needs neither.
        """
        script = 'for path do if [ -b "$path" ]; then echo block; exit; fi; done; echo files'
        return any(
            self._run(["sh", "-c", script, "sh", *batch]).stdout.strip() != "files"
            for batch in batches(list(paths))
        )

    def _volume_groups_by_device(self) -> dict[str, str]:
        return {
            self._run(["readlink", "-f", device]).stdout.strip(): group
            for device, group in self._report(["pvs"], "pv", "pv_name", "vg_name")
        }

    def _busy_devices(self, paths: Sequence[str]) -> set[str]:
        """Tell which devices are mounted, hold swap, or are under LVM, crypt, md or a loop."""
        words = ["lsblk", "-Jo", LSBLK_COLUMNS]
        # A machine so bare that it has no lsblk can still be restored to in files.
        nothing = {32} if self._has_block_device(paths) else {32, _NOT_INSTALLED}
        busy = self._listed(words, held_devices, nothing=nothing) or set()
        loops = self._listed(
            ["losetup", "-Jl", "-O", "NAME,BACK-FILE"],
            lambda text: table_rows(text, "loopdevices", ["back-file"]),
            nothing={0, _NOT_INSTALLED},
        )
        return busy | ({file for (file,) in loops or []} & set(paths))

    def _file_systems(self, volume_groups: Sequence[str]) -> list[str]:
        wanted = set(volume_groups)
        volumes = self._report(["lvs"], "lv", "vg_name", "lv_dm_path")
        devices = {path for group, path in volumes if group in wanted}
        mounts = self._listed(
            ["findmnt", "-J", "-l", "-o", "SOURCE,TARGET"],
            lambda text: table_rows(text, "filesystems", ["source", "target"]),
            nothing={1},
        )
        targets = [target for source, target in mounts or [] if source in devices]
        return [target for target in targets if target not in NEVER_FROZEN]

    def _start_watchdog(self, mount: str, timeout_s: float) -> str:
        script = f"sleep {timeout_s:.1f}; fsfreeze -u {shlex.quote(mount)}"
        line = f"{_TOOLS}; nohup sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 & echo $!"
        done = self._runner.run(line)
        if done.status != 0 or not done.stdout.strip().isdigit():
            raise HostError(f"no watchdog for {mount} on {self._name}: {_said(done)}")
        return done.stdout.strip()

    def _flush_cache(self, disk: Disk) -> None:
        path = shlex.quote(disk.path)
        line = f"{_TOOLS}; if [ -b {path} ]; then blockdev --flushbufs {path}; fi"
        done = self._runner.run(line)
        if done.status != 0:
            raise HostError(
                f"cannot drop what {self._name} has cached of {disk.path}: {_said(done)}",
                hint="Reading and writing a block device needs root there; files need not.",
            )

    def _report(self, words: Sequence[str], kind: str, *columns: str) -> list[tuple[str, ...]]:
        """Run one of LVM's reports; a node without LVM has nothing to report."""
        rows = self._listed(
            [*words, "--reportformat", "json", "-o", ",".join(columns)],
            lambda text: report_rows(text, kind, columns),
            nothing={_NOT_INSTALLED},
        )
        return rows or []

    def _listed(
        self, words: Sequence[str], read: Callable[[str], T], *, nothing: set[int]
    ) -> T | None:
        """Run a tool that lists in JSON; `nothing`: with these statuses no output means none.

        An error is not an empty list: a mounted disk must not pass for a free one.

        Raises:
            HostError: it failed, hangs, or printed something else.
        """
        began = time.monotonic()
        try:
            done = self._run(words, timeout_s=LOOK_TIMEOUT_S)
        except RemoteError as error:
            if time.monotonic() - began < LOOK_TIMEOUT_S:
                raise
            raise HostError(
                f"{words[0]} on {self._name} gave no answer within {LOOK_TIMEOUT_S:.0f} s:"
                " which disks are in use is not known",
                hint=f"Run `{words[0]}` there by hand: another LVM command holds the lock"
                " (`ps -ef | grep -e lvm -e multipath`), or a disk does not answer (`dmesg`).",
            ) from error
        if done.status in nothing and not done.stdout.strip():
            return None
        if done.status not in {0, _SOME_GONE.get(words[0])}:
            raise HostError(f"{words[0]} on {self._name} failed: {_said(done)}")
        try:
            return read(done.stdout)
        except ValueError as error:
            raise HostError(
                f"{words[0]} on {self._name} did not print its list: {error}",
                hint=f"Run it by hand on the node: {shlex.join(words)}",
            ) from error

    def _checked(self, words: Sequence[str], *, timeout_s: float = 120.0) -> Completed:
        done = self._run(words, timeout_s=timeout_s)
        if done.status != 0:
            raise HostError(
                f"{words[0]} on {self._name} ended with status {done.status}: {_said(done)}",
                hint=f"Run it by hand on the node: {shlex.join(words)}",
            )
        return done

    def _run(self, words: Sequence[str], *, timeout_s: float = 120.0) -> Completed:
        return self._runner.run(f"LC_ALL=C {_TOOLS} {shlex.join(words)}", timeout_s=timeout_s)


def _said(done: Completed) -> str:
    return " ".join((done.stderr or done.stdout).split())[:300]
