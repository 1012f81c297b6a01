import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENGINE = """
import os, signal, sys, time
from pathlib import Path
here = Path(os.environ["HERE"])
signal.signal(signal.SIGTERM, lambda *_: (here.joinpath("cancelled").touch(), sys.exit(7)))
here.joinpath("pid").write_text(str(os.getpid()))
time.sleep(float(os.environ["SLEEP"]))
here.joinpath("done").touch()
"""


@pytest.fixture
def started(tmp_path):
    """Start the shim with a pretended engine; yield a function that waits for a file of it."""
    package = tmp_path / "prefect"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text(ENGINE)
    children = []

    def start(sleep_s):
        environment = {
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "HERE": str(tmp_path),
            "SLEEP": str(sleep_s),
            "FLASHVAULT_STATE": str(tmp_path / "state"),
        }
        shim = subprocess.Popen([sys.executable, "-m", "deployments.shim"], env=environment)
        children.append(shim)
        wait_for(tmp_path / "pid")
        return shim

    yield start
    for child in children:
        child.kill()
        child.wait()


def wait_for(path: Path, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (path.exists() and (path.name != "pid" or path.read_text())):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_a_cancel_reaches_the_engine_and_its_status_comes_back(started, tmp_path):
    shim = started(30)
    shim.send_signal(signal.SIGTERM)
    assert shim.wait(10) == 7
    assert (tmp_path / "cancelled").exists()


def test_the_engine_outlives_a_killed_shim(started, tmp_path):
    shim = started(1)
    shim.kill()
    shim.wait()
    wait_for(tmp_path / "done")


def test_an_engine_that_is_killed_is_reported(started, tmp_path):
    shim = started(30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert shim.wait(10) == 128 + signal.SIGKILL
