"""FlashCopy's commands: make, change, prepare, start, stop, remove. svc-cli.md §3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import flashcopy
from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.model import Mapping, MappingGroup
from deployments.lab.svc.naming import free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import (
    FLASHCOPY,
    IDLE,
    MAPPING_STATES,
    OTHER_STATE,
    PREPARING,
    STOPPED,
)

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

GROUP_LIMIT = 500
MEMBER_LIMIT = 512
MAPPINGS_PER_SOURCE = 256


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
        group = flashcopy.mapping_group(system, word, "CMMVC5804E").id
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
    members = flashcopy.members_of(system, group)
    if len(members) >= MEMBER_LIMIT or any(m.status not in {IDLE, STOPPED} for m in members):
        raise Refusal(OTHER_STATE)


@command("chfcmap", values="name consistgrp copyrate autodelete cleanrate", flags="force")
def chfcmap(system: System, request: Request) -> Done:
    """Change a mapping; -force takes it out of its group."""
    mapping = flashcopy.mapping(system, request.object)
    others = [other for other in system.state.mappings.values() if other is not mapping]
    name = new_name(others, request.get("name"), mapping.name)
    group = mapping.group
    if (word := request.get("consistgrp")) is not None:
        group = None if word == "0" else flashcopy.mapping_group(system, word, "CMMVC5804E").id
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
    mapping = flashcopy.mapping(system, request.object)
    verdict = FLASHCOPY["rm -force" if request.has("force") else "rm"][mapping.status]
    if verdict:
        raise Refusal(verdict)
    flashcopy.forget(system, mapping)
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
    group = flashcopy.mapping_group(system, request.object)
    others = [other for other in system.state.mapping_groups.values() if other is not group]
    group.name = new_name(others, request.get("name"), group.name)
    group.deletes_itself = request.switch("autodelete", group.deletes_itself)
    return Done()


@command("rmfcconsistgrp", flags="force")
def rmfcconsistgrp(system: System, request: Request) -> Done:
    """Remove a group; with -force its mappings stay, on their own."""
    group = flashcopy.mapping_group(system, request.object)
    members = flashcopy.members_of(system, group.id)
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
    mapping = flashcopy.mapping(system, request.object)
    if mapping.group is not None:
        raise Refusal(OTHER_STATE)
    return [mapping]


def _together(system: System, request: Request) -> list[Mapping]:
    members = flashcopy.members_of(
        system, flashcopy.mapping_group(system, request.object, "CMMVC5804E").id
    )
    if not members:
        raise Refusal(OTHER_STATE)
    return members


def _prestart(system: System, members: list[Mapping], request: Request) -> Done:
    _refuse_busy_target(system, members, request)
    flashcopy.move(system, members, "prestart")
    for member in members:
        member.starts_when_prepared = False
        member.is_restoring = request.has("restore")
        member.progress = member.progress if member.is_incremental else 0.0
    return Done()


def _start(system: System, members: list[Mapping], request: Request) -> Done:
    _refuse_busy_target(system, members, request)
    if not request.has("prep"):
        flashcopy.move(system, members, "start")
        for member in members:
            member.is_restoring |= request.has("restore")
        flashcopy.begin_copy(system, members)
        return Done()
    flashcopy.move(system, members, "start -prep")
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
    flashcopy.move(system, members, "stop")
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
