"""A step begins although the Prefect server has gone away since the run began."""

import os
import socket
import subprocess
import sys

import pytest

from deployments import serve

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPT = """
import sys
from prefect import flow, tags
from tasks.steps import side_by_side, step

@step(name="first")
def first():
    return 1

@step(name="second")
def second():
    print("second ran", flush=True)
    return 2

@flow(task_runner=side_by_side())
def both():
    first()
    print("ready", flush=True)
    sys.stdin.readline()
    # Prefect remembers for a while which tags have no limit: this one it has not asked about.
    with tags("later"):
        assert second() == 2
        assert second.submit().result() == 2
    print("all ran", flush=True)

with tags("flashvault", "group:RG1"):
    both()
"""


@pytest.fixture
def served(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = serve.prepare(tmp_path / "serve", "127.0.0.1", port)
    before = dict(os.environ)
    server = serve.Served(place)
    try:
        server.start_server()
        yield server
    finally:
        if server.pids():
            server.close()
        os.environ.clear()
        os.environ.update(before)


def test_steps_begin_while_the_server_is_away_whatever_tags_the_run_has(served):
    """Prefect asks its server for a place at the limit of each tag before it begins a task."""
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **serve.client_settings(served.place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert run.stdout.readline() == "ready\n"
        served.close()
        run.stdin.write("\n")
        run.stdin.flush()
        said = [run.stdout.readline() for _ in range(3)]
        assert said == ["second ran\n", "second ran\n", "all ran\n"]
    finally:
        # How the run ends is another matter: Prefect's client tries for minutes to tell its server.
        run.kill()
        run.wait()
        run.stdin.close()
        run.stdout.close()
