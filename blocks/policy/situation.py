"""Where a mirrored group stands, and what a plan made of that says.

`takeover` makes plans of situations; `snapshot_system` tells where a backup is worth taking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from blocks.errors import Refused
from blocks.policy.loss import Begun
from blocks.svc.model import RemoteState, Side
from blocks.svc.remote_view import RemoteView

_WRITABLE = {RemoteState.IDLING, RemoteState.IDLING_DISCONNECTED}

_CONSISTENT = {
    RemoteState.CONSISTENT_STOPPED,
    RemoteState.CONSISTENT_SYNCHRONIZED,
    RemoteState.CONSISTENT_COPYING,
    RemoteState.CONSISTENT_DISCONNECTED,
    RemoteState.IDLING,
    RemoteState.IDLING_DISCONNECTED,
}


class Move(StrEnum):
    """What a person asks for."""

    START = "start"
    RESYNC = "resync"
    FAILOVER = "failover"
    FAILBACK = "failback"
    SWITCH = "switch"


class Order(StrEnum):
    """What the arrays are asked to do. `-clean` is not among it: it hides what was changed."""

    START = "startrcconsistgrp"
    START_FORCED = "startrcconsistgrp -force"
    STOP_ACCESS = "stoprcconsistgrp -access"
    SWITCH = "switchrcconsistgrp"


class Activity(StrEnum):
    """Whether the resource group runs on a site's volumes."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known: both arrays' views, and whether the group runs on either's volumes.

    `home` is the profile's first storage system, `away` its second. An array that did not answer
    has no view.
    """

    home: str
    away: str
    views: Mapping[str, RemoteView]
    activity: Mapping[str, Activity]
    recovery_point: datetime | None
    now: datetime
    parted_by: datetime | None = None
    """When the second site had surely stopped following; the moment itself lies between the two."""
    silent_since: Mapping[str, datetime] = field(default_factory=dict)
    """Arrays that give no sign of life, each with the first look that found it so."""
    unhelpful: frozenset[str] = frozenset()
    """Arrays that are there and tell nothing: they refuse the login, or do not know the group."""
    begun: Begun | None = None
    """The last move that was ordered."""
    cloud_point: datetime | None = None
    """When the group's newest restore point in the cloud was taken."""

    def other(self, name: str) -> str:
        """Return the other storage system."""
        return self.away if name == self.home else self.home

    def runs_at(self, name: str) -> Activity:
        """Say whether the group runs on a system's volumes."""
        return self.activity.get(name, Activity.UNKNOWN)

    def side(self, name: str) -> Side:
        """Return a system's side of the group, from whichever view there is."""
        if name in self.views:
            return self.views[name].side
        return Side.AUX if self.views[self.other(name)].side is Side.MASTER else Side.MASTER

    @property
    def primary(self) -> str:
        """The system hosts write to, empty while there is none or nobody can tell."""
        for view in self.views.values():
            if view.primary is not Side.NONE:
                return self.home if self.side(self.home) is view.primary else self.away
        return ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a move does from here.

    `order` goes to the array `at`; `to` is the system whose volumes the group runs on afterwards.
    With no order and no refusal there is nothing to do on the arrays (any more).
    """

    move: Move
    to: str
    at: str = ""
    order: Order | None = None
    primary: Side = Side.NONE
    found: tuple[RemoteState, Side] = (RemoteState.EMPTY, Side.NONE)
    """State and primary at `at` when the plan was made: the order is for these only."""
    wanted: tuple[RemoteState, ...] = ()
    """The states in which the order has been carried out."""
    is_split: bool = False
    """Afterwards both sides can be written."""
    recovery_point: datetime | None = None
    """Up to here the copy surely reaches."""
    loss: timedelta | None = None
    """At most so much is lost."""
    begun: Begun | None = None
    """The move to write down before its order is sent, or the one this goes on with."""
    cloud_point: datetime | None = None
    """Of a failover: the newest restore point there is instead."""
    overwrites: str = ""
    notes: tuple[str, ...] = ()
    takes_over: bool = False
    """The volumes at `to` are to be brought to the hosts."""
    is_waiting: bool = False
    """A copy is under way; the move goes on when it is complete."""
    refusal: str = ""
    hint: str = ""

    @property
    def is_any(self) -> bool:
        """Something is to be done, on the arrays or the hosts."""
        return self.order is not None or self.takes_over

    def document(self) -> dict[str, Any]:
        """Return the plan for `--json` and the UI."""
        begun = self.begun
        return {
            "move": str(self.move),
            "to": self.to,
            "order": f"{self.order} on {self.at}" if self.order else "",
            "is_refused": bool(self.refusal),
            "refusal": self.refusal,
            "hint": self.hint,
            "is_split": self.is_split,
            "recovery_point": _iso(self.recovery_point),
            "parted_by": _iso(begun.parted_by if begun else None),
            "silent_by": _iso(begun.silent_by if begun else None),
            "loss_s": _seconds(self.loss),
            "loss_if_stopped_s": _seconds(begun.if_stopped if begun else None),
            "cloud_point": _iso(self.cloud_point),
            "overwrites": self.overwrites,
            "takes_over": self.takes_over,
            "is_waiting": self.is_waiting,
            "notes": list(self.notes),
        }


def refuse_another(approved: Plan, now: Plan) -> None:
    """Refuse a plan that is not the one a person has read, perhaps a day ago.

    How much is lost may have changed with the time; what is done, and to whom, may not.

    Raises:
        Refused: the sites have changed so that something else would be done, or nothing may.
    """
    if _deed(approved) != _deed(now):
        why = f": {now.refusal}" if now.refusal else ""
        raise Refused(
            f"the sites are no longer as they were when the {approved.move} was approved{why}",
            hint="Nothing was changed. Ask again, and read the new plan.",
        )


def _deed(plan: Plan) -> tuple[object, ...]:
    return (
        *(plan.move, plan.to, plan.at, plan.order, plan.primary, plan.found, plan.wanted),
        *(plan.is_split, plan.takes_over, plan.is_waiting, bool(plan.refusal), plan.notes),
    )


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 3)


def snapshot_system(seen: Situation, names: Sequence[str]) -> str:
    """Choose whose volumes a cloud backup takes its snapshot of: those hosts write to.

    Args:
        seen: the situation of the group's remote copy.
        names: the storage systems on which the cloud profile has its mappings.

    Returns:
        One of `names`; empty when none of them holds what hosts write, and a snapshot there would
        be of old data.
    """
    running = [name for name in names if seen.runs_at(name) is Activity.RUNNING]
    if len(running) == 1:
        return running[0]
    if seen.primary:
        lost = seen.primary not in seen.views
        chosen = seen.other(seen.primary) if lost else seen.primary
    else:
        writable = [name for name, view in seen.views.items() if view.state in _WRITABLE]
        chosen = writable[0] if len(writable) == 1 else ""
    if chosen not in names or chosen not in seen.views:
        return ""
    view = seen.views[chosen]
    return chosen if view.is_primary or view.state in _CONSISTENT else ""
