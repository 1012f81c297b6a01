"""Prefect's server, or its database, goes away or freezes in the middle; a host falls silent."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from topology import BIN, MARKS, Cluster, Host, cluster_of, kill_all, note, started, wait_until

from blocks.units import MIB
from deployments.schedules import CAPTURE_POOL, RECONCILE, RESTORE_POOL

pytestmark = MARKS

HEARTBEAT_S = 30
"""The shortest Prefect allows."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("outage"), 2) as made:
        for host in made.hosts:
            host.env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_S)
        yield made


@pytest.fixture
def group(cluster: Cluster) -> Iterator[str]:
    """A group whose backup lasts long enough to lose something in its middle."""
    name = cluster.names[0]
    cluster.hosts[0].flashvault("modify", "backup_profile", name, "BANDWIDTH_LIMIT=768KiB/s")
    yield name
    if cluster.server.process.poll() is not None:
        cluster.server.start()
    cluster.hosts[0].flashvault("modify", "backup_profile", name, "BANDWIDTH_LIMIT=")


def has_reported(host: Host, run: str) -> bool:
    """Say whether a run of a host has made its report, which the server does not take."""
    record = host.state / "ended" / f"{run}.json"
    return record.exists() and "ended well" not in record.read_text()


@contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """Let Prefect's server take every connection and answer none."""
    cluster.server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.server.process.send_signal(signal.SIGCONT)
    cluster.server.wait_ready()


def test_the_database_and_then_the_server_restart_in_the_middle_of_a_backup(
    cluster: Cluster, group: str, tmp_path: Path
):
    cluster.fill(21)
    host = cluster.hosts[0]
    with host.worker():
        run = cluster.back_up(group)
        wait_until(host.begun, "the backup's claim")
        cluster.database.stop()
        time.sleep(2)
        assert host.begun(), "the backup goes on"
        cluster.database.start()
        assert host.begun(), "still in the middle"
        cluster.server.stop()
        time.sleep(2)
        cluster.server.start()
        assert cluster.ended({group: run}) == {group: "COMPLETED"}
    assert len(cluster.points()[group]) == 1
    cluster.require_identical(tmp_path, [group])
    cluster.require_nothing_left()


def test_a_backup_that_ends_while_the_server_is_away_is_committed_and_called_so_later(
    cluster: Cluster, group: str, tmp_path: Path
):
    cluster.fill(22)
    host = cluster.hosts[0]
    with host.worker():
        before = cluster.points()[group]
        run = cluster.back_up(group)
        wait_until(host.begun, "the backup's claim")
        cluster.server.stop()
        (point,) = wait_until(lambda: set(cluster.points()[group]) - set(before), "the point")
        wait_until(lambda: has_reported(host, run), "the flow's end")
        # Prefect tries for minutes to tell its server, and gives up: no need to wait for that.
        kill_all(host, "prefect.engine")
        cluster.server.start()
        # Nobody could tell the server, or the worker now tells it that a process was killed.
        assert cluster.state(run)["type"] in {"RUNNING", "CRASHED"}
        host.flashvault("reconcile")
    state = cluster.state(run)
    assert state["type"] == "COMPLETED"
    assert "restore point" in state["message"]
    assert cluster.points()[group] == [*before, point]
    cluster.require_identical(tmp_path, [group])
    cluster.require_nothing_left()


def test_a_backup_whose_server_freezes_commits_without_waiting_for_it(
    cluster: Cluster, group: str, tmp_path: Path
):
    """Frozen, it takes every connection and answers none."""
    cluster.fill(24)
    host = cluster.hosts[0]
    with host.worker():
        before = cluster.points()[group]
        run = cluster.back_up(group)
        wait_until(host.begun, "the backup's claim")
        with frozen(cluster):
            froze = time.monotonic()
            (point,) = wait_until(lambda: set(cluster.points()[group]) - set(before), "the point")
            wait_until(lambda: has_reported(host, run), "the flow's end")
            note(f"committed and through {time.monotonic() - froze:.1f} s after the server froze")
            # A command asked now is not kept waiting either.
            began = time.monotonic()
            host.flashvault("catalog", "claims", group)
            note(f"a look at the claims meanwhile: {time.monotonic() - began:.1f} s")
            # As above: that the process tries to tell its server is another matter.
            kill_all(host, "prefect.engine")
        host.flashvault("reconcile")
    # By reconcile, or by what the process had sent to the frozen server, which reads it now.
    state = cluster.state(run)
    assert state["type"] == "COMPLETED"
    assert "restore point" in state["message"]
    assert cluster.points()[group] == [*before, point]
    cluster.require_identical(tmp_path, [group])
    cluster.require_nothing_left()


