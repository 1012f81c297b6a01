"""What a restore would do, and every reason not to. Pure: the disks are looked at before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blocks.catalog.point import RestorePoint, VolumeImage
from blocks.errors import ConfigError, Refused, TargetInUse, TargetNotEmpty, TargetTooSmall
from blocks.host.base import Disk
from blocks.units import format_size


@dataclass(frozen=True, slots=True)
class Candidate:
    """A disk somebody wants restored onto, as it is now."""

    disk: Disk
    is_blank: bool
    """Nothing but zeros was found on it (a sector 0 with a PVID apart)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One volume of the point and the disk it goes to."""

    volume: VolumeImage
    disk: Disk


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What will be written where. `notes` are for the person who approves it."""

    point: RestorePoint
    placements: tuple[Placement, ...]
    notes: tuple[str, ...]

    @property
    def write_bytes(self) -> int:
        """Bytes of all target disks that are written or zeroed."""
        return sum(placement.volume.size_bytes for placement in self.placements)

    @property
    def data_bytes(self) -> int:
        """Plain bytes that are not zero: at least as much is decoded."""
        return sum(
            placement.volume.size_bytes - placement.volume.zero_bytes
            for placement in self.placements
        )


def refuse_another(approved: RestorePlan, now: RestorePlan) -> None:
    """Refuse a plan that is not the one a person has read, perhaps a day ago.

    Raises:
        Refused: the point or a disk is another one, or there is something new to be warned of.
    """
    new = [note for note in now.notes if note not in approved.notes]
    if approved.point.id != now.point.id or _written(approved) != _written(now):
        new.insert(0, "other disks would be written")
    if new:
        raise Refused(
            f"the plan is no longer the one that was approved: {'; '.join(new)}",
            hint="Nothing was written. Ask again, and read the new plan.",
        )


def _written(plan: RestorePlan) -> list[tuple[str, str, str, int]]:
    return [
        (placement.volume.uid, placement.disk.uid, placement.disk.path, placement.disk.size_bytes)
        for placement in plan.placements
    ]


def chosen_volumes(point: RestorePoint, wanted: Sequence[str]) -> tuple[VolumeImage, ...]:
    """Return the volumes of a point by disk name, volume name or UID; all if none is named.

    Raises:
        ConfigError: a name is no volume of the point, or fits two.
    """
    if not wanted:
        return point.volumes
    return tuple(volume_of(point, name) for name in wanted)


def volume_of(point: RestorePoint, name: str) -> VolumeImage:
    """Return the one volume of a point that goes by this disk name, volume name or UID."""
    fits = [
        volume
        for volume in point.volumes
        if name in (volume.disk, volume.name) or name.upper() == volume.uid
    ]
    if len(fits) != 1:
        known = ", ".join(f"{volume.disk} ({volume.name})" for volume in point.volumes)
        said = "fits two volumes" if fits else "is no volume"
        raise ConfigError(f"'{name}' {said} of restore point {point.id}", hint=f"It has {known}.")
    return fits[0]


def plan_restore(
    point: RestorePoint,
    targets: Mapping[str, Candidate],
    *,
    sources: Sequence[str] = (),
    force: bool = False,
) -> RestorePlan:
    """Decide what goes where, or refuse.

    Args:
        point: what to restore.
        targets: by vdisk UID of the volume to restore, the disk to restore onto.
        sources: UIDs of volumes in production now: restoring onto one is noted.
        force: write over a disk that is not blank. A disk in use is refused all the same.

    Raises:
        ConfigError: two volumes share a target, or there is nothing to restore.
        TargetTooSmall: a target is smaller than its volume.
        TargetInUse: a target is mounted, open, or in a varied-on volume group.
        TargetNotEmpty: a target is not blank, and `force` was not given.
    """
    by_uid = {volume.uid: volume for volume in point.volumes}
    placements = tuple(Placement(by_uid[uid], candidate.disk) for uid, candidate in targets.items())
    if not placements:
        raise ConfigError("no volume to restore", hint="Name targets: --to hdisk18=hdisk30.")
    _refuse_shared_targets(placements)
    notes = []
    for placement in placements:
        disk, volume = placement.disk, placement.volume
        _refuse_unfit(disk, volume)
        if not targets[volume.uid].is_blank:
            if not force:
                raise TargetNotEmpty(
                    f"{disk.name} is not empty",
                    hint="Choose a blank disk, or say --force to write over what is on it;"
                    " an interrupted restore goes on with --force.",
                )
            notes.append(f"{disk.name} is not empty: everything on it is written over")
        if disk.uid and disk.uid in sources:
            notes.append(f"{disk.name} is a production volume of {point.group}")
        if disk.size_bytes > volume.size_bytes:
            spare = format_size(disk.size_bytes - volume.size_bytes)
            notes.append(
                f"{disk.name} is larger than {volume.disk}: its last {spare} stay as they are"
            )
    left_out = [volume.disk for volume in point.volumes if volume.uid not in targets]
    if left_out:
        notes.append(f"not restored: {', '.join(left_out)}")
    return RestorePlan(point, placements, tuple(notes))


def _refuse_shared_targets(placements: Sequence[Placement]) -> None:
    seen: dict[str, str] = {}
    for placement in placements:
        identity = placement.disk.uid or placement.disk.path
        if identity in seen:
            raise ConfigError(
                f"{placement.disk.name} is the target of both {seen[identity]}"
                f" and {placement.volume.disk}",
                hint="Give each volume a disk of its own.",
            )
        seen[identity] = placement.volume.disk


def _refuse_unfit(disk: Disk, volume: VolumeImage) -> None:
    if disk.is_active:
        where = f" (volume group {disk.volume_group})" if disk.volume_group else ""
        raise TargetInUse(
            f"{disk.name} is in use{where}",
            hint="Unmount it and varyoffvg its volume group, or choose another disk.",
        )
    if disk.size_bytes < volume.size_bytes:
        raise TargetTooSmall(
            f"{disk.name} holds {disk.size_bytes} bytes, {volume.disk} needs {volume.size_bytes}",
            hint="Choose a disk at least as large as the volume was.",
        )
