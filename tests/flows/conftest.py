"""A second site over two simulated arrays, without network, server or waiting: `bench`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mirror_names import COPY_S, GROUP, PAIRS

from blocks.errors import (
    HostError,
    LoginRefused,
    Unreachable,
)
from blocks.host.base import Disk, GroupState
from blocks.host.local import LocalReader as DiskReader
from blocks.profile.base import parse
from blocks.profile.model import BackupProfile, Configuration, Node
from blocks.runner import Completed
from blocks.svc.client import SvcClient
from deployments.lab import wiring
from deployments.lab.arrays import Arrays
from deployments.lab.svc import mirror
from flows import failover as moves
from flows import replicate as watching
from tasks import (
    move_report,
    remote_look,
    remote_setup,
    replication,
    sites,
    snapshot_source,
    takeover,
)

MIB = 1024 * 1024


@dataclass
class HandClock:
    at: float = field(default_factory=time.time)

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Wire:
    """Carries command lines to a simulated array; none to one without power."""

    address = "wire"

    def __init__(self, system, bench) -> None:
        self.system, self.lines, self.bench = system, bench.lines, bench

    def run(self, command, *, timeout_s=60.0, stdin=None) -> Completed:
        if self.system.is_dead:
            raise Unreachable(f"no route to {self.system.state.name}")
        words = shlex.split(command) if isinstance(command, str) else list(command)
        self.bench.strike()
        self.lines.append((self.system.state.name, words))
        output = self.system.run(words)
        self.bench.strike()
        return Completed(output.status, output.stdout, output.stderr)

    def close(self) -> None:
        pass


@dataclass
class Machine:
    """A node that sees one array's volumes."""

    name: str
    disk_list: list[Disk]
    state: GroupState = GroupState.OFFLINE
    is_alive: bool = True
    imported: dict[str, list[str]] = field(default_factory=dict)
    strike: Callable[[], None] = lambda: None

    def group_state(self, group: str) -> GroupState:
        if not self.is_alive:
            raise Unreachable(f"no route to {self.name}")
        return self.state

    def disks(self) -> list[Disk]:
        return self.disk_list

    discover = disks

    def open_read(self, disk: Disk):
        return self

    def read_into(self, offset: int, buffer: memoryview) -> None:
        pass

    def close(self) -> None:
        pass

    def import_group(self, name: str, disks, *, major=None) -> None:
        self.strike()
        self.imported[name] = [disk.name for disk in disks]
        self.strike()


@dataclass
class Bench:
    arrays: Arrays
    clock: HandClock
    wanted: Configuration
    machines: dict[str, Machine]
    state: Path
    lines: list = field(default_factory=list)
    told: list = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    strikes_left: int = 0
    """Die at the so-manieth moment before or after a command; 0 never."""
    is_dead: bool = False

    def strike(self) -> None:
        """Die here, if it is time; the dead send nothing more."""
        if self.is_dead:
            raise KeyboardInterrupt
        if self.strikes_left:
            self.strikes_left -= 1
            self.is_dead = not self.strikes_left
            if self.is_dead:
                raise KeyboardInterrupt

    def writable(self) -> set[str]:
        """Return the arrays whose volumes of the group hosts can write now."""
        found = set()
        for system, pair in zip(
            self.arrays.systems.values(), zip(*PAIRS, strict=True), strict=True
        ):
            if not system.is_dead and all(
                mirror.is_writable(system, system.volume(name)) for name in pair
            ):
                found.add(system.state.name)
        return found

    def ask(self, line: str, name: str = "storage1") -> str:
        output = self.arrays.systems[name].run(line.split(" "))
        assert output.status == 0, output.stderr
        return output.stdout

    def configure(self, *kind: str) -> None:
        self.ask(f"mkrcconsistgrp -name {GROUP} -cluster storage2")
        for master, aux in PAIRS:
            words = f"-master {master} -aux {aux} -cluster storage2 -consistgrp {GROUP} -global"
            self.ask(" ".join(("mkrcrelationship", words, *kind)))

    def synchronize(self) -> None:
        self.configure()
        self.ask(f"startrcconsistgrp {GROUP}")
        self.clock.sleep(COPY_S)
        assert self.poll()["condition"] == "in sync"
        self.told.clear()
        self.lines.clear()

    def poll(self, **words) -> dict:
        return watching.replicate.fn("RG1", **words).document()

    def write(self, volume: str, data: bytes, name: str = "storage1") -> None:
        with self.arrays.shelf.path((name, volume)).open("r+b") as file:
            file.write(data)

    def same(self) -> bool:
        path = self.arrays.shelf.path
        return all(
            path(("storage1", a)).read_bytes() == path(("storage2", b)).read_bytes()
            for a, b in PAIRS
        )

    def readable(self) -> None:
        """Let the nodes' disks be read: as the volumes are."""
        for number, machine in enumerate(self.machines.values(), 1):
            uids = {
                v.uid: v.name
                for v in self.arrays.systems[f"storage{number}"].state.volumes.values()
            }
            machine.open_read = lambda disk, number=number, uids=uids: DiskReader(
                self.arrays.shelf.path((f"storage{number}", uids[disk.uid]))
            )

    def sent(self) -> list[str]:
        return [words[0] for _, words in self.lines if not words[0].startswith(("ls", "sv"))]


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    clock = HandClock()
    arrays = Arrays(tmp_path / "lab", clock)
    arrays.wire([wiring.Group(1)], MIB)
    profile = {
        "ENABLE_BACKUP": "yes",
        "BACKUP_METHOD": "remote_storage",
        "REPLICATED_RESOURCES": GROUP,
        "STORAGE_NAME": "storage1, storage2",
        "VOLUME_GROUP": "VG1",
        "RPO": "5m",
    }
    wanted = Configuration(
        nodes=tuple(
            parse(Node, name, {"TYPE": "AIX", "ADDRESSES": "127.0.0.1"})
            for name in ("node1", "node2")
        ),
        profiles=(parse(BackupProfile, "RG1", profile),),
    )
    machines = {
        f"node{number}": Machine(
            f"node{number}",
            [
                Disk(f"hdisk{volume.id}", "", volume.capacity, volume.uid)
                for volume in arrays.systems[f"storage{number}"].state.volumes.values()
                if volume.name in {f"Node{number}_1", f"Node{number}_2"}
            ],
        )
        for number in (1, 2)
    }
    made = Bench(arrays, clock, wanted, machines, tmp_path / "state")

    for machine in machines.values():
        machine.strike = made.strike

    @contextmanager
    def array(_: Configuration, name: str):
        if name in made.refuses:
            raise LoginRefused(f"admin@{name} is not let in")
        yield SvcClient(Wire(arrays.systems[made.alias.get(name, name)], made))

    def nobody(*_: object):
        raise HostError("online nowhere")

    for module in (remote_look, remote_setup, takeover, snapshot_source):
        monkeypatch.setattr(module, "array", array)
    for module in (sites, takeover, remote_setup):
        monkeypatch.setattr(module, "host", lambda _, name: machines[name])
    for module in (watching, moves):
        monkeypatch.setattr(module, "load_configuration", lambda: made.wanted)
    monkeypatch.setattr(remote_setup, "find_owner", nobody)
    for module in (replication, move_report):
        monkeypatch.setattr(
            module, "notify", lambda profile, event, *rest, **facts: made.told.append(event)
        )
    monkeypatch.setattr(takeover, "SETTLE_S", 0.0)
    return made
