"""A run that crashes leaves no core file: it would hold keys and contents."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "deployments" / "systemd"


def unlimited():
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def limits_of(words, **more):
    """Return the limit on core files a program of ours sees at its end."""
    program = (
        "import atexit, resource\n"
        "atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_CORE)))\n" + words
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=unlimited,
        capture_output=True,
        text=True,
        check=True,
        **more,
    )
    return done.stdout.splitlines()[-1]


def test_the_command_line_forbids_core_files():
    words = "import sys; from deployments.cli.__main__ import main\nsys.argv = ['x', '--version']\n"
    assert limits_of(words + "main()") == "(0, 0)"


def test_a_flow_run_of_a_worker_is_forbidden_core_files(tmp_path):
    package = tmp_path / "prefect"
    package.mkdir()
    (package / "__init__.py").touch()
    seen = tmp_path / "seen"
    (package / "engine.py").write_text(
        "import resource, pathlib\n"
        f"pathlib.Path({str(seen)!r}).write_text(str(resource.getrlimit(resource.RLIMIT_CORE)))\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "FLASHVAULT_STATE": str(tmp_path / "state")}
    limits_of("from deployments.shim import main; main()", env=environment)
    assert seen.read_text() == "(0, 0)"


@pytest.mark.parametrize("unit", sorted(SYSTEMD.glob("*.service")), ids=lambda unit: unit.name)
def test_every_unit_forbids_core_files(unit):
    assert "\nLimitCORE=0\n" in unit.read_text()
