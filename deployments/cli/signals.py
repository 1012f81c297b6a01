"""How a command ends when it is told to."""

from __future__ import annotations

import signal
import threading


def stop_like_ctrl_c() -> None:
    """Let SIGTERM clean up as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
