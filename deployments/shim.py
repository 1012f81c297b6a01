"""The command a worker runs for each flow run: keeps a backup alive when its worker dies.

A worker that is stopped, restarted or killed takes its direct children with it. So it is given
this small process, which starts Prefect's engine in a session of its own with its own streams, and
passes on the one signal that means "cancel this run". Set as the deployments' job variable
`command`, together with `stream_output: false` (docs/adr/0007-outliving-the-worker.md).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import BufferedWriter
from pathlib import Path

from deployments.cores import leave_no_core
from tasks.journal import state_directory


def main() -> int:
    """Run the engine and answer with its status; 128 + signal if one ended it."""
    leave_no_core()
    with _log_file() as log:
        engine = subprocess.Popen(
            [sys.executable, "-m", "prefect.engine"],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    # A cancel arrives as SIGTERM to our group: it is the engine's to obey, with its children.
    # A worker that shuts down kills us instead, and the engine goes on to the end of the backup.
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(engine.pid))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = engine.wait()
    return status if status >= 0 else 128 - status


def _pass_on(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it ended at this very moment: wait() says how


def _log_file() -> BufferedWriter:
    """Open the file that takes what the engine prints where no Prefect server can take it."""
    directory = state_directory() / "logs"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    run = os.environ.get("PREFECT__FLOW_RUN_ID", str(os.getpid()))
    return Path(directory, f"{run}.log").open("ab")


if __name__ == "__main__":
    sys.exit(main())
