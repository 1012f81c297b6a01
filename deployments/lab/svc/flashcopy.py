"""FlashCopy: mappings, consistency groups, and how they move. docs/reference/svc-cli.md §3-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Mapping, MappingGroup, Volume
from deployments.lab.svc.naming import find, free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import (
    COPYING,
    FLASHCOPY,
    IDLE,
    MAPPING_STATES,
    OTHER_STATE,
    PREPARED,
    PREPARING,
    READABLE_TARGET,
    STOPPED,
    STOPPING,
    SUSPENDED,
    copy_bytes_per_s,
    group_state,
)
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

GROUP_LIMIT = 500
MEMBER_LIMIT = 512
MAPPINGS_PER_SOURCE = 256

CONCISE = names(
    "id name source_vdisk_id source_vdisk_name target_vdisk_id target_vdisk_name group_id"
    " group_name status progress copy_rate clean_progress incremental partner_FC_id"
    " partner_FC_name restoring start_time rc_controlled"
)


# How the objects move with time and events -------------------------------------------------------


def advance(system: System) -> bool:
    """Move every mapping to where it is now; say whether any changed its state."""
    moved = False
    for mapping in list(system.state.mappings.values()):
        if mapping.id not in system.state.mappings:
            continue
        before = mapping.status
        now = system.clock.now()
        if mapping.status == PREPARING and now >= mapping.until:
            _end_flush(system, mapping)
        elif mapping.status == STOPPING and now >= mapping.until:
            mapping.status = IDLE if mapping.progress >= 100 else STOPPED
        elif mapping.status == COPYING:
            _copy_on(system, mapping, now)
        moved |= mapping.status != before
    return moved


def _end_flush(system: System, mapping: Mapping) -> None:
    """The cache is flushed: the whole group is prepared, or stopped if the flush failed."""
    members = _members(system, mapping)
    if system.faults.flush_fails > 0:
        system.faults.flush_fails -= 1
        for member in members:
            member.status, member.starts_when_prepared = STOPPED, False
        return
    for member in members:
        member.status = PREPARED
    if mapping.starts_when_prepared:
        _begin_copy(system, members)


def _copy_on(system: System, mapping: Mapping, now: float) -> None:
    """Advance the background copy; it ends in idle_or_copied, or never at rate 0."""
    volume = system.state.volumes[mapping.source]
    to_copy = max(1.0, volume.capacity * mapping.share)
    speed = copy_bytes_per_s(mapping.copy_rate) * system.state.timings.speed
    mapping.progress = min(100.0, mapping.progress + 100 * speed * (now - mapping.at) / to_copy)
    mapping.at = now
    if mapping.progress < 100:
        return
    mapping.status, mapping.copied_once, mapping.is_restoring = IDLE, True, False
    if mapping.deletes_itself:
        _forget(system, mapping)


def _begin_copy(system: System, members: list[Mapping]) -> None:
    """Start a copy: all targets become what their sources are at this one instant."""
    state = system.state
    shares = [_share_to_copy(system, member) for member in members]
    system.shelf.snapshot(
        [(_place(system, member.source), _place(system, member.target)) for member in members]
    )
    stamp = system.stamp()
    for member, share in zip(members, shares, strict=True):
        member.status, member.starts_when_prepared = COPYING, False
        member.share = share
        member.progress = 100 * (1 - share)
        member.at = system.clock.now()
        member.start_time = stamp
        if member.group is not None:
            state.mapping_groups[member.group].start_time = stamp


def _share_to_copy(system: System, mapping: Mapping) -> float:
    """Return the part of the volume a start must copy: all, or what changed when incremental."""
    if not (mapping.is_incremental and mapping.copied_once):
        return 1.0
    return _difference(system, mapping) / 100


def _difference(system: System, mapping: Mapping) -> float:
    source, target = _place(system, mapping.source), _place(system, mapping.target)
    return system.shelf.difference(source, target, mapping.grain_kib * 1024)


def _move(system: System, members: list[Mapping], event: str) -> None:
    """Bring an event to all members, or refuse it for all."""
    verdicts = {FLASHCOPY[event][member.status] for member in members}
    refused = sorted(verdict for verdict in verdicts if verdict.startswith("CMMVC"))
    if refused:
        raise Refusal(OTHER_STATE if len(refused) > 1 else refused[0])
    now = system.clock.now()
    for member in members:
        new = FLASHCOPY[event][member.status]
        if new == PREPARING:
            member.until = now + system.state.timings.flush_s
        elif new == STOPPING and member.status != STOPPING:
            member.until = now + system.state.timings.stop_s
        member.status = new


def is_accessible(system: System, volume: Volume) -> bool:
    """Say whether FlashCopy lets hosts use this volume. svc-cli.md §5, host view of each state."""
    for mapping in system.state.mappings.values():
        if mapping.source == volume.id and mapping.status == SUSPENDED:
            return False
        if mapping.target == volume.id and mapping.status not in READABLE_TARGET:
            if mapping.status == STOPPING and mapping.progress >= 100:
                continue
            return False
    return True


def is_online(system: System, volume: Volume) -> bool:
    """Say whether the volume shows as online: prepared targets do, lost ones do not."""
    for mapping in system.state.mappings.values():
        if mapping.source == volume.id and mapping.status == SUSPENDED:
            return False
        if mapping.target == volume.id and mapping.status in {STOPPED, SUSPENDED, STOPPING}:
            return mapping.status == STOPPING and mapping.progress >= 100
    return True


# Finding ---------------------------------------------------------------------------------------


def _place(system: System, volume: int) -> tuple[str, str]:
    return system.state.name, system.state.volumes[volume].name


def _members(system: System, mapping: Mapping) -> list[Mapping]:
    """Return the mappings that move together with this one."""
    if mapping.group is None:
        return [mapping]
    return _group_members(system, mapping.group)


def _group_members(system: System, group: int) -> list[Mapping]:
    return [member for member in system.state.mappings.values() if member.group == group]


def _mapping(system: System, word: str) -> Mapping:
    return find(system.state.mappings, word)


def _group(system: System, word: str, missing: str = "") -> MappingGroup:
    return find(system.state.mapping_groups, word, missing)


def _partner(system: System, mapping: Mapping) -> Mapping | None:
    """Return the mapping that copies the other way."""
    for other in system.state.mappings.values():
        if (other.source, other.target) == (mapping.target, mapping.source):
            return other
    return None


def _forget(system: System, mapping: Mapping) -> None:
    """Remove a mapping, and its group if that was the last one and it says so."""
    del system.state.mappings[mapping.id]
    if mapping.group is None or _group_members(system, mapping.group):
        return
    if system.state.mapping_groups[mapping.group].deletes_itself:
        del system.state.mapping_groups[mapping.group]


# Views -----------------------------------------------------------------------------------------


@command("lsfcmap", flags="showhidden")
def lsfcmap(system: System, request: Request) -> Table | Detail:
    """List mappings, or show one."""
    if request.target is not None:
        return Detail([_detail(system, _mapping(system, request.target))])
    rows = []
    for mapping in system.state.mappings.values():
        fields = dict(_detail(system, mapping, quick=True))
        rows.append([fields[name] for name in CONCISE])
    return Table(CONCISE, rows)


def _detail(system: System, mapping: Mapping, *, quick: bool = False) -> list[tuple[str, object]]:
    state = system.state
    group = state.mapping_groups.get(mapping.group) if mapping.group is not None else None
    partner = _partner(system, mapping)
    return [
        ("id", mapping.id),
        ("name", mapping.name),
        ("source_vdisk_id", mapping.source),
        ("source_vdisk_name", state.volumes[mapping.source].name),
        ("target_vdisk_id", mapping.target),
        ("target_vdisk_name", state.volumes[mapping.target].name),
        ("group_id", group and group.id),
        ("group_name", group and group.name),
        ("status", mapping.status),
        ("progress", int(mapping.progress)),
        ("copy_rate", mapping.copy_rate),
        ("start_time", mapping.start_time),
        ("dependent_mappings", 0),
        ("autodelete", "on" if mapping.deletes_itself else "off"),
        ("clean_progress", 100),
        ("clean_rate", mapping.clean_rate),
        ("incremental", "on" if mapping.is_incremental else "off"),
        ("difference", 100 if quick else _shown_difference(system, mapping)),
        ("grain_size", mapping.grain_kib),
        ("IO_group_id", 0),
        ("IO_group_name", "io_grp0"),
        ("partner_FC_id", partner and partner.id),
        ("partner_FC_name", partner and partner.name),
        ("restoring", mapping.is_restoring),
        ("rc_controlled", "no"),
        ("keep_target", mapping.keeps_target),
        ("type", "generic"),
        ("restore_progress", int(mapping.progress) if mapping.is_restoring else 0),
        ("fc_controlled", "no"),
        ("owner_id", None),
        ("owner_name", None),
    ]


def _shown_difference(system: System, mapping: Mapping) -> int:
    """Percent of grains that differ; 100 unless an incremental mapping has been copied once."""
    if not (mapping.is_incremental and mapping.copied_once):
        return 100
    percent = _difference(system, mapping)
    return int(percent) if percent in {0.0, 100.0} else min(99, max(1, round(percent)))


@command("lsfcmapprogress")
def lsfcmapprogress(system: System, request: Request) -> Table:
    """Show the background copy of one mapping."""
    mapping = _mapping(system, request.object)
    return Table(("id", "progress"), [(mapping.id, int(mapping.progress))])


@command("lsfcconsistgrp")
def lsfcconsistgrp(system: System, request: Request) -> Table | Detail:
    """List groups, or show one with its members."""
    if request.target is None:
        return Table(
            ("id", "name", "status", "start_time", "owner_id", "owner_name"),
            [
                (group.id, group.name, _group_status(system, group), group.start_time, None, None)
                for group in system.state.mapping_groups.values()
            ],
        )
    group = _group(system, request.target)
    lines: list[tuple[str, object]] = [
        ("id", group.id),
        ("name", group.name),
        ("status", _group_status(system, group)),
        ("autodelete", "on" if group.deletes_itself else "off"),
        ("start_time", group.start_time),
        ("owner_id", None),
        ("owner_name", None),
    ]
    for member in _group_members(system, group.id):
        lines += [("FC_mapping_id", member.id), ("FC_mapping_name", member.name)]
    return Detail([lines])


def _group_status(system: System, group: MappingGroup) -> str:
    return group_state({member.status for member in _group_members(system, group.id)})


# Making, changing, removing --------------------------------------------------------------------


@command(
    "mkfcmap",
    needs="source target",
    values="name consistgrp copyrate grainsize cleanrate iogrp",
    flags="autodelete incremental keeptarget",
    takes_object=False,
)
def mkfcmap(system: System, request: Request) -> Done:
    """Make a mapping."""
    state = system.state
    source, target = (
        system.volume(request.values["source"]),
        system.volume(request.values["target"]),
    )
    if source is target:
        raise Refusal("CMMVC6303E")
    if source.capacity != target.capacity:
        raise Refusal("CMMVC5924E")
    if any(other.target == target.id for other in state.mappings.values()):
        raise Refusal("CMMVC6466E")
    if sum(other.source == source.id for other in state.mappings.values()) >= MAPPINGS_PER_SOURCE:
        raise Refusal("CMMVC5767E")
    grain = request.get("grainsize") or "256"
    if grain not in {"64", "256"}:
        raise Refusal("CMMVC5711E", grain)
    group = None
    if (word := request.get("consistgrp")) is not None:
        group = _group(system, word, "CMMVC5804E").id
        _refuse_moving_group(system, group)
    number = free_id(state.mappings)
    state.mappings[number] = Mapping(
        id=number,
        name=new_name(state.mappings.values(), request.get("name"), f"fcmap{number}"),
        source=source.id,
        target=target.id,
        group=group,
        copy_rate=request.number("copyrate", 50, 0, 150),
        clean_rate=request.number("cleanrate", 50, 0, 150),
        grain_kib=int(grain),
        is_incremental=request.has("incremental"),
        deletes_itself=request.has("autodelete"),
        keeps_target=request.has("keeptarget"),
    )
    return Done(f"FlashCopy Mapping, id [{number}], successfully created\n")


def _refuse_moving_group(system: System, group: int) -> None:
    """A mapping joins or leaves only a group at rest."""
    members = _group_members(system, group)
    if len(members) >= MEMBER_LIMIT or any(m.status not in {IDLE, STOPPED} for m in members):
        raise Refusal(OTHER_STATE)


@command("chfcmap", values="name consistgrp copyrate autodelete cleanrate", flags="force")
def chfcmap(system: System, request: Request) -> Done:
    """Change a mapping; -force takes it out of its group."""
    mapping = _mapping(system, request.object)
    others = [other for other in system.state.mappings.values() if other is not mapping]
    name = new_name(others, request.get("name"), mapping.name)
    group = mapping.group
    if (word := request.get("consistgrp")) is not None:
        group = None if word == "0" else _group(system, word, "CMMVC5804E").id
    elif request.has("force"):
        group = None
    if group != mapping.group:
        if mapping.status not in {IDLE, STOPPED}:
            raise Refusal(OTHER_STATE)
        for moving in {mapping.group, group} - {None}:
            assert moving is not None
            _refuse_moving_group(system, moving)
    mapping.copy_rate = request.number("copyrate", mapping.copy_rate, 0, 150)
    mapping.clean_rate = request.number("cleanrate", mapping.clean_rate, 0, 150)
    mapping.deletes_itself = request.switch("autodelete", mapping.deletes_itself)
    mapping.name, mapping.group = name, group
    return Done()


@command("rmfcmap", flags="force")
def rmfcmap(system: System, request: Request) -> Done:
    """Remove a mapping at rest; with -force also one that is stopped."""
    mapping = _mapping(system, request.object)
    verdict = FLASHCOPY["rm -force" if request.has("force") else "rm"][mapping.status]
    if verdict:
        raise Refusal(verdict)
    _forget(system, mapping)
    return Done()


@command("mkfcconsistgrp", values="name ownershipgroup", flags="autodelete", takes_object=False)
def mkfcconsistgrp(system: System, request: Request) -> Done:
    """Make an empty group."""
    groups = system.state.mapping_groups
    if len(groups) >= GROUP_LIMIT:
        raise Refusal("CMMVC5767E")
    number = free_id([0, *groups])  # 0 stands for "no group"
    name = new_name(groups.values(), request.get("name"), f"fccstgrp{number}")
    groups[number] = MappingGroup(number, name, request.has("autodelete"))
    return Done(f"FlashCopy Consistency Group, id [{number}], successfully created\n")


@command("chfcconsistgrp", values="name autodelete")
def chfcconsistgrp(system: System, request: Request) -> Done:
    """Rename a group, or change whether it goes with its last mapping."""
    group = _group(system, request.object)
    others = [other for other in system.state.mapping_groups.values() if other is not group]
    group.name = new_name(others, request.get("name"), group.name)
    group.deletes_itself = request.switch("autodelete", group.deletes_itself)
    return Done()


@command("rmfcconsistgrp", flags="force")
def rmfcconsistgrp(system: System, request: Request) -> Done:
    """Remove a group; with -force its mappings stay, on their own."""
    group = _group(system, request.object)
    members = _group_members(system, group.id)
    if members and not request.has("force"):
        raise Refusal(OTHER_STATE)
    if any(member.status not in {IDLE, STOPPED} for member in members):
        raise Refusal(OTHER_STATE)
    for member in members:
        member.group = None
    del system.state.mapping_groups[group.id]
    return Done()


# Prepare, start, stop --------------------------------------------------------------------------


def _alone(system: System, request: Request) -> list[Mapping]:
    """Return a stand-alone mapping; members move with the group commands only."""
    mapping = _mapping(system, request.object)
    if mapping.group is not None:
        raise Refusal(OTHER_STATE)
    return [mapping]


def _together(system: System, request: Request) -> list[Mapping]:
    members = _group_members(system, _group(system, request.object, "CMMVC5804E").id)
    if not members:
        raise Refusal(OTHER_STATE)
    return members


def _prestart(system: System, members: list[Mapping], request: Request) -> Done:
    _refuse_busy_target(system, members, request)
    _move(system, members, "prestart")
    for member in members:
        member.starts_when_prepared = False
        member.is_restoring = request.has("restore")
        member.progress = member.progress if member.is_incremental else 0.0
    return Done()


def _start(system: System, members: list[Mapping], request: Request) -> Done:
    _refuse_busy_target(system, members, request)
    if not request.has("prep"):
        _move(system, members, "start")
        for member in members:
            member.is_restoring |= request.has("restore")
        _begin_copy(system, members)
        return Done()
    _move(system, members, "start -prep")
    for member in members:
        member.starts_when_prepared = True
        member.is_restoring = request.has("restore")
    return Done(settled=lambda: all(member.status != PREPARING for member in members))


def _refuse_busy_target(system: System, members: list[Mapping], request: Request) -> None:
    """Without -restore a volume that is being copied from may not be overwritten."""
    targets = {member.target for member in members}
    moving = set(MAPPING_STATES) - {IDLE, STOPPED}
    for other in system.state.mappings.values():
        if other.source in targets and other.status in moving and not request.has("restore"):
            raise Refusal(OTHER_STATE)


def _stop(system: System, members: list[Mapping], request: Request) -> Done:
    if request.has("force") and request.has("split"):
        raise Refusal("CMMVC5713E")
    if request.has("split") and any(member.progress < 100 for member in members):
        raise Refusal(OTHER_STATE)
    _move(system, members, "stop")
    for member in members:
        member.starts_when_prepared = member.is_restoring = False
    return Done()


@command("prestartfcmap", flags="restore")
def prestartfcmap(system: System, request: Request) -> Done:
    """Flush the source's cache, and take the target away."""
    return _prestart(system, _alone(system, request), request)


@command("prestartfcconsistgrp", flags="restore")
def prestartfcconsistgrp(system: System, request: Request) -> Done:
    """Prepare all members."""
    return _prestart(system, _together(system, request), request)


@command("startfcmap", values="retentiondays", flags="prep restore")
def startfcmap(system: System, request: Request) -> Done:
    """Take the point-in-time copy."""
    return _start(system, _alone(system, request), request)


@command("startfcconsistgrp", values="retentiondays", flags="prep restore")
def startfcconsistgrp(system: System, request: Request) -> Done:
    """Take the point-in-time copy of all members, at one instant."""
    return _start(system, _together(system, request), request)


@command("stopfcmap", flags="force split")
def stopfcmap(system: System, request: Request) -> Done:
    """End the copy; below 100 % the target is lost."""
    return _stop(system, _alone(system, request), request)


@command("stopfcconsistgrp", flags="force split")
def stopfcconsistgrp(system: System, request: Request) -> Done:
    """End the copy of all members."""
    return _stop(system, _together(system, request), request)
