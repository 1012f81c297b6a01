import shlex
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ConfigError, Refused, Stopped, SvcAnswerError, SvcStateError
from blocks.runner import Completed
from blocks.svc.client import SvcClient
from blocks.svc.model import RemoteState, Side
from blocks.svc.parse import parse_clock
from blocks.svc.replication import (
    CONSISTENT,
    ON_START,
    ON_STOP,
    ON_STOP_ACCESS,
    ON_SWITCH,
    Move,
    RemoteGroup,
)

S = RemoteState
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
# docs/reference/svc-cli.md §6, typed again: (without -access, with -access); None is "rejected".
STOP_TABLE = {
    S.INCONSISTENT_STOPPED: (S.INCONSISTENT_STOPPED, None),
    S.INCONSISTENT_COPYING: (S.INCONSISTENT_STOPPED, None),
    S.CONSISTENT_STOPPED: (S.CONSISTENT_STOPPED, S.IDLING),
    S.CONSISTENT_SYNCHRONIZED: (S.CONSISTENT_STOPPED, S.IDLING),
    # Not in the table: with cycling the far side is consistent as of its last cycle.
    S.CONSISTENT_COPYING: (S.CONSISTENT_STOPPED, S.IDLING),
    S.IDLING: (S.IDLING, S.IDLING),
    S.INCONSISTENT_DISCONNECTED: (None, None),
    S.CONSISTENT_DISCONNECTED: (None, S.IDLING_DISCONNECTED),
}
# The same page on `start` and `switch`, typed again.
START_TABLE = {
    S.EMPTY: Move.REFUSE,
    S.INCONSISTENT_STOPPED: Move.GO,
    S.INCONSISTENT_COPYING: Move.NOTHING,
    S.CONSISTENT_STOPPED: Move.GO,
    S.CONSISTENT_SYNCHRONIZED: Move.NOTHING,
    S.CONSISTENT_COPYING: Move.NOTHING,
    S.IDLING: Move.NEEDS_PRIMARY,
    S.IDLING_DISCONNECTED: Move.REFUSE,
    S.INCONSISTENT_DISCONNECTED: Move.REFUSE,
    S.CONSISTENT_DISCONNECTED: Move.REFUSE,
}
SWITCHED = {S.CONSISTENT_SYNCHRONIZED, S.CONSISTENT_COPYING}


