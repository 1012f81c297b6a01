"""What a large site costs Prefect and us: `make scale-test`, as root, about a quarter of an hour.

300 groups of four small volumes on the topology of the cluster test. Prints a table of what it
measured; docs/explanation/scale.md has one. Bytes are not the subject: capture has `make bench`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ulid import ULID

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from topology import Cluster, Host, cluster_of, processes_of, wait_until

from blocks.catalog import shelf
from blocks.catalog.document import seal
from blocks.catalog.point import PointId, RestorePoint, point_key
from blocks.store.clients import open_store, parse_bucket_url

GROUPS = int(os.environ.get("SCALE_GROUPS", "300"))
VOLUMES = 4
POINTS = int(os.environ.get("SCALE_POINTS", "30"))
AT_ONCE = int(os.environ.get("SCALE_RUNS", "20"))
IDLE_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Usage:
    """Processor time and memory of the server, its database and the worker, by process."""

    def __init__(self, pids: Callable[[], dict[str, list[int]]]) -> None:
        self._pids = pids

    def cpu_s(self) -> dict[str, float]:
        return {name: sum(map(_cpu_s, pids)) for name, pids in self._pids().items()}

    def memory_mib(self) -> dict[str, float]:
        return {name: sum(map(_rss_mib, pids)) for name, pids in self._pids().items()}


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def family_of(pid: int) -> list[int]:
    """Return a process and all that came of it; PostgreSQL gives each of its own a session."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def say(what: str, value: str) -> None:
    sys.stdout.write(f"| {what} | {value} |\n")
    sys.stdout.flush()


@contextmanager
def timed(what: str, usage: Usage) -> Iterator[None]:
    before, began = usage.cpu_s(), time.monotonic()
    yield
    took = time.monotonic() - began
    spent = {name: after - before.get(name, 0.0) for name, after in usage.cpu_s().items()}
    cpu = ", ".join(f"{name} {value:.1f}" for name, value in spent.items() if value > 0.05)
    say(what, f"{took:.1f} s (CPU-seconds: {cpu or 'none'})")


def measure(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    server = cluster.server.process.pid
    database = cluster.database.process.pid
    usage = Usage(lambda: {"server": family_of(server), "PostgreSQL": family_of(database)})
    with timed("second `apply`, nothing to do", usage):
        assert host.flashvault("apply")["changes"] == []
    with timed("`modify` of one profile", usage):
        host.flashvault("modify", "backup_profile", cluster.names[-1], "GRACE_PERCENT=12")
    _scheduler(cluster, usage)
    say_memory("after `apply`", usage)
    before, began = usage.cpu_s(), time.monotonic()
    with host.worker() as worker:
        time.sleep(IDLE_S)
        idle = usage.cpu_s()["server"] - before["server"]
        share = 100 * idle / (time.monotonic() - began)
        say("server with one idle worker", f"{share:.0f} % of a core")
        say("worker's memory, idle", f"{_rss_mib(worker.pid):.0f} MiB")
        _backups(cluster, host, usage)
        say("worker's memory, then", f"{_rss_mib(worker.pid):.0f} MiB")
    say_memory("after the backups", usage)
    _looks(cluster, host, usage)


def say_memory(when: str, usage: Usage) -> None:
    told = ", ".join(f"{name} {value:.0f} MiB" for name, value in usage.memory_mib().items())
    say(f"memory {when}", told)


def _scheduler(cluster: Cluster, usage: Usage) -> None:
    """Wait until every deployment with a schedule has a run to come."""
    asked: dict[str, Any] = {"deployments": {"tags": {"all_": ["flashvault"]}}, "limit": 200}
    standing: list[dict[str, Any]] = []
    while page := cluster.call(
        "POST", "deployments/filter", json={**asked, "offset": len(standing)}
    ):
        standing += page
    ticking = {each["id"] for each in standing if each["schedules"] and not each["paused"]}
    say("deployments; of them with a schedule", f"{len(standing)}; {len(ticking)}")

    def all_have_runs() -> bool:
        waiting = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        found = cluster.call("POST", "flow_runs/count", json=waiting)
        if found < len(ticking):
            return False
        have: set[str] = set()
        offset = 0
        while page := cluster.call(
            "POST", "flow_runs/filter", json={**waiting, "limit": 200, "offset": offset}
        ):
            have |= {run["deployment_id"] for run in page}
            offset += len(page)
        return ticking <= have

    with timed("until the scheduler had made runs for all of them", usage):
        wait_until(all_have_runs, "scheduled runs", 1200)


def _backups(cluster: Cluster, host: Host, usage: Usage) -> None:
    peaks: dict[int, float] = {}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(1.0):
            for pid, words in processes_of(host).items():
                if "prefect.engine" in words:
                    peaks[pid] = max(peaks.get(pid, 0.0), _rss_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with timed(f"{AT_ONCE} full backups asked for at once, one worker, two at a time", usage):
            runs = {name: cluster.back_up(name) for name in cluster.names[:AT_ONCE]}
            ended = cluster.ended(runs, 3000)
    finally:
        is_over.set()
        watcher.join()
    assert set(ended.values()) == {"COMPLETED"}, ended
    lasted = []
    for run in runs.values():
        told = cluster.call("GET", f"flow_runs/{run}")
        lasted.append(told["total_run_time"])
    say("a backup, from Running to Completed", f"{min(lasted):.1f} to {max(lasted):.1f} s")
    say("memory of a run's process, at most", f"{max(peaks.values()):.0f} MiB")


def _looks(cluster: Cluster, host: Host, usage: Usage) -> None:
    store = open_store(parse_bucket_url(f"s3://{cluster.site.s3.bucket}"))
    (model,) = shelf.points(store, cluster.names[0])

    def fill(name: str) -> None:
        for number in range(POINTS):
            point = like(model, name, datetime.now(UTC) - timedelta(hours=6 * number + 1))
            store.put(point_key(name, point.id), seal(point))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, cluster.names))
    with timed(f"`status`, {GROUPS} groups x {POINTS} restore points", usage):
        host.flashvault("status")
    with timed("`metrics --once`, the same", usage):
        metrics(host)


def metrics(host: Host) -> None:
    words = host.words(str(Path(sys.executable).parent / "flashvault"), "metrics", "--once")
    subprocess.run(words, env=host.env, check=True, capture_output=True, timeout=1800)


def like(model: RestorePoint, group: str, at: datetime) -> RestorePoint:
    """Return a document of another group's restore point, as large as a real one."""
    more = {"group": group, "id": PointId(str(ULID.from_datetime(at)))}
    return model.model_copy(update={**more, "taken_at": at, "committed_at": at})


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="flashvault-scale-") as place:
        began = time.monotonic()
        words = ["--volumes", str(VOLUMES), "--size", "1M"]
        with cluster_of(Path(place), GROUPS, *words) as cluster:
            sys.stdout.write(f"\n\n| {GROUPS} groups x {VOLUMES} volumes | |\n|---|---|\n")
            measure(cluster)
        say("all of it", f"{(time.monotonic() - began) / 60:.0f} min")


if __name__ == "__main__":
    main()
