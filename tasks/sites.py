"""Which site a resource group runs on: what the nodes say, and whether their disks still answer."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blocks.errors import FlashvaultError
from blocks.host.base import Disk, GroupState, Host
from blocks.policy.takeover import Activity
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


def activity(
    wanted: Configuration, profile: BackupProfile, uids: Mapping[str, frozenset[str]]
) -> tuple[dict[str, Activity], tuple[str, ...]]:
    """Ask every node whether the group runs, and on whose volumes.

    Args:
        wanted: the configuration.
        profile: the remote profile.
        uids: the group's vdisk UIDs by storage system.

    Returns:
        Activity by storage system, and a note for every node that could not be asked. Running
        beats unknown beats stopped: one node that says so is enough.
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
    return found, tuple(f"{each.node}: {each.problem}" for each in told if each.problem)


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
        return Told(name, {}, describe(error))
    seen = {system: [disk for disk in disks if disk.uid in known] for system, known in uids.items()}
    seen = {system: own for system, own in seen.items() if own}
    in_use = {system for system, own in seen.items() if any(disk.is_active for disk in own)}
    if state not in _AT_REST and not in_use:
        in_use = set(seen)  # online on raw disks, which no volume group shows as in use
    return Told(
        name,
        {system: _judged(machine, own, system in in_use, state) for system, own in seen.items()},
    )


def _judged(machine: Host, disks: list[Disk], is_in_use: bool, state: GroupState) -> Activity:
    """Say whether a node really uses these disks: a dead array's group may still say ONLINE."""
    if not is_in_use:
        return Activity.STOPPED
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
            run_log().info("%s reads %s, group %s", machine.name, disk.name, state)
            return Activity.RUNNING
    return Activity.STOPPED
