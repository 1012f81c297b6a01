"""The polls of the second site over two simulated arrays, without network, server or waiting."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from mirror_names import COPY_S, GROUP, PAIRS

from blocks.errors import (
    ConfigError,
    Refused,
)
from flows import failover as moves
from flows import replicate as watching
from tasks import (
    remote_memory,
    remote_setup,
    replication,
)
from tasks.journal import GroupLock
from tasks.remote_look import pause_s
from tasks.remote_memory import recall

MIB = 1024 * 1024


def test_the_first_copy_is_started_followed_and_told_when_done(bench) -> None:
    bench.write("Node1_1", os.urandom(MIB))
    bench.configure()
    seen = bench.poll()
    assert seen["started"].startswith("started: all of storage2's volumes")
    assert (seen["condition"], seen["told"]) == ("copying", [])
    progress = []
    for _ in range(6):
        bench.clock.sleep(0.01)
        progress.append(bench.poll()["progress"])
    assert progress == sorted(progress)
    assert 0 < progress[-1] < 100
    bench.clock.sleep(COPY_S)
    seen = bench.poll()
    assert (seen["condition"], seen["told"], seen["lag_s"]) == ("in sync", ["in_sync"], 0.0)
    assert bench.same()
    assert bench.poll()["told"] == []
    assert bench.told == ["remote_in_sync"]


def test_a_poll_of_a_healthy_group_is_a_handful_of_queries(bench) -> None:
    bench.synchronize()
    bench.poll()
    for name in ("storage1", "storage2"):
        assert len([words for where, words in bench.lines if where == name]) <= 5
    assert bench.sent() == []


def commands_of_an_hour(bench) -> int:
    """Poll for an hour as the schedule does; return what the busier array was asked."""
    bench.lines.clear()
    for _ in range(12):
        bench.poll()
    return max(
        len([words for where, words in bench.lines if where == name])
        for name in ("storage1", "storage2")
    )


def test_an_hour_of_watching_is_about_a_command_a_minute(bench) -> None:
    bench.configure()
    bench.poll()
    assert commands_of_an_hour(bench) <= 60 + 3, "a copy under way: five commands a poll"
    bench.clock.sleep(COPY_S)
    bench.poll()
    assert commands_of_an_hour(bench) <= 48 + 3, "in sync: four commands a poll"
    bench.arrays.link(is_up=False)
    members = len(PAIRS)
    assert commands_of_an_hour(bench) <= 12 * (6 + members), "apart: each member is asked too"


@pytest.mark.parametrize(
    ("watched_s", "bound_s", "expected_s"),
    [(0, 7200, 10), (60, 7200, 10), (300, 7200, 30), (3600, 7200, 60), (0, 30, 0.5)],
)
def test_a_watch_looks_more_rarely_the_longer_it_lasts(watched_s, bound_s, expected_s) -> None:
    assert pause_s(watched_s, bound_s) == expected_s


def test_a_link_cut_and_joined_is_told_in_two_sentences(bench) -> None:
    bench.synchronize()
    bench.arrays.link(is_up=False)
    assert bench.poll()["told"] == ["degraded"]
    assert bench.poll()["told"] == []
    bench.arrays.link(is_up=True)
    assert bench.poll()["told"] == ["recovered"]
    assert bench.told == ["remote_degraded", "remote_recovered"]


def test_an_old_consistent_copy_is_not_given_up_unasked(bench) -> None:
    bench.synchronize()
    bench.arrays.link(is_up=False)
    bench.write("Node1_1", b"meanwhile")
    bench.arrays.link(is_up=True)
    seen = bench.poll()
    assert seen["state"] == "consistent_stopped"
    assert "--resync" in seen["started"]
    assert bench.sent() == []
    with pytest.raises(Refused, match="not approved"):
        bench.poll(resync=True)
    assert bench.sent() == []
    seen = bench.poll(resync=True, approved=True)
    assert "the consistent copy" in seen["started"]
    bench.clock.sleep(COPY_S)
    assert bench.poll()["told"] == ["recovered"]
    assert bench.same()


def test_a_stopped_group_that_is_in_sync_goes_on_by_itself(bench) -> None:
    bench.synchronize()
    bench.ask(f"stoprcconsistgrp {GROUP}")
    assert bench.poll()["condition"] == "in sync"
    assert bench.sent() == ["startrcconsistgrp"]


def test_a_disk_mapped_to_nobody_is_an_alarm_though_the_state_is_fine(bench) -> None:
    for node in ("node2", "backuphost"):
        bench.ask(f"rmvdiskhostmap -host {node} Node2_1", "storage2")
    bench.configure()
    bench.poll()
    bench.clock.sleep(COPY_S)
    seen = bench.poll()
    assert seen["condition"] == "impaired"
    assert any("Node2_1" in note and "mapped to no host" in note for note in seen["notes"])
    assert bench.told == ["remote_degraded"]


@pytest.mark.parametrize(("newer_s", "newest"), [(60, "the cloud"), (-60, "the second site")])
def test_a_poll_shows_the_newest_of_both_methods(bench, monkeypatch, newer_s, newest) -> None:
    bench.synchronize()
    point = datetime.now(UTC) + timedelta(seconds=newer_s)
    monkeypatch.setattr(remote_setup, "newest_cloud_point", lambda *_: point)
    for file in (bench.state / "remote").glob("*.json"):
        file.unlink()  # so that this poll looks at what is looked at once an hour
    ending = watching.replicate.fn("RG1")
    assert f"cloud: {point:%Y-%m-%d %H:%M:%S} UTC; newest of both: {newest}" in ending.markdown
    assert ending.report["newest_of_both"] in newest
    assert "cloud:" not in moves.failover.fn("RG1", dry_run=True).markdown


def test_a_second_poll_at_the_same_time_leaves_it_to_the_first(bench) -> None:
    bench.configure()
    lock = GroupLock("RG1 remote", "replicate")
    try:
        assert bench.poll()["outcome"] == "skipped"
    finally:
        lock.close()


def test_two_names_of_one_array_are_no_mirror(bench) -> None:
    bench.configure()
    bench.alias["storage2"] = "storage1"
    with pytest.raises(ConfigError, match="the same side"):
        bench.poll()


def test_a_group_that_is_not_there_is_an_alarm_that_says_so(bench) -> None:
    seen = bench.poll()
    assert (seen["condition"], seen["told"]) == ("unseen", ["degraded"])
    assert all("CMMVC5754E" in note for note in seen["notes"])
    assert "no array tells of the group" in moves.failover.fn("RG1", dry_run=True).summary


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_poll_killed_while_it_tells_is_made_good_by_the_next(bench, monkeypatch, when) -> None:
    bench.synchronize()
    bench.arrays.link(is_up=False)

    def killed(*words: object, **facts: str) -> None:
        if when == "after":
            bench.told.append(words[1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replication, "notify", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.poll()
    assert recall("RG1").untold[0].transition == "degraded"
    assert bench.poll()["told"] == ["degraded"]
    assert bench.poll()["told"] == []
    # Killed between telling and crossing out, it is told once more: better than not at all.
    assert bench.told == ["remote_degraded"] * (2 if when == "after" else 1)
    bench.arrays.link(is_up=True)
    assert bench.poll()["told"] == ["recovered"]


def test_an_alarm_whose_run_was_killed_is_told_though_all_is_well_again(bench, monkeypatch) -> None:
    bench.synchronize()
    bench.arrays.link(is_up=False)

    def killed(*_: object, **__: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replication, "notify", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.poll()
    bench.arrays.link(is_up=True)
    assert bench.poll()["told"] == ["degraded", "recovered"]
    assert bench.told == ["remote_degraded", "remote_recovered"]


class Variables:
    """Prefect's variables, on a server that can be away."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.is_away = False

    def get(self, name: str, default=None):
        self._ask()
        return self.texts.get(name, default)

    def set(self, name: str, text: str, *, overwrite: bool) -> None:
        self._ask()
        self.texts[name] = text

    def _ask(self) -> None:
        if self.is_away:
            raise httpx.ConnectError("All connection attempts failed")


