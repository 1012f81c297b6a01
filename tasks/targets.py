"""Find which disks a restore means, and look at them before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blocks.catalog.point import RestorePoint, VolumeImage
from blocks.catalog.writers import Holder, holders
from blocks.errors import ConfigError, DiskMissing, HostError, TargetInUse
from blocks.host.base import Disk, Host
from blocks.host.blank import looks_blank
from blocks.host.linux import LinuxHost
from blocks.policy.recovery import Candidate, RestorePlan, volume_of
from blocks.profile.model import Configuration
from blocks.ssh import LocalRunner
from blocks.store.base import Store
from tasks.open import host
from tasks.owner import find_owner


class Places:
    """The disks a restore may name: those of the owning node, of the writing host, and files."""

    def __init__(
        self, wanted: Configuration | None, *, group: str, node: str = "", writer: str = ""
    ):
        """Look up who sees what.

        Args:
            wanted: the configuration, if there is one; without it only paths can be named.
            group: the resource group, to find the node whose disk names are meant.
            node: the node whose disk names are meant, if not the owner.
            writer: the host that writes, if not the profile's.
        """
        self.local: Host = LinuxHost("local", LocalRunner())
        self.writer: Host = self.local
        self.node: Host | None = None
        self._named: dict[str, Disk] = {}
        self._seen: dict[str, Disk] = {}
        if wanted is None:
            return
        profile = wanted.profile(group)
        self.writer = host(wanted, writer or wanted.reading_node(profile).name)
        self.node = host(wanted, node) if node else find_owner(wanted, group).machine
        self._named = {disk.name: disk for disk in self.node.discover()}
        self._seen = {disk.uid: disk for disk in self.writer.discover() if disk.uid}

    def target(self, name: str, volume: VolumeImage) -> tuple[Host, Disk]:
        """Return the host that writes and its disk, for a name or path a person typed.

        A path that does not exist yet becomes a file of the volume's size.

        Raises:
            ConfigError: no disk has that name.
            DiskMissing: the writing host does not see the disk.
        """
        if "/" in name:
            return self.local, _path_target(Path(name), volume)
        disk = self._named.get(name)
        if disk is None:
            known = ", ".join(sorted(self._named)) or "none: give a path"
            where = self.node.name if self.node else "this machine"
            raise ConfigError(f"{where} has no disk '{name}'", hint=f"It has {known}.")
        if disk.uid not in self._seen:
            raise DiskMissing(f"{self.writer.name} does not see {name} ({disk.uid or 'no UID'})")
        seen = self._seen[disk.uid]
        return self.writer, Disk(
            name=disk.name,
            path=seen.path,
            size_bytes=seen.size_bytes,
            uid=disk.uid,
            pvid=disk.pvid,
            volume_group=disk.volume_group,
            is_active=disk.is_active or seen.is_active,
        )


def _path_target(path: Path, volume: VolumeImage) -> Disk:
    if not path.parent.is_dir():
        raise ConfigError(
            f"there is no directory {path.parent}", hint="Make it, or choose another path."
        )
    if path.is_dir():
        raise ConfigError(
            f"{path} is a directory, not a disk or file for {volume.disk}",
            hint=f"Name a file in it: --to {volume.disk}={path / volume.disk}.img.",
        )
    if path.exists() and not (path.is_file() or path.is_block_device()):
        raise ConfigError(
            f"{path} is neither a disk nor a file", hint="Name a block device, or a file."
        )
    size_bytes = volume.size_bytes
    if path.exists():
        try:
            with path.open("rb") as file:
                size_bytes = file.seek(0, 2) or volume.size_bytes
        except OSError as error:
            raise HostError(
                f"{path} cannot be opened: {error.strerror}",
                hint="Whoever restores must be allowed to read and write it.",
            ) from error
    return Disk(name=str(path), path=str(path), size_bytes=size_bytes, uid="")


def _refuse_one_place(paths: Iterable[Path]) -> None:
    """Refuse two targets that are one file under two names; a device the kernel gives once only.

    One name twice is refused with the plan (`blocks.policy.recovery`).
    """
    named: dict[tuple[int, int, str], Path] = {}
    for path in paths:
        place = path.resolve()
        found = place.stat() if place.exists() else place.parent.stat()
        identity = (found.st_dev, found.st_ino, "" if place.exists() else place.name)
        if (other := named.setdefault(identity, path)) != path:
            raise ConfigError(
                f"{other} and {path} are one file", hint="Give each volume a target of its own."
            )


def held_by(group: str, purpose: str, to: Mapping[str, str]) -> str:
    """Return what a restore keeps others from: the group's backups, unless it writes files only.

    A disk may be one that a backup reads, the volume itself or the target of its FlashCopy: while
    it is written no backup may run. That a name is neither is not something to guess at.
    """
    only_files = all("/" in name and not Path(name).is_block_device() for name in to.values())
    return f"{group} {purpose}" if only_files else group


def spelled_out(point: RestorePoint, to: Mapping[str, str]) -> dict[str, str]:
    """Name the volumes a person left out: a directory is for all of them, a path for the only one.

    Raises:
        ConfigError: a path without a volume, and the point has several.
    """
    if "" not in to:
        return dict(to)
    target = to[""]
    named = {volume_of(point, name).uid for name in to if name}
    left = [volume for volume in point.volumes if volume.uid not in named]
    if Path(target).is_dir():
        files = {volume.uid: f"{volume.disk}.img".replace("/", "_") for volume in left}
        if len(set(files.values())) < len(left):
            files = {volume.uid: f"{volume.name}.img" for volume in left}
        found = {uid: str(Path(target, file)) for uid, file in files.items()}
    elif len(left) == 1:
        found = {left[0].uid: target}
    else:
        disks = ", ".join(volume.disk for volume in left)
        raise ConfigError(
            f"{target} is one target for {len(left)} volumes",
            hint=f"Name a directory, or one target for each: {disks}.",
        )
    return {name: path for name, path in to.items() if name} | found


def candidates(
    places: Places, point: RestorePoint, to: Mapping[str, str]
) -> dict[str, tuple[Host, Candidate]]:
    """Look at every target a person named.

    Args:
        places: where names are looked up.
        point: the restore point.
        to: disk (or volume) of the point → disk name, or path on this machine; see `spelled_out`.

    Returns:
        By vdisk UID of the volume, who writes and what is there now.
    """
    to = spelled_out(point, to)
    wanted = {name: volume_of(point, name) for name in to}
    if len({volume.uid for volume in wanted.values()}) < len(to):
        raise ConfigError("one volume is given two targets", hint="Restore twice, or choose one.")
    with ThreadPoolExecutor(8, thread_name_prefix="look") as pool:
        looks = {
            wanted[name].uid: pool.submit(_look, places, target, wanted[name])
            for name, target in to.items()
        }
        found = {uid: look.result() for uid, look in looks.items()}
    _refuse_one_place(Path(each.disk.path) for _, each in found.values() if not each.disk.uid)
    return found


def _look(places: Places, name: str, volume: VolumeImage) -> tuple[Host, Candidate]:
    machine, disk = places.target(name, volume)
    if not disk.uid and not Path(disk.path).exists():
        return machine, Candidate(disk, is_blank=True)
    reader = machine.open_read(disk)
    try:
        return machine, Candidate(disk, is_blank=looks_blank(reader))
    finally:
        reader.close()


def refuse_written(source: Store, plan: RestorePlan) -> None:
    """Refuse disks that an earlier restore may still write (`blocks.catalog.writers`).

    Raises:
        TargetInUse: a process of it is not known to be gone.
    """
    targets = {placement.disk.uid for placement in plan.placements if placement.disk.uid}
    if targets:
        for holder in holders(source, targets):
            raise still_written(holder)


def still_written(holder: Holder) -> TargetInUse:
    """Return the error about a disk that somebody may still write."""
    return TargetInUse(
        f"{holder.target} may still be written by {holder}",
        hint=f"Let it end, or run `flashvault reconcile` on {holder.process.host}. If that machine"
        f" is off for good: `flashvault catalog claims {holder.group} --clear {holder.run_id}"
        " --force`.",
    )
