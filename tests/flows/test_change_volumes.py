"""Global Mirror with change volumes (cycling mode multi): behind by design, and watched for it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from flows import failover as moves

GROUP = "sample_remote_cg"
COPY_S = 1.0
MINUTE_S = 60.0
"""The array tells the age of a cycle to the minute."""


@pytest.fixture
def cycling(bench):
    """A group that cycles every two minutes, with an RPO of five, in sync."""
    bench.configure("-cyclingmode multi")
    bench.ask(f"chrcconsistgrp -cycleperiodseconds 120 {GROUP}")
    bench.poll()
    bench.clock.sleep(COPY_S)
    seen = bench.poll()
    assert (seen["state"], seen["condition"]) == ("consistent_copying", "in sync")
    assert seen["told"] == ["in_sync"]
    bench.told.clear()
    return bench


def cycle(bench, seconds: int) -> None:
    bench.ask(f"chrcconsistgrp -cycleperiodseconds {seconds} {GROUP}")


def test_the_age_of_the_last_cycle_is_the_lag(cycling) -> None:
    for expected in (30, 60, 90):
        cycling.clock.sleep(30)
        seen = cycling.poll()
        assert expected <= seen["lag_s"] <= expected + MINUTE_S + 5
        assert (seen["condition"], seen["told"], seen["is_rpo_breached"]) == ("in sync", [], False)
    cycling.clock.sleep(31)
    assert cycling.poll()["lag_s"] <= MINUTE_S + 5, "a new cycle has begun"
    assert cycling.told == []


def test_cycles_that_take_too_long_breach_the_rpo_once_and_recover_once(cycling) -> None:
    cycle(cycling, 3600)
    told = []
    for _ in range(6):
        cycling.clock.sleep(100)
        told += cycling.poll()["told"]
    assert told == ["rpo_breached"]
    seen = cycling.poll()
    assert seen["is_rpo_breached"]
    assert "behind, the RPO is 5m 00s" in seen["why"]
    cycle(cycling, 60)
    cycling.clock.sleep(61)
    assert cycling.poll()["told"] == ["recovered"]
    assert cycling.poll()["told"] == []
    assert cycling.told == ["remote_rpo_breached", "remote_recovered"]


def test_a_failover_holds_the_last_cycle_and_tells_its_age(cycling) -> None:
    cycling.write("Node1_1", b"of the last cycle")
    cycling.clock.sleep(121)
    cycling.poll()
    cycling.write("Node1_1", b"written after it!")
    cycling.clock.sleep(90)
    cycling.poll()
    cycling.arrays.power("storage1", is_on=False)
    done = moves.failover.fn("RG1", approved=True).report
    path = cycling.arrays.shelf.path(("storage2", "Node2_1"))
    assert path.read_bytes()[:17] == b"of the last cycle"
    assert 90 <= done["loss_s"] <= 90 + MINUTE_S + 10
    point, by = (datetime.fromisoformat(done[key]) for key in ("recovery_point", "parted_by"))
    assert by - point <= timedelta(seconds=MINUTE_S)


def test_a_switch_of_a_cycling_group_loses_nothing(cycling) -> None:
    cycling.clock.sleep(121)
    cycling.poll()
    cycling.write("Node1_1", b"not yet in a cycle")
    done = moves.switch.fn("RG1", approved=True).report
    assert (done["to"], done["loss_s"]) == ("storage2", 0.0)
    assert any("last cycle before it swaps" in note for note in done["notes"])
    path = cycling.arrays.shelf.path(("storage2", "Node2_1"))
    assert path.read_bytes()[:18] == b"not yet in a cycle"
    assert cycling.poll()["primary"] == "storage2"
