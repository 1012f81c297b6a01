"""Which process a run lives in, and whether it still lives.

A process is known by machine, boot, PID namespace, PID and the moment it started: no PID reused
after a reboot or a wrap can be taken for it, and no age makes anybody dead. Only the machine itself
can say so; for a process of another machine the answer is "cannot tell" (`None`).

Source: proc(5), `/proc/<pid>/stat` field 22; `random(4)` for the boot id; pid_namespaces(7).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Owner(BaseModel):
    """A process, beyond confusion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started_ticks: int
    """Clock ticks after boot at which the process started."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    """Return the process we run in."""
    started = _started_ticks(os.getpid())
    assert started is not None, "/proc shows every process itself"
    return Owner(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started_ticks=started,
    )


def is_alive(owner: Owner) -> bool | None:
    """Say whether the process still runs; `None` when this machine cannot tell."""
    if owner.host != socket.gethostname():
        return None
    if owner.boot_id != _boot_id():
        return False  # this machine has booted since
    if owner.pid_namespace != _pid_namespace():
        return None  # another container on the same machine: its PIDs are not ours
    return _started_ticks(owner.pid) == owner.started_ticks


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def _started_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in field 2 may hold blanks and brackets: count from after the last one.
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    return None if state in "ZX" else int(fields[18])
