"""The AIX nodes of one lab: made as wired, kept in `<lab>/state`, seeing the arrays' volumes."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.lab import wiring
from deployments.lab.aix import files, odm
from deployments.lab.aix.cluster import Cluster, ClusterState, ResourceGroup
from deployments.lab.aix.machine import Lun, Machine
from deployments.lab.arrays import Arrays
from deployments.lab.labels import Labels, load_descriptor
from deployments.lab.svc.model import Volume
from deployments.lab.svc.system import System

HOME = "node1"
"""Where resource groups are online when the lab comes up."""


@dataclass
class SeenDisks:
    """What one node sees of all arrays."""

    node: str
    arrays: Arrays
    labels: Labels

    def luns(self) -> dict[str, Lun]:
        """Return what is mapped to the node now, by UID."""
        with self.arrays.lock:
            self.arrays.tick()
            return {
                volume.uid: self._as_lun(name, system, volume)
                for name, system in self.arrays.systems.items()
                for volume in system.volumes_of(self.node)
            }

    def lun(self, uid: str) -> Lun | None:
        """Return one of them; how it stands is asked of it alone."""
        with self.arrays.lock:
            self.arrays.tick()
            for name, system in self.arrays.systems.items():
                volume = system.volume_of(self.node, uid)
                if volume is not None:
                    return self._as_lun(name, system, volume)
        return None

    def _as_lun(self, name: str, system: System, volume: Volume) -> Lun:
        return Lun(
            uid=volume.uid,
            path=self.arrays.shelf.path((name, volume.name)),
            size_bytes=volume.capacity,
            is_readable=system.can_access(volume),
            is_writable=system.can_write(volume),
        )

    def label(self, uid: str) -> odm.Label | None:
        """Return what a disk says about itself."""
        return self.labels.get(uid)

    def write_label(self, uid: str, label: odm.Label | None) -> None:
        """Write it anew."""
        self.labels.put(uid, label)


@dataclass
class Nodes:
    """All nodes of a lab."""

    directory: Path
    arrays: Arrays
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up the state that is kept, if any."""
        self.labels = Labels(self.directory / "state" / "labels.json", self._path)
        self.arrays.copied = self._copied
        self.arrays.mirrored = self._mirrored
        self.cluster = Cluster(ClusterState(wiring.CLUSTER), changed=self.changed)
        kept = self.directory / "state" / "cluster.json"
        if not kept.exists():
            return
        document = json.loads(kept.read_text())
        self.cluster.state = load_cluster(document["cluster"])
        for row in document["nodes"]:
            self._add(load_node(row))

    def _add(self, state: odm.NodeState) -> Machine:
        seen = SeenDisks(state.name, self.arrays, self.labels)
        machine = Machine(state, seen, self.cluster, self.arrays.clock.now, self.arrays.lock)
        machine.changed = self.changed
        self.machines[state.name] = self.cluster.machines[state.name] = machine
        return machine

    def wire(self, groups: list[wiring.Group]) -> None:
        """Make the nodes as the Redpaper's example has them."""
        for name in wiring.NODES:
            # The second site sees its disks through a virtual I/O server.
            state = odm.NodeState(name, is_behind_vios=name != HOME)
            state.hdisks["hdisk0"] = odm.Hdisk("hdisk0", "", odm.fresh_id("rootvg", name))
            state.groups["rootvg"] = odm.VolumeGroup(
                "rootvg",
                odm.Descriptor(odm.fresh_id("root", digits=32), [], [], 64),
                ["hdisk0"],
                10,
            )
            state.groups["rootvg"].is_on = True
            self._add(state)
            self.cluster.state.services[name] = True
        for group in groups:
            self._wire_group(group)
        self.labels.save()
        self.changed()

    def _wire_group(self, group: wiring.Group) -> None:
        near, far = self.machines["node1"], self.machines["node2"]
        volumes = {v.name: v for v in self.arrays.systems["storage1"].state.volumes.values()}
        copies = {v.name: v for v in self.arrays.systems["storage2"].state.volumes.values()}
        area = descriptor(group, volumes[group.sources[0]].capacity)
        for volume, number in group.disks.items():
            hdisk = near.state.hdisks[f"hdisk{number}"] = odm.Hdisk(
                f"hdisk{number}", volumes[volume].uid
            )
            if volume in group.sources:
                hdisk.pvid = wiring.pvid(volume)
                self.labels.by_uid[hdisk.uid] = odm.Label(hdisk.pvid, area)
        for source, spare in zip(group.sources, group.spares, strict=True):
            self.labels.pairs[volumes[spare].uid] = volumes[source].uid
        for volume, number in group.auxiliary_disks.items():
            name = f"hdisk{number}"
            far.state.hdisks[name] = odm.Hdisk(name, copies[volume].uid)
        for source, auxiliary in zip(group.sources, group.auxiliaries, strict=True):
            self.labels.pairs[copies[auxiliary].uid] = volumes[source].uid
        names = [f"hdisk{group.disks[volume]}" for volume in group.sources]
        near.state.groups[group.volume_group] = odm.VolumeGroup(
            group.volume_group, area, names, group.major, is_on=True
        )
        for logical in area.logical_volumes:
            if logical.mount:
                device = f"/dev/{logical.name}"
                stanza = odm.Stanza(logical.mount, device, group.volume_group)
                near.state.file_systems[logical.mount] = stanza
                near.state.mounted[logical.mount] = device
        self.cluster.state.resource_groups[group.resource_group] = ResourceGroup(
            group.resource_group,
            [group.volume_group],
            {name: "ONLINE" if name == HOME else "OFFLINE" for name in wiring.NODES},
        )

    def changed(self) -> None:
        """Write down what the nodes remember."""
        with self.arrays.lock:
            document = {
                "cluster": dataclasses.asdict(self.cluster.state),
                "nodes": [dataclasses.asdict(machine.state) for machine in self.machines.values()],
            }
            path = self.directory / "state" / "cluster.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(document))
            os.replace(draft, path)

    def tick(self) -> None:
        """Let time pass: freezes end by themselves."""
        with self.arrays.lock:
            for machine in self.machines.values():
                if files.thaw_expired(machine):
                    self.changed()

    def _path(self, uid: str) -> Path | None:
        for name, system in self.arrays.systems.items():
            for volume in system.state.volumes.values():
                if volume.uid == uid:
                    return self.arrays.shelf.path((name, volume.name))
        return None

    def _copied(self, pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> None:
        self.labels.copied([(self._uid(source), self._uid(target)) for source, target in pairs])

    def _mirrored(self, pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> None:
        uids = [(self._uid(source), self._uid(target)) for source, target in pairs]
        self.labels.copied(uids, is_snapshot=False)

    def _uid(self, place: tuple[str, str]) -> str:
        volumes = self.arrays.systems[place[0]].state.volumes.values()
        return next(volume.uid for volume in volumes if volume.name == place[1])


def descriptor(group: wiring.Group, size_bytes: int) -> odm.Descriptor:
    """Return the descriptor area of a group's volume group: a log and one JFS2 over its disks."""
    step = odm.partition_mib(size_bytes)
    total = len(group.sources) * max(1, size_bytes // (step * odm.MIB) - 1)
    number = group.number - 1
    return odm.Descriptor(
        vgid=odm.fresh_id("vg", group.volume_group, digits=32),
        pvids=[wiring.pvid(volume) for volume in group.sources],
        logical_volumes=[
            odm.LogicalVolume(f"loglv{number:02}", "jfs2log", 1, 1),
            odm.LogicalVolume(
                f"fslv{number:02}",
                "jfs2",
                max(1, total - 1),
                len(group.sources),
                f"/{group.resource_group.lower()}",
            ),
        ],
        partition_mib=step,
    )


def load_node(row: dict[str, Any]) -> odm.NodeState:
    """Read a node's state as `dataclasses.asdict` wrote it."""
    groups = {
        name: odm.VolumeGroup(**{**group, "descriptor": load_descriptor(group["descriptor"])})
        for name, group in row["groups"].items()
    }
    hdisks = {name: odm.Hdisk(**disk) for name, disk in row["hdisks"].items()}
    stanzas = {name: odm.Stanza(**stanza) for name, stanza in row["file_systems"].items()}
    return odm.NodeState(**{**row, "groups": groups, "hdisks": hdisks, "file_systems": stanzas})


def load_cluster(row: dict[str, Any]) -> ClusterState:
    """Read the cluster's state."""
    groups = {name: ResourceGroup(**group) for name, group in row["resource_groups"].items()}
    return ClusterState(**{**row, "resource_groups": groups})
