"""A site on one machine: PostgreSQL, Redis, one Prefect server, and workers on two hosts.

Everything is a plain process of this machine. The hosts are apart as far as the software can see:
each has its own host name (a UTS namespace), home and state directory. The server runs with
deployments/server.env, the workers with deployments/worker.env.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from cryptography.fernet import Fernet

from blocks.catalog import shelf
from blocks.catalog.writers import open_writers, read_orders
from blocks.profile.document import editing, load_configuration
from blocks.profile.model import Method
from blocks.store.clients import open_store, parse_bucket_url
from blocks.svc.model import CopyState
from blocks.units import MIB
from deployments.lab import site as lab
from deployments.lab.processes import free_port
from deployments.lab.s3 import fault_file
from deployments.lab.s3_proxy import S3Fault, write_fault
from deployments.schedules import POOL
from tasks.open import array, configuration
from tasks.publish import CLAIMED

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/none"))
SIZE = 24 * MIB
AT_ONCE = 2
"""Runs of one host at a time."""

PLACES = ("group-", "array-", "host-", "bucket-")
DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
BIN = Path(sys.executable).parent
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

MARKS = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and PostgreSQL's user need root"),
    pytest.mark.skipif(not POSTGRES.is_dir(), reason="apt install postgresql"),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="apt install redis-server"),
]


def wait_until(is_so: Callable[[], Any], what: str, limit_s: float = 240) -> Any:
    deadline = time.monotonic() + limit_s
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s"
        time.sleep(0.3)
    return answer


def env_file(name: str, **own: str) -> dict[str, str]:
    """Read a file an operator copies, with the site's own values filled in."""
    lines = (DEPLOYMENTS / name).read_text().splitlines()
    read = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    filled = read | own
    assert not [name for name, value in filled.items() if "<" in value]
    return filled


