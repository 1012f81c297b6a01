"""The fault simulator in the quick suite; `make faults N=… SEED=…` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from faultsim import schedule
from faultsim.law import LawBroken
from mutants import COMMON, RARE

HERE = Path(__file__).parent
SCHEDULES = 1000


def test_no_schedule_loses_a_restore_point() -> None:
    faults: Counter[str] = Counter()
    committed = checked = pruned = 0
    for seed in range(1, SCHEDULES + 1):
        world = schedule.run(seed)
        faults.update(world.scheduler.counts)
        committed += len(world.ledger.acked)
        checked += world.ledger.checked_points
        pruned += len(world.ledger.purged)
    # The schedules are worth something: things were committed, pruned and broken in all ways.
    assert committed > 3 * SCHEDULES
    assert checked > 2 * committed
    assert pruned > SCHEDULES // 8
    kinds = {"kill", "kill after", "pause", "clock", "outage", "rot", "slow", "vandal"}
    kinds |= {"refuse", "doubt", "late", "twice", "garble"}
    assert {kind for kind, count in faults.items() if count > 5} >= kinds


def caught_within(count: int) -> int | None:
    for seed in range(1, count + 1):
        try:
            schedule.run(seed)
        except LawBroken:
            return seed
    return None


@pytest.mark.parametrize("mutant", COMMON, ids=lambda mutant: mutant.__name__)
def test_a_deliberate_mistake_is_caught(mutant: type) -> None:
    with mutant():
        assert caught_within(2000)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", RARE, ids=lambda mutant: mutant.__name__)
def test_a_mistake_that_needs_a_rare_schedule_is_caught(mutant: type) -> None:
    with mutant():
        assert caught_within(4000)


def test_a_seed_replays_exactly_in_another_process() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from faultsim import schedule;"
        "worlds = [schedule.run(seed) for seed in range(40, 60)];"
        "print('\\n'.join(line for world in worlds for line in world.store.trace))"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", program, str(HERE)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 2000
