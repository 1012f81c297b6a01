"""Mirrored volumes: a second copy in the same array. docs/reference/svc-cli.md §3-4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.naming import free_id
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names
from deployments.lab.svc.volume_views import copy_fields, volume_fields
from deployments.lab.svc.volumes import POOLS

if TYPE_CHECKING:
    from deployments.lab.svc.model import Volume
    from deployments.lab.svc.system import System


@command("lsvdiskcopy", values="copy")
def lsvdiskcopy(system: System, request: Request) -> Table | Detail:
    """List the copies of volumes, or show one with -copy."""
    if request.get("copy") is not None:
        volume = system.volume(request.object)
        own = [("vdisk_id", volume.id), ("vdisk_name", volume.name)]
        copy = _copy(volume, request)
        return Detail([[*own, *copy_fields(system, volume, copy, request.unit)]])
    columns = names(
        "vdisk_id vdisk_name copy_id status sync primary mdisk_grp_id mdisk_grp_name capacity type"
        " se_copy easy_tier easy_tier_status compressed_copy"
    )
    found = [system.volume(request.target)] if request.target else system.state.volumes.values()
    rows = []
    for volume in found:
        capacity = volume_fields(system, volume, request.unit)["capacity"]
        for copy in sorted(volume.copies):
            told = dict(copy_fields(system, volume, copy, request.unit))
            told |= {"vdisk_id": volume.id, "vdisk_name": volume.name, "capacity": capacity}
            rows.append([told[name] for name in columns])
    return Table(columns, rows)


def _copy(volume: Volume, request: Request) -> int:
    copy = request.number("copy", 0, 0, 1)
    if copy not in volume.copies:
        raise Refusal("CMMVC5804E")
    return copy


@command("lsvdisksyncprogress", values="copy")
def lsvdisksyncprogress(system: System, request: Request) -> Table:
    """Show how far copies are: all are the same bytes here, so all are in sync."""
    columns = names("vdisk_id vdisk_name copy_id progress estimated_completion_time")
    if request.target is None:
        return Table(columns)
    volume = system.volume(request.target)
    copies = [_copy(volume, request)] if "copy" in request.values else sorted(volume.copies)
    return Table(columns, [(volume.id, volume.name, copy, 100, "") for copy in copies])


@command(
    "addvdiskcopy",
    values="mdiskgrp rsize warning grainsize easytier vtype syncrate unit copies",
    flags="autoexpand noautoexpand compressed autodelete createsync deduplicated nofmtdisk",
)
def addvdiskcopy(system: System, request: Request) -> Done:
    """Give a volume a second copy."""
    volume = system.volume(request.object)
    pool = request.get("mdiskgrp")
    if pool is None:
        raise Refusal("CMMVC5707E")
    if pool not in POOLS:
        raise Refusal("CMMVC5753E" if pool.isdecimal() else "CMMVC5754E")
    if len(volume.copies) > 1:
        raise Refusal("CMMVC5767E")
    copy = free_id(volume.copies)
    volume.copies.append(copy)
    return Done(f"Vdisk [{volume.id}] copy [{copy}] successfully created\n")


@command("rmvdiskcopy", needs="copy", flags="force")
def rmvdiskcopy(system: System, request: Request) -> Done:
    """Take a copy away; the last one stays."""
    volume = system.volume(request.object)
    copy = _copy(volume, request)
    if len(volume.copies) == 1:
        raise Refusal("CMMVC5840E")
    volume.copies.remove(copy)
    return Done()


@command("migratevdisk", needs="mdiskgrp vdisk", values="copy threads", takes_object=False)
def migratevdisk(system: System, request: Request) -> Done:
    """Move a copy to a pool: there is one."""
    _copy(system.volume(request.values["vdisk"]), request)
    if request.values["mdiskgrp"] not in POOLS:
        raise Refusal("CMMVC5804E")
    return Done()


@command("movevdisk", needs="iogrp", values="node", flags="force")
def movevdisk(system: System, request: Request) -> Done:
    """Move a volume to an I/O group: there is one."""
    system.volume(request.object)
    if request.values["iogrp"] not in {"0", "io_grp0"}:
        raise Refusal("CMMVC5804E")
    return Done()
