"""The lab's own Prefect server: SQLite in the lab's directory, nothing phones home.

The settings are docs/reference/prefect.md's, except that one machine with light load may use
SQLite ("database is locked" has been seen under load; shared installations use PostgreSQL).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from deployments.lab.keys import Keys
from deployments.lab.processes import Register, Started, free_port, wait_until
from deployments.lab.s3 import answers

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE")


@dataclass(frozen=True)
class PrefectServer:
    """Where the server is."""

    api_url: str
    ui_url: str
    process: Started


def client_settings(api_url: str, home: Path) -> dict[str, str]:
    """Return what every client of the lab's server gets: CLI, worker, flows."""
    return {
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_API_REQUEST_TIMEOUT": "20",
        "PREFECT_CLIENT_MAX_RETRIES": "3",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "blocks,tasks,flows",
    }


def start(directory: Path, keys: Keys, register: Register) -> PrefectServer:
    """Start the server; returns before it answers."""
    home = directory / "prefect"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    lease_storage = "prefect.server.concurrency.lease_storage.filesystem"
    settings = {
        **client_settings(f"{url}/api", home),
        "PREFECT_UI_URL": url,
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": lease_storage,
        "PREFECT_SERVER_ENCRYPTION_KEY": keys.fernet("prefect"),
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    }
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    words = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = register.start("prefect", [sys.executable, *words], {**passed_on, **settings})
    return PrefectServer(f"{url}/api", url, process)


def wait(server: PrefectServer, directory: Path, limit_s: float = 180) -> None:
    """Wait until the server is healthy."""
    log = directory / "logs" / "prefect.log"
    wait_until(
        lambda: answers(f"{server.api_url}/health"),
        "the Prefect server",
        process=server.process,
        log=log,
        limit_s=limit_s,
    )
