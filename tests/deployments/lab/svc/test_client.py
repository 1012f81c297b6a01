"""Our client against the lab's array: written apart, from the same document.

What the document says is typed here a third time; where client and lab disagree, it decides.
"""

from __future__ import annotations

import shlex

import pytest

from blocks.errors import (
    SvcBusy,
    SvcError,
    SvcObjectMissing,
    SvcStateError,
    UnknownHostKey,
)
from blocks.host.linux import LinuxHost
from blocks.runner import Completed, LocalRunner
from blocks.ssh import SshTarget
from blocks.svc.client import SvcClient, connect
from blocks.svc.flashcopy import FlashCopyGroup
from blocks.svc.model import CopyState
from deployments.lab.keys import Keys
from deployments.lab.shell import run_line
from deployments.lab.sshd import Door, SshServer
from deployments.lab.svc.states import MAPPING_STATES

GROUP = "sample_consistency_group"
MIB = 1024 * 1024


class InProcess:
    """Runs commands on the lab's array without a network; a little time passes with each."""

    address = "lab"

    def __init__(self, bench):
        self.bench = bench

    def run(self, command, *, timeout_s=60.0, stdin=None):
        self.bench.clock.sleep(0.02)
        answer = self.bench.near.run(shlex.split(command))
        return Completed(answer.status, answer.stdout, answer.stderr)

    def close(self):
        pass


@pytest.fixture
def client(bench, monkeypatch):
    monkeypatch.setattr("blocks.svc.flashcopy.POLL_S", 0.001)
    monkeypatch.setattr("blocks.svc.flashcopy.POLL_MAX_S", 0.001)
    made = SvcClient(InProcess(bench))
    made.shell._pause = lambda seconds: None
    return made


@pytest.fixture
def group(bench, client):
    return FlashCopyGroup(client, GROUP, clock=bench.clock.now)


def bring_to(bench, state):
    for mapping in bench.near.state.mappings.values():
        mapping.status = "idle_or_copied"
    if state == "suspended":
        for mapping in bench.near.state.mappings.values():
            mapping.status = state
        return
    steps = {
        "idle_or_copied": [],
        "preparing": ["prestart"],
        "prepared": ["prestart", 1],
        "copying": ["prestart", 1, "start"],
        "stopping": ["prestart", 1, "start", "stop"],
        "stopped": ["prestart", 1, "start", "stop", 1],
    }[state]
    for step in steps:
        if isinstance(step, int):
            bench.clock.sleep(step)
        else:
            bench.ask(f"{step}fcconsistgrp {GROUP}")


def test_every_view_is_read(bench, client):
    system = client.lssystem()
    assert system.name == "storage1"
    assert "8." in system.code_level
    volumes = client.lsvdisk()
    assert {volume.size_bytes for volume in volumes} == {4 * MIB}
    assert client.lsvdisk(volumes[0].name) == volumes[0]
    assert client.lsvdisk(filtervalue={"vdisk_UID": volumes[1].uid}) == [volumes[1]]
    assert [host.name for host in client.lshost()][:2] == ["node1", "node2"]
    shown = {one.volume_uid for one in client.lshostvdiskmap("node1")}
    assert shown == {volume.uid for volume in volumes}
    assert {one.host_name for one in client.lsvdiskhostmap(volumes[0].name)} == {
        "node1",
        "backuphost",
    }
    assert client.lsfcconsistgrp()[0].name == GROUP
    detail = client.lsfcconsistgrp(GROUP)
    assert len(detail.mappings) == 2
    mapping = client.lsfcmap(detail.mappings[0][0])
    assert (mapping.source_name, mapping.target_name) == ("Node1_1", "Node1_4")
    assert (mapping.difference, mapping.grain_kib, mapping.copy_rate) == (100, 256, 50)
    assert client.lsfcmap(filtervalue={"group_name": GROUP})[0].id == mapping.id
    assert client.lseventlog() is not None


def test_every_object_is_made_changed_and_removed(client):
    made = client.mkfcconsistgrp(name="g1")
    assert client.lsfcconsistgrp("g1").id == made
    source = client.mkvdisk(name="v1", mdiskgrp="Pool0", size_bytes=4 * MIB)
    client.mkvdisk(name="v2", mdiskgrp="Pool0", size_bytes=4 * MIB)
    mapping = client.mkfcmap(
        source=source, target="v2", consistgrp="g1", copyrate=0, incremental=True
    )
    shown = client.lsfcmap(mapping)
    assert (shown.is_incremental, shown.copy_rate, shown.group_name) == (True, 0, "g1")
    client.chfcmap(mapping, copyrate=150)
    assert client.lsfcmap(mapping).copy_rate == 150
    assert client.lsfcmapprogress(mapping) == 0
    client.mkvdiskhostmap("v2", host="node1")
    with pytest.raises(SvcStateError):
        client.rmvdisk("v2")
    client.rmvdiskhostmap("v2", host="node1")
    client.rmfcmap(mapping)
    client.rmfcconsistgrp("g1")
    client.rmvdisk("v1")
    client.rmvdisk("v2")
    with pytest.raises(SvcObjectMissing):
        client.lsvdisk("v1")


