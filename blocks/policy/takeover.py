"""Which site hosts write to next: failover, failback, switch, resync; what is legal, what is lost.

Pure: a `Situation` and the person's choices in, a `Plan` out. A plan holds at most one order to the
arrays, so that a run that dies is simply made again: the next plan starts from what the arrays say.
A refusal is a plan too: it names the state and says what to do. Three rules hold everywhere:

- Both sides become writable only in a failover, and only when the other array is out of reach or
  the person said so (`allow_split`); never while the group still runs on the other side.
- `-force`, which gives up the consistent copy while it is made anew, is sent only for a failback or
  a resync that was asked for; `-clean` never.
- What will be lost or written over is in the plan before anybody is asked.

Source: docs/reference/svc-cli.md §6.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from blocks.policy.disaster import plan_failover
from blocks.policy.loss import Begun
from blocks.policy.refusals import STOP_HINT, no_members, not_known, refused
from blocks.policy.situation import Activity, Move, Order, Plan, Situation
from blocks.svc.model import RemoteState
from blocks.svc.remote_view import RemoteView


def plan_move(
    move: Move,
    seen: Situation,
    *,
    allow_split: bool = False,
    keep_home: bool = False,
) -> Plan:
    """Plan a move from whatever situation there is.

    Args:
        move: what is asked for.
        seen: the situation.
        allow_split: the person knows that both sides become writable and stops the other one.
        keep_home: fail back onto what the home site holds, giving up what was written away.
    """
    if not seen.views:
        return refused(
            Plan(move, seen.home),
            "no array tells of the group",
            "See what each said in the notes; then address, network, name.",
        )
    plan = _plan(move, seen, allow_split=allow_split, keep_home=keep_home)
    if plan.order is None:
        return plan
    view = seen.views[plan.at]
    return replace(plan, found=(view.state, view.primary))


def _plan(move: Move, seen: Situation, *, allow_split: bool, keep_home: bool) -> Plan:
    match move:
        case Move.START | Move.RESYNC:
            return _start(move, seen)
        case Move.FAILOVER:
            return plan_failover(seen, allow_split=allow_split)
        case Move.SWITCH:
            return _switch(seen)
        case Move.FAILBACK:
            return _failback(seen, keep_home=keep_home)


# Switch: both sites are well -------------------------------------------------------------------


def _switch(seen: Situation) -> Plan:
    source = seen.primary
    to = seen.other(source or seen.home)
    plan = Plan(Move.SWITCH, to, takes_over=True)
    if not source:
        return refused(
            plan, f"no side is the primary (the group is {_states(seen)})", _FAILBACK_HINT
        )
    if _is_half_done(Move.SWITCH, source, seen):
        # Else the same command given again would swap the roles back.
        return _go_on(replace(plan, to=source), seen)
    return _swap(plan, seen, source)


def _is_half_done(move: Move, primary: str, seen: Situation) -> bool:
    """Say whether a run of this move died after the roles were swapped, before hosts took over."""
    begun = seen.begun
    return begun is not None and not begun.is_done and (begun.move, begun.to) == (move, primary)


def _go_on(plan: Plan, seen: Situation) -> Plan:
    """The arrays have done their part: only the hosts are left."""
    return replace(
        plan,
        takes_over=True,
        begun=seen.begun,
        recovery_point=seen.now,
        loss=timedelta(0),
        notes=(
            f"a {plan.move} that was interrupted has swapped the roles already: {plan.to} is the"
            " primary, and its hosts are still to take over",
        ),
    )


def _swap(plan: Plan, seen: Situation, source: str) -> Plan:
    """Swap the roles: the array fences the old primary, so nothing is written on both sides."""
    at = plan.to if plan.to in seen.views else source
    view = seen.views[at]
    if view.state is RemoteState.EMPTY:
        return no_members(plan)
    fit = view.state is RemoteState.CONSISTENT_SYNCHRONIZED or (
        view.state is RemoteState.CONSISTENT_COPYING and view.is_cycling
    )
    if not fit or not view.is_connected:
        return refused(
            plan,
            f"the group is {_states(seen)}, the partnership {view.partnership or 'gone'}:"
            " only a synchronized group can be switched",
            _NOT_IN_SYNC[view.state],
        )
    if view.group.status not in {"", "online"}:
        return refused(plan, f"the group's status is {view.group.status}", "See lseventlog.")
    if seen.runs_at(source) is Activity.RUNNING:
        return refused(
            plan,
            f"the group runs on {source}: its disks would become read-only under it",
            STOP_HINT,
        )
    order = replace(
        plan,
        at=at,
        order=Order.SWITCH,
        primary=seen.side(plan.to),
        wanted=(view.state,),
        begun=Begun(move=plan.move, at=seen.now, to=plan.to),
        recovery_point=seen.now,
        loss=timedelta(0),
        notes=not_known(seen, source),
    )
    if view.is_cycling:
        order = replace(
            order,
            notes=(
                *order.notes,
                "the array copies the last cycle before it swaps: nothing is lost",
            ),
        )
    return order


# Failback: the home site is there again --------------------------------------------------------


def _failback(seen: Situation, *, keep_home: bool) -> Plan:
    home, away = seen.home, seen.away
    plan = Plan(Move.FAILBACK, home)
    for name in (home, away):
        if name not in seen.views:
            return refused(
                plan, f"{name} does not answer", "Both arrays must be there to fail back."
            )
    view = seen.views[away]
    if view.state is RemoteState.EMPTY:
        return no_members(plan)
    apart = [f"{n}: {v.state}, {v.partnership}" for n, v in seen.views.items() if _is_apart(v)]
    if apart:
        return refused(plan, f"the arrays are not connected ({'; '.join(apart)})", _LINK_HINT)
    if view.state is RemoteState.IDLING:
        return _start_from_idling(plan, seen, keep_home=keep_home)
    if seen.primary == home:
        if _is_half_done(Move.FAILBACK, home, seen):
            return _go_on(plan, seen)
        return _at_home(plan, view)
    match view.state:
        case RemoteState.CONSISTENT_SYNCHRONIZED | RemoteState.CONSISTENT_COPYING:
            return _swap(replace(plan, takes_over=True), seen, away)
        case RemoteState.INCONSISTENT_COPYING:
            return replace(plan, is_waiting=True, notes=("the copy home is under way",))
        case _:
            return _restart(plan, seen, view)


def _start_from_idling(plan: Plan, seen: Situation, *, keep_home: bool) -> Plan:
    """Choose the direction; what the other side holds of its own is written over."""
    source = seen.home if keep_home else seen.away
    target = seen.other(source)
    if seen.runs_at(target) is Activity.RUNNING:
        return refused(
            plan,
            f"the group runs on {target}, which would be written over",
            "Take it offline there, or choose the other direction (--keep-home, --resync).",
        )
    is_same = all(view.group.sync == "in_sync" for view in seen.views.values())
    return replace(
        plan,
        at=source,
        order=Order.START if is_same else Order.START_FORCED,
        primary=seen.side(source),
        wanted=_MOVING,
        is_waiting=not keep_home,
        overwrites=""
        if is_same
        else f"what was written on {target} since the two sides parted is lost;"
        f" {source} is copied over it, and until that ends {target} holds nothing usable",
        notes=not_known(seen, target),
    )


def _at_home(plan: Plan, view: RemoteView) -> Plan:
    if view.state in {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.CONSISTENT_COPYING}:
        return replace(plan, notes=("the home site is the primary already",))
    return refused(
        plan,
        f"the home site is the primary (the group is {view.state}): nothing is to be failed back",
        "Use `flashvault sync`.",
    )


# Start and resync: the second site is to follow again ------------------------------------------


def _start(move: Move, seen: Situation) -> Plan:
    source = seen.primary
    plan = Plan(move, source or seen.home)
    if not source:
        reason = f"no side is the primary (the group is {_states(seen)})"
        empty = any(view.state is RemoteState.EMPTY for view in seen.views.values())
        return no_members(plan) if empty else refused(plan, reason, _FAILBACK_HINT)
    view = seen.views.get(source) or seen.views[seen.other(source)]
    if view.state is RemoteState.EMPTY:
        return no_members(plan)
    if view.state in _MOVING and view.is_connected:
        is_waiting = view.state is RemoteState.INCONSISTENT_COPYING
        return replace(plan, is_waiting=is_waiting, notes=("the copy runs already",))
    if _is_apart(view):
        return refused(plan, f"the arrays are not connected ({_states(seen)})", _LINK_HINT)
    if view.state is RemoteState.IDLING:
        return refused(plan, "the group is idling: both sides can be written", _FAILBACK_HINT)
    return _restart(plan, seen, view)


def _restart(plan: Plan, seen: Situation, view: RemoteView) -> Plan:
    """Start a stopped group in the direction it has. Only a consistent copy can be lost by it."""
    source = seen.primary
    target = seen.other(source)
    if seen.runs_at(target) is Activity.RUNNING:
        return refused(plan, f"{target}'s volumes are in use and would be written over", STOP_HINT)
    order = replace(
        plan,
        at=source if source in seen.views else target,
        order=Order.START,
        wanted=_MOVING,
        is_waiting=True,
        notes=not_known(seen, target),
    )
    if view.state is RemoteState.INCONSISTENT_STOPPED:
        return replace(order, overwrites=f"all of {target}'s volumes; they hold no usable copy now")
    if view.group.sync == "in_sync":
        return order
    frozen = f" of {seen.recovery_point:%Y-%m-%d %H:%M} UTC" if seen.recovery_point else ""
    forced = replace(
        order,
        order=Order.START_FORCED,
        overwrites=f"the consistent copy{frozen} on {target}: while the changes are copied,"
        f" {target} holds nothing usable (take a FlashCopy of it first if you can)",
    )
    if plan.move is Move.START:
        return refused(
            forced,
            f"the group is {view.state} and was written to since: a start gives up the consistent"
            f" copy{frozen} on {target} until the changes are copied",
            "Say so: flashvault sync --resync.",
        )
    return forced


# Words -----------------------------------------------------------------------------------------

_MOVING = (
    RemoteState.INCONSISTENT_COPYING,
    RemoteState.CONSISTENT_SYNCHRONIZED,
    RemoteState.CONSISTENT_COPYING,
)
_FAILBACK_HINT = "After a failover: flashvault failback chooses a direction and starts the copy."
_LINK_HINT = "Repair the link or start the partnership on both arrays, then ask again."
_SYNC_HINT = "Let the copy end (flashvault sync), then ask again."

_NOT_IN_SYNC: dict[RemoteState, str] = {
    RemoteState.EMPTY: "",
    RemoteState.INCONSISTENT_STOPPED: _SYNC_HINT,
    RemoteState.INCONSISTENT_COPYING: _SYNC_HINT,
    RemoteState.CONSISTENT_STOPPED: _SYNC_HINT,
    RemoteState.CONSISTENT_SYNCHRONIZED: _LINK_HINT,
    RemoteState.CONSISTENT_COPYING: _LINK_HINT,
    RemoteState.IDLING: _FAILBACK_HINT,
    RemoteState.IDLING_DISCONNECTED: _LINK_HINT,
    RemoteState.INCONSISTENT_DISCONNECTED: _LINK_HINT,
    RemoteState.CONSISTENT_DISCONNECTED: "If the other site is lost: flashvault failover.",
}


def _is_apart(view: RemoteView) -> bool:
    return not view.is_connected


def _states(seen: Situation) -> str:
    told = {name: str(view.state) for name, view in seen.views.items()}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{state} on {name}" for name, state in told.items())
