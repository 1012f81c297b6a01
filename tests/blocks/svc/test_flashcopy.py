import threading

import pytest

from blocks.errors import ConfigError, Stopped, SvcStateError, Unreachable
from blocks.runner import Completed
from blocks.svc.flashcopy import NEXT, WAY_BACK, FlashCopyGroup, Step
from blocks.svc.model import CopyState

HARMLESS = {"empty", "idle_or_copied", "copying", "stopped", "suspended"}


@pytest.fixture
def group(client):
    return FlashCopyGroup(client, "FC1")


@pytest.mark.parametrize(
    ("state", "moves", "acted"),
    [
        ("idle_or_copied", [], ["prestartfcconsistgrp"]),
        ("stopped", [], ["prestartfcconsistgrp"]),
        ("preparing", ["preparing", "prepared"], []),
        ("prepared", [], []),
        ("copying", [], ["stopfcconsistgrp", "prestartfcconsistgrp"]),
        ("stopping", ["stopping", "stopped"], ["prestartfcconsistgrp"]),
        (
            "suspended",
            ["suspended", "copying"],
            ["stopfcconsistgrp", "prestartfcconsistgrp"],
        ),
    ],
)
def test_a_group_is_prepared_from_every_state(array, group, state, moves, acted):
    array.state, array.moves = state, moves
    assert group.prepare(5).status is CopyState.PREPARED
    assert array.acted() == acted


def test_a_group_without_mappings_is_refused(array, group):
    array.state = "empty"
    with pytest.raises(ConfigError, match="no FlashCopy mappings"):
        group.prepare(5)


@pytest.mark.parametrize("state", list(CopyState))
def test_every_state_is_led_back_to_one_that_harms_nobody(array, group, state):
    array.state = str(state)
    array.moves = {"preparing": ["preparing", "prepared"], "stopping": ["stopped"]}.get(state, [])
    assert group.abandon(5) in HARMLESS
    assert array.state in HARMLESS
    # Only what is prepared is stopped, at once or once its flush is done; all else is left alone.
    is_stopped = state in {CopyState.PREPARING, CopyState.PREPARED}
    assert array.acted() == ["stopfcconsistgrp"] * is_stopped


def test_abandoning_leaves_a_running_copy_alone(array, group):
    array.state = "copying"
    group.abandon(5)
    assert array.acted() == []


def test_both_tables_name_every_state():
    assert set(NEXT) == set(WAY_BACK) == set(CopyState)
    assert WAY_BACK[CopyState.PREPARED] is Step.STOP


def test_a_failed_flush_is_told_and_led_back(array, group):
    array.flush_to = "stopped"
    with pytest.raises(SvcStateError, match="flush failed"):
        group.prepare(5)
    assert array.state == "stopped"


def test_a_deadline_while_preparing_does_not_leave_the_group_prepared(array, client):
    ticks = iter(range(0, 100_000, 10))
    group = FlashCopyGroup(client, "FC1", clock=lambda: float(next(ticks)))
    array.flush_to = "preparing"
    array.state = "preparing"
    array.moves = ["preparing"] * 4 + ["prepared"]
    with pytest.raises(SvcStateError, match="deadline"):
        group.prepare(15)
    assert array.state in HARMLESS


def test_a_request_to_stop_while_preparing_leads_back(array, group):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        group.prepare(5, stop)
    assert array.state in HARMLESS


def test_leading_back_outlasts_a_broken_connection(array, group):
    array.state = "prepared"
    array.next_answers = [Unreachable("gone"), Unreachable("gone"), Completed(11, "", "")]
    assert group.abandon(5) is CopyState.STOPPED


def test_an_array_never_reached_is_not_waited_for(array, group):
    array.next_answers = [Unreachable("gone")] * 3
    with pytest.raises(Unreachable):
        group.prepare(5)
    assert len(array.lines) == 1


def test_start_takes_the_snapshot_and_tells_the_arrays_time(array, group):
    group.prepare(5)
    snapshot = group.start()
    assert snapshot.array_start_time == "261123035630"
    assert snapshot.status is CopyState.COPYING


@pytest.mark.parametrize("state", sorted(set(CopyState) - {CopyState.PREPARED}))
def test_start_refuses_any_other_state(array, group, state):
    array.state = str(state)
    with pytest.raises(SvcStateError):
        group.start()
    assert array.acted() == []


def test_a_start_whose_answer_is_lost_is_found_to_have_happened(array, group):
    array.state = "prepared"
    array.next_answers = [None, Unreachable("gone")]
    array.moves = ["prepared", "copying"]
    assert group.start().status is CopyState.COPYING
    assert array.acted() == ["startfcconsistgrp"]


def test_a_start_that_never_arrived_is_an_error(array, group):
    array.state = "prepared"
    array.next_answers = [None, Unreachable("gone")]
    with pytest.raises(Unreachable):
        group.start()


@pytest.mark.parametrize(
    ("state", "moves", "ends"),
    [
        ("prepared", [], "stopped"),
        ("copying", [], "stopped"),
        ("suspended", [], "stopped"),
        ("stopping", ["stopping", "stopped"], "stopped"),
        ("preparing", ["preparing", "prepared"], "stopped"),
        ("idle_or_copied", [], "idle_or_copied"),
        ("stopped", [], "stopped"),
        ("empty", [], "empty"),
    ],
)
def test_stop_ends_every_state(array, group, state, moves, ends):
    array.state, array.moves = state, moves
    assert group.stop(5) == ends


def test_waiting_shows_every_poll(array, group):
    array.state = "copying"
    array.moves = ["copying", "copying", "idle_or_copied"]
    seen = []
    group.wait_until({CopyState.IDLE_OR_COPIED}, 5, None, lambda now: seen.append(now.status))
    assert seen == ["copying", "copying", "idle_or_copied"]


def test_the_difference_is_the_worst_mappings(group):
    assert group.difference() == 4


def test_a_copy_rate_out_of_range_is_refused(array, group):
    with pytest.raises(ConfigError):
        group.set_copy_rate(151)
    group.set_copy_rate(0)
    assert array.acted() == ["chfcmap", "chfcmap"]
