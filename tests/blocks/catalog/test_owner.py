from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.catalog.owner import is_alive, this_process


def test_this_process_is_alive() -> None:
    assert is_alive(this_process()) is True


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"started_ticks": 1}, False),
        ({"boot_id": "another boot"}, False),
        ({"host": "elsewhere"}, None),
        ({"pid_namespace": "pid:[1]"}, None),
    ],
)
def test_a_reused_pid_is_another_process(change: dict[str, object], answer: bool | None) -> None:
    assert is_alive(this_process().model_copy(update=change)) is answer


def test_a_killed_child_is_dead_even_before_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    ticks = int(stat[stat.rindex(")") + 2 :].split()[19])
    owner = this_process().model_copy(update={"pid": child.pid, "started_ticks": ticks})
    assert is_alive(owner) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(owner) is False
    child.wait()
    assert is_alive(owner) is False
