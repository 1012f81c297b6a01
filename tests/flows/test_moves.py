"""Moves to the second site and back over two simulated arrays, without network or waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from mirror_names import COPY_S, GROUP

from blocks.errors import (
    GroupBusy,
    Refused,
    SvcStateError,
)
from blocks.host.base import GroupState
from blocks.profile.base import parse
from blocks.profile.model import BackupProfile
from flows import approval
from flows import failover as moves
from tasks import (
    snapshot_source,
    takeover,
)
from tasks.journal import GroupLock

MIB = 1024 * 1024


def test_the_disaster_is_planned_then_carried_out_then_done_already(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    bench.machines["node1"].is_alive = False
    planned = moves.failover.fn("RG1", dry_run=True)
    assert planned.report["order"] == "stoprcconsistgrp -access on storage2"
    assert planned.report["loss_s"] is not None
    assert any("node1" in note for note in planned.report["notes"])
    with pytest.raises(Refused, match="not approved"):
        moves.failover.fn("RG1")
    assert bench.sent() == []
    done = moves.failover.fn("RG1", approved=True).report
    assert done["state_after"] == "idling_disconnected"
    assert (done["node"], done["imported"]) == ("node2", ["VG1"])
    assert bench.machines["node2"].imported == {"VG1": ["hdisk0", "hdisk1"]}
    again = moves.failover.fn("RG1", approved=True).report
    assert again["order"] == ""
    assert bench.sent() == ["stoprcconsistgrp"]
    assert bench.told == ["remote_failover", "remote_failover"]


@pytest.fixture
def while_asked(monkeypatch):
    """Let a person approve in the UI, and something happen until then."""

    def approving(*happen) -> list[str]:
        shown = []

        def pause(wait_for_input, **_):
            shown.append(str(wait_for_input._description))
            for act in happen:
                act()
            return SimpleNamespace(group="RG1", approver="Ann")

        monkeypatch.setattr(approval, "pause_flow_run", pause)
        monkeypatch.setattr(approval, "FlowRunContext", SimpleNamespace(get=lambda: object()))
        return shown

    return approving


def lose_first_site(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    bench.machines["node1"].is_alive = False


def test_a_failover_that_was_approved_in_the_ui_is_carried_out(bench, while_asked) -> None:
    lose_first_site(bench)
    shown = while_asked(lambda: GroupLock("RG1 takeover", "another move").close())
    assert moves.failover.fn("RG1").report["state_after"] == "idling_disconnected"
    assert len(shown) == 1
    assert bench.sent() == ["stoprcconsistgrp"]


def test_a_site_that_came_back_while_a_person_read_the_plan_is_not_failed_over(
    bench, while_asked
) -> None:
    lose_first_site(bench)
    while_asked(lambda: bench.arrays.power("storage1", is_on=True))
    with pytest.raises(Refused, match="no longer as they were when the failover was approved"):
        moves.failover.fn("RG1")
    assert bench.sent() == []


def test_the_way_home_is_approved_twice_for_the_copy_and_for_the_swap(bench, while_asked) -> None:
    lose_first_site(bench)
    moves.failover.fn("RG1", approved=True)
    bench.arrays.power("storage1", is_on=True)
    shown = while_asked()
    done = moves.failback.fn("RG1", wait_s=2 * COPY_S).report
    assert (done["to"], done["order"]) == ("storage1", "switchrcconsistgrp on storage1")
    assert ["startrcconsistgrp" in each for each in shown] == [True, False]


def test_a_failover_with_the_first_site_alive_is_refused_and_sends_nothing(bench) -> None:
    bench.synchronize()
    for words in ({}, {"allow_split": True}):
        with pytest.raises(Refused, match="alive and follows"):
            moves.failover.fn("RG1", approved=True, **words)
    bench.arrays.link(is_up=False)
    with pytest.raises(Refused, match="its array answers"):
        moves.failover.fn("RG1", approved=True)
    bench.machines["node1"].state = GroupState.ONLINE
    with pytest.raises(Refused, match="runs on storage1"):
        moves.failover.fn("RG1", approved=True, allow_split=True)
    assert bench.sent() == []


def test_what_was_written_away_comes_home(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    moves.failover.fn("RG1", approved=True)
    bench.write("Node2_1", b"written away", "storage2")
    bench.arrays.power("storage1", is_on=True)
    planned = moves.failback.fn("RG1", dry_run=True).report
    assert planned["order"] == "startrcconsistgrp -force on storage2"
    assert "storage1" in planned["overwrites"]
    first = moves.failback.fn("RG1", approved=True, wait_s=0.0)
    assert first.outcome == "copying"
    bench.clock.sleep(COPY_S)
    done = moves.failback.fn("RG1", approved=True).report
    assert (done["to"], done["order"]) == ("storage1", "switchrcconsistgrp on storage1")
    assert bench.same()
    path = bench.arrays.shelf.path(("storage1", "Node1_1"))
    assert path.read_bytes()[:12] == b"written away"
    assert bench.poll()["primary"] == "storage1"


def test_what_differs_is_measured_before_it_is_written_over(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    moves.failover.fn("RG1", approved=True)
    bench.arrays.power("storage1", is_on=True)
    bench.readable()
    told = moves.failback.fn("RG1", dry_run=True, measure=True)
    assert told.report["difference"]["differing_bytes"] == 0
    bench.write("Node1_1", b"never arrived")
    bench.write("Node2_2", b"x" * 513, "storage2")
    told = moves.failback.fn("RG1", dry_run=True, measure=True)
    assert told.report["difference"]["differing_bytes"] == 3 * 512
    assert told.report["difference"]["extents"] == 2
    assert "(1536 bytes) in 2 extents differ" in told.markdown
    assert bench.sent() == ["stoprcconsistgrp"]


def test_sides_that_cannot_both_be_read_are_not_compared(bench) -> None:
    bench.synchronize()
    with pytest.raises(Refused, match="consistent_synchronized"):
        moves.failback.fn("RG1", dry_run=True, measure=True)


def test_home_can_be_kept_instead(bench) -> None:
    bench.synchronize()
    bench.ask(f"stoprcconsistgrp -access {GROUP}")
    bench.write("Node2_1", b"only a test", "storage2")
    bench.write("Node1_1", b"kept at home")
    done = moves.failback.fn("RG1", approved=True, keep_home=True).report
    assert done["order"] == "startrcconsistgrp -force on storage1"
    bench.clock.sleep(COPY_S)
    bench.poll()
    path = bench.arrays.shelf.path(("storage2", "Node2_1"))
    assert path.read_bytes()[:12] == b"kept at home"


def test_a_switch_waits_for_the_group_to_be_offline(bench) -> None:
    bench.synchronize()
    bench.machines["node1"].state = GroupState.ONLINE
    with pytest.raises(Refused, match="read-only under it"):
        moves.switch.fn("RG1", approved=True)
    assert bench.sent() == []
    bench.machines["node1"].state = GroupState.OFFLINE
    done = moves.switch.fn("RG1", approved=True).report
    assert (done["to"], done["loss_s"]) == ("storage2", 0.0)
    assert bench.poll()["primary"] == "storage2"


def test_an_order_is_sent_only_to_the_state_it_was_planned_for(bench, monkeypatch) -> None:
    bench.synchronize()
    plan = takeover.plan_takeover

    def overtaken(*words, **settings):
        made = plan(*words, **settings)
        bench.ask(f"stoprcconsistgrp {GROUP}")
        return made

    monkeypatch.setattr(moves, "plan_takeover", overtaken)
    with pytest.raises(SvcStateError, match="has become consistent_stopped"):
        moves.switch.fn("RG1", approved=True)
    assert bench.sent() == []


def test_two_moves_of_one_group_exclude_each_other(bench) -> None:
    bench.synchronize()
    lock = GroupLock("RG1 takeover", "failback")
    try:
        with pytest.raises(GroupBusy):
            moves.switch.fn("RG1", approved=True)
        assert bench.poll()["condition"] == "in sync", "a poll goes on"
    finally:
        lock.close()


def test_hosts_that_cannot_take_over_are_listed_not_raised(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    bench.machines["node2"].disk_list = bench.machines["node2"].disk_list[:1]
    done = moves.failover.fn("RG1", approved=True)
    assert done.exit_code == 3
    assert any("no node sees all volumes" in fault for fault in done.report["faults"])


def test_an_array_that_refuses_our_login_is_alive_and_stops_a_failover(bench) -> None:
    bench.synchronize()
    bench.arrays.link(is_up=False)
    bench.refuses.add("storage1")
    with pytest.raises(Refused, match="its array is there"):
        moves.failover.fn("RG1", approved=True)
    planned = moves.failover.fn("RG1", dry_run=True)
    assert any("public key is installed" in note for note in planned.report["notes"])
    assert bench.sent() == []
    moves.failover.fn("RG1", approved=True, allow_split=True)
    assert bench.sent() == ["stoprcconsistgrp"]


def test_the_loss_is_told_from_when_the_array_fell_silent(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    before = datetime.now(UTC)
    bench.poll()
    after = datetime.now(UTC)
    time.sleep(0.2)
    bench.poll()
    done = moves.failover.fn("RG1", approved=True)
    silent_by = datetime.fromisoformat(done.report["silent_by"])
    assert before <= silent_by <= after
    assert 0 <= done.report["loss_if_stopped_s"] <= done.report["loss_s"] - 0.2
    assert f"found silent at {silent_by:%Y-%m-%d %H:%M:%S} UTC: if it stopped" in done.markdown
    assert "if hosts went on writing there" in done.markdown


def test_a_failover_that_died_after_its_order_still_tells_its_loss(bench, monkeypatch) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    planned = moves.failover.fn("RG1", dry_run=True).report

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moves, "take_over", killed)
        with pytest.raises(KeyboardInterrupt):
            moves.failover.fn("RG1", approved=True)
    for _ in range(2):  # polls go on, and must not hide it
        bench.poll()
    again = moves.failover.fn("RG1", approved=True)
    assert again.report["order"] == ""
    assert again.report["recovery_point"] == planned["recovery_point"]
    assert again.report["parted_by"] >= planned["parted_by"]
    assert again.report["loss_s"] >= planned["loss_s"] > 0
    assert again.report["imported"] == ["VG1"]
    assert "**lost: what was written after" in again.markdown
    assert bench.sent() == ["stoprcconsistgrp"]


def test_a_loss_nobody_remembers_is_not_called_nothing(bench) -> None:
    bench.synchronize()
    bench.arrays.power("storage1", is_on=False)
    bench.ask(f"stoprcconsistgrp -access {GROUP}", "storage2")
    done = moves.failover.fn("RG1", approved=True)
    assert done.report["loss_s"] is None
    assert "lost: nothing" not in done.markdown
    assert "lost: what was written after" in done.markdown


def cloud(names: str) -> BackupProfile:
    return parse(
        BackupProfile,
        "RG1",
        {
            "ENABLE_BACKUP": "yes",
            "BACKUP_METHOD": "cloud",
            "REPLICATED_RESOURCES": "fc",
            "STORAGE_NAME": names,
            "BUCKET_NAME": "pha-bucket",
        },
    )


def test_a_backup_follows_the_group_to_the_second_site(bench) -> None:
    bench.synchronize()
    profile = cloud("storage1, storage2")
    assert snapshot_source.snapshot_source(bench.wanted, profile) == "storage1"
    bench.arrays.power("storage1", is_on=False)
    assert snapshot_source.snapshot_source(bench.wanted, profile) == "storage2"
    moves.failover.fn("RG1", approved=True)
    bench.machines["node2"].state = GroupState.ONLINE
    bench.arrays.power("storage1", is_on=True)
    assert snapshot_source.snapshot_source(bench.wanted, profile) == "storage2"
    bench.machines["node2"].state = GroupState.OFFLINE
    with pytest.raises(Refused, match="no array of"):
        snapshot_source.snapshot_source(bench.wanted, profile)


def test_a_profile_with_one_array_asks_nobody(bench) -> None:
    assert snapshot_source.snapshot_source(bench.wanted, cloud("storage1")) == "storage1"
    assert bench.lines == []
