"""The idiom of a consistent snapshot: prepare, start, wait, and always a way back.

`NEXT` and `WAY_BACK` say, for every state a group can be found in, the one step that leads towards
*prepared*, or back to a state that harms nobody. In *preparing* and *prepared* the sources run
write-through and the targets cannot be read, so a group is never left there: whatever fails between
prepare and start goes back. Source: docs/reference/svc-cli.md §5.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from blocks.errors import (
    ConfigError,
    FlashvaultError,
    SvcBusy,
    SvcStateError,
    Unreachable,
)
from blocks.svc.client import SvcClient
from blocks.svc.model import ConsistencyGroup, CopyState, Mapping
from blocks.svc.waiting import Pace, Patience, wait_for

log = logging.getLogger(__name__)

POLL_S = 0.5
POLL_MAX_S = 5.0
ABANDON_DEADLINE_S = 300.0


class Step(Enum):
    """What to do with a group, seen in one state."""

    PRESTART = "prestartfcconsistgrp"
    STOP = "stopfcconsistgrp"
    WAIT = "wait: the array moves it on by itself"
    DONE = "nothing: this is where we want it"
    REFUSE = "refuse: a person must look"


NEXT: dict[CopyState, Step] = {
    CopyState.EMPTY: Step.REFUSE,
    CopyState.IDLE_OR_COPIED: Step.PRESTART,
    CopyState.PREPARING: Step.WAIT,
    CopyState.PREPARED: Step.DONE,
    # An earlier snapshot still copies (for ever, at copy rate 0): only a stop ends it. The caller
    # holds the group's claim, so nobody reads that snapshot any more.
    CopyState.COPYING: Step.STOP,
    CopyState.STOPPING: Step.WAIT,
    # The bitmap is out of reach for now; the array resumes the copy by itself.
    CopyState.SUSPENDED: Step.WAIT,
    CopyState.STOPPED: Step.PRESTART,
}
"""Towards *prepared*."""

WAY_BACK: dict[CopyState, Step] = {
    CopyState.EMPTY: Step.DONE,
    CopyState.IDLE_OR_COPIED: Step.DONE,
    # Stopping is not among the moves out of preparing (svc-cli.md §5): wait for the flush.
    CopyState.PREPARING: Step.WAIT,
    CopyState.PREPARED: Step.STOP,
    CopyState.COPYING: Step.DONE,
    CopyState.STOPPING: Step.WAIT,
    CopyState.SUSPENDED: Step.DONE,
    CopyState.STOPPED: Step.DONE,
}
"""Towards a state in which the sources are write-back and nothing waits for us."""

assert set(NEXT) == set(WAY_BACK) == set(CopyState)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A started snapshot: the group as it was right after the start."""

    group: str
    started_at_array: datetime | None
    """The array's own clock and zone; None when it does not tell."""
    array_start_time: str
    """The same as the array prints it: `YYMMDDhhmmss`, empty when it does not tell."""
    status: CopyState