class RemoteArray:
    """Two relationships of one group, obeying svc-cli.md §6."""

    address = "fake"

    def __init__(self, state=S.INCONSISTENT_STOPPED):
        self.state = state
        self.primary = "" if state in {S.IDLING, S.EMPTY} else "master"
        self.sync = ""
        self.freeze = ""
        self.progress = ["", ""]
        self.status = ["online", "online"]
        self.is_written_since = False
        self.clock = None
        self.lines = []

    def run(self, command, *, timeout_s=60.0, stdin=None):
        self.lines.append(command)
        verb, *words = shlex.split(command)
        handler = getattr(self, verb, None)
        return handler(words) if handler else Completed(127, "", f"rbash: {verb}: not found")

    def close(self):
        pass

    @property
    def actions(self):
        return [line for line in self.lines if not line.startswith(("ls", "svq"))]

    def lsrcconsistgrp(self, words):
        lines = ["id!20", "name!RCG", "master_cluster_id!1", "master_cluster_name!a"]
        lines += ["aux_cluster_id!2", "aux_cluster_name!b", f"primary!{self.primary}"]
        lines += [f"state!{self.state}", "relationship_count!2", f"freeze_time!{self.freeze}"]
        lines += ["status!", f"sync!{self.sync}", "copy_type!global", "cycling_mode!none"]
        lines += ["cycle_period_seconds!300"]
        for number in () if self.state is S.EMPTY else (0, 1):
            lines += [f"RC_rel_id!{number}", f"RC_rel_name!rcrel{number}"]
        return Completed(0, "\n".join(lines), "")

    def lsrcrelationship(self, words):
        number = int(words[-1])
        lines = [f"id!{number}", f"name!rcrel{number}", "master_cluster_id!1"]
        lines += ["master_cluster_name!a", "master_vdisk_id!1", "master_vdisk_name!m"]
        lines += ["aux_cluster_id!2", "aux_cluster_name!b", "aux_vdisk_id!2", "aux_vdisk_name!x"]
        lines += [f"primary!{self.primary}", f"state!{self.state}"]
        lines += [f"progress!{self.progress[number]}", f"freeze_time!{self.freeze}"]
        lines += [f"status!{self.status[number]}", f"sync!{self.sync}"]
        return Completed(0, "\n".join(lines), "")

    def lssystem(self, words):
        return Completed(0, "id!1\nname!a\ntime_zone!522 Europe/Berlin\n", "")

    def svqueryclock(self, words):
        if self.clock is None:
            return Completed(127, "", "rbash: svqueryclock: command not found")
        return Completed(0, self.clock, "")

    def startrcconsistgrp(self, words):
        if "disconnected" in self.state:
            return self._refuse("CMMVC5982E")
        if self.state is S.IDLING and "-primary" not in words:
            return self._refuse("CMMVC5963E")
        if self.is_written_since and "-force" not in words:
            return self._refuse("CMMVC5982E")
        is_behind = self.is_written_since or self.state is S.INCONSISTENT_STOPPED
        self.state = S.INCONSISTENT_COPYING if is_behind else S.CONSISTENT_SYNCHRONIZED
        return Completed(0, "", "")

    def stoprcconsistgrp(self, words):
        becomes = STOP_TABLE[self.state][1 if "-access" in words else 0]
        if becomes is None:
            return self._refuse("CMMVC5982E")
        self.state = becomes
        return Completed(0, "", "")

    def switchrcconsistgrp(self, words):
        if self.state is not S.CONSISTENT_SYNCHRONIZED:
            return self._refuse("CMMVC5982E")
        self.primary = words[words.index("-primary") + 1]
        return Completed(0, "", "")

    @staticmethod
    def _refuse(code):
        return Completed(1, "", f"{code} The operation was not performed.\n")


def group_in(state):
    array = RemoteArray(state)
    return array, RemoteGroup(SvcClient(array), "RCG")


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("access", [False, True])
def test_stopping_follows_the_documents_table_from_every_state(state, access):
    array, group = group_in(state)
    becomes = STOP_TABLE.get(state, (state, state))[access]
    if state is S.EMPTY:
        becomes = None
    if becomes is None:
        with pytest.raises(SvcStateError):
            group.stop(access=access)
        assert array.actions == []
        assert array.state is state
    else:
        group.stop(access=access)
        assert array.state is becomes


@pytest.mark.parametrize(
    ("state", "access"),
    [
        (S.INCONSISTENT_STOPPED, False),
        (S.CONSISTENT_STOPPED, False),
        (S.IDLING, False),
        (S.IDLING, True),
        (S.IDLING_DISCONNECTED, False),
        (S.IDLING_DISCONNECTED, True),
    ],
)
def test_what_stands_still_already_is_not_stopped_again(state, access):
    array = RemoteArray(state)
    assert RemoteGroup(SvcClient(array), "RCG").stop(access=access) is Move.NOTHING
    assert array.actions == []


@pytest.mark.parametrize("state", list(S))
def test_starting_from_every_state_is_legal_or_refused_by_name(state):
    array, group = group_in(state)
    wanted = START_TABLE[state]
    assert ON_START[state] is wanted
    if state is S.EMPTY:
        with pytest.raises(ConfigError):
            group.start()
    elif wanted is Move.REFUSE:
        with pytest.raises(SvcStateError, match=str(state)):
            group.start()
    elif state is S.IDLING:
        with pytest.raises(Refused, match="idling"):
            group.start()
        assert group.start(Side.AUX) is Move.GO
    else:
        assert group.start() is wanted
    sent = [line for line in array.actions if line.startswith("startrcconsistgrp")]
    assert bool(sent) == (wanted in {Move.GO, Move.NEEDS_PRIMARY})
    assert not [line for line in array.actions if "-force" in line or "-clean" in line]


