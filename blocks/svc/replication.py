"""Remote copy of a whole group: what it is doing, how old its far side is, and the legal moves.

`ON_START` and `ON_STOP_ACCESS` say for every state what a move would do. Nothing here uses `-force`
or `-clean` unless the caller says `overwrite=True`, which only a person may decide: both throw away
one side's data. Source: docs/reference/svc-cli.md §6.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from blocks.errors import ConfigError, Refused, SvcStateError
from blocks.svc.client import SvcClient
from blocks.svc.model import Relationship, RemoteConsistencyGroup, RemoteState, Side
from blocks.svc.waiting import Pace, Patience, wait_for

log = logging.getLogger(__name__)

POLL_S = 5.0
POLL_MAX_S = 60.0


class Move(Enum):
    """What a move means in one state."""

    GO = "legal and safe"
    NOTHING = "already so"
    NEEDS_PRIMARY = "legal once it is said which side is primary"
    REFUSE = "not from here"


ON_START: dict[RemoteState, Move] = {
    RemoteState.EMPTY: Move.REFUSE,
    # The secondary holds nothing consistent that could be lost.
    RemoteState.INCONSISTENT_STOPPED: Move.GO,
    RemoteState.INCONSISTENT_COPYING: Move.NOTHING,
    # With writes since the stop the array itself insists on -force.
    RemoteState.CONSISTENT_STOPPED: Move.GO,
    RemoteState.CONSISTENT_SYNCHRONIZED: Move.NOTHING,
    RemoteState.CONSISTENT_COPYING: Move.NOTHING,
    RemoteState.IDLING: Move.NEEDS_PRIMARY,
    RemoteState.IDLING_DISCONNECTED: Move.REFUSE,
    RemoteState.INCONSISTENT_DISCONNECTED: Move.REFUSE,
    RemoteState.CONSISTENT_DISCONNECTED: Move.REFUSE,
}
"""Towards copying."""

ON_STOP_ACCESS: dict[RemoteState, Move] = {
    RemoteState.EMPTY: Move.REFUSE,
    RemoteState.INCONSISTENT_STOPPED: Move.REFUSE,
    RemoteState.INCONSISTENT_COPYING: Move.REFUSE,
    RemoteState.CONSISTENT_STOPPED: Move.GO,
    RemoteState.CONSISTENT_SYNCHRONIZED: Move.GO,
    RemoteState.CONSISTENT_COPYING: Move.GO,
    RemoteState.IDLING: Move.NOTHING,
    RemoteState.IDLING_DISCONNECTED: Move.NOTHING,
    RemoteState.INCONSISTENT_DISCONNECTED: Move.REFUSE,
    RemoteState.CONSISTENT_DISCONNECTED: Move.GO,
}
"""Towards a writable secondary: the failover."""

ON_STOP: dict[RemoteState, Move] = {
    RemoteState.EMPTY: Move.REFUSE,
    RemoteState.INCONSISTENT_STOPPED: Move.NOTHING,
    RemoteState.INCONSISTENT_COPYING: Move.GO,
    RemoteState.CONSISTENT_STOPPED: Move.NOTHING,
    RemoteState.CONSISTENT_SYNCHRONIZED: Move.GO,
    RemoteState.CONSISTENT_COPYING: Move.GO,
    RemoteState.IDLING: Move.NOTHING,
    RemoteState.IDLING_DISCONNECTED: Move.NOTHING,
    RemoteState.INCONSISTENT_DISCONNECTED: Move.REFUSE,
    RemoteState.CONSISTENT_DISCONNECTED: Move.REFUSE,
}
"""Towards standing still, the secondary staying read-only."""

ON_SWITCH: dict[RemoteState, Move] = {
    state: Move.GO
    if state in {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.CONSISTENT_COPYING}
    else Move.REFUSE
    for state in RemoteState
}
"""Towards swapped roles."""

for _table in (ON_START, ON_STOP, ON_STOP_ACCESS, ON_SWITCH):
    assert set(_table) == set(RemoteState)

CONSISTENT = frozenset(
    {
        RemoteState.CONSISTENT_STOPPED,
        RemoteState.CONSISTENT_SYNCHRONIZED,
        RemoteState.CONSISTENT_COPYING,
        RemoteState.CONSISTENT_DISCONNECTED,
        RemoteState.IDLING,
    }
)
"""States in which the secondary holds an image that can be used."""


@dataclass(frozen=True, slots=True)
class Health:
    """A remote-copy group at one moment, as one array sees it."""

    group: RemoteConsistencyGroup
    members: tuple[Relationship, ...]

    @property
    def state(self) -> RemoteState:
        """The group's state."""
        return self.group.state

    @property
    def primary(self) -> Side:
        """Which side is written to; NONE while both may be."""
        return self.group.primary

    @property
    def progress_percent(self) -> int:
        """How far the copy of the slowest member is; 100 once it is synchronized."""
        told = [member.progress for member in self.members]
        return min((100 if percent is None else percent for percent in told), default=0)

    @property
    def freeze_time(self) -> datetime | None:
        """The oldest moment a frozen secondary shows, in the array's zone; None if none is."""
        times = [member.freeze_time for member in self.members]
        known = [moment for moment in (*times, self.group.freeze_time) if moment is not None]
        return min(known) if known else None

    @property
    def troubles(self) -> list[str]:
        """What is not as it should be, for a person; empty when all is well."""
        found = []
        if self.state not in {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.CONSISTENT_COPYING}:
            found.append(f"group {self.group.name} is {self.state}")
        for one in (self.group, *self.members):
            if one.status not in {"", "online"}:
                found.append(f"{one.name} is {one.status}")
            if one.sync == "out_of_sync":
                found.append(f"{one.name} is out of sync")
        return found

    def lag(self, array_now: datetime) -> timedelta | None:
        """Tell how old the newest usable image of the secondary is.

        Args:
            array_now: the clock of the array that was asked, in its zone (`RemoteGroup.array_now`).

        Returns:
            Zero while synchronized; None when the secondary holds no usable image, or the array
            does not tell since when it stands.
        """
        if self.state not in CONSISTENT:
            return None
        if self.state is RemoteState.CONSISTENT_SYNCHRONIZED:
            return timedelta(0)
        if self.freeze_time is None:
            return None
        # The array prints minutes only: never less than nothing.
        return max(timedelta(0), array_now - self.freeze_time)


