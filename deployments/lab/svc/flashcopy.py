"""FlashCopy: how mappings and their groups move with time. docs/reference/svc-cli.md §5.

`mappings` has the commands, `mapping_views` the lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.model import Mapping, MappingGroup, Volume
from deployments.lab.svc.naming import find
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.states import (
    COPYING,
    FLASHCOPY,
    IDLE,
    OTHER_STATE,
    PREPARED,
    PREPARING,
    READABLE_TARGET,
    STOPPED,
    STOPPING,
    SUSPENDED,
    copy_bytes_per_s,
)

if TYPE_CHECKING:
    from deployments.lab.svc.system import System


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
    members = members_with(system, mapping)
    if system.faults.flush_fails > 0:
        system.faults.flush_fails -= 1
        for member in members:
            member.status, member.starts_when_prepared = STOPPED, False
        return
    for member in members:
        member.status = PREPARED
    if mapping.starts_when_prepared:
        begin_copy(system, members)


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
        forget(system, mapping)


def begin_copy(system: System, members: list[Mapping]) -> None:
    """Start a copy: all targets become what their sources are at this one instant."""
    state = system.state
    shares = [_share_to_copy(system, member) for member in members]
    system.shelf.snapshot(
        [(place(system, member.source), place(system, member.target)) for member in members]
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
    return difference(system, mapping) / 100


def difference(system: System, mapping: Mapping) -> float:
    """Return the percentage of grains that differ."""
    source, target = place(system, mapping.source), place(system, mapping.target)
    return system.shelf.difference(source, target, mapping.grain_kib * 1024)


def move(system: System, members: list[Mapping], event: str) -> None:
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


def place(system: System, volume: int) -> tuple[str, str]:
    """Name a volume as the shelf knows it."""
    return system.state.name, system.state.volumes[volume].name


def members_with(system: System, mapping: Mapping) -> list[Mapping]:
    """Return the mappings that move together with this one."""
    if mapping.group is None:
        return [mapping]
    return members_of(system, mapping.group)


def members_of(system: System, group: int) -> list[Mapping]:
    """Return the mappings of a group."""
    return [member for member in system.state.mappings.values() if member.group == group]


def mapping(system: System, word: str) -> Mapping:
    """Find a mapping by id or name."""
    return find(system.state.mappings, word)


def mapping_group(system: System, word: str, missing: str = "") -> MappingGroup:
    """Find a group by id or name."""
    return find(system.state.mapping_groups, word, missing)


def partner(system: System, mapping: Mapping) -> Mapping | None:
    """Return the mapping that copies the other way."""
    for other in system.state.mappings.values():
        if (other.source, other.target) == (mapping.target, mapping.source):
            return other
    return None


def forget(system: System, mapping: Mapping) -> None:
    """Remove a mapping, and its group if that was the last one and it says so."""
    del system.state.mappings[mapping.id]
    if mapping.group is None or members_of(system, mapping.group):
        return
    if system.state.mapping_groups[mapping.group].deletes_itself:
        del system.state.mapping_groups[mapping.group]
