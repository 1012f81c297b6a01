"""Remote copy's commands; `mirror` moves what they name, `remote_views` lists it.

docs/reference/svc-cli.md §3.


A group or relationship is made on both arrays at once and has the same id on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import mirror, partnerships
from deployments.lab.svc.commands import Done, Request, command
from deployments.lab.svc.mirror import Unit
from deployments.lab.svc.model import Mirror, Relationship, RemoteGroup
from deployments.lab.svc.naming import find, free_id, new_name
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import (
    CYCLING,
    INCONSISTENT_COPYING,
    INCONSISTENT_STOPPED,
    NOT_NOW,
    SYNCHRONIZED,
)

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

# Making, changing, removing --------------------------------------------------------------------


@command("mkrcconsistgrp", values="name cluster", takes_object=False)
def mkrcconsistgrp(system: System, request: Request) -> Done:
    """Make an empty group with another system."""
    if request.get("cluster") is None:
        raise Refusal("CMMVC7205E")  # within one system: not simulated
    peer = partnerships.peer(system, request.values["cluster"])
    groups = {**peer.state.remote_groups, **system.state.remote_groups}
    number = free_id(groups)
    name = new_name(groups.values(), request.get("name"), f"rccstgrp{number}")
    for each in (system, peer):
        each.state.remote_groups[number] = RemoteGroup(
            number, name, system.state.name, peer.state.name
        )
    return Done(f"RC Consistency Group, id [{number}], successfully created\n")


@command("rmrcconsistgrp", flags="force")
def rmrcconsistgrp(system: System, request: Request) -> Done:
    """Remove a group; with -force its relationships stand alone afterwards."""
    group = _group(system, request.object)
    if mirror.members(system, group) and not request.has("force"):
        raise Refusal("CMMVC5767E")
    for each in _both(system, group):
        for member in mirror.members(each, group):
            _leave(each, member)
        del each.state.remote_groups[group.id]
    return Done()


@command("chrcconsistgrp", values="name cyclingmode cycleperiodseconds", flags="global metro")
def chrcconsistgrp(system: System, request: Request) -> Done:
    """Change one attribute of a group."""
    group = _group(system, request.object)
    _refuse_many(request)
    others = [each for each in system.state.remote_groups.values() if each is not group]
    name = new_name(others, request.get("name"), group.name)
    cycle_s = request.number("cycleperiodseconds", group.cycle_s, 60, 86400)
    cycling, copy_type = _changed_kind(group, request)
    for each in _both(system, group):
        twin = each.state.remote_groups[group.id]
        units: list[Unit] = [twin, *mirror.members(each, twin)]
        for one in units:
            one.cycle_s, one.cycling_mode, one.copy_type = cycle_s, cycling, copy_type
        twin.name = name
    return Done()


def _changed_kind(unit: RemoteGroup | Relationship, request: Request) -> tuple[str, str]:
    """Return (cycling mode, copy type) after a change, which only what stands still allows."""
    cycling = request.get("cyclingmode")
    changes = cycling is not None or request.has("global") or request.has("metro")
    if not changes:
        return unit.cycling_mode, unit.copy_type
    if cycling not in {None, "none", "multi"}:
        raise Refusal("CMMVC5711E", cycling or "")
    if unit.mirror.state in {"empty", INCONSISTENT_COPYING, SYNCHRONIZED, CYCLING}:
        raise Refusal(NOT_NOW)
    if request.has("metro"):
        return "none", "metro"
    if cycling == "multi" and unit.copy_type != "global":
        raise Refusal(NOT_NOW)
    return cycling or unit.cycling_mode, "global" if request.has("global") else unit.copy_type


@command(
    "mkrcrelationship",
    needs="master aux cluster",
    values="name consistgrp cyclingmode",
    flags="sync global",
    takes_object=False,
)
def mkrcrelationship(system: System, request: Request) -> Done:
    """Make a relationship between a volume here and one of another system."""
    peer = partnerships.peer(system, request.values["cluster"])
    master, aux = system.volume(request.values["master"]), peer.volume(request.values["aux"])
    if master.capacity != aux.capacity:
        raise Refusal("CMMVC5924E")
    if system.relationships_of(master) or peer.relationships_of(aux):
        raise Refusal("CMMVC5959E")
    cycling = request.get("cyclingmode") or "none"
    if cycling not in {"none", "multi"} or (cycling == "multi" and not request.has("global")):
        raise Refusal("CMMVC5711E", cycling)
    known = {**peer.state.relationships, **system.state.relationships}
    number = free_id(known)
    name = new_name(known.values(), request.get("name"), f"rcrel{number}")
    state = "consistent_stopped" if request.has("sync") else INCONSISTENT_STOPPED
    for each in (system, peer):
        each.state.relationships[number] = Relationship(
            number,
            name,
            system.state.name,
            master.name,
            peer.state.name,
            aux.name,
            copy_type="global" if request.has("global") else "metro",
            cycling_mode=cycling,
            mirror=Mirror(state=state, at=system.clock.now()),
        )
    word = request.get("consistgrp")
    if word is not None:
        try:
            _join(system, system.state.relationships[number], word)
        except Refusal:
            for each in (system, peer):
                del each.state.relationships[number]
            raise
    return Done(f"RC Relationship, id [{number}], successfully created\n")


def _join(system: System, relationship: Relationship, word: str) -> None:
    """Put a relationship into a group, which takes the first one's type, state and direction."""
    group = find(system.state.remote_groups, word, "CMMVC5804E")
    if {group.master, group.aux} != {relationship.master, relationship.aux}:
        raise Refusal("CMMVC5767E")
    own = relationship.mirror
    if not mirror.members(system, group):
        for each in _both(system, group):
            twin = each.state.remote_groups[group.id]
            twin.copy_type, twin.cycling_mode = relationship.copy_type, relationship.cycling_mode
            twin.mirror = Mirror(own.primary, own.state, own.before, own.frozen_at, own.at)
    elif (relationship.copy_type, relationship.cycling_mode) != (
        group.copy_type,
        group.cycling_mode,
    ):
        raise Refusal("CMMVC9012E")
    elif (own.state, own.primary) != (group.mirror.state, group.mirror.primary):
        raise Refusal(NOT_NOW)
    for each in _both(system, group):
        each.state.relationships[relationship.id].group = group.id


