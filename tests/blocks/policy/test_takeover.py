"""Which move is legal from where. The array is modelled here from svc-cli.md §6, apart from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from blocks.policy.loss import Begun
from blocks.policy.situation import Activity, Move, Order, Plan, Situation, snapshot_system
from blocks.policy.takeover import plan_move
from blocks.svc.model import RemoteConsistencyGroup, RemoteState, Side
from blocks.svc.remote_view import CONNECTED, RemoteView

S = RemoteState
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
POINT = NOW - timedelta(seconds=42)
HOME, AWAY = "storage1", "storage2"
SIDES = {HOME: Side.MASTER, AWAY: Side.AUX}


@dataclass(frozen=True)
class World:
    """Both halves of a group as they really are, seen or not."""

    states: dict[str, RemoteState]
    primary: dict[str, Side]
    sync: str = ""
    is_linked: bool = True

    def view(self, name: str) -> RemoteView:
        group = RemoteConsistencyGroup(
            id="0",
            name="cg",
            master_system_id="A",
            master_system_name="a",
            aux_system_id="B",
            aux_system_name="b",
            primary=self.primary[name],
            state=self.states[name],
            freeze_time=None,
            status="",
            sync=self.sync,
            copy_type="global",
            cycling_mode="none",
            cycle_period_s=300,
            relationship_count=1,
            relationships=(),
        )
        partnership = CONNECTED if self.is_linked else "not_present"
        return RemoteView(name, SIDES[name], group, (), partnership, None)

    def writable(self) -> set[str]:
        """Return the systems whose volumes hosts can write (svc-cli.md §6, first table)."""
        return {
            name
            for name, state in self.states.items()
            if state in {S.IDLING, S.IDLING_DISCONNECTED}
            or (self.primary[name] is SIDES[name] and not state.endswith("_disconnected"))
        }


def connected(state: RemoteState, primary: Side, sync: str = "") -> World:
    return World({HOME: state, AWAY: state}, {HOME: primary, AWAY: primary}, sync)


def cut(primary: str, secondary_state: RemoteState) -> World:
    """The link is lost: the primary's half idles, the other keeps what it has."""
    other = AWAY if primary == HOME else HOME
    states = {primary: S.IDLING_DISCONNECTED, other: secondary_state}
    side = SIDES[primary]
    seen = Side.NONE if secondary_state is S.IDLING_DISCONNECTED else side
    return World(states, {primary: side, other: seen}, is_linked=False)


ONE_PRIMARY = [
    S.INCONSISTENT_STOPPED,
    S.INCONSISTENT_COPYING,
    S.CONSISTENT_STOPPED,
    S.CONSISTENT_SYNCHRONIZED,
    S.CONSISTENT_COPYING,
]
SECONDARY_HALVES = [
    S.CONSISTENT_DISCONNECTED,
    S.INCONSISTENT_DISCONNECTED,
    S.IDLING_DISCONNECTED,
]
WORLDS = [
    *(
        connected(state, side, sync)
        for state, side, sync in product(
            ONE_PRIMARY, (Side.MASTER, Side.AUX), ("", "in_sync", "out_of_sync")
        )
    ),
    *(connected(S.IDLING, Side.NONE, sync) for sync in ("in_sync", "out_of_sync", "")),
    connected(S.EMPTY, Side.NONE),
    *(cut(primary, half) for primary, half in product((HOME, AWAY), SECONDARY_HALVES)),
]
SEEN = [(HOME, AWAY), (HOME,), (AWAY,), ()]
ACTIVITIES = list(product(Activity, Activity))


def situation(world: World, seen, at_home: Activity, at_away: Activity) -> Situation:
    views = {name: world.view(name) for name in seen}
    return Situation(HOME, AWAY, views, {HOME: at_home, AWAY: at_away}, POINT, NOW)


