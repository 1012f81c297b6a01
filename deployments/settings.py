"""Our settings for Prefect, in one place: nothing phones home, nothing starts by accident.

Call `prepare` before Prefect is imported: it reads its settings once, at import. `flashvault serve`
leaves its address in `prefect.env`, so that every other command on the machine finds the server.
"""

from __future__ import annotations

import os
from pathlib import Path

from blocks.errors import ConfigError

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Else a missing address silently starts a private server, and the runs vanish with it.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "blocks,tasks,flows",
}


def state_directory() -> Path:
    """Return where `serve` keeps its database, keys and address; $FLASHVAULT_STATE names it."""
    if named := os.environ.get("FLASHVAULT_STATE"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/flashvault")
    return Path.home() / ".local" / "share" / "flashvault"


def environment_file() -> Path:
    """Return the file in which `serve` says how to reach its server."""
    return state_directory() / "prefect.env"


def prepare() -> bool:
    """Set what Prefect reads at import; say whether a server's address is known."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
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