def _leave(system: System, relationship: Relationship) -> None:
    """Take a relationship out of its group; it keeps the group's state."""
    assert relationship.group is not None
    group = system.state.remote_groups[relationship.group]
    half = group.mirror
    relationship.mirror = Mirror(half.primary, half.state, half.before, half.frozen_at, half.at)
    relationship.group = None
    if not mirror.members(system, group):
        group.mirror = Mirror(primary="", state="empty")
        group.copy_type, group.cycling_mode = "empty_group", ""


@command(
    "chrcrelationship",
    values="name consistgrp cyclingmode cycleperiodseconds masterchange auxchange",
    flags="noconsistgrp nomasterchange noauxchange global metro force",
)
def chrcrelationship(system: System, request: Request) -> Done:
    """Change one attribute of a relationship."""
    each = find(system.state.relationships, request.object)
    _refuse_many(request)
    others = [other for other in system.state.relationships.values() if other is not each]
    name = new_name(others, request.get("name"), each.name)
    if request.get("consistgrp") is not None:
        if each.group is not None:
            raise Refusal("CMMVC5951E")
        _join(system, each, request.values["consistgrp"])
    elif request.has("noconsistgrp"):
        if each.group is None:
            raise Refusal("CMMVC6065E")
        for other in _both(system, each):
            _leave(other, other.state.relationships[each.id])
    if each.group is not None and (request.get("cyclingmode") or _names_kind(request)):
        raise Refusal("CMMVC5951E")
    cycling, copy_type = _changed_kind(each, request)
    cycle_s = request.number("cycleperiodseconds", each.cycle_s, 60, 86400)
    changes = _change_volumes(system, each, request)
    for other in _both(system, each):
        twin = other.state.relationships[each.id]
        twin.name, twin.cycle_s, twin.change_volumes = name, cycle_s, dict(changes)
        twin.cycling_mode, twin.copy_type = cycling, copy_type
    return Done()


