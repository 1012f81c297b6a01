"""Our remote-copy client against the lab's pair of arrays, over svc-cli.md §6."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from blocks.errors import ConfigError, Refused, SvcStateError
from blocks.runner import Completed
from blocks.svc.client import SvcClient
from blocks.svc.model import RemoteState, Side
from blocks.svc.replication import (
    ON_START,
    ON_STOP,
    ON_STOP_ACCESS,
    ON_SWITCH,
    Move,
    RemoteGroup,
)
from deployments.lab.svc.states import REMOTE_STATES

GROUP = "sample_remote_cg"
PAIRS = [("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")]
COPY_S = 5.0


class InProcess:
    """Runs commands on one of the lab's arrays without a network."""

    address = "lab"

    def __init__(self, bench, system):
        self.bench, self.system = bench, system

    def run(self, command, *, timeout_s=60.0, stdin=None):
        self.bench.clock.sleep(0.02)
        answer = self.system.run(shlex.split(command))
        return Completed(answer.status, answer.stdout, answer.stderr)

    def close(self):
        pass


@pytest.fixture
def near(bench, monkeypatch):
    monkeypatch.setattr("blocks.svc.replication.POLL_S", 0.001)
    monkeypatch.setattr("blocks.svc.replication.POLL_MAX_S", 0.001)
    return SvcClient(InProcess(bench, bench.near))


@pytest.fixture
def far(bench):
    return SvcClient(InProcess(bench, bench.far))


@pytest.fixture
def group(near):
    return RemoteGroup(near, GROUP)


def configure(near):
    partner = next(one for one in near.lspartnership() if one.state == "fully_configured")
    near.mkrcconsistgrp(name=GROUP, cluster=partner.id)
    for master, aux in PAIRS:
        near.mkrcrelationship(master=master, aux=aux, cluster=partner.id, consistgrp=GROUP)


def bring_to(bench, near, group, state):
    if state == "empty":
        near.mkrcconsistgrp(name=GROUP, cluster="storage2")
        return
    configure(near)
    if state not in {"inconsistent_stopped", "inconsistent_disconnected"}:
        near.startrcconsistgrp(GROUP)
    if state == "inconsistent_copying":
        return
    if state not in {"inconsistent_stopped", "inconsistent_disconnected"}:
        bench.clock.sleep(COPY_S)
        assert group.state() is RemoteState.CONSISTENT_SYNCHRONIZED
    if state == "consistent_stopped":
        near.stoprcconsistgrp(GROUP)
    if state == "idling":
        near.stoprcconsistgrp(GROUP, access=True)
    if state.endswith("_disconnected"):
        bench.arrays.link(is_up=False)


def seen_from(state, near, far):
    """The far half shows what the near one calls idling_disconnected."""
    is_far = state in {"inconsistent_disconnected", "consistent_disconnected"}
    return RemoteGroup(far if is_far else near, GROUP)


# Reached in the lab by commands; consistent_copying needs cycling, which it does not have.
REACHABLE = [state for state in REMOTE_STATES if state != "consistent_copying"]


@pytest.mark.parametrize("state", ["empty", *(s for s in REACHABLE if s != "empty")])
@pytest.mark.parametrize("move", ["start", "stop", "stop -access", "switch"])
def test_what_the_tables_call_legal_the_array_does(bench, near, far, group, state, move):
    bring_to(bench, near, group, state)
    asked = seen_from(state, near, far)
    assert asked.state() == state
    table = {"start": ON_START, "stop": ON_STOP, "stop -access": ON_STOP_ACCESS}
    meaning = table.get(move, ON_SWITCH)[RemoteState(state)]
    moves = {
        "start": lambda: asked.start(Side.MASTER if meaning is Move.NEEDS_PRIMARY else None),
        "stop": asked.stop,
        "stop -access": lambda: asked.stop(access=True),
        "switch": lambda: asked.switch(Side.AUX),
    }
    if meaning is Move.REFUSE:
        with pytest.raises((SvcStateError, ConfigError)):
            moves[move]()
        assert asked.state() == state
    else:
        moves[move]()


@pytest.mark.parametrize("state", [s for s in REACHABLE if s != "empty"])
@pytest.mark.parametrize("command", ["start", "stop", "stop -access", "switch"])
def test_what_the_tables_refuse_the_array_refuses_too(bench, near, far, group, state, command):
    bring_to(bench, near, group, state)
    asked = far if state in {"inconsistent_disconnected", "consistent_disconnected"} else near
    table = {"start": ON_START, "stop": ON_STOP, "stop -access": ON_STOP_ACCESS}
    meaning = table.get(command, ON_SWITCH)[RemoteState(state)]
    raw = {
        "start": lambda: asked.startrcconsistgrp(GROUP),
        "stop": lambda: asked.stoprcconsistgrp(GROUP),
        "stop -access": lambda: asked.stoprcconsistgrp(GROUP, access=True),
        "switch": lambda: asked.switchrcconsistgrp(GROUP, primary=Side.AUX),
    }
    if meaning in {Move.REFUSE, Move.NEEDS_PRIMARY}:
        with pytest.raises(SvcStateError):
            raw[command]()
    else:
        raw[command]()


def test_a_copy_is_watched_to_its_end(bench, near, group):
    configure(near)
    assert group.health().progress_percent == 0
    assert group.start() is Move.GO
    assert group.health().troubles == [f"group {GROUP} is inconsistent_copying"]
    bench.clock.sleep(COPY_S / 20)
    group.wait_until({RemoteState.CONSISTENT_SYNCHRONIZED}, 60)
    health = group.health()
    assert (health.troubles, health.progress_percent) == ([], 100)
    assert health.lag(datetime.fromtimestamp(bench.clock.now(), UTC)) == timedelta(0)


def test_a_stopped_group_tells_how_old_its_far_side_is(bench, near, group):
    bring_to(bench, near, group, "consistent_stopped")
    bench.clock.sleep(600)
    now = group.array_now(datetime.fromtimestamp(bench.clock.now(), UTC))
    lag = group.health().lag(now)
    assert timedelta(minutes=9) <= lag <= timedelta(minutes=12)


def test_writes_since_the_stop_need_a_persons_word(bench, near, group):
    bring_to(bench, near, group, "consistent_stopped")
    with bench.path("Node1_1").open("r+b") as volume:
        volume.write(b"written since")
    with pytest.raises(Refused, match="inconsistent"):
        group.start()
    assert group.state() is RemoteState.CONSISTENT_STOPPED
    assert group.start(overwrite=True) is Move.GO
    group.wait_until({RemoteState.CONSISTENT_SYNCHRONIZED}, 60)


def test_an_idling_group_whose_other_side_was_written_needs_a_persons_word(bench, near, group):
    bring_to(bench, near, group, "idling")
    with bench.path("Node2_1", "storage2").open("r+b") as volume:
        volume.write(b"written at the far side")
    with pytest.raises(Refused, match="idling"):
        group.start()
    with pytest.raises(Refused, match="throws away"):
        group.start(Side.MASTER)
    assert group.start(Side.MASTER, overwrite=True) is Move.GO
