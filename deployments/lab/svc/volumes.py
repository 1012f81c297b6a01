"""Volumes: make, change, remove; `volume_views` lists them. docs/reference/svc-cli.md §3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Volume
from deployments.lab.svc.naming import free_id, new_name
from deployments.lab.svc.refusals import Refusal

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

UNIT_BYTES = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4, "pb": 1024**5}


@command(
    "mkvdisk",
    values="mdiskgrp pool size unit name iogrp rsize warning grainsize copies vtype mdisk udid"
    " easytier cache syncrate accessiogrp node",
    flags="autoexpand compressed thin deduplicated nofmtdisk fmtdisk noautoexpand createsync",
    takes_object=False,
)
def mkvdisk(system: System, request: Request) -> Done:
    """Make a volume of zeros."""
    if not request.get("size") or not (request.get("mdiskgrp") or request.get("pool")):
        raise Refusal("CMMVC5707E")
    unit = UNIT_BYTES.get(request.get("unit") or "mb")
    if unit is None:
        raise Refusal("CMMVC5711E", request.values["unit"])
    capacity = request.number("size", 0, 1, 2**60) * unit
    if capacity % 512:
        raise Refusal("CMMVC5711E", request.values["size"])
    volume = add_volume(system, request.get("name"), capacity)
    return Done(f"Virtual Disk, id [{volume.id}], successfully created\n")


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


@command("chvdisk", values="name")
def chvdisk(system: System, request: Request) -> Done:
    """Rename a volume."""
    volume = system.volume(request.object)
    others = [other for other in system.state.volumes.values() if other is not volume]
    name = new_name(others, request.get("name"), volume.name)
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


@command("expandvdisksize", needs="size", values="unit")
def expandvdisksize(system: System, request: Request) -> Done:
    """Make a volume larger; not while it is in a mapping or relationship."""
    volume = system.volume(request.object)
    if _is_in_use(system, volume):
        raise Refusal("CMMVC5767E")
    unit = UNIT_BYTES.get(request.get("unit") or "mb", 1024**2)
    volume.capacity += request.number("size", 0, 1, 2**60) * unit
    system.shelf.create((system.state.name, volume.name), volume.capacity)
    return Done()


def _is_in_use(system: System, volume: Volume) -> bool:
    maps = system.state.mappings.values()
    return bool(system.relationships_of(volume)) or any(
        volume.id in {mapping.source, mapping.target} for mapping in maps
    )


@command("rmvdisk", flags="force removehostmappings removefcmaps removercrelationships")
def rmvdisk(system: System, request: Request) -> Done:
    """Remove a volume that is neither mapped nor copied; -force removes host maps with it."""
    volume = system.volume(request.object)
    state = system.state
    is_mapped = any(shown.volume == volume.id for shown in state.host_maps)
    loose = request.has("force") or request.has("removehostmappings")
    if _is_in_use(system, volume) or (is_mapped and not loose):
        raise Refusal("CMMVC5840E")
    state.host_maps = [shown for shown in state.host_maps if shown.volume != volume.id]
    del state.volumes[volume.id]
    system.shelf.remove((state.name, volume.name))
    return Done()
