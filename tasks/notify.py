"""Tell a person: run the profile's NOTIFY_METHOD. Its failure is logged and fails nothing.

Contract of docs/reference/powerha-cbm.md §5: argv is `<event> <rg> <severity> <detail>`, the rest
is in the environment; no terminal, bounded time.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Literal

from blocks.profile.model import BackupProfile
from tasks.steps import run_log

NOTIFY_S = 60.0

Severity = Literal["info", "warning", "error"]


def notify(
    profile: BackupProfile, event: str, severity: Severity, detail: str, **facts: str
) -> None:
    """Run the profile's notify method, if it has one.

    Args:
        profile: whose group it is about.
        event: `backup_succeeded`, `backup_failed`, `backup_overdue`, `remote_degraded` …
        severity: how bad it is.
        detail: one line for a person.
        facts: further `CBM_…` variables: `job_id`, `objects`, `error`.
    """
    if not profile.notify_method:
        return
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "CBM_RG": profile.name,
        "CBM_VG": ",".join(profile.volume_groups),
        "CBM_EVENT": event,
        **{f"CBM_{name.upper()}": value for name, value in facts.items()},
    }
    command = [*shlex.split(profile.notify_method), event, profile.name, severity, detail]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=NOTIFY_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        run_log().warning("notify method %s failed: %s", command[0], error)
        return
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        run_log().warning("notify method %s ended with %d: %s", command[0], done.returncode, said)
