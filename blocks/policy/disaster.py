"""Failover: the other site is lost, and this one's copy becomes the production.

The only move that leaves both sides writable, so it needs the other array to be out of reach, or a
person to say that nobody writes there; and it is never made while the group runs there.
Pure; `takeover` says what holds for every move.
"""

from __future__ import annotations

from dataclasses import replace

from blocks.policy.loss import Begun, in_utc, newest_of_both
from blocks.policy.refusals import STOP_HINT, no_members, not_known, refused
from blocks.policy.situation import Activity, Move, Order, Plan, Situation
from blocks.svc.model import RemoteState
from blocks.svc.remote_view import CONNECTED, RemoteView

LAG_NOTE = "Global Mirror is asynchronous: writes of the last seconds before that may be missing"


def plan_failover(seen: Situation, *, allow_split: bool) -> Plan:
    """Plan a failover from whatever situation there is; see `takeover.plan_move`."""
    begun = seen.begun
    if begun is not None and begun.move == Move.FAILOVER and _is_writable(seen, begun.to):
        to = begun.to  # an array may call the half it made writable the primary
    else:
        to = seen.other(seen.primary or seen.home)
    plan = Plan(Move.FAILOVER, to, at=to, takes_over=True, cloud_point=seen.cloud_point)
    view = seen.views.get(to)
    if view is None:
        return refused(plan, f"{to} does not answer", "Its array makes its volumes writable.")
    match view.state:
        case RemoteState.EMPTY:
            return no_members(plan)
        case (
            RemoteState.INCONSISTENT_STOPPED
            | RemoteState.INCONSISTENT_COPYING
            | RemoteState.INCONSISTENT_DISCONNECTED
        ):
            return refused(
                plan,
                f"{to} holds no consistent copy (the group is {view.state})",
                f"Restore from the cloud{_cloud_says(seen)}: flashvault restore."
                " A copy under way must end first.",
            )
        case RemoteState.CONSISTENT_SYNCHRONIZED | RemoteState.CONSISTENT_COPYING:
            return refused(
                plan,
                f"the group is {view.state}: the other array is alive and follows",
                "Use `flashvault switch`: it loses nothing and fences the other side. If the other"
                " site has just failed, its loss shows within seconds: ask again.",
            )
        case RemoteState.IDLING | RemoteState.IDLING_DISCONNECTED:
            return _already_split(plan, seen)
        case RemoteState.CONSISTENT_STOPPED | RemoteState.CONSISTENT_DISCONNECTED:
            return _stop_access(plan, seen, view, allow_split=allow_split)


def _is_writable(seen: Situation, name: str) -> bool:
    writable = {RemoteState.IDLING, RemoteState.IDLING_DISCONNECTED}
    return name in seen.views and seen.views[name].state in writable


def _already_split(plan: Plan, seen: Situation) -> Plan:
    """The volumes are writable already: an earlier failover came this far."""
    lost = seen.other(plan.to)
    if seen.runs_at(lost) is Activity.RUNNING:
        return refused(plan, f"both sides are writable, and the group runs on {lost}", STOP_HINT)
    split = replace(
        plan,
        is_split=True,
        cloud_point=None,
        recovery_point=seen.recovery_point,
        notes=(f"the volumes at {plan.to} are writable already", *not_known(seen, lost)),
    )
    if seen.begun is None or (seen.begun.move, seen.begun.to) != (Move.FAILOVER, plan.to):
        return split
    return _with_loss(split, seen.begun)


def _stop_access(plan: Plan, seen: Situation, view: RemoteView, *, allow_split: bool) -> Plan:
    lost = seen.other(plan.to)
    if seen.runs_at(lost) is Activity.RUNNING:
        return refused(
            plan,
            f"the group runs on {lost}: both sides would be written",
            f"{STOP_HINT} If both arrays are alive, repair the link and use `flashvault switch`.",
        )
    is_alive = lost in seen.views or lost in seen.unhelpful or view.partnership == CONNECTED
    if is_alive and not allow_split:
        return refused(
            plan,
            f"{lost} is alive ({_how_alive(seen, lost)}): afterwards both sides could be written",
            "Repair the link and use `flashvault switch`; or make sure that the group stays"
            f" offline on {lost} and say --allow-split.",
        )
    order = replace(
        plan,
        order=Order.STOP_ACCESS,
        primary=view.side,
        wanted=(RemoteState.IDLING, RemoteState.IDLING_DISCONNECTED),
        is_split=True,
        notes=(
            LAG_NOTE,
            *newest_of_both(plan.to, seen.recovery_point, seen.cloud_point),
            f"if {lost} comes back, its volumes are writable too: keep the group offline there"
            " until `flashvault failback`",
            *not_known(seen, lost),
        ),
    )
    begun = Begun(
        move=plan.move,
        at=seen.now,
        to=plan.to,
        recovery_point=seen.recovery_point,
        parted_by=seen.parted_by,
        silent_by=seen.silent_since.get(lost),
    )
    return _with_loss(order, begun)


def _with_loss(plan: Plan, begun: Begun) -> Plan:
    return replace(plan, recovery_point=begun.recovery_point, loss=begun.at_most, begun=begun)


def _cloud_says(seen: Situation) -> str:
    return (
        f" (its newest restore point is of {in_utc(seen.cloud_point)})" if seen.cloud_point else ""
    )


def _how_alive(seen: Situation, name: str) -> str:
    if name in seen.views:
        return "its array answers"
    if name in seen.unhelpful:
        return "its array is there, though it tells nothing of the group: see the notes"
    return "the arrays see one another"
