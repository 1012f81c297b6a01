"""Volumes: make, change, remove; `volume_views` lists them. docs/reference/svc-cli.md §3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import flashcopy
from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Volume
from deployments.lab.svc.naming import free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import IDLE, STOPPED
from deployments.lab.svc.views import UNIT_BYTES

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

POOLS = {"0", "Pool0"}
POOL_BYTES = 10 * 1024**4
SETTINGS = {
    "rate": "throttling",
    "warning": "warning",
    "cache": "cache",
    "syncrate": "sync_rate",
    "udid": "udid",
    "easytier": "easy_tier",
    "autoexpand": "autoexpand",
}
"""An option of `chvdisk`, and the attribute that shows it."""


@command(
    "mkvdisk",
    values="mdiskgrp pool size unit name iogrp rsize warning grainsize copies vtype mdisk udid"
    " easytier cache syncrate accessiogrp node volumegroup mirrorwritepriority",
    flags="autoexpand compressed thin deduplicated nofmtdisk fmtdisk noautoexpand createsync",
    takes_object=False,
)
def mkvdisk(system: System, request: Request) -> Done:
    """Make a volume of zeros."""
    return Done(f"Virtual Disk, id [{_make(system, request).id}], successfully created\n")


@command(
    "mkvolume",
    values="pool size unit name iogrp buffersize warning grainsize cache volumegroup udid",
    flags="thin compressed deduplicated noautoexpand nofmtdisk",
    takes_object=False,
)
def mkvolume(system: System, request: Request) -> Done:
    """Make a volume of zeros, with one copy for each pool named."""
    return Done(f"Volume, id [{_make(system, request).id}], successfully created.\n")


def _make(system: System, request: Request) -> Volume:
    pools = (request.get("mdiskgrp") or request.get("pool") or "").split(":")
    if not request.get("size") or pools == [""]:
        raise Refusal("CMMVC5707E")
    for pool in set(pools) - POOLS:
        raise Refusal("CMMVC5753E" if pool.isdecimal() else "CMMVC5754E")
    count = max(len(pools), request.number("copies", 1, 1, 2))
    if count > 2:
        raise Refusal("CMMVC5767E")
    capacity = _bytes(request)
    if not capacity or capacity % 512:
        raise Refusal("CMMVC5711E", request.values["size"])
    if request.get("volumegroup") is not None:
        raise Refusal("CMMVC5804E")  # there are none
    if capacity > free_bytes(system):
        raise Refusal("CMMVC8710E")
    volume = add_volume(system, request.get("name"), capacity)
    volume.copies = list(range(count))
    volume.is_compressed = request.has("compressed")
    volume.is_thin = volume.is_compressed or request.has("thin") or "rsize" in request.values
    return volume


def free_bytes(system: System) -> int:
    """Return what no volume of the pool has yet; a thin one is counted whole, copies once."""
    return POOL_BYTES - sum(volume.capacity for volume in system.state.volumes.values())


def _bytes(request: Request) -> int:
    """Read `-size` and `-unit`, which is MB unless it is said."""
    unit = UNIT_BYTES.get(request.get("unit") or "mb")
    if unit is None:
        raise Refusal("CMMVC5711E", request.values["unit"])
    return request.number("size", 0, 0, 2**60) * unit


def add_volume(system: System, name: str | None, capacity: int) -> Volume:
    """Make a volume with a UID never used before."""
    state = system.state
    number = free_id(state.volumes)
    name = new_name(state.volumes.values(), name, f"vdisk{number}")
    uid = f"{state.uid_prefix}{state.next_uid:0{32 - len(state.uid_prefix)}X}"
    state.next_uid += 1
    system.shelf.create((state.name, name), capacity)
    volume = state.volumes[number] = Volume(number, name, uid, capacity)
    return volume


@command(
    "chvdisk",
    values="name iogrp rate warning cache syncrate udid easytier autoexpand primary copy node"
    " mirrorwritepriority",
    flags="force unitmb",
)
def chvdisk(system: System, request: Request) -> Done:
    """Rename a volume, or change what it is set to."""
    volume = system.volume(request.object)
    others = [other for other in system.state.volumes.values() if other is not volume]
    name = new_name(others, request.get("name"), volume.name)
    if request.get("iogrp") not in {None, "0", "io_grp0"}:
        raise Refusal("CMMVC5804E")
    if request.get("primary") is not None:
        copy = request.number("primary", 0, 0, 1)
        if copy not in volume.copies:
            raise Refusal("CMMVC5804E")
        volume.copies.sort(key=lambda each: each != copy)
    for option, attribute in SETTINGS.items():
        if option in request.values:
            volume.settings[attribute] = request.values[option].rstrip("%")
    if name != volume.name:
        system.shelf.rename((system.state.name, volume.name), name)
        _rename_in_relationships(system, volume.name, name)
        volume.name = name
    return Done()


def _rename_in_relationships(system: System, old: str, new: str) -> None:
    here = system.state.name
    for other in system.network.systems.values():
        for each in other.state.relationships.values():
            if (each.master, each.master_volume) == (here, old):
                each.master_volume = new
            if (each.aux, each.aux_volume) == (here, old):
                each.aux_volume = new


@command("expandvdisksize", needs="size", values="unit", flags="fmtdisk nofmtdisk")
def expandvdisksize(system: System, request: Request) -> Done:
    """Make a volume larger; not while it is in a mapping or relationship."""
    return _resize(system, request, +1)


@command("shrinkvdisksize", needs="size", values="unit", flags="force")
def shrinkvdisksize(system: System, request: Request) -> Done:
    """Make a volume smaller; not while it is in a mapping or relationship."""
    return _resize(system, request, -1)


def _resize(system: System, request: Request, direction: int) -> Done:
    volume = system.volume(request.object)
    if _is_in_use(system, volume):
        raise Refusal("CMMVC5767E")
    capacity = volume.capacity + direction * _bytes(request)
    if capacity <= 0 or capacity % 512:
        raise Refusal("CMMVC5711E", request.values["size"])
    if capacity - volume.capacity > free_bytes(system):
        raise Refusal("CMMVC5860E")
    volume.capacity = capacity
    system.shelf.create((system.state.name, volume.name), volume.capacity)
    return Done()


def _is_in_use(system: System, volume: Volume) -> bool:
    maps = system.state.mappings.values()
    return bool(system.relationships_of(volume)) or any(
        volume.id in {mapping.source, mapping.target} for mapping in maps
    )


@command("rmvdisk", flags="force removehostmappings removefcmaps removercrelationships")
def rmvdisk(system: System, request: Request) -> Done:
    """Remove volumes (a colon list) that are neither mapped nor copied."""
    return _remove(system, request)


@command(
    "rmvolume",
    flags="removehostmappings removefcmaps removercrelationships cancelbackup",
)
def rmvolume(system: System, request: Request) -> Done:
    """Remove a volume that is neither mapped nor copied."""
    return _remove(system, request)


def _remove(system: System, request: Request) -> Done:
    """Remove all volumes named, or none; what holds them goes only where the line says so."""
    state = system.state
    chosen = [system.volume(word) for word in request.object.split(":")]
    for volume in chosen:
        is_mapped = any(shown.volume == volume.id for shown in state.host_maps)
        is_loose = request.has("force") or request.has("removehostmappings")
        held = [each for each in state.mappings.values() if volume.id in {each.source, each.target}]
        can_go = request.has("removefcmaps") and all(
            each.status in {IDLE, STOPPED} for each in held
        )
        if (is_mapped and not is_loose) or (held and not can_go):
            raise Refusal("CMMVC5840E")
        if system.relationships_of(volume):
            raise Refusal("CMMVC5840E")
    for volume in chosen:
        state.host_maps = [shown for shown in state.host_maps if shown.volume != volume.id]
        for each in list(state.mappings.values()):
            if volume.id in {each.source, each.target}:
                flashcopy.forget(system, each)
        del state.volumes[volume.id]
        system.shelf.remove((state.name, volume.name))
    return Done()
