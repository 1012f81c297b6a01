"""Which site a resource group runs on: what the nodes say, and whether their disks still answer."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blocks.errors import FlashvaultError
from blocks.host.base import Disk, GroupState, Host
from blocks.policy.situation import Activity
from blocks.profile.model import BackupProfile, Configuration
from tasks.open import host
from tasks.owner import members
from tasks.run import describe
from tasks.steps import run_log

PROBE_BYTES = 512

_AT_REST = {GroupState.OFFLINE, GroupState.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Told:
    """What one node said about each storage system whose volumes it sees."""

    node: str
    activity: dict[str, Activity]
    problem: str = ""
    """Why it could not be asked."""
    notes: tuple[str, ...] = ()


def activity(
    wanted: Configuration, profile: BackupProfile, uids: Mapping[str, frozenset[str]]
) -> tuple[dict[str, Activity], tuple[str, ...]]:
    """Ask every node whether the group runs, and on whose volumes.

    Args:
        wanted: the configuration.
        profile: the remote profile.
        uids: the group's vdisk UIDs by storage system.

    Returns:
        Activity by storage system, and notes: who could not be asked, whose disks are gone.
        Running beats unknown beats stopped: one node that says so is enough.
    """
    names = members(wanted)
    with ThreadPoolExecutor(max(len(names), 1), thread_name_prefix="nodes") as pool:
        told = list(pool.map(lambda name: _ask(wanted, profile, name, uids), names))
    found: dict[str, Activity] = {}
    for system in uids:
        said = {each.activity[system] for each in told if system in each.activity}
        if Activity.RUNNING in said:
            found[system] = Activity.RUNNING
        elif not said or any(each.problem for each in told) or Activity.UNKNOWN in said:
            # A node that is silent may be the one that runs it.
            found[system] = Activity.UNKNOWN
        else:
            found[system] = Activity.STOPPED
    notes = [note for each in told for note in (each.problem, *each.notes) if note]
    return found, tuple(notes)


def _ask(
    wanted: Configuration,
    profile: BackupProfile,
    name: str,
    uids: Mapping[str, frozenset[str]],
) -> Told:
    try:
        machine = host(wanted, name)
        state = machine.group_state(profile.name)
        disks = machine.disks()
    except FlashvaultError as error:
        return Told(name, {}, f"{name} cannot be asked: {describe(error)}")
    seen = {system: [disk for disk in disks if disk.uid in known] for system, known in uids.items()}
    seen = {system: own for system, own in seen.items() if own}
    in_use = {system for system, own in seen.items() if any(disk.is_active for disk in own)}
    if state not in _AT_REST and not in_use:
        in_use = set(seen)  # online on raw disks, which no volume group shows as in use
    answers: dict[str, Activity] = {}
    notes = []
    for system, own in seen.items():
        answers[system] = Activity.STOPPED
        if system in in_use and _reads_any(machine, own):
            answers[system] = Activity.RUNNING
        elif system in in_use:
            notes.append(
                f"{name} says that the group is {state}, but it can read none of its disks"
            )
    return Told(name, answers, notes=tuple(notes))


def _reads_any(machine: Host, disks: list[Disk]) -> bool:
    """Say whether a node still reaches these disks: a dead array's group may still say ONLINE."""
    for disk in disks:
        try:
            reader = machine.open_read(disk)
            try:
                reader.read_into(0, memoryview(bytearray(PROBE_BYTES)))
            finally:
                reader.close()
        except FlashvaultError as error:
            run_log().info("%s cannot read %s: %s", machine.name, disk.name, error)
        else:
            return True
    return False