def apply(world: World, plan: Plan) -> World:
    """Carry out an order as the array would, or fail as it would refuse."""
    assert plan.order is not None
    state = world.states[plan.at]
    match plan.order:
        case Order.STOP_ACCESS:
            assert state in {S.CONSISTENT_STOPPED, S.CONSISTENT_DISCONNECTED}
            if state is S.CONSISTENT_STOPPED:
                return connected(S.IDLING, Side.NONE, world.sync)
            return replace(
                world,
                states={**world.states, plan.at: S.IDLING_DISCONNECTED},
                primary={**world.primary, plan.at: Side.NONE},
            )
        case Order.SWITCH:
            assert world.is_linked
            assert state in {S.CONSISTENT_SYNCHRONIZED, S.CONSISTENT_COPYING}
            return connected(state, plan.primary)
        case Order.START | Order.START_FORCED:
            assert world.is_linked
            assert state in {S.INCONSISTENT_STOPPED, S.CONSISTENT_STOPPED, S.IDLING}
            if state is S.IDLING:
                assert plan.primary is not Side.NONE, "CMMVC5963E"
            forced = plan.order is Order.START_FORCED
            is_same = state is not S.INCONSISTENT_STOPPED and world.sync == "in_sync"
            if state is not S.INCONSISTENT_STOPPED and not is_same:
                assert forced, "refused without -force"
            primary = plan.primary or world.primary[plan.at]
            after = S.CONSISTENT_SYNCHRONIZED if is_same else S.INCONSISTENT_COPYING
            return connected(after, primary)


EVERY = list(product(WORLDS, SEEN, Move, (False, True), (False, True)))


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda pair: "-".join(pair))
def test_no_move_from_anywhere_leaves_both_sides_writable_by_accident(activity) -> None:
    """40 worlds x 4 visibilities x 5 moves x 2 x 2 choices, for each of 9 activities."""
    for world, seen, move, allow_split, keep_home in EVERY:
        plan = plan_move(
            move,
            situation(world, seen, *activity),
            allow_split=allow_split,
            keep_home=keep_home,
        )
        running = dict(zip((HOME, AWAY), activity, strict=True))
        told = f"{move} {world} seen by {seen}: {plan}"
        assert not (plan.refusal and (plan.order or plan.takes_over)), told
        if plan.takes_over:
            other = AWAY if plan.to == HOME else HOME
            assert running[other] is not Activity.RUNNING, told
        if plan.order is None:
            continue
        assert plan.at in seen, told
        assert plan.found == (world.states[plan.at], world.primary[plan.at]), told
        after = apply(world, plan)
        assert after.states[plan.at] in plan.wanted, told
        if len(after.writable()) == 2 and len(world.writable()) < 2:
            other = AWAY if plan.to == HOME else HOME
            assert move is Move.FAILOVER, told
            assert plan.is_split, told
            assert running[other] is not Activity.RUNNING, told
            assert allow_split or (other not in seen and not world.is_linked), told
        if plan.order is Order.START_FORCED:
            assert move in {Move.FAILBACK, Move.RESYNC}, told
            assert plan.overwrites, told
        if plan.order in {Order.START, Order.START_FORCED}:
            lost = {HOME, AWAY} - after.writable()
            assert all(running[name] is not Activity.RUNNING for name in lost), told
        if plan.order is Order.SWITCH:
            source = HOME if world.primary[plan.at] is Side.MASTER else AWAY
            assert running[source] is not Activity.RUNNING, told
            assert after.writable() == {plan.to}, told


REFUSED, NOTHING, WAIT = "refused", "nothing", "wait"


def outcome(plan: Plan) -> str:
    if plan.refusal:
        return REFUSED
    if plan.order:
        return f"{plan.order} by {plan.at}"
    return WAIT if plan.is_waiting else NOTHING


# With both arrays answering, the group offline everywhere, and no choices made.
# state: (start, resync, failover, failback, switch), home being the primary …
AT_HOME = {
    S.INCONSISTENT_STOPPED: (f"{Order.START} by {HOME}",) * 2 + (REFUSED, REFUSED, REFUSED),
    S.INCONSISTENT_COPYING: (WAIT, WAIT, REFUSED, REFUSED, REFUSED),
    S.CONSISTENT_STOPPED: (
        REFUSED,
        f"{Order.START_FORCED} by {HOME}",
        REFUSED,
        REFUSED,
        REFUSED,
    ),
    S.CONSISTENT_SYNCHRONIZED: (NOTHING, NOTHING, REFUSED, NOTHING, f"{Order.SWITCH} by {AWAY}"),
    # consistent_copying belongs to cycling groups; this one does not cycle, so nobody may switch.
    S.CONSISTENT_COPYING: (NOTHING, NOTHING, REFUSED, NOTHING, REFUSED),
}
# … and the second site being the primary, after a switch or a failover with resync.
AT_AWAY = {
    S.INCONSISTENT_STOPPED: (f"{Order.START} by {AWAY}",) * 2
    + (REFUSED, f"{Order.START} by {AWAY}", REFUSED),
    S.INCONSISTENT_COPYING: (WAIT, WAIT, REFUSED, WAIT, REFUSED),
    S.CONSISTENT_STOPPED: (
        REFUSED,
        f"{Order.START_FORCED} by {AWAY}",
        REFUSED,
        f"{Order.START_FORCED} by {AWAY}",
        REFUSED,
    ),
    S.CONSISTENT_SYNCHRONIZED: (
        NOTHING,
        NOTHING,
        REFUSED,
        f"{Order.SWITCH} by {HOME}",
        f"{Order.SWITCH} by {HOME}",
    ),
    S.CONSISTENT_COPYING: (NOTHING, NOTHING, REFUSED, REFUSED, REFUSED),
}
NO_PRIMARY = {
    S.EMPTY: (REFUSED,) * 5,
    S.IDLING: (REFUSED, REFUSED, NOTHING, f"{Order.START_FORCED} by {AWAY}", REFUSED),
}
ROWS = [
    *((state, Side.MASTER, row) for state, row in AT_HOME.items()),
    *((state, Side.AUX, row) for state, row in AT_AWAY.items()),
    *((state, Side.NONE, row) for state, row in NO_PRIMARY.items()),
]


