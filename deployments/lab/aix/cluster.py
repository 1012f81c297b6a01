"""PowerHA: clRGinfo, clmgr, cltopinfo, lssrc, and the cluster both nodes share. aix-host.md §4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployments.lab.aix import groups
from deployments.lab.aix.programs import Complaint, options, program
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

UTILITIES = "/usr/es/sbin/cluster/utilities"
ONLINE, OFFLINE = "ONLINE", "OFFLINE"


@dataclass
class ResourceGroup:
    """A resource group: its volume groups, and its state on each node."""

    name: str
    volume_groups: list[str]
    states: dict[str, str]


@dataclass
class ClusterState:
    """What the cluster remembers. `services` says on which nodes its services run."""

    name: str
    resource_groups: dict[str, ResourceGroup] = field(default_factory=dict)
    manager: str = "ST_STABLE"
    services: dict[str, bool] = field(default_factory=dict)


@dataclass
class Cluster:
    """The cluster."""

    state: ClusterState
    machines: dict[str, Machine] = field(default_factory=dict)
    changed: Callable[[], None] = lambda: None

    def group(self, name: str) -> ResourceGroup:
        """Find a resource group, or complain."""
        group = self.state.resource_groups.get(name)
        if group is None:
            raise Complaint(
                f'ERROR: the specified object does not exist: "{name}"\n\n'
                f'ERROR: "{name}" does not exist. Available resource groups:\n\n'
                + "\n".join(f"       {known}" for known in self.state.resource_groups)
            )
        return group


@program(f"{UTILITIES}/clRGinfo")
def clrginfo(machine: Machine, words: list[str], streams: Io) -> int:
    """Show resource groups: -s colon separated, one line per group and node; else a table."""
    flags, rest = options(words, "hvsctpami")
    with machine.lock:
        state = machine.cluster.state
        if not any(state.services.values()):
            streams.say("Cluster services are not running on any node: cannot tell the state.\n")
            return 1
        unknown = [name for name in rest if name not in state.resource_groups]
        if unknown:
            streams.complain(f"clRGinfo: ERROR: No resource group {unknown[0]}\n")
            return 1
        shown = [g for g in state.resource_groups.values() if not rest or g.name in rest]
        if flags.keys() & {"s", "c"}:
            for group in shown:
                for node, status in group.states.items():
                    tail = "non-concurrent:OHN:FNPN:NFB:ignore::: : :::"
                    streams.say(f"{group.name}:{status}:{node}:{tail}\n")
            return 0
        rule = "-" * 77
        streams.say(f"{rule}\nGroup Name                   Group State      Node\n{rule}\n")
        for group in shown:
            name = group.name
            for node, status in group.states.items():
                streams.say(f"{name:<28} {status:<16} {node}\n")
                name = ""
            streams.say("\n")
    return 0


@program("/usr/bin/lssrc")
def lssrc(machine: Machine, words: list[str], streams: Io) -> int:
    """Show a subsystem: the cluster manager's state (-ls clstrmgrES)."""
    flags, _ = options(words, "lals:g:h:")
    name = flags.get("s", "")
    if name != "clstrmgrES":
        raise Complaint(f"0513-085 The {name} Subsystem is not on file.")
    with machine.lock:
        state = machine.cluster.state
        runs = state.services.get(machine.name, False)
        streams.say(
            f"Current state: {state.manager if runs else 'ST_INIT'}\n"
            'sccsid = "@(#) 43haes/usr/sbin/cluster/hacmprd/main.C"\n'
            f'CLversion: 22\nlocal node vrmf is 7273\ncluster fix level is "3"\n'
            f"Cluster Name: {state.name}\n"
        )
    return 0


@program(f"{UTILITIES}/get_local_nodename")
def get_local_nodename(machine: Machine, words: list[str], streams: Io) -> int:
    """Print this node's name in the cluster."""
    streams.say(f"{machine.name}\n")
    return 0


@program(f"{UTILITIES}/cltopinfo", f"{UTILITIES}/cllsclstr", f"{UTILITIES}/cllsnode")
def cltopinfo(machine: Machine, words: list[str], streams: Io) -> int:
    """Show the cluster's name (-c) and nodes (-n)."""
    flags, _ = options(words, "cnimw")
    state = machine.cluster.state
    if "n" not in flags:
        streams.say(f"Cluster Name:    {state.name}\nCluster Type:    Linked\n")
    if "c" not in flags:
        streams.say("".join(f"NODE {node}:\n" for node in machine.cluster.machines))
    return 0