class RemoteGroup:
    """One remote-copy consistency group, asked and moved at one of its two arrays."""

    def __init__(
        self, client: SvcClient, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._client = client
        self._clock = clock

    def group(self) -> RemoteConsistencyGroup:
        """Show the group as it is now."""
        return self._client.lsrcconsistgrp(self.name)

    def state(self) -> RemoteState:
        """Tell the group's state."""
        return self.group().state

    def members(self) -> list[Relationship]:
        """Show every relationship of the group in detail."""
        return [self._client.lsrcrelationship(id_) for id_, _ in self.group().relationships]

    def health(self) -> Health:
        """Look at the group and all its members."""
        group = self.group()
        members = (self._client.lsrcrelationship(id_) for id_, _ in group.relationships)
        return Health(group, tuple(members))

    def array_now(self, now: datetime) -> datetime:
        """Tell the array's time in its own zone, without a zone, like `freeze_time`.

        Args:
            now: aware UTC, used with the array's time zone when the array does not tell its clock.
        """
        told = self._client.svqueryclock()
        if told is not None:
            return told
        words = self._client.lssystem().time_zone.split()
        try:
            zone = ZoneInfo(words[-1]) if words else UTC
        except (KeyError, ValueError, OSError):
            zone = UTC
        return now.astimezone(zone).replace(tzinfo=None)

    def start(self, primary: Side | None = None, *, overwrite: bool = False) -> Move:
        """Start copying, if that is safe.

        Args:
            primary: the side to copy from; needed while idling, an error where it would turn the
                direction round.
            overwrite: let the array throw away what was written to the other side, or let a
                consistent secondary become inconsistent (`-force`). A person's decision.

        Returns:
            NOTHING when it was copying already, else GO.

        Raises:
            ConfigError: the group is empty.
            Refused: it would overwrite something, or it needs to be told the direction.
            SvcStateError: it is disconnected.
        """
        group = self.group()
        move = ON_START[group.state]
        if group.state is RemoteState.EMPTY:
            raise ConfigError(f"remote-copy group {self.name} has no relationships")
        if move is Move.REFUSE:
            raise self._not_from_here("start", group)
        if primary and group.primary and primary is not group.primary:
            raise Refused(
                f"group {self.name} copies from {group.primary}, not from {primary}",
                hint="Swap the roles of a synchronized group with `flashvault switch`.",
            )
        if move is Move.NOTHING:
            return move
        if move is Move.NEEDS_PRIMARY and not primary:
            raise Refused(
                f"group {self.name} is idling, both sides may have been written to",
                hint="Say which side is right: the other one's writes are lost.",
            )
        if group.sync == "out_of_sync" and not overwrite:
            raise Refused(_what_is_lost(group, primary))
        try:
            self._client.startrcconsistgrp(self.name, primary=primary, force=overwrite)
        except SvcStateError as error:
            if overwrite or group.state not in _MAY_NEED_FORCE:
                raise
            # The array knows of writes that `sync` did not show yet.
            raise Refused(f"{_what_is_lost(group, primary)} ({error.code})") from error
        log.info("started remote group=%s from=%s", self.name, primary or group.primary)
        return Move.GO

    def stop(self, *, access: bool = False) -> Move:
        """Stop copying; with `access` make the consistent secondary writable.

        Raises:
            SvcStateError: not from this state: an inconsistent secondary must not be used.
        """
        group = self.group()
        move = (ON_STOP_ACCESS if access else ON_STOP)[group.state]
        if move is Move.REFUSE:
            raise self._not_from_here("stop -access" if access else "stop", group)
        if move is Move.GO:
            self._client.stoprcconsistgrp(self.name, access=access)
            log.info("stopped remote group=%s access=%s", self.name, access)
        return move

    def switch(self, primary: Side) -> Move:
        """Swap the roles so that this side is primary; nothing is lost.

        Raises:
            SvcStateError: the group is not synchronized.
        """
        group = self.group()
        if ON_SWITCH[group.state] is Move.REFUSE:
            raise self._not_from_here("switch", group)
        if group.primary is primary:
            return Move.NOTHING
        self._client.switchrcconsistgrp(self.name, primary=primary)
        log.info("switched remote group=%s primary=%s", self.name, primary)
        return Move.GO

    def wait_until(
        self,
        states: Collection[RemoteState],
        deadline_s: float,
        stop: threading.Event | None = None,
        on_poll: Callable[[RemoteConsistencyGroup], None] | None = None,
    ) -> RemoteConsistencyGroup:
        """Poll until the group is in one of these states; `on_poll` sees every answer.

        Raises:
            SvcStateError: it did not get there within `deadline_s`.
            Stopped: `stop` was set.
        """
        return wait_for(
            self.group,
            lambda group: group.state,
            states,
            Pace(POLL_S, POLL_MAX_S),
            Patience(self._clock() + deadline_s, self._clock, stop),
            on_poll,
        )

    def _not_from_here(self, move: str, group: RemoteConsistencyGroup) -> SvcStateError:
        hints = {
            RemoteState.INCONSISTENT_COPYING: "Wait until the copy is complete.",
            RemoteState.INCONSISTENT_STOPPED: "The secondary holds nothing consistent.",
            RemoteState.EMPTY: "The group has no relationships.",
        }
        disconnected = "The link between the arrays is down: repair the partnership first."
        return SvcStateError(
            f"{move} of group {self.name} is not possible while it is {group.state}",
            code="CMMVC5982E",
            command=f"{move.split(maxsplit=1)[0]}rcconsistgrp {self.name}",
            hint=hints.get(
                group.state, disconnected if "disconnected" in group.state else "Start it first."
            ),
        )


_MAY_NEED_FORCE = {RemoteState.CONSISTENT_STOPPED, RemoteState.IDLING}


def _what_is_lost(group: RemoteConsistencyGroup, primary: Side | None) -> str:
    if group.state is RemoteState.IDLING:
        other = Side.AUX if primary is Side.MASTER else Side.MASTER
        return (
            f"starting group {group.name} from {primary} throws away what was written to {other} "
            "since it was stopped"
        )
    return (
        f"starting group {group.name} makes its secondary inconsistent until all changes since "
        f"the stop are copied: if the primary is lost meanwhile, so is the secondary"
    )
