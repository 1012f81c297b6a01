"""One group captured by several workers, one of which dies; and sites."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from topology import MARKS, Cluster, Host, cluster_of, kill_all, note, wait_until

from blocks.catalog import shelf
from blocks.catalog.point import RestorePoint
from blocks.store.clients import open_store, parse_bucket_url
from blocks.units import MIB
from deployments.schedules import CAPTURE_POOL, RESTORE_POOL

pytestmark = MARKS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("workers"), 2) as made:
        yield made


def modify(cluster: Cluster, group: str, *attributes: str) -> None:
    cluster.hosts[0].flashvault("modify", "backup_profile", group, *attributes)


def shares(host: Host) -> list[dict[str, Any]]:
    """Return the facts of the shares that run on a host."""
    paths = [path for path in host.state.glob("runs/*.jsonl") if path.name.count(".") > 1]
    return [json.loads(path.read_text().splitlines()[0])["run"] for path in paths]


def newest(cluster: Cluster, group: str) -> RestorePoint:
    store = open_store(parse_bucket_url(f"s3://{cluster.site.s3.bucket}"))
    return shelf.points(store, group)[-1]


def takes(point: RestorePoint) -> set[str]:
    """Return which tries the images of a point are of."""
    keys = [key for volume in point.volumes for key in volume.image_keys]
    return {key.split(".take")[1][0] if ".take" in key else "1" for key in keys}


def capture_runs(cluster: Cluster, group: str) -> list[tuple[int, str]]:
    found = cluster.call(
        "POST",
        "flow_runs/filter",
        json={"flow_runs": {"tags": {"all_": ["capture", f"group:{group}"]}}},
    )
    return sorted((run["parameters"]["take"], run["state"]["type"]) for run in found)


@pytest.fixture
def slow_group(cluster: Cluster) -> Iterator[str]:
    """A group for two workers, so slow that one can be killed in the middle."""
    group = cluster.names[0]
    modify(cluster, group, "CAPTURE_WORKERS=2", "BANDWIDTH_LIMIT=1MiB/s")
    yield group
    modify(cluster, group, "CAPTURE_WORKERS=", "BANDWIDTH_LIMIT=")


def test_two_workers_capture_one_group_and_the_work_of_one_that_is_killed_is_redone(
    cluster: Cluster, slow_group: str, tmp_path: Path
):
    cluster.fill(11)
    first, second = cluster.hosts
    with first.worker(), second.worker(CAPTURE_POOL):
        began = time.monotonic()
        run = cluster.back_up(slow_group)
        wait_until(lambda: shares(second), "a share on the second host")
        time.sleep(2)
        (victim,) = shares(second)
        os.kill(victim["pid"], signal.SIGKILL)
        assert cluster.ended({slow_group: run}) == {slow_group: "COMPLETED"}
        note(f"one group by two workers, a share killed: {time.monotonic() - began:.1f} s")
        wait_until(lambda: not shares(second) or second.flashvault("reconcile"), "cleared")
    point = newest(cluster, slow_group)
    assert len(point.volumes) == len(cluster.site.groups[0].sources)
    assert takes(point) == {"1", "2"}, "one volume was captured twice, under two names"
    ended = capture_runs(cluster, slow_group)
    assert (1, "CRASHED") in ended
    cluster.require_identical(tmp_path, [slow_group])
    cluster.require_nothing_left()


def test_a_host_that_vanishes_with_a_share_is_noticed_without_a_word_from_prefect(
    cluster: Cluster, slow_group: str, tmp_path: Path
):
    cluster.fill(12)
    first, second = cluster.hosts
    with first.worker():
        with second.worker(CAPTURE_POOL):
            run = cluster.back_up(slow_group)
            wait_until(lambda: shares(second), "a share on the second host")
            began = time.monotonic()
            kill_all(second)
        assert cluster.ended({slow_group: run}) == {slow_group: "COMPLETED"}
        note(f"from the death of a host to the restore point: {time.monotonic() - began:.1f} s")
    assert takes(newest(cluster, slow_group)) == {"1", "2"}
    second.flashvault("reconcile")
    cluster.require_identical(tmp_path, [slow_group])
    cluster.require_nothing_left()


@pytest.fixture
def backed_up(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A group for two workers with a fresh restore point, in a store that is slow from then on.

    So slow that a restore can be caught in the middle of a disk.
    """
    group = cluster.names[0]
    cluster.fill(request.param)
    cluster.hosts[0].flashvault("backup", group, "--full", "--force")
    modify(cluster, group, "CAPTURE_WORKERS=2")
    with cluster.slow_store(MIB):
        yield group
    modify(cluster, group, "CAPTURE_WORKERS=")


