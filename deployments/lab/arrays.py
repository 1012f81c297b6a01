"""The arrays of one lab: made as wired, kept in `<lab>/state`, and what hosts see of them."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deployments.lab import wiring
from deployments.lab.disks import DiskShelf, Place
from deployments.lab.svc import hosts, model, partnerships, volumes
from deployments.lab.svc.model import ArrayState, Clock, WallClock
from deployments.lab.svc.system import Network, System

MIB = 1024 * 1024


@dataclass
class Arrays:
    """All arrays of a lab behind one lock."""

    directory: Path
    clock: Clock = field(default_factory=WallClock)
    lock: threading.RLock = field(default_factory=threading.RLock)
    copied: Callable[[list[tuple[Place, Place]]], None] = lambda pairs: None
    """Called under the lock after a FlashCopy start, with its (source, target) pairs."""
    mirrored: Callable[[list[tuple[Place, Place]]], None] = lambda pairs: None
    """Called under the lock when mirrors have become the same as their sources."""

    def __post_init__(self) -> None:
        """Take up the state that is kept, if any."""
        self.shelf = DiskShelf(
            self.directory / "volumes",
            lambda pairs: self.copied(pairs),
            lambda pairs: self.mirrored(pairs),
        )
        self.network = Network()
        self.systems = self.network.systems
        self._is_wiring = False
        self._kept: dict[str, str] = {}
        for path in sorted((self.directory / "state").glob("array-*.json")):
            self._add(load(json.loads(path.read_text())))
        outages = self.directory / "state" / "network.json"
        if outages.exists():
            self.network.restore(json.loads(outages.read_text()))

    def _add(self, state: ArrayState) -> System:
        system = System(state, self.shelf, self.clock, self.lock, network=self.network)
        system.changed = lambda: self.changed()
        self.systems[state.name] = system
        return system

    def wire(self, groups: list[wiring.Group], size_bytes: int) -> None:
        """Make the lab's arrays as the Redpaper's example has them."""
        self._is_wiring = True
        for name, (number, prefix) in wiring.ARRAYS.items():
            system = self._add(ArrayState(name, number, prefix))
            for port, node in enumerate([*wiring.NODES, wiring.LINUX_HOST], start=1):
                hosts.add_host(system, node, [f"C05076{port:010X}"])
        near, far = self.systems["storage1"], self.systems["storage2"]
        partnerships.add_partner(near, far)
        partnerships.add_partner(far, near)
        for group in groups:
            self._wire_group(group, size_bytes)
        self._is_wiring = False
        self.changed()

    def _wire_group(self, group: wiring.Group, size_bytes: int) -> None:
        near, far = self.systems["storage1"], self.systems["storage2"]
        for name in [*group.sources, *group.targets, *group.spares]:
            volumes.add_volume(near, name, size_bytes)
            show(near, name, "node1", wiring.LINUX_HOST)
        for name in group.auxiliaries:
            volumes.add_volume(far, name, size_bytes)
            show(far, name, "node2", wiring.LINUX_HOST)
        run(near, "mkfcconsistgrp", "-name", group.consistency_group)
        for source, target in zip(group.sources, group.targets, strict=True):
            pair = ("-source", source, "-target", target)
            run(near, "mkfcmap", *pair, "-consistgrp", group.consistency_group)

    def changed(self) -> None:
        """Write down the state and show hosts what they may see now."""
        if self._is_wiring:
            return
        with self.lock:
            for name, system in self.systems.items():
                self._keep(f"array-{name}.json", dataclasses.asdict(system.state))
            self._keep("network.json", self.network.outages())
            self.show_devices(wiring.LINUX_HOST)

    def _keep(self, name: str, document: object) -> None:
        """Write a file of the state, if it would be another one than last time."""
        text = json.dumps(document)
        if self._kept.get(name) == text:
            return
        path = self.directory / "state" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(text)
        os.replace(draft, path)
        self._kept[name] = text

    def link(self, *, is_up: bool) -> None:
        """Cut every link between arrays, or join them all again."""
        with self.lock:
            self.network.cut.clear()
            if not is_up:
                names = list(self.systems)
                self.network.cut |= {frozenset({a, b}) for a in names for b in names if a != b}
            self.tick()
            self.changed()

    def power(self, name: str, *, is_on: bool) -> None:
        """Switch an array on or off; without power it copies nothing any more."""
        with self.lock:
            self.systems[name].is_dead = not is_on
            self.tick()
            self.changed()

    def tick(self) -> None:
        """Let all arrays catch up with the clock."""
        with self.lock:
            for system in self.systems.values():
                system.advance()

    def device_directory(self, host: str) -> Path:
        """Return where a Linux host finds its disks by UID."""
        return self.directory / "hosts" / host / "by-id"

    def show_devices(self, host: str) -> None:
        """Make the host's device links those of the volumes it may use now."""
        directory = self.device_directory(host)
        directory.mkdir(parents=True, exist_ok=True)
        wanted = {
            f"wwn-0x{volume.uid.lower()}": self.shelf.path((name, volume.name))
            for name, system in self.systems.items()
            for volume in system.volumes_of(host)
            if system.can_access(volume)
        }
        for link in directory.iterdir():
            if link.name not in wanted or link.readlink() != wanted[link.name]:
                link.unlink()
        for link_name, path in wanted.items():
            link = directory / link_name
            if not link.is_symlink():
                link.symlink_to(path)


def run(system: System, *words: str) -> str:
    """Run a command of the wiring; it cannot be refused."""
    output = system.run(list(words))
    assert output.status == 0, f"{words}: {output.stderr}"
    return output.stdout


def show(system: System, volume: str, *hosts: str) -> None:
    """Map a volume to hosts."""
    for host in hosts:
        run(system, "mkvdiskhostmap", "-force", "-host", host, volume)


def load(document: dict[str, object]) -> ArrayState:
    """Read an array's state as `dataclasses.asdict` wrote it (JSON makes ids into text)."""
    kinds = {
        "volumes": model.Volume,
        "hosts": model.Host,
        "mappings": model.Mapping,
        "mapping_groups": model.MappingGroup,
        "relationships": model.Relationship,
        "remote_groups": model.RemoteGroup,
    }
    fields: dict[str, object] = dict(document)
    for name, kind in kinds.items():
        rows = fields[name]
        assert isinstance(rows, dict)
        for row in rows.values():
            if "mirror" in row:
                row["mirror"] = model.Mirror(**row["mirror"])
        fields[name] = {int(number): kind(**row) for number, row in rows.items()}
    partners = fields["partners"]
    assert isinstance(partners, dict)
    fields["partners"] = {name: model.Partner(**row) for name, row in partners.items()}
    for name, listed in (("host_maps", model.HostMap), ("events", model.Event)):
        entries = fields[name]
        assert isinstance(entries, list)
        fields[name] = [listed(**row) for row in entries]
    timings = fields["timings"]
    assert isinstance(timings, dict)
    fields["timings"] = model.Timings(**timings)
    return ArrayState(**fields)  # type: ignore[arg-type]
