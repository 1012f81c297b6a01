"""Everything on one machine: Prefect's server, two workers, and the deployments.

SQLite under the server: one machine, light load. Anything shared uses PostgreSQL and a server of
its own (docs/how-to/run-unattended.md). Stopping stops the server and the workers, and leaves a
backup that is running alone: it goes on to its restore point, and the next start sets its state in
Prefect right.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from blocks.errors import ConfigError, FlashvaultError, Unreachable
from deployments import settings
from deployments.schedules import POOL, RESTORE_POOL

START_S = 180.0
STOP_S = 20.0
RESTART_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Pauses before a part that died is started again; the last one repeats."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server answers, and where its things are. `auth` is `user:password`."""

    directory: Path
    host: str
    port: int
    auth: str
    encryption_key: str

    @property
    def url(self) -> str:
        """The address a browser opens."""
        shown = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 compared
        return f"http://{shown}:{self.port}"


def prepare(directory: Path, host: str, port: int) -> Place:
    """Make the directory, and its keys if there are none yet.

    Raises:
        ConfigError: the directory cannot be written, or the port is taken.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (directory / "logs").mkdir(exist_ok=True, mode=0o700)
        keys = _keys(directory / "serve-keys.json")
    except OSError as error:
        raise ConfigError(f"cannot write {directory}: {error.strerror}") from error
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                hint="Choose another with --port, or stop what has it.",
            ) from error
    return Place(directory, host, port, keys["auth"], keys["encryption_key"])


def server_settings(place: Place) -> dict[str, str]:
    """Return the settings of the server; docs/reference/prefect.md says why each."""
    return {
        **client_settings(place),
        "PREFECT_UI_URL": place.url,
        "PREFECT_SERVER_UI_API_URL": f"{place.url}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_API_AUTH_STRING": place.auth,
        "PREFECT_SERVER_ENCRYPTION_KEY": place.encryption_key,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///{place.directory}/prefect.db"
        ),
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        # In memory, a place in line that was held over a restart would never be free again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7776000",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    }


def client_settings(place: Place) -> dict[str, str]:
    """Return what everyone who talks to the server needs."""
    return {
        **settings.QUIET,
        "PREFECT_API_URL": f"{place.url}/api",
        "PREFECT_API_AUTH_STRING": place.auth,
        "PREFECT_HOME": str(place.directory / "prefect"),
        "PREFECT_PROFILES_PATH": str(place.directory / "prefect" / "profiles.toml"),
    }


class Served:
    """The server and the workers, while they run."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._stop = threading.Event()
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._failures: dict[str, int] = {}
        self._lock = os.open(place.directory / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigError(
                f"another `flashvault serve` has {place.directory}",
                hint="Use --dir for a second one.",
            ) from error

    def start_server(self) -> None:
        """Start the server and return when it answers.

        Raises:
            Unreachable: it did not come up; its log is in the directory.
        """
        self._start("server")
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._parts["server"].poll() is not None or time.monotonic() > deadline:
                raise Unreachable(
                    "the Prefect server did not start",
                    hint=f"Read {self._log_path('server')}.",
                )
            if self._stop.wait(0.2):
                return
        _write_private(
            self.place.directory / settings.ENVIRONMENT_FILE,
            "".join(f"{name}={value}\n" for name, value in client_settings(self.place).items()),
        )
        os.environ.update(client_settings(self.place))

    def start_workers(self) -> None:
        """Start a worker for backups and one for restores and alarms."""
        self._start("worker")
        self._start("restore-worker")

    def watch(self) -> None:
        """Start again what dies, until `stop` is called."""
        while not self._stop.wait(1.0):
            for name, part in list(self._parts.items()):
                if part.poll() is None:
                    continue
                failures = self._failures.get(name, 0)
                self._failures[name] = failures + 1
                pause = RESTART_S[min(failures, len(RESTART_S) - 1)]
                log.warning("%s ended with %s, again in %gs", name, part.returncode, pause)
                if self._stop.wait(pause):
                    return
                self._start(name)

    def stop(self) -> None:
        """Ask `watch` to end."""
        self._stop.set()

    def close(self) -> None:
        """Stop the workers, then the server. A running backup is in a session of its own."""
        self._stop.set()
        for name in ("worker", "restore-worker", "server"):
            part = self._parts.pop(name, None)
            if part is None:
                continue
            with suppress(ProcessLookupError):
                part.send_signal(signal.SIGTERM)
            try:
                part.wait(STOP_S)
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
        (self.place.directory / settings.ENVIRONMENT_FILE).unlink(missing_ok=True)
        os.close(self._lock)

    def pids(self) -> dict[str, int]:
        """Return the processes, by what they are."""
        return {name: part.pid for name, part in self._parts.items()}

    def _start(self, name: str) -> None:
        place = self.place
        host = socket.gethostname()
        words = {
            "server": ["server", "start", "--host", place.host, "--port", str(place.port)],
            "worker": ["worker", "start", "--pool", POOL, "--name", f"{host}-backup"],
            "restore-worker": [
                *("worker", "start", "--pool", RESTORE_POOL),
                *("--name", f"{host}-restore"),
            ],
        }[name]
        own = server_settings(place) if name == "server" else client_settings(place)
        with self._log_path(name).open("ab") as into:
            self._parts[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                env=_environment(place, own),
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                # Ctrl-C goes to the whole terminal: we pass it on ourselves, in order.
                start_new_session=True,
            )

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.place.url}/api/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def _log_path(self, name: str) -> Path:
        return self.place.directory / "logs" / f"{name}.log"


def run_reconcile() -> None:
    """Have the debris of an earlier life cleared now, not in a quarter of an hour."""
    from prefect.deployments import run_deployment

    from deployments.schedules import RECONCILE

    try:
        run_deployment(f"reconcile/{RECONCILE}", timeout=0, as_subflow=False)
    except (ValueError, httpx.HTTPError, FlashvaultError) as error:
        log.warning("reconcile not started: %s", error)


def _environment(place: Place, own: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, **own, "FLASHVAULT_STATE": str(place.directory)}
    # The deployments' command is `python -m deployments.shim`: it must be this python.
    here = str(Path(sys.executable).parent)
    environment["PATH"] = f"{here}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


def _keys(path: Path) -> dict[str, str]:
    """Read the server's keys, or make them once: another key could not read the saved secrets."""
    if not path.exists():
        made = {
            "auth": f"flashvault:{secrets.token_urlsafe(24)}",
            "encryption_key": Fernet.generate_key().decode(),
        }
        _write_private(path, json.dumps(made, indent=2) + "\n")
    try:
        keys: dict[str, str] = json.loads(path.read_text())
        Fernet(keys["encryption_key"])
        if ":" not in keys["auth"]:
            raise ConfigError(f"{path} is damaged", hint="Restore it from a copy.")
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{path} is damaged", hint="Restore it from a copy.") from error
    return keys


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