@contextmanager
def started(name: str, words: list[str], place: Path, env: Mapping[str, str]) -> Iterator[Any]:
    """Run a process in its own session, and end it by its pid."""
    with (place / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def processes_of(host: Host) -> dict[int, str]:
    """Return what runs on a host, by pid: everything with the host's state directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            env = (entry / "environ").read_bytes().split(b"\0")
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"FLASHVAULT_STATE={host.state}".encode() in env and words:
            found[int(entry.name)] = words
    return found


def engines_of(host: Host) -> list[str]:
    return [words for words in processes_of(host).values() if "prefect.engine" in words]


def kill_all(host: Host, word: str = "") -> None:
    """Kill what runs on a host, as a power cut would; with a word, only what is called with it."""

    def are_gone() -> bool:
        left = [pid for pid, words in processes_of(host).items() if word in words]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(are_gone, f"the end of what runs on {host.name}", 60)


class Host:
    """A backup host: a name, a home and a state directory of its own, and a worker."""

    def __init__(self, name: str, place: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.place = place / name
        self.state = self.place / "state"
        self.place.mkdir()
        self.env = {
            **env,
            "FLASHVAULT_STATE": str(self.state),
            "PREFECT_HOME": str(self.place / "prefect"),
            "HOME": str(self.place),
        }

    def words(self, *words: str) -> list[str]:
        script = f'hostname {self.name} && exec "$@"'
        return ["unshare", "--uts", "sh", "-c", script, "sh", *words]

    def worker(self, pool: str = POOL, queue: str = "") -> Any:
        prefect = [str(BIN / "prefect"), "worker", "start", "--pool", pool]
        name = f"{self.name}-{pool}-{queue}"
        words = self.words(*prefect, "--name", name, "--limit", str(AT_ONCE))
        words += ["--work-queue", queue] if queue else []
        return started(f"worker-{pool}-{queue}", words, self.place, self.env)

    def flashvault(self, *words: str) -> Any:
        done = subprocess.run(
            self.words(str(BIN / "flashvault"), *words, "--json"),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
        return json.loads(done.stdout)

    def flow_runs(self) -> list[str]:
        """Return the flow runs of the runs of this host that are under way."""
        texts = [path.read_text() for path in self.state.glob("runs/*.jsonl")]
        whole = [text.splitlines()[0] for text in texts if "\n" in text]
        return [json.loads(line)["run"]["flow_run"] for line in whole]

    def begun(self) -> list[Path]:
        """Return the journals of runs that have claimed their group: that make things."""
        paths = self.state.glob("runs/*.jsonl")
        return [path for path in paths if f'"{CLAIMED}"' in path.read_text()]


class Cluster:
    """The topology, and what a test asks of it."""

    def __init__(self, place: Path, site: lab.Site, env: dict[str, str], password: str) -> None:
        self.site = site
        self.place = place
        self.server: Server
        self.database: Postgres
        self.hosts = [Host(f"backup{number}", place, env) for number in (1, 2)]
        self.api = httpx.Client(
            base_url=env["PREFECT_API_URL"], auth=("flashvault", password), timeout=60
        )
        self.names = [group.resource_group for group in site.groups]

    def call(self, method: str, path: str, **body: Any) -> Any:
        answer = self.api.request(method, f"{self.api.base_url}{path}", **body)
        assert answer.is_success, answer.text
        return answer.json()

    def back_up(self, group: str) -> str:
        """Ask for a full backup of a group by its deployment; return the flow run."""
        deployment = self.call("GET", f"deployments/name/backup/{group}-full")["id"]
        asked = {"parameters": {"mode": "full", "force": True}, "state": {"type": "SCHEDULED"}}
        made = self.call("POST", f"deployments/{deployment}/create_flow_run", json=asked)
        return str(made["id"])

    def onto_spares(self, group: str) -> dict[str, str]:
        """Return onto which disk of its own each disk of a group can be restored."""
        wired = self.wired(group)
        pairs = zip(wired.sources, wired.spares, strict=True)
        return {wired.disks[source]: wired.disks[spare] for source, spare in pairs}

    def restore_onto_spares(self, group: str, *, workers: int) -> str:
        """Ask for a restore of a group's newest point onto its spare disks; return the run."""
        deployment = self.call("GET", f"deployments/name/restore/{group}-restore")["id"]
        asked = {"group": group, "to": self.onto_spares(group), "workers": workers}
        asked |= {"approved": True, "force": True, "importing": "no"}
        body = {"parameters": asked, "state": {"type": "SCHEDULED"}}
        made = self.call("POST", f"deployments/{deployment}/create_flow_run", json=body)
        return str(made["id"])

    def empty_spares(self, group: str) -> None:
        for name in self.wired(group).spares:
            with open(self.site.volume(name).path, "r+b") as file:
                file.write(bytes(SIZE))

    def is_restoring(self, run: str) -> bool:
        """Say whether a run moves the bytes of a volume, as far as the server knows."""
        steps = self.call("POST", "task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}})
        return any(
            step["name"].startswith("restore-") and step["state_type"] == "RUNNING"
            for step in steps
        )

    def require_spares_identical(self, group: str) -> None:
        wired = self.wired(group)
        for source, spare in zip(wired.sources, wired.spares, strict=True):
            written = Path(self.site.volume(spare).path).read_bytes()
            assert written == Path(self.site.volume(source).path).read_bytes(), spare

    def written_by_others(self) -> list[str]:
        """Return the hosts that write disks for a restore they do not own."""
        store = open_store(parse_bucket_url(f"s3://{self.site.s3.bucket}"))
        return [writer.worker.host for writer in open_writers(store)]

    def wired(self, group: str) -> lab.LabGroup:
        return next(each for each in self.site.groups if each.resource_group == group)

    def state(self, run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", f"flow_runs/{run}")["state"]
        return state

    def ended(self, runs: Mapping[str, str], limit_s: float = 600) -> dict[str, str]:
        """Wait for runs, and return the state each ended in."""
        last: dict[str, str] = {}

        def all_ended() -> bool:
            last.update({group: self.state(run)["type"] for group, run in runs.items()})
            return set(last.values()) <= FINAL

        wait_until(all_ended, f"{len(runs)} runs", limit_s)
        return {
            group: f"{state}: {self.state(runs[group])['message']}"
            if state != "COMPLETED"
            else state
            for group, state in last.items()
        }

    def in_the_middle_of_all(self, host: Host, runs: Mapping[str, str]) -> bool:
        """Say whether all the host has taken is under way: a run it took and did not begin waits
        a quarter of an hour for reconcile to give it up."""
        words = list(processes_of(host).values())
        shims = sum("deployments.shim" in line for line in words)
        is_pending = any(self.state(run)["type"] == "PENDING" for run in runs.values())
        return not is_pending and shims == len(host.begun()) > 0

    def points(self) -> dict[str, list[str]]:
        store = open_store(parse_bucket_url(f"s3://{self.site.s3.bucket}"))
        return {name: [point.id for point in shelf.points(store, name)] for name in self.names}

    @contextmanager
    def slow_store(self, bytes_per_s: int) -> Iterator[None]:
        """Let a connection to the store carry so little that a run can be caught in its middle."""
        file = fault_file(self.place / "lab")
        write_fault(file, S3Fault("slow", bytes_per_s=bytes_per_s))
        try:
            yield
        finally:
            write_fault(file, S3Fault())

    def fill(self, seed: int) -> None:
        """Write every source volume anew."""
        for number, group in enumerate(self.site.groups):
            for name in group.sources:
                data = random.Random(f"{seed}{number}{name}").randbytes(SIZE // 2)
                with open(self.site.volume(name).path, "r+b") as file:
                    file.write(data)

    def require_identical(self, place: Path, names: Sequence[str] = ()) -> None:
        """Restore the newest point of groups, or of all, and compare each byte with its source."""
        wanted = set(names or self.names)
        groups = [each for each in self.site.groups if each.resource_group in wanted]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda group: self._require_identical(place, group), groups))

    def _require_identical(self, place: Path, group: lab.LabGroup) -> None:
        targets = {group.disks[name]: place / f"{name}.img" for name in group.sources}
        to = [f"--to={disk}={path}" for disk, path in targets.items()]
        self.hosts[0].flashvault("restore", group.resource_group, *to, "--yes", "--force")
        for name in group.sources:
            source = Path(self.site.volume(name).path).read_bytes()
            assert targets[group.disks[name]].read_bytes() == source, name
            targets[group.disks[name]].unlink()

    def require_nothing_left(self) -> None:
        store = open_store(parse_bucket_url(f"s3://{self.site.s3.bucket}"))
        assert list(store.uploads()) == []
        keys = [info.key for info in store.list("journal/")]
        # What was decided about the disks of a restore stays for a day (docs/adr/0022).
        decided = {key.rpartition("/")[0] for key in keys if key.endswith(".writer.json")}
        assert [key for key in keys if key.rpartition("/")[0] not in decided] == []
        assert list(open_writers(store)) == list(read_orders(store)) == []
        kept = self.points()
        for group in self.site.groups:
            name = group.resource_group
            assert list(store.list(f"claims/{name}/intents/")) == []
            folders = {info.key.split("/")[1] for info in store.list(f"{name}/")}
            assert folders <= set(kept[name]), "objects of a run that never committed"
            with array(configuration(), group.storage_system) as client:
                status = client.lsfcconsistgrp(group.consistency_group).status
            assert status not in {CopyState.PREPARED, CopyState.PREPARING}, name
        for host in self.hosts:
            # A look of reconcile's may be going on: it is on a schedule, and outlives its worker.
            wait_until(lambda host=host: not engines_of(host), "the runs have ended", 120)
            assert list(host.state.glob("runs/*.jsonl")) == []
        limits = wait_until(self.free_limits, "places in line are free", 180)
        assert {f"array-{self.site.groups[0].storage_system}"} <= limits

    def free_limits(self) -> set[str]:
        """Return the names of all limits, or none while somebody has a place."""
        found = self.call("POST", "v2/concurrency_limits/filter", json={})
        ours = [row for row in found if row["name"].startswith(PLACES)]
        busy = [row["name"] for row in ours if row["active_slots"]]
        return set() if busy else {row["name"] for row in ours}


@contextmanager
def cluster_of(place: Path, groups: int, *words: str) -> Iterator[Cluster]:
    """Bring a site of so many groups up, and take it down whatever happens.

    `words` are further words of `flashvault lab up`.
    """
    before = dict(os.environ)
    with ExitStack() as stack:
        stack.callback(os.environ.update, before)
        stack.callback(os.environ.clear)
        database = stack.enter_context(Postgres(place))
        broker = stack.enter_context(_redis(place))
        site = stack.enter_context(_lab(place / "lab", groups, words))
        _only_cloud(Path(site.config))
        server = stack.enter_context(Server(place, database.url, broker))
        settings = env_file(
            "worker.env",
            PREFECT_API_URL=f"{server.url}/api",
            PREFECT_API_AUTH_STRING="flashvault:secret",
        )
        path = f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {**site.environment(), **settings, "PATH": path, "LANG": "C.UTF-8"}
        os.environ.update(site.environment())
        made = Cluster(place, site, env, "secret")
        made.server, made.database = server, database
        stack.enter_context(made.api)
        began = time.monotonic()
        made.hosts[0].flashvault("apply")
        note(f"apply of {groups} groups: {time.monotonic() - began:.1f} s")
        yield made


@contextmanager
def _lab(directory: Path, groups: int, words: Sequence[str]) -> Iterator[lab.Site]:
    command = [sys.executable, "-m", "deployments.cli", "lab"]
    sizes = ["--size", str(SIZE), "--groups", str(groups), "--no-prefect"]
    try:
        subprocess.run([*command, "up", "--dir", str(directory), *sizes, *words], check=True)
        yield lab.load_site(directory)
    finally:
        subprocess.run([*command, "down", "--dir", str(directory), "--purge"], check=True)


def note(line: str) -> None:
    sys.stdout.write(f"\n{line}")


def _only_cloud(path: Path) -> None:
    """Leave the polls of the remote copies out: they have tests of their own."""
    wanted = load_configuration(path)
    cloud = tuple(profile for profile in wanted.profiles if profile.method == Method.CLOUD)
    with editing(path) as edit:
        edit.save(wanted.model_copy(update={"profiles": cloud}))


class Part:
    """A process that can be stopped and started again at the same place."""

    def __init__(self, name: str, words: list[str], place: Path, env: Mapping[str, str]) -> None:
        self._how = (name, words, place, env)
        self._running: ExitStack | None = None
        self.process: Any = None

    def start(self) -> None:
        self._running = ExitStack()
        self.process = self._running.enter_context(started(*self._how))
        self.wait_ready()

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def wait_ready(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class Postgres(Part):
    """Debian's PostgreSQL, with a database of its own."""

    def __init__(self, place: Path) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="flashvault-postgres-"))
        shutil.chown(self._directory, "postgres")
        port = free_port()
        self.url = f"postgresql+asyncpg://flashvault@127.0.0.1:{port}/postgres"
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        env = {"PATH": f"{POSTGRES}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        data = f"{self._directory}/db"
        account = ["-U", "flashvault", "-A", "trust"]
        subprocess.run(
            [*user, str(POSTGRES / "initdb"), "-D", data, "--no-sync", *account],
            env=env,
            check=True,
            capture_output=True,
            cwd="/",
        )
        words = [*user, str(POSTGRES / "postgres"), "-D", data, "-k", str(self._directory)]
        words += ["-c", "listen_addresses=127.0.0.1", "-p", str(port)]
        self._ready = [str(POSTGRES / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        super().__init__("postgres", words, place, env)

    def wait_ready(self) -> None:
        wait_until(
            lambda: subprocess.run(self._ready, capture_output=True, check=False).returncode == 0,
            "PostgreSQL",
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast: does not wait for its clients
            self.process.wait(60)
        super().stop()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self._directory)


@contextmanager
def _redis(place: Path) -> Iterator[str]:
    port = free_port()
    options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--requirepass", "secret"]
    words = ["redis-server", "--port", str(port), "--dir", str(place), *options]
    with started("redis", words, place, os.environ):
        asked = ["redis-cli", "-p", str(port), "--no-auth-warning", "-a", "secret", "ping"]
        wait_until(
            lambda: subprocess.run(asked, capture_output=True, check=False).stdout == b"PONG\n",
            "Redis",
        )
        yield f"redis://:secret@127.0.0.1:{port}"


class Server(Part):
    """A Prefect server with the settings of deployments/server.env."""

    def __init__(self, place: Path, database: str, broker: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = place / "server.log"
        settings = env_file(
            "server.env",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
            PREFECT_REDIS_MESSAGING_URL=f"{broker}/0",
            PREFECT_SERVER_DOCKET_URL=f"{broker}/1",
            PREFECT_SERVER_API_AUTH_STRING="flashvault:secret",
            PREFECT_API_AUTH_STRING="flashvault:secret",
            PREFECT_SERVER_ENCRYPTION_KEY=Fernet.generate_key().decode(),
            PREFECT_UI_URL=self.url,
            PREFECT_SERVER_UI_API_URL=f"{self.url}/api",
            PREFECT_API_URL=f"{self.url}/api",
        )
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "PREFECT_HOME": str(place / "server"),
        }
        words = [str(BIN / "prefect"), "server", "start"]
        words += ["--host", "127.0.0.1", "--port", str(port)]
        super().__init__("server", words, place, env | settings)

    def wait_ready(self) -> None:
        began = time.monotonic()
        wait_until(self._is_ready, "the Prefect server")
        note(f"server on PostgreSQL and Redis: ready after {time.monotonic() - began:.1f} s")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()[-2000:]
        try:
            return httpx.get(f"{self.url}/api/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def memory_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1])

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            note(f"server's memory in the end: {self.memory_kib() // 1024} MiB")
        note(f"tracebacks in the server's log: {self._log.read_text().count('Traceback')}")
        super().__exit__(*error)
