"""Moves killed before and after every command to arrays and nodes, one after the other."""

from __future__ import annotations

from itertools import count

from flows import failover as moves

COPY_S = 1.0


def killed_at_every_moment(bench, move, may_split: bool, on_death=lambda: None):
    """Give a command again and again, each time killed one moment later, until it gets through.

    Returns:
        Its ending, and how often it was killed.
    """
    for moment in count(1):
        bench.strikes_left, bench.is_dead = moment, False
        try:
            return move(), moment - 1
        except KeyboardInterrupt:
            bench.strikes_left, bench.is_dead = 0, False
            assert may_split or len(bench.writable()) < 2, bench.sent()
            on_death()
        finally:
            bench.strikes_left, bench.is_dead = 0, False
    raise AssertionError("unreachable")


def test_a_failover_is_ordered_once_and_ends_however_often_it_dies(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    done, deaths = killed_at_every_moment(
        bench, lambda: moves.failover.fn("RG1", approved=True), may_split=False
    )
    assert deaths > 10
    assert bench.sent() == ["stoprcconsistgrp"]
    assert bench.writable() == {"storage2"}
    assert bench.machines["node2"].imported == {"VG1": ["hdisk0", "hdisk1"]}
    assert (done.exit_code, done.report["is_split"]) == (0, True)
    assert done.report["loss_s"] is not None, "known though the run that sent the order is dead"


def test_a_switch_is_not_swapped_back_by_the_command_given_again(bench) -> None:
    bench.synchronize()
    done, deaths = killed_at_every_moment(
        bench, lambda: moves.switch.fn("RG1", approved=True), may_split=False
    )
    assert deaths > 10
    assert bench.sent() == ["switchrcconsistgrp"]
    assert bench.writable() == {"storage2"}
    assert (done.report["to"], done.report["loss_s"]) == ("storage2", 0.0)
    assert bench.machines["node2"].imported == {"VG1": ["hdisk0", "hdisk1"]}
    # Done at last: said once more, it is a switch home.
    again = moves.switch.fn("RG1", dry_run=True).report
    assert (again["to"], again["order"]) == ("storage1", "switchrcconsistgrp on storage1")


def test_a_failback_comes_home_however_often_it_dies(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    moves.failover.fn("RG1", approved=True)
    bench.write("Node2_1", b"written away", "storage2")
    bench.arrays.power("storage1", is_on=True)
    bench.lines.clear()
    started = []

    def on_death() -> None:
        bench.clock.sleep(COPY_S)
        if bench.sent():
            started.append(bench.writable())

    done, deaths = killed_at_every_moment(
        bench, lambda: moves.failback.fn("RG1", approved=True, wait_s=5.0), True, on_death
    )
    assert deaths > 10
    assert bench.sent() == ["startrcconsistgrp", "switchrcconsistgrp"]
    assert all(len(each) == 1 for each in started), "one side only, from the copy's start on"
    assert bench.writable() == {"storage1"}
    assert done.report["to"] == "storage1"
    assert bench.machines["node1"].imported == {"VG1": ["hdisk0", "hdisk1"]}
    assert bench.same()
    assert bench.arrays.shelf.path(("storage1", "Node1_1")).read_bytes()[:12] == b"written away"
    assert moves.failback.fn("RG1", approved=True).report["order"] == ""


def test_polls_that_die_at_every_moment_tell_a_cut_link_once_each_way(bench) -> None:
    bench.synchronize()
    for is_up, event in ((False, "remote_degraded"), (True, "remote_recovered")):
        bench.told.clear()
        bench.arrays.link(is_up=is_up)
        killed_at_every_moment(bench, bench.poll, may_split=True)
        assert bench.poll()["told"] == []
        assert bench.told == [event]