def test_a_prefect_server_that_is_away_during_polls_costs_no_transition(bench, monkeypatch) -> None:
    server = Variables()
    monkeypatch.setattr(remote_memory, "Variable", server)
    monkeypatch.setattr(remote_memory, "has_api", lambda: True)
    bench.synchronize()
    server.is_away = True
    bench.arrays.link(is_up=False)
    assert [bench.poll()["told"], bench.poll()["told"]] == [["degraded"], []]
    # It is back with what it knew before it went away: older than this machine's memory.
    server.is_away = False
    assert bench.poll()["told"] == []
    bench.arrays.link(is_up=True)
    assert [bench.poll()["told"], bench.poll()["told"]] == [["recovered"], []]
    assert bench.told == ["remote_degraded", "remote_recovered"]
    # Another worker, which has no file: it goes on from the variable.
    for file in (bench.state / "remote").iterdir():
        file.unlink()
    assert bench.poll()["told"] == []


def test_a_notice_told_again_has_the_same_id(bench, monkeypatch) -> None:
    ids = []
    monkeypatch.setattr(replication, "notify", lambda *_, notice_id, **__: ids.append(notice_id))
    keep = replication.remember

    def killed(group: str, memory) -> None:
        if ids:
            raise KeyboardInterrupt
        keep(group, memory)

    bench.configure()
    bench.ask(f"startrcconsistgrp {GROUP}")
    bench.clock.sleep(COPY_S)
    with monkeypatch.context() as patch:
        patch.setattr(replication, "remember", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.poll()
    assert bench.poll()["told"] == ["in_sync"]
    assert len(ids) == 2
    assert len(set(ids)) == 1