@pytest.mark.parametrize("state", list(S))
def test_switching_needs_a_synchronized_group(state):
    array, group = group_in(state)
    assert (ON_SWITCH[state] is Move.GO) == (state in SWITCHED)
    if state not in SWITCHED:
        with pytest.raises(SvcStateError):
            group.switch(Side.AUX)
        assert array.actions == []
    else:
        assert group.switch(Side.MASTER) is Move.NOTHING
        if state is S.CONSISTENT_SYNCHRONIZED:
            assert group.switch(Side.AUX) is Move.GO
            assert array.primary == "aux"


def test_no_move_makes_both_sides_writable_unless_access_is_asked_for():
    for state in S:
        for move in (lambda g: g.start(), lambda g: g.stop(), lambda g: g.switch(Side.AUX)):
            array, group = group_in(state)
            try:
                move(group)
            except (SvcStateError, Refused, ConfigError):
                continue
            assert array.state is not S.IDLING or state is S.IDLING


@pytest.mark.parametrize("state", [S.CONSISTENT_STOPPED, S.IDLING])
def test_writes_since_the_stop_are_never_thrown_away_unasked(state):
    array, group = group_in(state)
    primary = Side.MASTER if state is S.IDLING else None
    array.is_written_since = True
    with pytest.raises(Refused):
        group.start(primary)
    array.sync = "out_of_sync"
    with pytest.raises(Refused):
        group.start(primary)
    assert not [line for line in array.actions if "-force" in line]
    assert group.start(primary, overwrite=True) is Move.GO
    assert "-force" in array.actions[-1]


def test_a_direction_that_turns_round_is_refused():
    array, group = group_in(S.CONSISTENT_STOPPED)
    with pytest.raises(Refused, match="copies from master"):
        group.start(Side.AUX)
    assert array.actions == []


def test_health_names_every_trouble():
    array, group = group_in(S.CONSISTENT_SYNCHRONIZED)
    assert group.health().troubles == []
    assert group.health().progress_percent == 100
    array.state, array.progress = S.INCONSISTENT_COPYING, ["40", "73"]
    array.status[1] = "secondary_offline"
    health = group.health()
    assert health.progress_percent == 40
    assert health.troubles == ["group RCG is inconsistent_copying", "rcrel1 is secondary_offline"]


@pytest.mark.parametrize("state", list(S))
def test_lag_is_zero_known_or_unknown_but_never_guessed(state):
    array, group = group_in(state)
    health = group.health()
    now = datetime.fromisoformat("2026-11-23T05:00")
    if state is S.CONSISTENT_SYNCHRONIZED:
        assert health.lag(now) == timedelta(0)
    else:
        assert health.lag(now) is None
    array.freeze = "26/11/23/04/45"
    lag = group.health().lag(now)
    if state is S.CONSISTENT_SYNCHRONIZED:
        assert lag == timedelta(0)
    else:
        assert lag == (timedelta(minutes=15) if state in CONSISTENT else None)


def test_the_arrays_clock_is_asked_and_else_its_zone():
    array, group = group_in(S.IDLING)
    assert group.array_now(NOW) == datetime.fromisoformat("2026-11-23T05:00")
    array.clock = "Mon Nov 23 05:07:09 CET 2026\n"
    assert group.array_now(NOW) == datetime.fromisoformat("2026-11-23T05:07:09")


@given(st.text(max_size=40))
def test_what_is_no_clock_is_refused_by_name(text):
    try:
        parse_clock(text)
    except SvcAnswerError as error:
        assert "not a clock" in str(error)  # noqa: PT017


def test_waiting_sees_every_poll_and_ends_when_asked(monkeypatch):
    monkeypatch.setattr("blocks.svc.replication.POLL_S", 0.001)
    array, group = group_in(S.INCONSISTENT_COPYING)
    seen = []

    def look(now):
        seen.append(now.state)
        if len(seen) == 3:
            array.state = S.CONSISTENT_SYNCHRONIZED

    group.wait_until({S.CONSISTENT_SYNCHRONIZED}, 5, None, look)
    assert len(seen) == 4
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        group.wait_until({S.IDLING}, 5, stop)
    with pytest.raises(SvcStateError, match="deadline"):
        group.wait_until({S.IDLING}, 0)


def test_every_table_names_every_state():
    for table in (ON_START, ON_STOP, ON_STOP_ACCESS, ON_SWITCH):
        assert set(table) == set(S)
