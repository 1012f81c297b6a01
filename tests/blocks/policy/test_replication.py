"""Judging a remote copy, and telling each transition once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.policy.replication import (
    CONDITIONS,
    Condition,
    Health,
    Memory,
    Transition,
    follow,
    joint_recovery_point,
    judge,
    parted_by,
    recovery_point_of,
    time_left,
)
from blocks.svc.model import Relationship, RemoteConsistencyGroup, RemoteState, Side
from blocks.svc.remote_view import CONNECTED, RemoteView

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def relationship(name: str, state: RemoteState, progress: int | None = None, status: str = ""):
    return Relationship(
        id=name,
        name=name,
        master_system_id="A",
        master_system_name="a",
        aux_system_id="B",
        aux_system_name="b",
        primary=Side.MASTER,
        state=state,
        freeze_time=None,
        status=status,
        sync="",
        copy_type="global",
        cycling_mode="none",
        cycle_period_s=300,
        master_volume_id="0",
        master_volume_name=f"{name}_m",
        aux_volume_id="0",
        aux_volume_name=f"{name}_a",
        group_id="0",
        group_name="cg",
        progress=progress,
    )


def view(
    state: RemoteState = RemoteState.CONSISTENT_SYNCHRONIZED,
    *,
    side: Side = Side.MASTER,
    primary: Side = Side.MASTER,
    status: str = "",
    sync: str = "",
    cycling: str = "none",
    frozen_at: datetime | None = None,
    partnership: str = CONNECTED,
    relationships: tuple[Relationship, ...] = (),
    sizes: tuple[int, ...] = (),
) -> RemoteView:
    group = RemoteConsistencyGroup(
        id="0",
        name="cg",
        master_system_id="A",
        master_system_name="a",
        aux_system_id="B",
        aux_system_name="b",
        primary=primary,
        state=state,
        freeze_time=None,
        status=status,
        sync=sync,
        copy_type="global",
        cycling_mode=cycling,
        cycle_period_s=300,
        relationship_count=len(relationships),
        relationships=(),
    )
    return RemoteView(
        system_id="A" if side is Side.MASTER else "B",
        side=side,
        group=group,
        relationships=relationships,
        partnership=partnership,
        frozen_at=frozen_at,
        sizes=sizes,
    )


def both(state: RemoteState, **words) -> dict[str, RemoteView]:
    return {
        "home": view(state, **words),
        "away": view(state, side=Side.AUX, **words),
    }


CUT = {
    "home": view(RemoteState.IDLING_DISCONNECTED, partnership="not_present"),
    "away": view(
        RemoteState.CONSISTENT_DISCONNECTED,
        side=Side.AUX,
        partnership="not_present",
        frozen_at=NOW.replace(second=0) - 5 * MINUTE,
    ),
}


# docs/explanation/remote-storage.md, "What is watched", typed again.
SAID = {
    "empty": "empty",
    "inconsistent_stopped": "not started",
    "inconsistent_copying": "copying",
    "consistent_stopped": "stopped",
    "consistent_synchronized": "in sync",
    "consistent_copying": "in sync",
    "idling": "split",
    "idling_disconnected": "disconnected",
    "inconsistent_disconnected": "disconnected",
    "consistent_disconnected": "disconnected",
}


def test_every_state_of_the_array_has_the_condition_the_page_says() -> None:
    assert {str(state): str(condition) for state, condition in CONDITIONS.items()} == SAID
    assert set(SAID) == {str(state) for state in RemoteState}


@pytest.mark.parametrize("state", RemoteState)
def test_only_what_follows_is_in_sync(state) -> None:
    health = judge(both(state), Memory(), NOW)
    follows = {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.CONSISTENT_COPYING}
    assert (health.condition is Condition.IN_SYNC) == (state in follows)
    assert health.is_healthy == (state in follows)
    assert str(state) in health.why


def test_a_cut_link_is_judged_by_the_half_that_would_take_over() -> None:
    memory = Memory(in_sync_at=NOW - 5 * MINUTE, was_in_sync=True)
    health = judge(CUT, memory, NOW, rpo=4 * MINUTE)
    assert health.condition is Condition.DISCONNECTED
    assert health.state is RemoteState.CONSISTENT_DISCONNECTED
    # The poll in the very minute of the freeze says more than the freeze time, cut to the minute.
    assert health.recovery_point == NOW - 5 * MINUTE
    assert health.lag == 5 * MINUTE
    assert health.is_breached
    assert health.primary == "home"


@pytest.mark.parametrize(
    ("seen_before_s", "expected_s"),
    [
        (None, 0),  # never seen in sync: the freeze time, which is cut off, so never too new
        (-90, 0),  # seen before the minute of the freeze: the freeze time is newer
        (25, 25),  # seen within that minute
        (75, 0),  # a poll after the freeze that saw it in sync: the clocks differ; believe less
    ],
)
def test_a_recovery_point_is_never_newer_than_what_is_known(seen_before_s, expected_s) -> None:
    freeze = NOW.replace(second=0)
    seen = None if seen_before_s is None else freeze + timedelta(seconds=seen_before_s)
    frozen = view(RemoteState.CONSISTENT_STOPPED, frozen_at=freeze)
    expected = freeze + timedelta(seconds=expected_s)
    assert recovery_point_of(frozen, Memory(in_sync_at=seen)) == expected


def test_without_a_freeze_time_the_last_poll_in_sync_counts() -> None:
    seen = NOW - 3 * MINUTE
    assert recovery_point_of(view(RemoteState.CONSISTENT_STOPPED), Memory(in_sync_at=seen)) == seen


def test_a_copy_under_way_leaves_nothing_to_recover_from() -> None:
    memory = Memory(in_sync_at=NOW - 10 * MINUTE, was_in_sync=True)
    health = judge(both(RemoteState.INCONSISTENT_COPYING), memory, NOW, rpo=5 * MINUTE)
    assert health.recovery_point is None
    assert health.is_breached, "the RPO counts from the last usable copy"


def test_a_first_copy_breaches_no_rpo() -> None:
    health = judge(both(RemoteState.INCONSISTENT_COPYING), Memory(), NOW, rpo=MINUTE)
    assert not health.is_breached


def test_cycling_lags_by_the_age_of_the_change_volume() -> None:
    cycle = {"cycling": "multi", "frozen_at": NOW - 7 * MINUTE}
    health = judge(both(RemoteState.CONSISTENT_COPYING, **cycle), Memory(), NOW, rpo=5 * MINUTE)
    assert health.lag == 7 * MINUTE
    assert health.is_breached
    assert health.condition is Condition.IN_SYNC


def test_something_offline_is_impaired_though_the_state_is_fine() -> None:
    health = judge(
        both(RemoteState.CONSISTENT_SYNCHRONIZED, status="secondary_offline"), Memory(), NOW
    )
    assert health.condition is Condition.IMPAIRED
    assert "secondary_offline" in " ".join(health.notes)


def test_a_member_in_another_state_is_named() -> None:
    members = (
        relationship("r0", RemoteState.CONSISTENT_SYNCHRONIZED),
        relationship("r1", RemoteState.INCONSISTENT_COPYING, 40, "primary_offline"),
    )
    health = judge(
        both(RemoteState.INCONSISTENT_COPYING, relationships=members, sizes=(1, 3)), Memory(), NOW
    )
    assert health.progress == pytest.approx((100 + 3 * 40) / 4), "weighted by bytes"
    assert any("r1" in note and "primary_offline" in note for note in health.notes)


def test_arrays_that_do_not_answer_are_an_alarm_and_named() -> None:
    memory = Memory(in_sync_at=NOW - MINUTE, was_in_sync=True)
    health = judge({}, memory, NOW, problems={"home": "timeout", "away": "refused"})
    assert health.condition is Condition.UNSEEN
    assert health.lag == MINUTE
    assert {note.split()[0] for note in health.notes} == {"home:", "away:"}


def test_one_array_that_does_not_answer_is_only_a_note_while_the_other_sees_it() -> None:
    views = {"away": both(RemoteState.CONSISTENT_SYNCHRONIZED)["away"]}
    health = judge(views, Memory(), NOW, problems={"home": "timeout"})
    assert health.condition is Condition.IN_SYNC
    assert health.notes


# What is told ----------------------------------------------------------------------------------


def poll(condition: Condition, breached: bool = False) -> Health:
    return Health(NOW, condition, "", recovery_point=NOW, is_breached=breached)


ALARM = [
    Condition.IMPAIRED,
    Condition.NOT_STARTED,
    Condition.STOPPED,
    Condition.DISCONNECTED,
    Condition.SPLIT,
    Condition.EMPTY,
    Condition.UNSEEN,
]


def expected(
    was_in_sync: bool, degraded: bool, breach: bool, condition: Condition, breached: bool
) -> set[Transition]:
    """The rule in words, written apart from the code."""
    told: set[Transition] = set()
    fine = condition is Condition.IN_SYNC and not breached
    if fine and not was_in_sync:
        told.add(Transition.IN_SYNC)
    if fine and was_in_sync and (degraded or breach):
        told.add(Transition.RECOVERED)
    alarm = condition in ALARM or (condition is Condition.COPYING and was_in_sync)
    if alarm and not degraded:
        told.add(Transition.DEGRADED)
    if breached and not breach:
        told.add(Transition.RPO_BREACHED)
    return told


@pytest.mark.parametrize(
    ("was_in_sync", "degraded", "breach", "condition", "breached"),
    list(product([False, True], [False, True], [False, True], Condition, [False, True])),
)
def test_every_poll_after_every_memory_tells_what_is_new(
    was_in_sync, degraded, breach, condition, breached
) -> None:
    memory = Memory(was_in_sync=was_in_sync, is_degraded_told=degraded, is_breach_told=breach)
    _, told = follow(memory, poll(condition, breached))
    assert set(told) == expected(was_in_sync, degraded, breach, condition, breached)
    assert len(set(told)) == len(told)


@given(st.lists(st.tuples(st.sampled_from(list(Condition)), st.booleans()), max_size=40))
def test_the_same_poll_again_tells_nothing(polls) -> None:
    memory = Memory()
    for condition, breached in polls:
        memory, _ = follow(memory, poll(condition, breached))
        memory, again = follow(memory, poll(condition, breached))
        assert again == ()


@given(st.lists(st.tuples(st.sampled_from(list(Condition)), st.booleans()), max_size=40))
def test_alarms_and_their_ends_alternate(polls) -> None:
    memory, raised = Memory(), False
    for condition, breached in polls:
        memory, told = follow(memory, poll(condition, breached))
        if Transition.RECOVERED in told:
            assert raised
        if Transition.RECOVERED in told or Transition.IN_SYNC in told:
            raised = False
        if Transition.DEGRADED in told:
            assert not memory.was_in_sync or memory.is_degraded_told
        raised = raised or Transition.DEGRADED in told or Transition.RPO_BREACHED in told


def test_the_story_of_a_cut_link_is_told_in_two_sentences() -> None:
    memory, story = Memory(), []
    for condition in (
        Condition.COPYING,
        Condition.COPYING,
        Condition.IN_SYNC,
        Condition.IN_SYNC,
        Condition.DISCONNECTED,
        Condition.DISCONNECTED,
        Condition.STOPPED,
        Condition.COPYING,
        Condition.IN_SYNC,
        Condition.IN_SYNC,
    ):
        memory, told = follow(memory, poll(condition))
        story += told
    assert story == [Transition.IN_SYNC, Transition.DEGRADED, Transition.RECOVERED]


def test_memory_survives_being_written_down() -> None:
    memory, _ = follow(Memory(volume_groups={"VG1": ("A", "B")}), poll(Condition.IN_SYNC))
    assert Memory.model_validate_json(memory.model_dump_json()) == memory


# How long it will take -------------------------------------------------------------------------


def test_the_time_left_follows_from_the_polls() -> None:
    memory = Memory()
    for minute, percent in enumerate((10.0, 20.0, 30.0)):
        health = replace(poll(Condition.COPYING), at=NOW + minute * MINUTE, progress=percent)
        memory, _ = follow(memory, health)
    assert time_left(memory) == 7 * MINUTE


POLL = 5 * MINUTE


def copied(rate_per_hour):
    """Poll a copy of whole percents; return (hours gone, truly left, said to be left) each time."""
    done, at, memory, track = 0.0, 0.0, Memory(), []
    step = POLL / timedelta(hours=1)
    while done < 100.0:
        health = replace(
            poll(Condition.COPYING), at=NOW + at * timedelta(hours=1), progress=float(int(done))
        )
        memory, _ = follow(memory, health)
        left = time_left(memory)
        track.append((at, None if left is None else left / timedelta(hours=1)))
        done += rate_per_hour(at) * step
        at += step
    return [(gone, at - gone, left) for gone, left in track]


@pytest.mark.parametrize(("hours", "within"), [(3, 0.1), (12, 0.05), (40, 0.05), (96, 0.05)])
def test_the_time_left_of_a_copy_of_days_is_right_within_a_few_percent(hours, within) -> None:
    polls = copied(lambda _: 100.0 / hours)
    told = [(gone, true, said) for gone, true, said in polls if said is not None]
    assert told[0][0] <= hours * 0.03 + 0.2, "it is said after two steps"
    late = [(true, said) for gone, true, said in told if gone > hours * 0.08]
    worst = max(abs(said - true) / hours for true, said in late)
    assert worst < within, f"off by {worst:.0%} of the whole copy"


def test_the_time_left_follows_a_rate_that_changes() -> None:
    """Nights are three times as fast as days; the link is halved after 30 hours."""

    def rate(at: float) -> float:
        return (3.0 if at % 24 < 8 else 1.0) * (1.0 if at < 30 else 0.5)

    polls = copied(rate)
    whole = polls[-1][0]
    off = [abs(said - true) for gone, true, said in polls if said is not None and gone > 4]
    assert sum(off) / len(off) < whole * 0.35
    last = [abs(said - true) for _, true, said in polls if said is not None and true < whole * 0.1]
    assert max(last) < whole * 0.1, "the nearer the end, the better it is known"


def test_a_copy_that_becomes_slower_is_not_promised_the_old_speed() -> None:
    polls = copied(lambda at: 10.0 if at < 5 else 1.0)
    just_after = next(said for gone, _, said in polls if gone > 5.4)
    later = next(said for gone, _, said in polls if gone > 8.0)
    assert just_after is not None
    assert later is not None
    assert later > just_after
    assert min(said for gone, _, said in polls if said is not None and 6 < gone < 20) > 0


def test_a_copy_that_falls_back_or_stands_still_promises_nothing() -> None:
    memory = Memory()
    for minute, percent in enumerate((10.0, 20.0, 5.0, 5.0)):
        health = replace(poll(Condition.COPYING), at=NOW + minute * MINUTE, progress=percent)
        memory, _ = follow(memory, health)
    assert time_left(memory) is None


def test_the_joint_recovery_point_is_the_newest_of_both_methods() -> None:
    assert joint_recovery_point(None, None) is None
    assert joint_recovery_point(None, NOW) == NOW
    assert joint_recovery_point(NOW - MINUTE, NOW - 2 * MINUTE) == NOW - MINUTE


@pytest.mark.parametrize(
    ("now_s", "condition", "since_s", "expected_s"),
    [
        (20, None, None, 20),  # asked within the minute the array tells
        (300, None, None, 60),  # later: the end of that minute
        (300, Condition.DISCONNECTED, 12, 12),  # a poll found it apart before that
        (300, Condition.IN_SYNC, 12, 60),  # the last poll found nothing wrong
        (300, Condition.IMPAIRED, 12, 60),  # impaired, it may follow still
    ],
)
def test_the_second_site_has_parted_by_the_earliest_that_is_known(
    now_s, condition, since_s, expected_s
) -> None:
    frozen = NOW.replace(second=0)
    since = None if since_s is None else frozen + timedelta(seconds=since_s)
    memory = Memory(condition=condition, since=since)
    seen = {"b": view(RemoteState.CONSISTENT_DISCONNECTED, side=Side.AUX, frozen_at=frozen)}
    told = parted_by(seen, memory, frozen + timedelta(seconds=now_s))
    assert told == frozen + timedelta(seconds=expected_s)


def test_a_second_site_that_may_follow_has_not_parted() -> None:
    seen = {"b": view(RemoteState.CONSISTENT_SYNCHRONIZED, side=Side.AUX)}
    assert parted_by(seen, Memory(), NOW) is None