@pytest.fixture
def backed_up(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A group with a fresh restore point and empty spare disks, in a store that is slow."""
    group = cluster.names[1]
    host = cluster.hosts[0]
    cluster.fill(request.param)
    host.flashvault("backup", group, "--full", "--force")
    host.flashvault("modify", "backup_profile", group, "CAPTURE_WORKERS=2")
    cluster.empty_spares(group)
    with cluster.slow_store(MIB // 2):
        yield group
    host.flashvault("modify", "backup_profile", group, "CAPTURE_WORKERS=")


@pytest.mark.parametrize(("backed_up", "workers"), [(31, 1), (32, 2)], indirect=["backed_up"])
def test_a_restore_whose_server_freezes_is_proven_without_waiting_for_it(
    cluster: Cluster, backed_up: str, workers: int
):
    first, second = cluster.hosts
    with first.worker(RESTORE_POOL), second.worker(CAPTURE_POOL):
        run = cluster.restore_onto_spares(backed_up, workers=workers)
        if workers > 1:
            wait_until(cluster.written_by_others, "a disk that the second host writes")
        wait_until(lambda: cluster.is_restoring(run), "its volumes")
        with frozen(cluster):
            began = time.monotonic()
            assert not (first.state / "ended" / f"{run}.json").exists(), "in its middle"
            wait_until(lambda: has_reported(first, run), "the flow's end")
            note(f"{workers} workers: proven {time.monotonic() - began:.1f} s after the freeze")
            cluster.require_spares_identical(backed_up)
            assert cluster.written_by_others() == []
            # That the processes try for minutes to tell their server is another matter.
            for host in cluster.hosts:
                kill_all(host, "prefect.engine")
        for host in cluster.hosts:
            host.flashvault("reconcile")
    # By reconcile, or by what the process had sent to the frozen server, which reads it now.
    state = cluster.state(run)
    assert state["type"] == "COMPLETED"
    assert f"2 volumes of {backed_up} restored" in state["message"]
    cluster.require_nothing_left()


@pytest.mark.parametrize("backed_up", [33], indirect=True)
def test_a_restore_by_hand_ends_soon_although_its_server_froze(cluster: Cluster, backed_up: str):
    host = cluster.hosts[0]
    to = [f"--to={disk}={spare}" for disk, spare in cluster.onto_spares(backed_up).items()]
    words = ["restore", backed_up, *to, "--yes", "--force", "--import=no"]
    with started("by-hand", host.words(str(BIN / "flashvault"), *words), host.place, host.env) as (
        restore
    ):
        (run,) = wait_until(host.flow_runs, "its journal")
        wait_until(lambda: cluster.is_restoring(run), "its volumes")
        with frozen(cluster):
            wait_until(lambda: has_reported(host, run), "the flow's end")
            began = time.monotonic()
            assert restore.wait(60) == 0
            note(f"by hand: the command ended {time.monotonic() - began:.1f} s after its work")
    told = (host.place / "by-hand.log").read_text()
    assert f"2 volumes of {backed_up} restored" in told
    assert "the next `flashvault reconcile` tells it" in told
    cluster.require_spares_identical(backed_up)
    host.flashvault("reconcile")
    state = cluster.state(run)
    assert state["type"] == "COMPLETED"
    assert f"2 volumes of {backed_up} restored" in state["message"]
    cluster.require_nothing_left()


def test_a_host_that_falls_silent_is_noticed_by_its_missing_heartbeat_and_cleared(
    cluster: Cluster, group: str, tmp_path: Path
):
    cluster.fill(23)
    hasten(cluster, "flashvault: a run fell silent", within_s=2 * HEARTBEAT_S + 10)
    reconcile = cluster.call("GET", f"deployments/name/reconcile/{RECONCILE}")["id"]
    # Without its schedule: only the automation asks for a look.
    assert cluster.api.post(f"deployments/{reconcile}/pause_deployment").is_success
    host = cluster.hosts[1]
    with host.worker():
        run = cluster.back_up(group)
        wait_until(host.begun, "the backup's claim")
        wait_until(lambda: heartbeats(cluster, run), "its first heartbeat")
        kill_all(host)
    assert host.begun(), "it has left debris"
    began = time.monotonic()
    with host.worker(), host.worker(RESTORE_POOL):
        assert cluster.ended({group: run})[group].startswith("CRASHED: set right by reconcile")
        note(f"a dead host's run set right {time.monotonic() - began:.1f} s after it was back")
        wait_until(lambda: not host.begun(), "its debris is cleared")
        looks = cluster.call(
            "POST", "flow_runs/filter", json={"deployments": {"id": {"any_": [reconcile]}}}
        )
        assert "AUTOMATION" in {look["created_by"]["type"] for look in looks}
        again = cluster.back_up(group)
        assert cluster.ended({group: again}) == {group: "COMPLETED"}
    cluster.require_identical(tmp_path, [group])
    cluster.require_nothing_left()


def hasten(cluster: Cluster, name: str, *, within_s: float) -> None:
    """Let an automation fire sooner than its users want it to."""
    found: list[dict[str, Any]] = cluster.call("POST", "automations/filter", json={})
    (mine,) = [each for each in found if each["name"] == name]
    identity = mine.pop("id")
    body = {key: mine[key] for key in ("name", "description", "enabled", "tags", "actions")}
    body["trigger"] = {**mine["trigger"], "within": within_s}
    answer = cluster.api.put(f"{cluster.api.base_url}automations/{identity}", json=body)
    assert answer.is_success, answer.text


def heartbeats(cluster: Cluster, run: str) -> int:
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
    }
    told = cluster.call("POST", "events/filter", json={"filter": wanted})
    return int(told["total"])