def test_refusals_have_the_documents_codes(client):
    cases = [
        ("CMMVC5924E", lambda: client.mkfcmap(source="Node1_1", target="small")),
        ("CMMVC6303E", lambda: client.mkfcmap(source="Node1_1", target="Node1_1")),
        ("CMMVC6035E", lambda: client.mkfcconsistgrp(name=GROUP)),
        ("CMMVC6527E", lambda: client.mkfcconsistgrp(name="1st")),
    ]
    client.mkvdisk(name="small", mdiskgrp="Pool0", size_bytes=2 * MIB)
    for code, refused in cases:
        with pytest.raises(SvcError) as caught:
            refused()
        assert caught.value.code == code


def test_busy_is_asked_again_and_given_up_after_three(bench, client):
    bench.near.faults.busy = 2
    assert client.lssystem().name == "storage1"
    bench.near.faults.busy = 3
    with pytest.raises(SvcBusy):
        client.lssystem()


# docs/reference/svc-cli.md §5: what is legal from each state. None: without effect.
LEGAL = {
    "prestart": {"idle_or_copied", "stopped"},
    "start": {"prepared"},
    "start -prep": {"idle_or_copied", "stopped"},
    "stop": {"idle_or_copied", "prepared", "copying", "stopping", "suspended"},
    "rm": {"idle_or_copied"},
    "rm -force": {"idle_or_copied", "stopped"},
}


@pytest.mark.parametrize("state", MAPPING_STATES)
@pytest.mark.parametrize("command", LEGAL)
def test_client_lab_and_document_agree_on_every_state_and_command(bench, client, state, command):
    bring_to(bench, state)
    mapping = client.lsfcconsistgrp(GROUP).mappings[0][0]
    bring_to(bench, state)
    commands = {
        "prestart": lambda: client.prestartfcconsistgrp(GROUP),
        "start": lambda: client.startfcconsistgrp(GROUP),
        "start -prep": lambda: client.startfcconsistgrp(GROUP, prep=True),
        "stop": lambda: client.stopfcconsistgrp(GROUP),
        "rm": lambda: client.rmfcmap(mapping),
        "rm -force": lambda: client.rmfcmap(mapping, force=True),
    }
    if state in LEGAL[command]:
        commands[command]()
    else:
        with pytest.raises(SvcStateError):
            commands[command]()


@pytest.mark.parametrize("state", MAPPING_STATES)
def test_a_group_is_prepared_started_and_stopped_from_every_state(bench, group, state):
    bring_to(bench, state)
    if state == "suspended":
        # The lab's bitmap returns by a fault switch only: let it be back.
        bring_to(bench, "copying")
    assert group.prepare(60).status is CopyState.PREPARED
    assert group.start().status is CopyState.COPYING
    assert group.stop(60) is CopyState.STOPPED


@pytest.mark.parametrize("state", MAPPING_STATES)
def test_a_group_is_led_back_from_every_state(bench, group, state):
    bring_to(bench, state)
    assert group.abandon(60) not in {CopyState.PREPARED, CopyState.PREPARING}


def test_a_failing_flush_ends_stopped_and_is_told(bench, group):
    bench.near.faults.flush_fails = 2
    with pytest.raises(SvcStateError, match="flush failed"):
        group.prepare(60)
    assert group.status() is CopyState.STOPPED


def test_an_incremental_copy_tells_its_difference(bench, client):
    client.mkfcconsistgrp(name="inc")
    client.mkfcmap(
        source="Node1_6", target="Node1_7", consistgrp="inc", copyrate=150, incremental=True
    )
    group = FlashCopyGroup(client, "inc", clock=bench.clock.now)
    assert group.difference() == 100
    group.prepare(60)
    group.start()
    group.wait_until({CopyState.IDLE_OR_COPIED}, 60)
    assert group.difference() == 0
    with bench.path("Node1_6").open("r+b") as volume:
        volume.write(b"x" * MIB)
    assert group.difference() == 25


def test_the_target_is_a_disk_of_the_linux_host_only_when_it_can_be_read(bench, group):
    host = LinuxHost(
        "backuphost",
        LocalRunner(),
        device_directory=str(bench.arrays.device_directory("backuphost")),
    )
    target = next(v.uid for v in bench.near.state.volumes.values() if v.name == "Node1_4")
    assert target in {disk.uid for disk in host.discover()}
    group.prepare(60)
    bench.arrays.tick()
    assert target not in {disk.uid for disk in host.discover()}
    group.start()
    disk = next(disk for disk in host.discover() if disk.uid == target)
    assert disk.size_bytes == 4 * MIB
    assert disk.path == str(bench.path("Node1_4"))


def test_over_ssh_it_is_the_same(bench, tmp_path):
    keys = Keys(tmp_path / "keys")
    door = Door("admin", [keys.public("id")])

    def execute(line, streams):
        def lookup(name):
            def program(words, io):
                answer = bench.near.run(words)
                io.say(answer.stdout)
                io.complain(answer.stderr)
                return answer.status

            return program

        return run_line(line, lookup, streams)

    server = SshServer("storage1", keys.private("host"), door, execute)
    server.start()
    target = SshTarget(
        ("127.0.0.1",),
        "admin",
        server.port,
        host_key=keys.public("host"),
        private_key=keys.key_file("id").read_text(),
    )
    with connect(target) as client:
        assert client.lsfcconsistgrp(GROUP).name == GROUP
        with pytest.raises(SvcObjectMissing):
            client.lsfcconsistgrp("nonesuch")
    unpinned = SshTarget(("127.0.0.1",), "admin", server.port, private_key=target.private_key)
    with connect(unpinned) as client, pytest.raises(UnknownHostKey):
        client.lssystem()
    server.stop()
