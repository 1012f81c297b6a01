"""Many groups at once on two hosts; one worker dies, then one host.

make cluster-test GROUPS=20
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from topology import MARKS, Cluster, cluster_of, kill_all, note, wait_until

from blocks.units import MIB

GROUPS = int(os.environ.get("CLUSTER_GROUPS", "4"))

pytestmark = MARKS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("cluster"), GROUPS) as made:
        yield made


def test_all_groups_back_up_at_once_and_one_worker_is_killed(cluster: Cluster, tmp_path: Path):
    cluster.fill(1)
    first, second = cluster.hosts
    with first.worker(), second.worker() as victim:
        began = time.monotonic()
        runs = {name: cluster.back_up(name) for name in cluster.names}
        with cluster.slow_store(MIB // 4):  # or the first host may have done all of them
            wait_until(second.begun, "a run on the second host")
            os.kill(victim.pid, signal.SIGKILL)
        assert set(cluster.ended(runs).values()) == {"COMPLETED"}
        note(f"{len(runs)} full backups at once: {time.monotonic() - began:.1f} s")
    assert {name: len(found) for name, found in cluster.points().items()} == dict.fromkeys(
        cluster.names, 1
    )
    cluster.require_identical(tmp_path)
    cluster.require_nothing_left()


def test_a_host_that_dies_is_cleared_when_it_is_back_and_its_work_redone(
    cluster: Cluster, tmp_path: Path
):
    cluster.fill(2)
    before = cluster.points()
    first, second = cluster.hosts
    with first.worker():
        with cluster.slow_store(MIB // 4), second.worker():
            runs = {name: cluster.back_up(name) for name in cluster.names}
            wait_until(lambda: cluster.in_the_middle_of_all(second, runs), "second host's runs")
            lost = [json.loads(path.read_text().splitlines()[0]) for path in second.begun()]
            kill_all(second)
        groups = {row["run"]["group"] for row in lost}
        assert groups
        rest = {name: run for name, run in runs.items() if name not in groups}
        with second.worker():
            second.flashvault("reconcile")
            states = cluster.ended({name: runs[name] for name in groups})
            assert all(state.startswith(("CRASHED", "COMPLETED")) for state in states.values())
            ended = cluster.ended(rest, 900)
            # A place in line comes back when the dead run's lease is over (tasks.limits.LEASE_S).
            wait_until(cluster.free_limits, "the dead host's places", 200)
            again = {
                name: cluster.back_up(name)
                for name, state in (states | ended).items()
                if state != "COMPLETED"
            }
            assert set(cluster.ended(again).values()) <= {"COMPLETED"}
            note(f"redone after the host died: {', '.join(sorted(again)) or 'none'}")
    after = cluster.points()
    assert all(len(set(after[name]) - set(before[name])) == 1 for name in cluster.names)
    cluster.require_identical(tmp_path)
    cluster.require_nothing_left()


def test_the_dashboard_is_drawn_and_status_says_that_all_is_well(cluster: Cluster):
    script = (
        "from deployments import runtime; runtime.prepare_environment(quiet=True);"
        "from flows.dashboard import dashboard; runtime.run_flow(dashboard, {})"
    )
    host = cluster.hosts[0]
    done = subprocess.run(
        host.words(sys.executable, "-c", script),
        env=host.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shown = cluster.call("GET", "artifacts/flashvault-dashboard/latest")["data"]
    for name in cluster.names:
        assert f"| ok | {name} |" in shown
    told = host.flashvault("status")
    assert told["all_good"]
    assert {row["group"] for row in told["groups"]} == set(cluster.names)
    assert len(host.flashvault("runs")) >= len(cluster.names)