class FlashCopyGroup:
    """One FlashCopy consistency group of one array.

    Not safe for several threads or processes at once: the caller holds the group's claim.
    """

    def __init__(
        self, client: SvcClient, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._client = client
        self._clock = clock
        self._is_touched = False

    def group(self) -> ConsistencyGroup:
        """Show the group as it is now."""
        return self._client.lsfcconsistgrp(self.name)

    def status(self) -> CopyState:
        """Tell the group's state."""
        return self.group().status

    def mappings(self) -> list[Mapping]:
        """Show every mapping of the group in detail, in the array's order."""
        return [self._client.lsfcmap(id_) for id_, _ in self.group().mappings]

    def difference(self) -> int | None:
        """Estimate the percentage of grains changed since the last copy: the worst mapping's.

        For the reader only: a digest comparison decides what is stored. None when the array does
        not tell.
        """
        told = [mapping.difference for mapping in self.mappings()]
        known = [share for share in told if share is not None]
        return max(known) if known else None

    def set_copy_rate(self, rate: int) -> None:
        """Change the background copy's rate of every mapping: 0 (none) to 150."""
        if not 0 <= rate <= 150:
            raise ConfigError(f"the copy rate must be 0 to 150, not {rate}")
        for id_, _ in self.group().mappings:
            self._client.chfcmap(id_, copyrate=rate)

    def prepare(
        self, deadline_s: float = 300.0, stop: threading.Event | None = None
    ) -> ConsistencyGroup:
        """Bring the group to *prepared*, from any state. The next call should be `start`.

        If that fails, the group is led back first, so that it is never left prepared.

        Raises:
            ConfigError: the group has no mappings.
            SvcObjectMissing: there is no such group.
            SvcStateError: it did not get there in time, or its flush fails.
            Stopped: `stop` was set.
        """
        self._is_touched = False
        try:
            return self._prepare(Patience(self._clock() + deadline_s, self._clock, stop))
        except BaseException as error:
            if self._is_touched:
                self._lead_back_after(error)
            raise

    def start(self) -> Snapshot:
        """Take the snapshot: all volumes at one instant. The group must be prepared.

        When the connection breaks before the answer, the group itself tells whether it was
        started; the command is not sent twice.

        Raises:
            SvcStateError: the group is not prepared.
        """
        before = self.group()
        if before.status is not CopyState.PREPARED:
            raise SvcStateError(
                f"group {self.name} is {before.status}, not prepared: nothing was started",
                code="CMMVC5903E",
                command=f"startfcconsistgrp {self.name}",
            )
        try:
            self._client.startfcconsistgrp(self.name)
        except Unreachable:
            after = self.group()
            if not _is_started_since(after, before):
                raise
            log.warning("started group=%s, but the answer was lost", self.name)
        else:
            after = self.group()
        shown = after.start_time.strftime("%y%m%d%H%M%S") if after.start_time else ""
        log.info("started group=%s array_time=%s", self.name, shown)
        return Snapshot(self.name, after.start_time, shown, after.status)

    def stop(
        self,
        deadline_s: float = ABANDON_DEADLINE_S,
        stop: threading.Event | None = None,
    ) -> CopyState:
        """Stop the copy and wait for the end of it; no effect where nothing runs.

        Below 100 % progress this loses the targets' data: nobody may be reading them.
        """
        patience = Patience(self._clock() + deadline_s, self._clock, stop)
        state = self.status()
        if state is CopyState.PREPARING:
            state = self._wait(_SETTLED | {CopyState.PREPARED}, patience).status
        if state in _STOPPABLE:
            self._stop_now()
        elif state is not CopyState.STOPPING:
            return state
        return self._wait(_ENDED, patience).status

    def abandon(self, deadline_s: float = ABANDON_DEADLINE_S) -> CopyState:
        """Lead the group back from any state to one that harms nobody; return that state.

        A copy that runs is left running; *preparing* and *prepared* are left. Not interruptible:
        this is the way out.

        Raises:
            SvcStateError: it is still prepared or preparing at the deadline; the sources run
                write-through until somebody stops the group.
        """
        deadline = self._clock() + deadline_s
        seen = "out of reach"
        while True:
            try:
                state = self.status()
                seen = str(state)
                if WAY_BACK[state] is Step.DONE:
                    return state
                if WAY_BACK[state] is Step.STOP:
                    self._stop_now()
            except (Unreachable, SvcBusy) as error:
                # Leaving it prepared is worse than waiting: ask until the deadline.
                log.warning("group=%s cannot be led back yet: %s", self.name, error)
            if self._clock() >= deadline:
                raise SvcStateError(
                    f"group {self.name} is still {seen} after {deadline_s:.0f} s",
                    hint="If it is prepared, its sources run write-through. "
                    f"Stop it: stopfcconsistgrp {self.name}",
                )
            time.sleep(POLL_S)

    def wait_until(
        self,
        states: Collection[CopyState],
        deadline_s: float,
        stop: threading.Event | None = None,
        on_poll: Callable[[ConsistencyGroup], None] | None = None,
    ) -> ConsistencyGroup:
        """Poll until the group is in one of these states; `on_poll` sees every answer.

        Raises:
            SvcStateError: it did not get there within `deadline_s`.
            Stopped: `stop` was set.
        """
        patience = Patience(self._clock() + deadline_s, self._clock, stop)
        return self._wait(states, patience, on_poll)

    def _prepare(self, patience: Patience) -> ConsistencyGroup:
        has_prestarted = False
        while True:
            group = self.group()
            state = group.status
            step = NEXT[state]
            self._is_touched = self._is_touched or state in _WRITE_THROUGH
            if step is Step.DONE:
                log.info("prepared group=%s", self.name)
                return group
            if step is Step.REFUSE:
                raise ConfigError(
                    f"group {self.name} has no FlashCopy mappings",
                    hint="Create them: `flashvault map` shows the commands.",
                )
            if has_prestarted and state is not CopyState.PREPARING:
                raise SvcStateError(
                    f"group {self.name} went from preparing to {state}: the flush failed",
                    hint="Look at the event log (lseventlog) for the source volumes.",
                )
            if step is Step.PRESTART:
                self._is_touched = True
                self._client.prestartfcconsistgrp(self.name)
                has_prestarted = True
            elif step is Step.STOP:
                self._stop_now()
            patience.check(self.name, f"still {state}, not prepared")
            patience.pause(POLL_S)

    def _lead_back_after(self, error: BaseException) -> None:
        try:
            self.abandon()
        except FlashvaultError as second:
            error.add_note(f"and the group could not be led back: {second}")
            log.error("group=%s could not be led back: %s", self.name, second)  # noqa: TRY400

    def _stop_now(self) -> None:
        try:
            self._client.stopfcconsistgrp(self.name)
        except SvcStateError as error:
            # The copy ended or somebody was quicker: the next look at the group decides.
            log.debug("stop of group=%s was too late: %s", self.name, error)

    def _wait(
        self,
        states: Collection[CopyState],
        patience: Patience,
        on_poll: Callable[[ConsistencyGroup], None] | None = None,
    ) -> ConsistencyGroup:
        pace = Pace(POLL_S, POLL_MAX_S)
        return wait_for(self.group, lambda group: group.status, states, pace, patience, on_poll)


_WRITE_THROUGH = {CopyState.PREPARING, CopyState.PREPARED}
_STOPPABLE = {CopyState.PREPARED, CopyState.COPYING, CopyState.SUSPENDED}
_ENDED = {CopyState.STOPPED, CopyState.IDLE_OR_COPIED, CopyState.EMPTY}
_SETTLED = _ENDED | {CopyState.COPYING, CopyState.SUSPENDED}


def _is_started_since(after: ConsistencyGroup, before: ConsistencyGroup) -> bool:
    if after.status is CopyState.COPYING:
        return True
    # A small copy may be complete already; a group that somebody stopped has its old start time.
    return after.status is CopyState.IDLE_OR_COPIED and after.start_time != before.start_time