@pytest.mark.parametrize(("state", "primary", "row"), ROWS)
@pytest.mark.parametrize("place", range(5))
def test_every_move_from_every_connected_state(state, primary, row, place) -> None:
    world = connected(state, primary)
    seen = situation(world, (HOME, AWAY), Activity.STOPPED, Activity.STOPPED)
    assert outcome(plan_move(list(Move)[place], seen)) == row[place]


# The home array is gone, or only the link: what the second array says, and what may be done.
@pytest.mark.parametrize(
    ("half", "home_answers", "at_home", "allow_split", "result"),
    [
        # The disaster: nobody answers at home.
        (S.CONSISTENT_DISCONNECTED, False, Activity.UNKNOWN, False, Order.STOP_ACCESS),
        (S.CONSISTENT_DISCONNECTED, False, Activity.STOPPED, False, Order.STOP_ACCESS),
        # A node at home still uses its disks: only we cannot reach that array.
        (S.CONSISTENT_DISCONNECTED, False, Activity.RUNNING, False, REFUSED),
        (S.CONSISTENT_DISCONNECTED, False, Activity.RUNNING, True, REFUSED),
        # Only the link is cut.
        (S.CONSISTENT_DISCONNECTED, True, Activity.RUNNING, True, REFUSED),
        (S.CONSISTENT_DISCONNECTED, True, Activity.STOPPED, False, REFUSED),
        (S.CONSISTENT_DISCONNECTED, True, Activity.STOPPED, True, Order.STOP_ACCESS),
        # The copy is not whole.
        (S.INCONSISTENT_DISCONNECTED, False, Activity.UNKNOWN, True, REFUSED),
        # A failover that died half-way, made again.
        (S.IDLING_DISCONNECTED, False, Activity.UNKNOWN, False, NOTHING),
        (S.IDLING_DISCONNECTED, False, Activity.RUNNING, False, REFUSED),
    ],
)
def test_a_failover_after_a_disaster(half, home_answers, at_home, allow_split, result) -> None:
    world = cut(HOME, half)
    seen = (HOME, AWAY) if home_answers else (AWAY,)
    plan = plan_move(
        Move.FAILOVER,
        situation(world, seen, at_home, Activity.STOPPED),
        allow_split=allow_split,
    )
    if isinstance(result, Order):
        assert (plan.order, plan.at, plan.to) == (result, AWAY, AWAY)
        assert plan.takes_over
        assert plan.loss == timedelta(seconds=42)
        assert plan.recovery_point == POINT
    else:
        assert outcome(plan) == result


def test_an_unknown_recovery_point_is_said_to_be_unknown() -> None:
    seen = situation(
        cut(HOME, S.CONSISTENT_DISCONNECTED), (AWAY,), Activity.UNKNOWN, Activity.STOPPED
    )
    plan = plan_move(Move.FAILOVER, replace(seen, recovery_point=None))
    assert plan.order is Order.STOP_ACCESS
    assert plan.loss is None
    assert plan.document()["loss_s"] is None


DISASTER = situation(
    cut(HOME, S.CONSISTENT_DISCONNECTED), (AWAY,), Activity.UNKNOWN, Activity.STOPPED
)


