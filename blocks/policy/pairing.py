"""Which volume is copied to which: disks of a resource group matched to volumes by UID and size.

Pure. What IBM has people do by eye: `lspv -u` against `lshostvdiskmap`. A volume that anything uses
is never proposed as a target; where more volumes fit than are needed a person must choose.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from blocks.errors import ConfigError, DiskMissing
from blocks.host.base import Disk
from blocks.svc.model import Volume
from blocks.units import MIB, format_size


@dataclass(frozen=True, slots=True)
class Source:
    """A disk of the resource group and the volume it is."""

    disk: Disk
    volume: Volume


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and the volume proposed as its target.

    `is_mapped`: the array copies it there already. `is_certain`: an operator named the target, or
    no more volumes fit than there are sources of this size.
    """

    source: Source
    target: Volume | None
    is_mapped: bool
    is_certain: bool
    choices: tuple[str, ...]


def find_sources(
    disks: Sequence[Disk], groups: Collection[str], volumes: Sequence[Volume]
) -> list[Source]:
    """Match the disks of volume groups to volumes of the array.

    Raises:
        ConfigError: the volume groups have no disk here, or disk and volume differ in size.
        DiskMissing: a disk is no volume of this array: a copy without it could not be used.
    """
    wanted = [disk for disk in disks if disk.volume_group in groups]
    missing = set(groups) - {disk.volume_group for disk in wanted}
    if missing or not wanted:
        names = ", ".join(sorted(missing or groups)) or "(none given)"
        raise ConfigError(f"no disk of volume group {names} is on this node")
    by_uid = {volume.uid: volume for volume in volumes}
    sources = []
    for disk in wanted:
        volume = by_uid.get(disk.uid)
        if volume is None:
            told = disk.uid or "it has no vdisk UID"
            raise DiskMissing(
                f"{disk.name} of {disk.volume_group} is no volume of this array ({told})",
                hint="Is another storage system meant? A copy without this disk has no use.",
            )
        # AIX tells a disk's size in whole MiB.
        if disk.size_bytes not in {volume.size_bytes, volume.size_bytes // MIB * MIB}:
            raise ConfigError(
                f"{disk.name} has {format_size(disk.size_bytes)}, its volume {volume.name} "
                f"{format_size(volume.size_bytes)}",
                hint="Was the volume enlarged? Let the node look again (chvg -g, rescan).",
            )
        sources.append(Source(disk, volume))
    return sources


def pair_volumes(
    sources: Sequence[Source],
    free: Sequence[Volume],
    *,
    mapped: Mapping[str, Volume],
    chosen: Mapping[str, str],
) -> list[Pair]:
    """Propose a target for every source.

    Args:
        sources: from `find_sources`.
        free: volumes nothing uses, of any size.
        mapped: source volume's name → the target the group copies it to already.
        chosen: source's disk or volume name → target's name, as an operator said.

    Returns:
        One pair per source, in their order; without a target where no free volume fits.

    Raises:
        ConfigError: a chosen target is not free, of another size, or named twice; or its source
            is copied to another one.
    """
    chosen = _not_yet_done(_by_volume(sources, chosen), mapped)
    _check_chosen(sources, free, chosen)
    taken = set(chosen.values())
    pairs = []
    for source in sources:
        name = source.volume.name
        if name in mapped:
            pairs.append(Pair(source, mapped[name], True, True, ()))
            continue
        fitting = [one for one in free if one.size_bytes == source.volume.size_bytes]
        if name in chosen:
            target = next(one for one in fitting if one.name == chosen[name])
            pairs.append(Pair(source, target, False, True, ()))
            continue
        open_ones = [one for one in fitting if one.name not in taken]
        rivals = [
            other
            for other in sources
            if other.volume.size_bytes == source.volume.size_bytes
            and other.volume.name not in mapped
            and other.volume.name not in chosen
        ]
        spare = [one for one in fitting if one.name not in chosen.values()]
        target_or_none = open_ones[0] if open_ones else None
        if target_or_none is not None:
            taken.add(target_or_none.name)
        choices = tuple(one.name for one in spare)
        pairs.append(Pair(source, target_or_none, False, len(spare) <= len(rivals), choices))
    return pairs


def _by_volume(sources: Sequence[Source], chosen: Mapping[str, str]) -> dict[str, str]:
    names = {source.disk.name: source.volume.name for source in sources}
    names |= {source.volume.name: source.volume.name for source in sources}
    unknown = [name for name in chosen if name not in names]
    if unknown:
        known = ", ".join(source.disk.name for source in sources)
        raise ConfigError(f"'{unknown[0]}' is no disk of the resource group, which has {known}")
    return {names[name]: target for name, target in chosen.items()}


def _not_yet_done(chosen: Mapping[str, str], mapped: Mapping[str, Volume]) -> dict[str, str]:
    """Leave out what is mapped as chosen: the same line may be typed twice."""
    for source, target in chosen.items():
        if source in mapped and mapped[source].name != target:
            raise ConfigError(
                f"volume {source} is mapped to {mapped[source].name} already, not to {target}",
                hint="Nothing is mapped anew over a mapping that exists. Remove that one first.",
            )
    return {source: target for source, target in chosen.items() if source not in mapped}


def _check_chosen(
    sources: Sequence[Source], free: Sequence[Volume], chosen: Mapping[str, str]
) -> None:
    by_name = {volume.name: volume for volume in free}
    sizes = {source.volume.name: source.volume.size_bytes for source in sources}
    if len(set(chosen.values())) < len(chosen):
        raise ConfigError("one volume is given as the target of two disks")
    for source, target in chosen.items():
        volume = by_name.get(target)
        if volume is None:
            raise ConfigError(
                f"volume {target} is not free",
                hint="A target is copied by nothing, in no volume group, and seen by the host "
                "that reads.",
            )
        if volume.size_bytes != sizes[source]:
            raise ConfigError(
                f"{target} has {volume.size_bytes} bytes, {source} {sizes[source]}",
                hint="The array copies only between volumes of equal size: lsvdisk -bytes.",
            )
