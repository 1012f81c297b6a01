"""An AIX node: `lspv -u`, raw disks, `importvg` and `recreatevg`, JFS2 freeze, PowerHA.

Commands are called by their absolute path in the C locale, since a non-login session has a short
PATH, and messages are localised. Disks are read and written as `rhdisk`: the block device would
answer from a stale cache. Source: docs/reference/aix-host.md.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager

from blocks.errors import DiskMissing, HostError, TargetInUse
from blocks.host import powerha
from blocks.host.base import Disk, GroupState, Reader, Writer
from blocks.host.dd import aix_read, aix_write, aix_zero
from blocks.host.identity import PhysicalVolume, parse_lspv, uid_from_udid
from blocks.host.inside import Look, look_at_jfs
from blocks.host.quiesce import frozen_each
from blocks.host.remote import RemoteReader, RemoteWriter
from blocks.runner import Completed, Runner, batches
from blocks.units import MIB

log = logging.getLogger(__name__)

# cfgmgr walks every adapter in turn: minutes on a big host.
DISCOVER_TIMEOUT_S = 900.0
GROUP_TIMEOUT_S = 600.0
SECTOR_BYTES = 512
# Freezing these would stop the machine or the tool itself.
NEVER_FROZEN = frozenset({"/", "/usr", "/var", "/tmp", "/home", "/opt"})  # noqa: S108
_LV_ROW = re.compile(r"^(\S+)\s+(\S+)\s+\d+\s+\d+\s+\d+\s+(\S+)\s+(\S.*?)\s*$")


class AixHost:
    """One AIX node."""

    def __init__(self, name: str, runner: Runner) -> None:
        self._name = name
        self._runner = runner

    @property
    def name(self) -> str:
        """Its name, as registered."""
        return self._name

    def discover(self) -> list[Disk]:
        """Run cfgmgr, then list all disks. Partial success still discovers."""
        done = self._run(["/usr/sbin/cfgmgr"], timeout_s=DISCOVER_TIMEOUT_S)
        if done.status != 0:
            log.warning("cfgmgr host=%s status=%d: %s", self._name, done.status, _said(done))
        return self.disks()

    def disks(self) -> list[Disk]:
        """List the disks by `lspv -u`, with their sizes (exact to 1 MiB)."""
        volumes = self._physical_volumes()
        sizes = self._sizes([volume.name for volume in volumes])
        return [self._as_disk(volume, sizes.get(volume.name, 0)) for volume in volumes]

    def open_read(self, disk: Disk) -> Reader:
        """Open a raw disk for reading."""
        return RemoteReader(self._runner, disk.path, disk.size_bytes, read_command=aix_read)

    def open_write(self, disk: Disk) -> Writer:
        """Open a raw disk for writing, unless its volume group is varied on."""
        now = next((pv for pv in self._physical_volumes() if pv.name == disk.name), None)
        if now is None or (disk.uid and uid_from_udid(now.udid) not in {"", disk.uid}):
            raise DiskMissing(f"{disk.name} on {self._name} is no longer volume {disk.uid}")
        if now.is_varied_on:
            raise TargetInUse(
                f"{disk.name} on {self._name} is in the varied-on volume group {now.volume_group}",
                hint=f"Vary it off first (varyoffvg {now.volume_group}), or choose another disk.",
            )
        return RemoteWriter(
            self._runner,
            disk.path,
            disk.size_bytes,
            read_command=aix_read,
            write_command=aix_write,
            zero_command=aix_zero,
        )

    def group_state(self, group: str) -> GroupState:
        """Ask clRGinfo for the group's state on this node."""
        done = self._run([powerha.CLRGINFO, "-s", group])
        if done.status != 0:
            log.warning("clRGinfo host=%s status=%d: %s", self._name, done.status, _said(done))
            return GroupState.UNKNOWN
        states = powerha.parse_group_states(done.stdout, group)
        for name in (self._name, *self._own_names()):
            if name in states:
                return states[name]
        return GroupState.UNKNOWN

    def is_cluster_stable(self) -> bool:
        """Ask the cluster manager."""
        done = self._run([powerha.LSSRC, "-ls", "clstrmgrES"])
        return done.status == 0 and powerha.parse_stable(done.stdout)

    def volume_groups(self, group: str) -> list[str]:
        """Ask clmgr for the volume groups of a resource group."""
        done = self._checked([powerha.CLMGR, "query", "resource_group", group])
        return powerha.parse_volume_groups(done.stdout)

    def frozen(
        self, volume_groups: Sequence[str], timeout_s: float
    ) -> AbstractContextManager[None]:
        """Freeze the mounted JFS2 file systems of these volume groups (see `Host.frozen`)."""
        mount_points = [mount for group in volume_groups for mount in self._file_systems(group)]
        seconds = max(1, round(timeout_s))
        return frozen_each(
            mount_points,
            freeze=lambda mount: self._freeze(mount, seconds),
            thaw=self._thaw,
            timeout_s=timeout_s,
        )

    def thaw(self, volume_groups: Sequence[str]) -> None:
        """Thaw every JFS2 file system of these volume groups; one that is not frozen stays so."""
        for group in volume_groups:
            for mount in self._file_systems(group):
                if self._thaw(mount):
                    log.warning("thawed %s, which a dead run left frozen", mount)

    def import_group(self, name: str, disks: Sequence[Disk], *, major: int | None = None) -> None:
        """Run importvg on the first disk: it finds the others by PVID, and varies the group on.

        The original disks, restored in place, are known by that name still: only varied on.
        """
        if not disks:
            raise HostError(f"volume group {name} has no disks to import")
        if all(disk.volume_group == name for disk in disks):
            self._checked(["/usr/sbin/varyonvg", name], timeout_s=GROUP_TIMEOUT_S)
            log.info("varied on volume_group=%s host=%s", name, self._name)
            return
        version = ["-V", str(major)] if major is not None else []
        self._checked(
            ["/usr/sbin/importvg", *version, "-y", name, disks[0].name], timeout_s=GROUP_TIMEOUT_S
        )
        if name not in self._checked(["/usr/sbin/lsvg", "-o"]).stdout.split():
            # A concurrent-capable group is imported varied off.
            self._checked(["/usr/sbin/varyonvg", name], timeout_s=GROUP_TIMEOUT_S)
        log.info("imported volume_group=%s host=%s disks=%d", name, self._name, len(disks))

    def recreate_group(self, name: str, disks: Sequence[Disk]) -> None:
        """Run recreatevg: new PVIDs and VGID, logical volumes and mount points with a prefix."""
        if not disks:
            raise HostError(f"volume group {name} has no disks to recreate")
        names = [disk.name for disk in disks]
        words = ["/usr/sbin/recreatevg", "-y", name, "-Y", "r_", "-L", f"/{name}", *names]
        self._checked(words, timeout_s=GROUP_TIMEOUT_S)
        log.info("recreated volume_group=%s host=%s disks=%d", name, self._name, len(disks))

    def release_group(self, name: str) -> None:
        """Run varyoffvg and exportvg. Its file systems must be unmounted."""
        self._checked(["/usr/sbin/varyoffvg", name], timeout_s=GROUP_TIMEOUT_S)
        self._checked(["/usr/sbin/exportvg", name], timeout_s=GROUP_TIMEOUT_S)
        log.info("released volume_group=%s host=%s", name, self._name)

    def has_group(self, name: str) -> bool:
        """Look for it in lsvg."""
        return name in self._checked(["/usr/sbin/lsvg"]).stdout.split()

    def look_inside(
        self, volume_group: str, disks: Sequence[Disk], directory: str, *, fsck: bool, mount: bool
    ) -> list[Look]:
        """Run fsck -n and mount -r (see `Host.look_inside`); a disk alone holds no file system."""
        if not volume_group:
            return []
        listed = self._checked(["/usr/sbin/lsvg", "-l", volume_group]).stdout
        return look_at_jfs(self._run, listed, directory, fsck=fsck, mount=mount)

    def leave(self, directory: str) -> None:
        """Run umount and rmdir, where there is still something (see `Host.leave`)."""
        if self._run(["/usr/bin/ls", "-d", directory]).status != 0:
            return
        self._run(["/usr/sbin/umount", directory])
        self._checked(["/usr/bin/rmdir", directory])

    def _physical_volumes(self) -> list[PhysicalVolume]:
        done = self._checked(["/usr/sbin/lspv", "-u"])
        volumes = parse_lspv(done.stdout)
        if not volumes and done.stdout.strip():
            raise HostError(f"lspv -u on {self._name} printed no disk: '{_said(done)[:120]}'")
        return volumes

    def _as_disk(self, volume: PhysicalVolume, size_bytes: int) -> Disk:
        return Disk(
            name=volume.name,
            path=f"/dev/r{volume.name}",
            size_bytes=size_bytes,
            uid=self._uid(volume),
            pvid=volume.pvid,
            volume_group=volume.volume_group,
            is_active=volume.is_varied_on,
        )

    def _uid(self, volume: PhysicalVolume) -> str:
        if volume.udid:
            return uid_from_udid(volume.udid)
        words = ["/usr/sbin/lsattr", "-El", volume.name, "-a", "unique_id", "-F", "value"]
        done = self._run(words)
        return uid_from_udid(done.stdout) if done.status == 0 else ""

    def _sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Ask for the disks' sizes in bytes; those that do not tell are left out."""
        sizes: dict[str, int] = {}
        for words in (["/usr/sbin/bootinfo", "-s", ""], ["/usr/bin/getconf", "DISK_SIZE", "/dev/"]):
            left = [name for name in names if name not in sizes]
            for batch in batches(left):
                sizes |= self._told(words, batch)
        for name in names:
            if name not in sizes:
                log.warning("disk=%s host=%s does not tell its size", name, self._name)
        return sizes

    def _told(self, words: Sequence[str], names: Sequence[str]) -> dict[str, int]:
        """Run a command that prints a size in MiB for each disk, in one session.

        The last word of the command is what the disk's name follows.
        """
        asked = f"{' '.join(words)}$disk"
        listed = " ".join(shlex.quote(name) for name in names)
        done = self._runner.run(
            f"LANG=C; export LANG; for disk in {listed};"
            f" do echo $disk $({asked} 2>/dev/null); done",
            timeout_s=DISCOVER_TIMEOUT_S,
        )
        rows = [line.split() for line in done.stdout.splitlines()]
        return {
            row[0]: int(row[1]) * MIB
            for row in rows
            if len(row) == 2 and re.fullmatch(r"[0-9]{1,12}", row[1]) and int(row[1]) > 0
        }

    def _own_names(self) -> list[str]:
        names = []
        for words in ([f"{powerha.UTILITIES}/get_local_nodename"], ["/usr/bin/hostname"]):
            done = self._run(words)
            if done.status == 0 and done.stdout.strip():
                names += [done.stdout.strip(), done.stdout.strip().split(".")[0]]
        return names

    def _file_systems(self, volume_group: str) -> list[str]:
        """List mounted JFS2 file systems: rows of `lsvg -l` whose state is open."""
        done = self._checked(["/usr/sbin/lsvg", "-l", volume_group])
        mount_points = []
        for line in done.stdout.splitlines():
            row = _LV_ROW.match(line)
            if row is None and "jfs2" in line.split():
                # Left out, it would be left unfrozen.
                raise HostError(
                    f"lsvg -l on {self._name} printed an unreadable row: '{line[:120]}'"
                )
            if row is None or row[2] != "jfs2" or not row[3].startswith("open"):
                continue
            if row[4].startswith("/") and row[4] not in NEVER_FROZEN:
                mount_points.append(row[4])
        return mount_points

    def _freeze(self, mount_point: str, seconds: int) -> None:
        self._checked(["/usr/sbin/chfs", "-a", f"freeze={seconds}", mount_point])

    def _thaw(self, mount_point: str) -> bool:
        done = self._run(["/usr/sbin/chfs", "-a", "freeze=off", mount_point])
        return done.status == 0

    def _checked(self, words: Sequence[str], *, timeout_s: float = 120.0) -> Completed:
        done = self._run(words, timeout_s=timeout_s)
        if done.status != 0:
            name = words[0].rsplit("/", 1)[-1]
            raise HostError(
                f"{name} on {self._name} ended with status {done.status}: {_said(done)}",
                hint=f"Run it by hand on the node: {shlex.join(words)}",
            )
        return done

    def _run(self, words: Sequence[str], *, timeout_s: float = 120.0) -> Completed:
        return self._runner.run(f"LANG=C {shlex.join(words)}", timeout_s=timeout_s)


def _said(done: Completed) -> str:
    return " ".join((done.stderr or done.stdout).split())[:300]