@program(f"{UTILITIES}/clshowres")
def clshowres(machine: Machine, words: list[str], streams: Io) -> int:
    """Show the resources of all groups."""
    options(words, "g:n:d:t")
    with machine.lock:
        for group in machine.cluster.state.resource_groups.values():
            streams.say(
                f"\nResource Group Name{'':<30}{group.name}\n"
                f"Participating Node Name(s){'':<23}{' '.join(group.states)}\n"
                f"Volume Groups{'':<36}{' '.join(group.volume_groups)}\n"
            )
    return 0


@program(f"{UTILITIES}/clmgr", "/usr/sbin/clmgr")
def clmgr(machine: Machine, words: list[str], streams: Io) -> int:
    """Query, move, and bring resource groups online and offline; query the cluster and nodes."""
    action, kind, *rest = [*words[1:], "", ""]
    rest = [word for word in rest if word]
    names = [word for word in rest if "=" not in word]
    settings = dict(word.split("=", 1) for word in rest if "=" in word)
    with machine.lock:
        state = machine.cluster.state
        if kind in {"resource_group", "rg"} and action in {"query", "online", "offline", "move"}:
            found = [machine.cluster.group(name) for name in names]
            if action == "query":
                _query(found, streams, list(state.resource_groups))
                return 0
            for group in found:
                _transfer(machine.cluster, group, action, settings)
            machine.cluster.changed()
            return 0
        if kind == "cluster" and action == "query":
            status = "STABLE" if state.manager == "ST_STABLE" else "UNSTABLE"
            streams.say(
                f'CLUSTER_NAME="{state.name}"\nSTATE="{status}"\nTYPE="NSC"\n'
                f'NODES="{" ".join(machine.cluster.machines)}"\n'
            )
            return 0
        if kind == "node" and action == "query":
            streams.say("".join(f"{name}\n" for name in machine.cluster.machines))
            return 0
    raise Complaint(f"ERROR: clmgr: unsupported operation: {action} {kind}")


def _query(found: list[ResourceGroup], streams: Io, names: list[str]) -> None:
    if not found:
        streams.say("".join(f"{name}\n" for name in names))
    for group in found:
        online = [node for node, status in group.states.items() if status == ONLINE]
        streams.say(
            f'NAME="{group.name}"\nCURRENT_NODE="{" ".join(online)}"\n'
            f'NODES="{" ".join(group.states)}"\n'
            f'STATE="{ONLINE if online else OFFLINE}"\nTYPE=""\n'
            f'STARTUP="OHN"\nFALLOVER="FNPN"\nFALLBACK="NFB"\n'
            f'VOLUME_GROUP="{" ".join(group.volume_groups)}"\nFORCED_VARYON="false"\n'
        )


def _transfer(
    cluster: Cluster, group: ResourceGroup, action: str, settings: dict[str, str]
) -> None:
    """Take a group offline, bring it online, or both: on another node."""
    wanted = settings.get("NODES") or settings.get("NODE") or settings.get("NODELIST") or ""
    nodes = [name for name in wanted.replace(",", " ").split() if name]
    unknown = [name for name in nodes if name not in group.states]
    if unknown:
        raise Complaint(f'ERROR: "{unknown[0]}" is not a node of "{group.name}".')
    if action in {"offline", "move"}:
        for node, status in group.states.items():
            if status == ONLINE and (action == "move" or not nodes or node in nodes):
                _release(cluster.machines[node], group)
                group.states[node] = OFFLINE
    if action in {"online", "move"}:
        target = nodes[0] if nodes else next(iter(group.states))
        if any(s == ONLINE and n != target for n, s in group.states.items()):
            raise Complaint(f'ERROR: "{group.name}" is already online on another node.')
        _acquire(cluster.machines[target], group)
        group.states[target] = ONLINE


def _release(machine: Machine, group: ResourceGroup) -> None:
    for name in group.volume_groups:
        known = machine.state.groups.get(name)
        if known is None:
            continue
        devices = {f"/dev/{volume.name}" for volume in known.descriptor.logical_volumes}
        for place, device in list(machine.state.mounted.items()):
            if device in devices:
                del machine.state.mounted[place]
                machine.state.frozen.pop(place, None)
        groups.vary_off(machine, known)
    machine.changed()


def _acquire(machine: Machine, group: ResourceGroup) -> None:
    for name in group.volume_groups:
        known = groups.known_group(machine, "cl_activate_vgs", name)
        if not known.is_on:
            groups.vary_on(machine, known)
        for stanza in machine.state.file_systems.values():
            if stanza.volume_group == name:
                machine.state.mounted.setdefault(stanza.mount, stanza.device)
    machine.changed()