def _names_kind(request: Request) -> bool:
    return request.has("global") or request.has("metro")


def _change_volumes(system: System, each: Relationship, request: Request) -> dict[str, str]:
    """Return the names of the change volumes by side, after a change."""
    changes = dict(each.change_volumes)
    for side, name in (("master", each.master), ("aux", each.aux)):
        if request.has(f"no{side}change"):
            changes.pop(side, None)
        if (word := request.get(f"{side}change")) is not None:
            changes[side] = system.network.systems[name].volume(word).name
    return changes


@command("rmrcrelationship", flags="force")
def rmrcrelationship(system: System, request: Request) -> Done:
    """Remove a relationship: both halves, or this one alone while the other is out of reach."""
    each = find(system.state.relationships, request.object)
    for other in _both(system, each):
        twin = other.state.relationships[each.id]
        if twin.group is not None:
            _leave(other, twin)
        del other.state.relationships[each.id]
    return Done()


def _refuse_many(request: Request) -> None:
    """SVC changes one attribute at a time."""
    if len(request.values) + len(request.flags) > 1:
        raise Refusal("CMMVC5713E")


def _group(system: System, word: str) -> RemoteGroup:
    return find(system.state.remote_groups, word)


def _alone(system: System, word: str) -> Relationship:
    """Find a relationship that stands alone; those in a group move with it only."""
    each = find(system.state.relationships, word)
    if each.group is not None:
        raise Refusal("CMMVC5951E")
    return each


def _both(system: System, unit: Unit) -> list[System]:
    peer = mirror.peer_of(system, unit)
    return [system] if peer is None else [system, peer]


# Moving ----------------------------------------------------------------------------------------


def _side(request: Request) -> str:
    word = request.get("primary") or ""
    if word not in {"", "master", "aux"}:
        raise Refusal("CMMVC5711E", word)
    return word


def _start(system: System, unit: Unit, request: Request) -> Done:
    force, clean = request.has("force"), request.has("clean")
    mirror.start(system, unit, primary=_side(request), force=force, clean=clean)
    return Done()


@command("startrcconsistgrp", values="primary", flags="force clean")
def startrcconsistgrp(system: System, request: Request) -> Done:
    """Start a group."""
    return _start(system, _group(system, request.object), request)


@command("startrcrelationship", values="primary", flags="force clean")
def startrcrelationship(system: System, request: Request) -> Done:
    """Start a relationship that stands alone."""
    return _start(system, _alone(system, request.object), request)


@command("stoprcconsistgrp", flags="access")
def stoprcconsistgrp(system: System, request: Request) -> Done:
    """Stop a group."""
    mirror.stop(system, _group(system, request.object), access=request.has("access"))
    return Done()


@command("stoprcrelationship", flags="access")
def stoprcrelationship(system: System, request: Request) -> Done:
    """Stop a relationship that stands alone."""
    mirror.stop(system, _alone(system, request.object), access=request.has("access"))
    return Done()


@command("switchrcconsistgrp", needs="primary")
def switchrcconsistgrp(system: System, request: Request) -> Done:
    """Swap the roles of a group."""
    mirror.switch(system, _group(system, request.object), _side(request))
    return Done()


@command("switchrcrelationship", needs="primary")
def switchrcrelationship(system: System, request: Request) -> Done:
    """Swap the roles of a relationship that stands alone."""
    mirror.switch(system, _alone(system, request.object), _side(request))
    return Done()
