"""Which node has a resource group now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blocks.errors import FlashvaultError, HostError
from blocks.host.base import Disk, GroupState, Host
from blocks.policy.mode import obstacle
from blocks.profile.model import BackupProfile, Configuration, Platform
from tasks.open import host


@dataclass(frozen=True, slots=True)
class Owner:
    """The node a resource group is online on, and the disks it sees."""

    machine: Host
    disks: tuple[Disk, ...]

    @property
    def name(self) -> str:
        """The node's name."""
        return self.machine.name


def members(wanted: Configuration) -> list[str]:
    """List the nodes that can have a resource group: all but the machine that only reads.

    With no other node registered there is no cluster, and the reading machine is its own.
    """
    nodes = [node.name for node in wanted.nodes if node.type != Platform.LOCAL]
    return nodes or [node.name for node in wanted.nodes]


def find_owner(wanted: Configuration, group: str) -> Owner:
    """Find the node a resource group is online on.

    Raises:
        HostError: it is online nowhere; the message says what each node answered.
    """
    states: dict[str, GroupState] = {}
    problems: list[FlashvaultError] = []
    for name in members(wanted):
        machine = host(wanted, name)
        try:
            states[name] = machine.group_state(group)
            if states[name] == GroupState.ONLINE or _is_alone(wanted, states[name]):
                return Owner(machine, tuple(machine.disks()))
        except FlashvaultError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    told = ", ".join(f"{name}: {state}" for name, state in states.items()) or "no node registered"
    raise HostError(
        f"resource group {group} is online nowhere ({told})",
        hint="Bring it online (clmgr online resource_group), or register its nodes.",
    )


def why_not(wanted: Configuration, profile: BackupProfile) -> str:
    """Say why a group cannot be backed up just now, or return an empty string.

    A node that does not answer is no reason: another may have the group, and the preflight says
    what is wrong if none has.
    """
    states: list[GroupState] = []
    for name in members(wanted):
        machine = host(wanted, name)
        try:
            state = machine.group_state(profile.name)
            if state == GroupState.ONLINE:
                return obstacle(state, is_cluster_stable=machine.is_cluster_stable())
            states.append(state)
        except FlashvaultError:
            return ""
    if not states or _is_alone(wanted, states[0]):
        return ""
    return obstacle(_worst(states))


def _is_alone(wanted: Configuration, state: GroupState) -> bool:
    """Say whether there is no cluster to ask: one machine, which knows no resource groups."""
    return state == GroupState.UNKNOWN and len(members(wanted)) == 1


def _worst(states: Sequence[GroupState]) -> GroupState:
    """Return the state worth telling: what some node says beats OFFLINE on all the others."""
    return next((state for state in states if state != GroupState.OFFLINE), GroupState.OFFLINE)