def test_the_loss_ends_when_the_array_fell_silent_if_it_stopped_then() -> None:
    silent = {HOME: POINT + timedelta(seconds=5)}
    plan = plan_move(Move.FAILOVER, replace(DISASTER, silent_since=silent))
    told = plan.document()
    assert (told["loss_s"], told["loss_if_stopped_s"]) == (42.0, 5.0)
    assert told["silent_by"] == silent[HOME].isoformat()
    early = plan_move(Move.FAILOVER, replace(DISASTER, silent_since={HOME: POINT - DAY}))
    assert early.document()["loss_if_stopped_s"] == 0.0


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("cloud", "copy", "said"),
    [
        (None, POINT, ""),
        (POINT + timedelta(seconds=30), POINT, "newest of both is the cloud's restore point"),
        (POINT - DAY, POINT, f"newest of both is {AWAY}'s copy"),
        (POINT, POINT, f"newest of both is {AWAY}'s copy"),
        (POINT, None, "nobody can tell"),
    ],
)
def test_a_failover_says_which_method_brings_back_more(cloud, copy, said) -> None:
    seen = replace(DISASTER, cloud_point=cloud, recovery_point=copy)
    plan = plan_move(Move.FAILOVER, seen)
    notes = " ".join(plan.notes)
    assert said in notes
    assert bool(said) == ("restore point in the cloud" in notes or "cloud's restore" in notes)
    assert plan.document()["cloud_point"] == (cloud.isoformat() if cloud else None)


def test_a_failover_without_a_usable_copy_names_the_restore_point_there_is() -> None:
    world = cut(HOME, S.INCONSISTENT_DISCONNECTED)
    seen = situation(world, (AWAY,), Activity.UNKNOWN, Activity.STOPPED)
    plan = plan_move(Move.FAILOVER, replace(seen, cloud_point=POINT))
    assert f"{POINT:%Y-%m-%d %H:%M:%S} UTC" in plan.hint


@pytest.mark.parametrize("allow_split", [False, True])
def test_an_array_that_is_there_but_tells_nothing_counts_as_alive(allow_split) -> None:
    seen = replace(DISASTER, unhelpful=frozenset({HOME}))
    plan = plan_move(Move.FAILOVER, seen, allow_split=allow_split)
    assert bool(plan.refusal) is not allow_split


BEGUN = Begun(move=Move.FAILOVER, at=NOW, to=AWAY, recovery_point=POINT, silent_by=NOW)


@pytest.mark.parametrize("half_says", [Side.NONE, Side.AUX])
@pytest.mark.parametrize("seen", [(AWAY,), (HOME, AWAY)])
def test_a_failover_given_again_goes_on_whoever_the_half_calls_primary(half_says, seen) -> None:
    world = replace(cut(HOME, S.IDLING_DISCONNECTED), primary={HOME: Side.MASTER, AWAY: half_says})
    found = situation(world, seen, Activity.UNKNOWN, Activity.STOPPED)
    plan = plan_move(Move.FAILOVER, replace(found, begun=BEGUN))
    assert (plan.refusal, plan.order, plan.to, plan.takes_over) == ("", None, AWAY, True)
    assert (plan.recovery_point, plan.loss) == (POINT, NOW - POINT)


@pytest.mark.parametrize("begun", [None, BEGUN.model_copy(update={"to": HOME})])
def test_the_loss_of_another_failover_is_not_taken_for_this_ones(begun) -> None:
    world = cut(HOME, S.IDLING_DISCONNECTED)
    found = situation(world, (AWAY,), Activity.UNKNOWN, Activity.STOPPED)
    plan = plan_move(Move.FAILOVER, replace(found, begun=begun))
    assert (plan.to, plan.takes_over, plan.loss) == (AWAY, True, None)


@pytest.mark.parametrize(
    ("move", "primary", "to"), [(Move.SWITCH, Side.AUX, AWAY), (Move.FAILBACK, Side.MASTER, HOME)]
)
@pytest.mark.parametrize("is_done", [False, True])
def test_a_swap_whose_run_died_is_not_swapped_back(move, primary, to, is_done) -> None:
    found = situation(
        connected(S.CONSISTENT_SYNCHRONIZED, primary),
        (HOME, AWAY),
        Activity.STOPPED,
        Activity.STOPPED,
    )
    begun = Begun(move=move, at=NOW, to=to, is_done=is_done)
    plan = plan_move(move, replace(found, begun=begun))
    if is_done:
        assert (plan.order is Order.SWITCH) == (move is Move.SWITCH)
    else:
        assert (plan.order, plan.to, plan.takes_over) == (None, to, True)
        assert "interrupted" in plan.notes[0]


