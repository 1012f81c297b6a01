"""What `lab fault` breaks, asked of a daemon in this process."""

from __future__ import annotations

import json

import pytest

from deployments.lab.daemon import Daemon

MIB = 1024 * 1024
GROUP = "sample_consistency_group"


@pytest.fixture
def daemon(tmp_path):
    (tmp_path / "lab.json").write_text(json.dumps({"size_bytes": 4 * MIB, "groups": 1}))
    made = Daemon(tmp_path)
    made.start()
    yield made
    for server in made.servers.values():
        server.stop()


def act(daemon, action, **words):
    return daemon.act({"action": action, **words})["faults"]


def ask(daemon, line, array="storage1"):
    return daemon.arrays.systems[array].run(line.split())


def test_nothing_is_broken_at_first(daemon) -> None:
    assert act(daemon, "ask") == []


def test_a_busy_array_says_so_as_often_as_asked_for(daemon) -> None:
    assert act(daemon, "busy", name="storage1", count=2) == ["array storage1: busy 2"]
    assert [ask(daemon, "lssystem").status for _ in range(3)] == [11, 11, 0]


def test_a_command_is_refused_with_the_code_asked_for(daemon) -> None:
    act(daemon, "refuse", name="storage1", command="prestart", code="CMMVC5903E", count=1)
    assert ask(daemon, "lssystem").status == 0
    answer = ask(daemon, f"prestartfcconsistgrp {GROUP}")
    assert (answer.status, answer.stderr.split()[0]) == (1, "CMMVC5903E")
    assert ask(daemon, f"prestartfcconsistgrp {GROUP}").status == 0


@pytest.mark.parametrize(
    ("action", "code"), [("refuse", "5903"), ("refuse", "CMMVC6372W"), ("warn", "CMMVC5903E")]
)
def test_a_code_no_array_has_is_refused(daemon, action, code) -> None:
    with pytest.raises(ValueError, match="no message code"):
        act(daemon, action, name="storage1", command="ls", code=code, count=1)
    assert ask(daemon, "lssystem -nohdr").status == 0


def test_a_warning_comes_with_success(daemon) -> None:
    act(daemon, "warn", name="storage1", code="CMMVC6372W")
    answer = ask(daemon, "mkvdisk -mdiskgrp Pool0 -size 1 -name new")
    assert (answer.status, answer.stderr.split()[0]) == (0, "CMMVC6372W")


def test_a_failed_flush_stops_the_group(daemon) -> None:
    act(daemon, "flush", name="storage1", count=1)
    ask(daemon, f"startfcconsistgrp -prep {GROUP}")
    assert "status:stopped" in ask(daemon, f"lsfcconsistgrp -delim : {GROUP}").stdout


def test_a_volume_goes_offline_and_comes_back(daemon) -> None:
    system = daemon.arrays.systems["storage1"]
    assert act(daemon, "volume", name="Node1_4", up=False) == [
        "volume Node1_4 of storage1 is offline"
    ]
    assert not system.can_access(system.volume("Node1_4"))
    assert "offline" in ask(daemon, "lsvdisk -delim : Node1_4").stdout
    assert act(daemon, "volume", name="Node1_4", up=True) == []
    assert system.can_access(system.volume("Node1_4"))


def test_a_suspended_group_takes_its_sources_offline(daemon) -> None:
    act(daemon, "suspend", name="storage1", group=GROUP, up=False)
    system = daemon.arrays.systems["storage1"]
    assert not system.can_access(system.volume("Node1_1"))
    assert "suspended" in ask(daemon, f"lsfcconsistgrp {GROUP}").stdout
    act(daemon, "suspend", name="storage1", group=GROUP, up=True)
    assert system.can_access(system.volume("Node1_1"))


def test_an_array_without_power_stays_so_over_a_restart_of_the_lab(daemon) -> None:
    assert act(daemon, "array", name="storage1", up=False) == ["array storage1 is off"]
    act(daemon, "array", name="storage1", up=False)
    again = Daemon(daemon.directory)
    again.start()
    try:
        assert set(again.servers) == {"storage2", "node1", "node2"}
        act(again, "array", name="storage1", up=True)
        assert "storage1" in again.servers
        assert act(again, "array", name="storage1", up=True) == []
    finally:
        for server in again.servers.values():
            server.stop()


def test_the_cut_link_stays_cut_over_a_restart_of_the_lab(daemon) -> None:
    act(daemon, "link", up=False)
    assert act(Daemon(daemon.directory), "ask") == ["the link storage1 - storage2 is cut"]


def test_everything_is_mended_at_once(daemon) -> None:
    act(daemon, "link", up=False)
    act(daemon, "array", name="storage2", up=False)
    act(daemon, "login", name="storage1", count=3)
    act(daemon, "volume", name="Node1_1", up=False)
    act(daemon, "suspend", name="storage1", group=GROUP, up=False)
    act(daemon, "cluster", state="ST_RP_RUNNING")
    assert len(act(daemon, "python", name="node1", up=False)) >= 7
    assert act(daemon, "clear") == []


@pytest.mark.parametrize(
    "words",
    [
        {"action": "busy", "name": "storage9", "count": 1},
        {"action": "volume", "name": "nowhere", "up": False},
        {"action": "drop", "name": "nowhere"},
        {"action": "python", "name": "storage1", "up": False},
        {"action": "suspend", "name": "storage1", "group": "nowhere", "up": False},
    ],
)
def test_what_is_not_there_cannot_be_broken(daemon, words) -> None:
    with pytest.raises(ValueError, match="no "):
        daemon.act(words)
