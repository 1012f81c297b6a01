"""The two state machines, as tables. docs/reference/svc-cli.md §5 and §6.

A table entry is either the next state or the code of the refusal.
"""

from __future__ import annotations

IDLE, PREPARING, PREPARED = "idle_or_copied", "preparing", "prepared"
COPYING, STOPPING, SUSPENDED, STOPPED = "copying", "stopping", "suspended", "stopped"
MAPPING_STATES = (IDLE, PREPARING, PREPARED, COPYING, STOPPING, SUSPENDED, STOPPED)

OTHER_STATE, ALREADY_STARTED, ALREADY_STOPPED = "CMMVC5903E", "CMMVC5907E", "CMMVC5912E"

FLASHCOPY: dict[str, dict[str, str]] = {
    # `prestart`: only from rest. A target that is being read must not be prepared again.
    "prestart": {
        IDLE: PREPARING,
        STOPPED: PREPARING,
        PREPARING: OTHER_STATE,
        PREPARED: OTHER_STATE,
        COPYING: OTHER_STATE,
        STOPPING: OTHER_STATE,
        SUSPENDED: OTHER_STATE,
    },
    # `start` without -prep: only what is prepared.
    "start": {
        PREPARED: COPYING,
        COPYING: ALREADY_STARTED,
        IDLE: OTHER_STATE,
        STOPPED: OTHER_STATE,
        PREPARING: OTHER_STATE,
        STOPPING: OTHER_STATE,
        SUSPENDED: OTHER_STATE,
    },
    # `start -prep`: from rest; fails after a separate prestart.
    "start -prep": {
        IDLE: PREPARING,
        STOPPED: PREPARING,
        COPYING: ALREADY_STARTED,
        PREPARING: OTHER_STATE,
        PREPARED: OTHER_STATE,
        STOPPING: OTHER_STATE,
        SUSPENDED: OTHER_STATE,
    },
    # `stop`: without effect at rest; goes through `stopping`; not from `preparing`.
    "stop": {
        IDLE: IDLE,
        PREPARED: STOPPING,
        COPYING: STOPPING,
        STOPPING: STOPPING,
        SUSPENDED: STOPPING,
        STOPPED: ALREADY_STOPPED,
        PREPARING: OTHER_STATE,
    },
    # `rm`: at rest; with -force also what is stopped.
    "rm": {
        IDLE: "",
        STOPPED: OTHER_STATE,
        PREPARING: OTHER_STATE,
        PREPARED: OTHER_STATE,
        COPYING: OTHER_STATE,
        STOPPING: OTHER_STATE,
        SUSPENDED: OTHER_STATE,
    },
    "rm -force": {
        IDLE: "",
        STOPPED: "",
        PREPARING: OTHER_STATE,
        PREPARED: OTHER_STATE,
        COPYING: OTHER_STATE,
        STOPPING: OTHER_STATE,
        SUSPENDED: OTHER_STATE,
    },
}
"""Event, state → next state (`""`: gone) or refusal."""

GROUP_ORDER = (SUSPENDED, STOPPING, PREPARING, PREPARED, COPYING, STOPPED, IDLE)
"""A group shows the first of these that any member is in."""

READABLE_TARGET = frozenset({IDLE, COPYING})
"""States whose target a host can read. While stopping it depends on the progress."""


def group_state(states: set[str]) -> str:
    """Say what a group shows for its members' states."""
    return next((state for state in GROUP_ORDER if state in states), "empty")


def copy_bytes_per_s(rate: int) -> int:
    """Return the speed of a copy or clean rate of 0 to 150, in bytes a second.

    1-10 is 128 KiB/s and every further ten double it.
    """
    return 0 if rate <= 0 else 128 * 1024 << (rate - 1) // 10


# Remote copy ------------------------------------------------------------------------------------

EMPTY = "empty"
INCONSISTENT_STOPPED, INCONSISTENT_COPYING = "inconsistent_stopped", "inconsistent_copying"
CONSISTENT_STOPPED, SYNCHRONIZED = "consistent_stopped", "consistent_synchronized"
CYCLING = "consistent_copying"
IDLING, IDLING_APART = "idling", "idling_disconnected"
INCONSISTENT_APART, CONSISTENT_APART = "inconsistent_disconnected", "consistent_disconnected"
REMOTE_STATES = (
    EMPTY,
    INCONSISTENT_STOPPED,
    INCONSISTENT_COPYING,
    CONSISTENT_STOPPED,
    SYNCHRONIZED,
    CYCLING,
    IDLING,
    IDLING_APART,
    INCONSISTENT_APART,
    CONSISTENT_APART,
)

NOT_NOW, NO_DIRECTION = "CMMVC5982E", "CMMVC5963E"

REMOTE: dict[str, dict[str, str]] = {
    "stop": {
        EMPTY: NOT_NOW,
        INCONSISTENT_STOPPED: INCONSISTENT_STOPPED,
        INCONSISTENT_COPYING: INCONSISTENT_STOPPED,
        CONSISTENT_STOPPED: CONSISTENT_STOPPED,
        SYNCHRONIZED: CONSISTENT_STOPPED,
        CYCLING: CONSISTENT_STOPPED,
        IDLING: IDLING,
        IDLING_APART: IDLING_APART,
        INCONSISTENT_APART: NOT_NOW,
        CONSISTENT_APART: NOT_NOW,
    },
    "stop -access": {
        EMPTY: NOT_NOW,
        INCONSISTENT_STOPPED: NOT_NOW,
        INCONSISTENT_COPYING: NOT_NOW,
        CONSISTENT_STOPPED: IDLING,
        SYNCHRONIZED: IDLING,
        CYCLING: IDLING,
        IDLING: IDLING,
        IDLING_APART: IDLING_APART,
        INCONSISTENT_APART: NOT_NOW,
        CONSISTENT_APART: IDLING_APART,
    },
}
"""Event, state → next state or refusal: the complete table of svc-cli.md §6. What a start does
depends on the data as well; see `mirror.start`."""
