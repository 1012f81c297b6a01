"""Who changed the configuration, when, and how: one JSON line a change, beside the XML file."""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployments.cli.output import err


def audit_path(configuration: Path) -> Path:
    """Return the log of a configuration file."""
    return configuration.with_name(f"{configuration.name}.log")


def record(configuration: Path, action: str, subject: str, changes: dict[str, Any]) -> None:
    """Append a change. `changes` holds no secret, only that one was set.

    A log that cannot be written does not undo the change; it is said aloud.
    """
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": _user(),
        "sudo_user": os.environ.get("SUDO_USER", ""),
        "host": socket.gethostname(),
        "action": action,
        "object": subject,
        "changes": changes,
    }
    path = audit_path(configuration)
    try:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(log, (json.dumps(entry) + "\n").encode())
            os.fsync(log)
        finally:
            os.close(log)
    except OSError as error:
        err().print(f"warning: the change is made but not logged in {path}: {error.strerror}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
