"""Our settings for Prefect, in one place: nothing phones home, nothing starts by accident.

Call `prepare` before Prefect is imported: it reads its settings once, at import. `flashvault serve`
leaves its address in `prefect.env`, so that every other command on the machine finds the server.
"""

from __future__ import annotations

import os
from pathlib import Path

from blocks.errors import ConfigError
from tasks.journal import state_directory

ENVIRONMENT_FILE = "prefect.env"

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Else a missing address silently starts a private server, and the runs vanish with it.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
    # Six tries of a minute by default. With these a process whose server is silent is through with
    # its last report after three minutes, and one whose server restarts still finds it.
    "PREFECT_API_REQUEST_TIMEOUT": "20",
    "PREFECT_CLIENT_MAX_RETRIES": "3",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "blocks,tasks,flows",
    # What is logged outside of a run, by a step tried again there too, has no log in Prefect.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

BY_HAND = {"PREFECT_API_REQUEST_TIMEOUT": "10", "PREFECT_CLIENT_MAX_RETRIES": "1"}
"""Where a person waits: a server that falls silent before a run has begun is done without after
22 s."""


def environment_file() -> Path:
    """Return the file in which `serve` says how to reach its server."""
    return state_directory() / ENVIRONMENT_FILE


def prepare_quiet() -> None:
    """Set what every process of ours tells Prefect."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def prepare() -> bool:
    """Set what Prefect reads at import; say whether a server's address is known."""
    prepare_quiet()
    if not os.environ.get("PREFECT_API_URL"):
        for name, value in _served().items():
            os.environ.setdefault(name, value)
    return bool(os.environ.get("PREFECT_API_URL"))


def require() -> None:
    """Do as `prepare`, and insist on an address.

    Raises:
        ConfigError: none is known.
    """
    if not prepare():
        raise ConfigError(
            "no Prefect server is known",
            hint="Start one with `flashvault serve`, or set PREFECT_API_URL.",
        )


def _served() -> dict[str, str]:
    try:
        text = environment_file().read_text()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
