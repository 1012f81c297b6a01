"""Run schedules of the fault simulator: `make faults N=100000 SEED=1`.

Schedule number i has the seed SEED + i, so a failing one is replayed alone by its own seed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from faultsim import schedule

CHUNK = 100
"""Schedules given to a worker at a time."""


def run_chunk(seeds: range) -> tuple[Counter[str], list[str]]:
    """Run some schedules; return what they did and how they failed."""
    logging.disable(logging.CRITICAL)
    done: Counter[str] = Counter()
    failures = []
    for seed in seeds:
        try:
            world = schedule.run(seed)
        except Exception:  # noqa: BLE001 - whatever ends a schedule is a finding
            failures.append(traceback.format_exc())
        else:
            done.update({f"fault: {kind}": n for kind, n in world.scheduler.counts.items()})
            done.update({f"run: {name}": n for name, n in world.runs.items()})
            done["calls to the store"] += len(world.store.trace)
            done["restore points committed"] += len(world.ledger.acked)
            done["restore points pruned"] += len(world.ledger.purged)
            done["restore points checked"] += world.ledger.checked_points
            done["marks of damage"] += world.ledger.marks
        done["schedules"] += 1
    return done, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    end = options.seed + options.count
    chunks = [range(start, min(start + CHUNK, end)) for start in range(options.seed, end, CHUNK)]
    done: Counter[str] = Counter()
    failures: list[str] = []
    with get_context("fork").Pool(os.cpu_count()) as pool:
        for counted, failed in pool.imap_unordered(run_chunk, chunks):
            done += counted
            failures += failed
            if sys.stderr.isatty():
                print(f"\r{done['schedules']} of {options.count}", end="", file=sys.stderr)
    faults = {kind: n for kind, n in done.items() if kind.startswith("fault: ")}
    for name in (
        "schedules",
        "calls to the store",
        "restore points committed",
        "restore points pruned",
        "restore points checked",
        "marks of damage",
    ):
        print(f"{name:26}{done[name]:>12,}")
    print(f"{'faults injected':26}{sum(faults.values()):>12,}")
    for kind, count in sorted(faults.items(), key=lambda item: -item[1]):
        print(f"  {kind.removeprefix('fault: '):24}{count:>12,}")
    runs = {name: n for name, n in done.items() if name.startswith("run: ")}
    print(f"{'processes run':26}{sum(runs.values()):>12,}")
    for name, count in sorted(runs.items(), key=lambda item: -item[1]):
        print(f"  {name.removeprefix('run: '):24}{count:>12,}")
    print(f"{'seconds':26}{time.monotonic() - began:>12.0f}")
    print(f"{'laws broken':26}{len(failures):>12,}")
    for failure in failures[:3]:
        print(failure)
    for failure in failures[3:]:
        print(next(line for line in failure.splitlines() if line.startswith("seed ")))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
