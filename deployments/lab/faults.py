"""What `lab fault` can break, in the daemon: arrays, links, volumes, nodes.

One control request is one change. What the object store suffers is not here: see `s3_proxy`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deployments.lab.svc.model import Volume
from deployments.lab.svc.states import COPYING, SUSPENDED
from deployments.lab.svc.system import Faults, System

if TYPE_CHECKING:
    from deployments.lab.daemon import Daemon

Words = dict[str, Any]


def act(daemon: Daemon, request: Words) -> Words:
    """Carry out one control request; unknown words raise KeyError or ValueError.

    Returns:
        How many sessions each machine has, and what is broken.
    """
    action = request.pop("action")
    with daemon.arrays.lock:
        ACTIONS[action](daemon, request)
        daemon.arrays.changed()
        return {
            "ok": True,
            "sessions": {name: server.sessions for name, server in daemon.servers.items()},
            "faults": broken(daemon),
        }


def broken(daemon: Daemon) -> list[str]:
    """List what is broken now, one line each."""
    lines = []
    for name, system in daemon.arrays.systems.items():
        lines += [f"array {name} is off"] * system.is_dead
        armed = dataclasses.asdict(system.faults)
        lines += [f"array {name}: {what} {value}" for what, value in armed.items() if value]
        volumes = [volume.name for volume in system.state.volumes.values() if volume.is_offline]
        lines += [f"volume {volume} of {name} is offline" for volume in volumes]
        suspended = {m.name for m in system.state.mappings.values() if m.status == SUSPENDED}
        lines += [f"mapping {mapping} of {name} is suspended" for mapping in sorted(suspended)]
    lines += [f"the link {' - '.join(sorted(pair))} is cut" for pair in daemon.arrays.network.cut]
    if daemon.nodes.cluster.state.manager != "ST_STABLE":
        lines.append(f"the cluster is {daemon.nodes.cluster.state.manager}")
    for name, machine in daemon.nodes.machines.items():
        lines += [f"node {name} has no python3"] * (not machine.state.has_python)
    return lines


def _code(text: str, kind: str) -> str:
    if not re.fullmatch(rf"CMMVC\d{{4,5}}{kind}", text):
        raise ValueError(f"{text} is no message code: CMMVC, four or five digits, {kind}")
    return text


def _system(daemon: Daemon, words: Words) -> System:
    name = words["name"]
    if name not in daemon.arrays.systems:
        raise ValueError(f"no array {name}; there are {', '.join(daemon.arrays.systems)}")
    return daemon.arrays.systems[name]


def _nothing(daemon: Daemon, words: Words) -> None:
    """Only ask."""


def _link(daemon: Daemon, words: Words) -> None:
    daemon.arrays.link(is_up=words["up"])


def _array(daemon: Daemon, words: Words) -> None:
    _system(daemon, words)
    daemon.power(words["name"], is_on=words["up"])


def _speed(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).state.timings.speed = float(words["factor"])


def _busy(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).faults.busy = int(words["count"])


def _flush(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).faults.flush_fails = int(words["count"])


def _login(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).faults.login_refused = int(words["count"])


def _refuse(daemon: Daemon, words: Words) -> None:
    faults = _system(daemon, words).faults
    faults.next_command, faults.next_code = words["command"], _code(words["code"], "E")
    faults.next_count = int(words["count"])


def _warn(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).faults.warn_next = _code(words["code"], "W")


def _slow(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).state.timings.command_s = float(words["seconds"])


def _flush_time(daemon: Daemon, words: Words) -> None:
    _system(daemon, words).state.timings.flush_s = float(words["seconds"])


def _drop(daemon: Daemon, words: Words) -> None:
    """Break the connections of a machine; it goes on answering new ones."""
    if words["name"] not in daemon.servers:
        raise ValueError(f"no machine {words['name']}; there are {', '.join(daemon.servers)}")
    daemon.servers[words["name"]].drop_connections()


def _volume(daemon: Daemon, words: Words) -> None:
    found: list[Volume] = [
        volume
        for system in daemon.arrays.systems.values()
        for volume in system.state.volumes.values()
        if volume.name == words["name"]
    ]
    if not found:
        raise ValueError(f"no volume {words['name']}")
    found[0].is_offline = not words["up"]


def _suspend(daemon: Daemon, words: Words) -> None:
    """Lose the bitmaps of a FlashCopy group, or find them again."""
    system = _system(daemon, words)
    groups = {g.id for g in system.state.mapping_groups.values() if g.name == words["group"]}
    members = [m for m in system.state.mappings.values() if m.group in groups]
    if not members:
        raise ValueError(f"no FlashCopy group {words['group']} with mappings on {words['name']}")
    for member in members:
        if words["up"] and member.status == SUSPENDED:
            member.status, member.at = COPYING, system.clock.now()
        elif not words["up"]:
            member.status = SUSPENDED


def _cluster(daemon: Daemon, words: Words) -> None:
    daemon.nodes.cluster.state.manager = words["state"]
    daemon.nodes.changed()


def _python(daemon: Daemon, words: Words) -> None:
    """Give a node Python, or take it away."""
    if words["name"] not in daemon.nodes.machines:
        raise ValueError(f"no node {words['name']}; there are {', '.join(daemon.nodes.machines)}")
    daemon.nodes.machines[words["name"]].state.has_python = words["up"]
    daemon.nodes.changed()


def _clear(daemon: Daemon, words: Words) -> None:
    """Mend everything."""
    for name, system in daemon.arrays.systems.items():
        system.faults = Faults()
        system.state.timings.command_s = 0.0
        for volume in system.state.volumes.values():
            volume.is_offline = False
        for mapping in system.state.mappings.values():
            if mapping.status == SUSPENDED:
                mapping.status, mapping.at = COPYING, system.clock.now()
        if system.is_dead:
            daemon.power(name, is_on=True)
    daemon.arrays.link(is_up=True)
    daemon.nodes.cluster.state.manager = "ST_STABLE"
    for machine in daemon.nodes.machines.values():
        machine.state.has_python = True
    daemon.nodes.changed()


ACTIONS: dict[str, Callable[[Daemon, Words], None]] = {
    "ask": _nothing,
    "array": _array,
    "busy": _busy,
    "clear": _clear,
    "cluster": _cluster,
    "drop": _drop,
    "flush": _flush,
    "flush-time": _flush_time,
    "link": _link,
    "login": _login,
    "python": _python,
    "refuse": _refuse,
    "slow": _slow,
    "speed": _speed,
    "suspend": _suspend,
    "volume": _volume,
    "warn": _warn,
}