def said_by_others(cluster: Cluster) -> list[list[str]]:
    """Return for each disk that another worker wrote, earliest first, how that ended."""
    store = open_store(parse_bucket_url(f"s3://{cluster.site.s3.bucket}"))
    keys = sorted(info.key for info in store.list("journal/") if ".closed." in info.key)
    said = [json.loads(store.get(key)) for key in keys]
    return [[kind for kind in ("restored", "error") if each.get(kind)] for each in said]


@pytest.mark.parametrize("backed_up", [21], indirect=True)
def test_two_workers_restore_one_group_and_a_disk_has_one_writer_at_a_time(
    cluster: Cluster, backed_up: str
):
    first, second = cluster.hosts
    with first.worker(RESTORE_POOL), second.worker(CAPTURE_POOL):
        run = cluster.restore_onto_spares(backed_up, workers=2)
        wait_until(cluster.written_by_others, "a disk that the second host writes")
        began = time.monotonic()
        (victim,) = shares(second)
        os.kill(victim["pid"], signal.SIGKILL)
        assert cluster.ended({backed_up: run}) == {backed_up: "COMPLETED"}
        note(f"from the death of a writer to the proven restore: {time.monotonic() - began:.1f} s")
        cluster.require_spares_identical(backed_up)
        # And once more with nobody killed: the owner believes what the other worker says.
        cluster.fill(20)
        cluster.hosts[0].flashvault("backup", backed_up, "--full", "--force")
        again = cluster.restore_onto_spares(backed_up, workers=2)
        assert cluster.ended({backed_up: again}) == {backed_up: "COMPLETED"}
        assert said_by_others(cluster) == [["error"], ["restored"]]
    cluster.require_spares_identical(backed_up)
    assert cluster.written_by_others() == []
    assert list(first.state.glob("runs/*.jsonl")) == []


@pytest.mark.parametrize("backed_up", [22], indirect=True)
def test_a_restore_is_not_done_while_a_vanished_host_may_write(cluster: Cluster, backed_up: str):
    first, second = cluster.hosts
    with first.worker(RESTORE_POOL):
        with second.worker(CAPTURE_POOL):
            run = cluster.restore_onto_spares(backed_up, workers=2)
            wait_until(cluster.written_by_others, "a disk that the second host writes")
            kill_all(second)
        time.sleep(30)  # the owner has long written its own disk
        assert cluster.state(run)["type"] == "RUNNING"
        assert cluster.written_by_others() == [second.name]
        cleared = second.flashvault("reconcile")
        assert cleared["writers_closed"] == 1
        assert cluster.ended({backed_up: run}) == {backed_up: "COMPLETED"}
    cluster.require_spares_identical(backed_up)
    assert cluster.written_by_others() == []


def test_a_profile_runs_on_the_hosts_of_its_site_only(cluster: Cluster, tmp_path: Path):
    cluster.fill(13)
    here, far = cluster.names
    modify(cluster, far, "SITE=far")
    first, second = cluster.hosts
    with first.worker(queue="default"):
        runs = {name: cluster.back_up(name) for name in (here, far)}
        assert cluster.ended({here: runs[here]}) == {here: "COMPLETED"}
        assert cluster.state(runs[far])["type"] == "SCHEDULED", "nobody of its site is there"
        with second.worker(queue="far"):
            assert cluster.ended(runs) == {here: "COMPLETED", far: "COMPLETED"}
    # The shim keeps a file for each run on the machine it runs on.
    places = {
        name: [host.name for host in cluster.hosts if (host.state / "logs" / f"{run}.log").exists()]
        for name, run in runs.items()
    }
    assert places == {here: [first.name], far: [second.name]}
    modify(cluster, far, "SITE=")
    cluster.require_identical(tmp_path)
    cluster.require_nothing_left()