@pytest.mark.parametrize("move", [Move.START, Move.SWITCH])
def test_a_state_that_looks_well_is_not_believed_without_the_partnership(move) -> None:
    world = replace(connected(S.CONSISTENT_SYNCHRONIZED, Side.MASTER), is_linked=False)
    seen = situation(world, (HOME, AWAY), Activity.STOPPED, Activity.STOPPED)
    plan = plan_move(move, seen)
    assert (plan.order, bool(plan.refusal)) == (None, True)


def test_a_group_with_something_offline_is_not_switched() -> None:
    seen = situation(
        connected(S.CONSISTENT_SYNCHRONIZED, Side.MASTER),
        (HOME, AWAY),
        Activity.STOPPED,
        Activity.STOPPED,
    )
    view = seen.views[AWAY]
    group = replace(view.group, status="secondary_offline")
    seen = replace(seen, views={**seen.views, AWAY: replace(view, group=group)})
    assert "secondary_offline" in plan_move(Move.SWITCH, seen).refusal


def test_failing_back_can_keep_either_site() -> None:
    world = connected(S.IDLING, Side.NONE, "out_of_sync")
    seen = situation(world, (HOME, AWAY), Activity.STOPPED, Activity.STOPPED)
    resync = plan_move(Move.FAILBACK, seen)
    keep = plan_move(Move.FAILBACK, seen, keep_home=True)
    assert (resync.at, resync.primary) == (AWAY, Side.AUX)
    assert HOME in resync.overwrites
    assert (keep.at, keep.primary) == (HOME, Side.MASTER)
    assert (resync.is_waiting, keep.is_waiting) == (True, False)
    assert AWAY in keep.overwrites


def test_sides_without_writes_part_and_meet_again_without_force() -> None:
    world = connected(S.IDLING, Side.NONE, "in_sync")
    seen = situation(world, (HOME, AWAY), Activity.STOPPED, Activity.STOPPED)
    plan = plan_move(Move.FAILBACK, seen)
    assert plan.order is Order.START
    assert not plan.overwrites


@pytest.mark.parametrize("state", S)
def test_every_refusal_says_what_is_the_matter(state) -> None:
    for move in Move:
        primary = Side.NONE if state in {S.IDLING, S.EMPTY} else Side.MASTER
        linked = not state.endswith("_disconnected")
        world = replace(connected(state, primary), is_linked=linked)
        for activity in Activity:
            plan = plan_move(move, situation(world, (HOME, AWAY), activity, activity))
            if plan.refusal:
                assert plan.hint


# Where a cloud backup takes its snapshot -------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "seen", "at_away", "expected"),
    [
        (connected(S.CONSISTENT_SYNCHRONIZED, Side.MASTER), (HOME, AWAY), "stopped", HOME),
        (connected(S.INCONSISTENT_COPYING, Side.MASTER), (HOME, AWAY), "stopped", HOME),
        (connected(S.CONSISTENT_SYNCHRONIZED, Side.AUX), (HOME, AWAY), "stopped", AWAY),
        # The primary is lost: the copy is what there is, if it is one.
        (cut(HOME, S.CONSISTENT_DISCONNECTED), (AWAY,), "unknown", AWAY),
        (cut(HOME, S.INCONSISTENT_DISCONNECTED), (AWAY,), "unknown", ""),
        (cut(HOME, S.IDLING_DISCONNECTED), (AWAY,), "running", AWAY),
        # Both can be written: only a node can tell where it is.
        (connected(S.IDLING, Side.NONE), (HOME, AWAY), "running", AWAY),
        (connected(S.IDLING, Side.NONE), (HOME, AWAY), "unknown", ""),
        (connected(S.CONSISTENT_SYNCHRONIZED, Side.MASTER), (), "unknown", ""),
    ],
)
def test_a_backup_is_taken_where_hosts_write(world, seen, at_away, expected) -> None:
    found = situation(world, seen, Activity.STOPPED, Activity(at_away))
    assert snapshot_system(found, (HOME, AWAY)) == expected


def test_a_backup_is_not_taken_of_old_data_because_only_there_are_mappings() -> None:
    world = connected(S.CONSISTENT_SYNCHRONIZED, Side.AUX)
    found = situation(world, (HOME, AWAY), Activity.STOPPED, Activity.STOPPED)
    assert snapshot_system(found, (HOME,)) == ""
