"""Our client for AIX against the simulated nodes, over real SSH in this process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace

import captured
import pytest

from blocks.errors import FreezeExpired, HostError, ShortRead, TargetInUse
from blocks.host.aix import AixHost
from blocks.host.base import Disk, GroupState
from blocks.ssh import SshRunner, SshTarget
from blocks.store.memory import MemoryStore
from deployments.lab import wiring
from deployments.lab.daemon import NODE_LIMITS
from deployments.lab.keys import Keys
from deployments.lab.nodes import Nodes
from deployments.lab.sshd import Door, SshServer
from tasks.pipeline import CaptureSettings
from tasks.proven_reads import read_range

MIB = 1024 * 1024
GROUP = "sample_consistency_group"


@dataclass
class Site:
    """Two nodes behind SSH, on the arrays of `bench`."""

    bench: object
    nodes: Nodes
    hosts: dict[str, AixHost]
    runners: dict[str, SshRunner]

    @property
    def near(self) -> AixHost:
        return self.hosts["node1"]

    def disk(self, name: str, node: str = "node1") -> Disk:
        return next(disk for disk in self.hosts[node].disks() if disk.name == name)

    def start_copy(self) -> None:
        self.bench.ask(f"startfcconsistgrp -prep {GROUP}")


@pytest.fixture
def site(bench, tmp_path) -> Iterator[Site]:
    nodes = Nodes(tmp_path, bench.arrays)
    nodes.wire([wiring.Group(1)])
    keys = Keys(tmp_path / "keys")
    servers, runners, hosts = [], {}, {}
    for name, machine in nodes.machines.items():
        door = Door("root", [keys.public("id")])
        server = SshServer(name, keys.private(f"host_{name}"), door, machine.run, NODE_LIMITS)
        target = SshTarget(
            addresses=("127.0.0.1",),
            port=server.start(),
            user="root",
            private_key=keys.key_file("id").read_text(),
            host_key=keys.public(f"host_{name}"),
        )
        runners[name] = SshRunner(target)
        hosts[name] = AixHost(name, runners[name])
        servers.append(server)
    yield Site(bench, nodes, hosts, runners)
    for runner in runners.values():
        runner.close()
    for server in servers:
        server.stop()


def test_the_wired_disks_are_seen_with_uid_size_pvid_and_volume_group(site) -> None:
    disks = {disk.name: disk for disk in site.near.discover()}
    numbers = (0, 18, 19, 21, 22, 23, 24)
    assert sorted(disks) == sorted(f"hdisk{number}" for number in numbers)
    volumes = {v.name: v for v in site.bench.near.state.volumes.values()}
    for volume, number in wiring.Group(1).disks.items():
        disk = disks[f"hdisk{number}"]
        assert (disk.uid, disk.size_bytes) == (volumes[volume].uid, 4 * MIB)
    assert (disks["hdisk18"].volume_group, disks["hdisk18"].is_active) == ("VG1", True)
    assert disks["hdisk18"].pvid == wiring.pvid("Node1_1")
    assert (disks["hdisk23"].volume_group, disks["hdisk23"].pvid) == ("", "")


def test_the_second_site_sees_its_volumes_through_a_vios(site) -> None:
    volumes = {v.name: v for v in site.bench.far.state.volumes.values()}
    disks = {disk.name: disk.uid for disk in site.hosts["node2"].discover()}
    assert disks["hdisk4"] == volumes["Node2_1"].uid
    assert disks["hdisk5"] == volumes["Node2_2"].uid


def test_the_resource_group_is_online_on_one_node_of_a_stable_cluster(site) -> None:
    assert site.near.group_state("RG1") is GroupState.ONLINE
    assert site.hosts["node2"].group_state("RG1") is GroupState.OFFLINE
    assert site.near.group_state("RG9") is GroupState.UNKNOWN
    assert site.near.is_cluster_stable()
    assert site.near.volume_groups("RG1") == ["VG1"]


def test_a_whole_disk_is_written_and_read_back(site) -> None:
    data = os.urandom(3 * MIB) + bytes(MIB)
    with_holes = memoryview(data)
    writer = site.near.open_write(site.disk("hdisk23"))
    for start in range(0, len(data), 256 * 1024):
        writer.write(start, with_holes[start : start + 256 * 1024])
    writer.flush()
    back = bytearray(len(data))
    writer.read_into(0, memoryview(back))
    writer.close()
    assert back == data
    assert site.bench.path("Node1_6").read_bytes() == data


def test_zeros_are_made_on_the_node(site) -> None:
    site.bench.path("Node1_6").write_bytes(b"x" * 4 * MIB)
    writer = site.near.open_write(site.disk("hdisk23"))
    writer.zero(0, 4 * MIB)
    writer.flush()
    writer.close()
    assert not site.bench.path("Node1_6").read_bytes().strip(b"\0")


def test_a_disk_of_the_varied_on_group_is_not_written(site) -> None:
    with pytest.raises(TargetInUse, match="VG1"):
        site.near.open_write(site.disk("hdisk18"))


def test_a_prepared_target_cannot_be_read_and_a_started_one_can(site) -> None:
    site.bench.path("Node1_1").write_bytes(b"point in time".ljust(4 * MIB, b"."))
    target = site.disk("hdisk21")
    site.bench.ask(f"prestartfcconsistgrp {GROUP}")
    site.bench.clock.sleep(1)
    buffer = memoryview(bytearray(4 * MIB))
    with pytest.raises(ShortRead, match="input or output error"):
        site.near.open_read(target).read_into(0, buffer)
    site.bench.ask(f"startfcconsistgrp {GROUP}")
    reader = site.near.open_read(target)
    reader.read_into(0, buffer)
    reader.close()
    assert bytes(buffer).startswith(b"point in time.")


@contextmanager
def counted(site) -> Iterator[tuple[AixHost, Callable[[], int]]]:
    """Reach node1 through a door that counts the bytes crossing the wire, both ways."""
    crossed = []
    inner = site.runners["node1"]._target
    with socket.create_server(("127.0.0.1", 0)) as door:
        target = replace(inner, port=door.getsockname()[1])

        def carry(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    crossed.append(len(data))
                    sink.sendall(data)
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    near, _ = door.accept()
                    far = socket.create_connection(("127.0.0.1", inner.port))
                    ends.extend((near, far))
                    for one, other in ((near, far), (far, near)):
                        threading.Thread(target=carry, args=(one, other), daemon=True).start()

        ends: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        runner = SshRunner(target)
        try:
            yield AixHost("node1", runner), lambda: sum(crossed)
        finally:
            runner.close()
            door.shutdown(socket.SHUT_RDWR)
            for end in ends:
                end.close()


def capture(host: AixHost, store: MemoryStore, disk: Disk, folder: str, parent=None):
    """Capture a disk as the flow does, with small extents."""
    settings = CaptureSettings(extent_bytes=64 * 1024, encoders=2, uploads=2)
    with closing(host.open_read(disk)) as reader:
        return captured.capture(
            reader,
            store,
            folder,
            settings=settings,
            parent=parent,
            uid=disk.uid,
            disk=disk.name,
        )


def test_an_incremental_over_ssh_moves_what_changed_and_no_more(site) -> None:
    data = bytearray(os.urandom(4 * MIB))
    site.bench.path("Node1_1").write_bytes(data)
    disk, store = site.disk("hdisk18"), MemoryStore()
    with counted(site) as (host, crossed):
        parent, _ = capture(host, store, disk, "g/a/")
        assert crossed() > 4 * MIB
        data[MIB : MIB + 100] = os.urandom(100)
        data[2 * MIB : 3 * MIB] = bytes(MIB)
        site.bench.path("Node1_1").write_bytes(data)
        before = crossed()
        taken, captured = capture(host, store, disk, "g/b/", parent)
        moved = crossed() - before
    assert not captured.is_full
    assert (captured.changed_bytes, captured.zero_bytes) == (64 * 1024, MIB)
    # The extent, the program twice (to ask whether it can), a digest for each extent, SSH's own.
    assert 64 * 1024 < moved < 64 * 1024 + 48 * 1024
    assert read_range(*taken, store, 0, 4 * MIB) == data


def test_an_incremental_from_a_node_without_python_reads_the_disk(site) -> None:
    site.nodes.machines["node1"].state.has_python = False
    data = bytearray(os.urandom(4 * MIB))
    site.bench.path("Node1_1").write_bytes(data)
    disk, store = site.disk("hdisk18"), MemoryStore()
    parent, _ = capture(site.near, store, disk, "g/a/")
    data[MIB] ^= 1
    site.bench.path("Node1_1").write_bytes(data)
    taken, captured = capture(site.near, store, disk, "g/b/", parent)
    assert (captured.read_bytes, captured.changed_bytes) == (4 * MIB, 64 * 1024)
    assert read_range(*taken, store, 0, 4 * MIB) == data


def test_a_freeze_thaws_when_left(site) -> None:
    with site.near.frozen(["VG1"], 30):
        assert "/rg1" in site.nodes.machines["node1"].state.frozen
    assert not site.nodes.machines["node1"].state.frozen


def test_a_freeze_that_lasted_too_long_is_told(site) -> None:
    def dawdle() -> None:
        with site.near.frozen(["VG1"], 30):
            site.bench.clock.sleep(31)
            site.nodes.tick()

    with pytest.raises(FreezeExpired, match="/rg1"):
        dawdle()


def restore(site, names=("hdisk23", "hdisk24")) -> list[Disk]:
    """Write the spares as a restore does: other bytes than the sources have now."""
    sources = [site.bench.path(name) for name in ("Node1_1", "Node1_2")]
    for number, path in enumerate(sources):
        path.write_bytes(bytes([65 + number]) * 4 * MIB)
    site.start_copy()
    for path, name in zip(sources, names, strict=True):
        data = path.read_bytes()
        path.write_bytes(os.urandom(4 * MIB))
        writer = site.near.open_write(site.disk(name))
        writer.write(0, data)
        writer.flush()
        writer.close()
    return [site.disk(name) for name in names]


@pytest.mark.parametrize("names", [("hdisk23", "hdisk24"), ("hdisk24", "hdisk23")])
def test_restored_disks_become_a_group_beside_the_original(site, names) -> None:
    disks = restore(site, names)
    site.near.recreate_group("VG1r", disks)
    after = {disk.name: disk for disk in site.near.disks()}
    assert after["hdisk23"].volume_group == after["hdisk24"].volume_group == "VG1r"
    assert after["hdisk18"].volume_group == "VG1"
    pvids = {after[f"hdisk{number}"].pvid for number in (18, 19, 23, 24)}
    assert len(pvids) == 4
    site.near.release_group("VG1r")
    assert site.disk("hdisk23").volume_group == ""


def test_restored_disks_are_imported_when_the_original_is_gone(site) -> None:
    disks = restore(site)
    machine = site.nodes.machines["node1"]
    machine.state.mounted.clear()
    site.near.release_group("VG1")
    site.near.import_group("VG1", disks, major=54)
    assert site.disk("hdisk24").volume_group == "VG1"


def test_a_blank_disk_is_no_volume_group(site) -> None:
    with pytest.raises(HostError, match="importvg"):
        site.near.import_group("VGx", [site.disk("hdisk23")])
    with pytest.raises(HostError, match="recreatevg"):
        site.near.recreate_group("VGx", [site.disk("hdisk23")])


def test_a_list_that_is_not_the_whole_group_is_refused(site) -> None:
    disks = restore(site)
    with pytest.raises(HostError, match="does not match"):
        site.near.recreate_group("VG1r", disks[:1])


def test_a_group_in_use_is_not_released(site) -> None:
    with pytest.raises(HostError, match="0516-012"):
        site.near.release_group("VG1")


def test_what_the_nodes_know_survives_a_restart(site) -> None:
    site.near.recreate_group("VG1r", restore(site))
    again = Nodes(site.nodes.directory, site.bench.arrays)
    for name, machine in site.nodes.machines.items():
        assert again.machines[name].state == machine.state
    assert again.cluster.state == site.nodes.cluster.state
    assert again.labels.by_uid == site.nodes.labels.by_uid
