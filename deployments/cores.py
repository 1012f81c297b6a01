"""No core files: the memory of a run holds keys, passwords and what is on the disks."""

from __future__ import annotations

import resource


def leave_no_core() -> None:
    """Forbid core files of this process and of all it starts from now on.

    systemd-coredump obeys the limit too, though the kernel hands it the memory of a process.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
