"""A wheel, installed elsewhere, by somebody who has nothing but an empty home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
NOBODY = 65534
SHIPPED = {".xsd", ".yaml", ".json", ".env", ".service"}


@pytest.fixture(scope="module")
def elsewhere():
    """A directory everybody may enter: what pytest makes below /tmp is its owner's alone."""
    place = Path(tempfile.mkdtemp(prefix="flashvault-wheel-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def wheel(elsewhere):
    run(UV, "build", "--wheel", "-q", "-o", elsewhere / "dist", ROOT)
    (wheel,) = (elsewhere / "dist").glob("*.whl")
    return wheel


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=1200, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_for_everybody():
    """Return a Python that another user may run: one below /root is not."""
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    for found in (os.path.realpath(sys.executable), shutil.which("python3", path="/usr/bin")):
        probe = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
        try:
            if found and subprocess.run([found, "-c", probe], check=False, **user).returncode == 0:
                return found, user
        except PermissionError:
            continue
    pytest.skip("no Python 3.11 to 3.13 that a user other than root may run")


def test_everything_that_is_not_code_is_in_the_wheel(wheel):
    tracked = {
        path.relative_to(ROOT).as_posix()
        for package in ("blocks", "tasks", "flows", "deployments")
        for path in (ROOT / package).rglob("*")
        if path.suffix in SHIPPED or path.name == "Containerfile"
    }
    assert len(tracked) > 8
    assert tracked <= set(zipfile.ZipFile(wheel).namelist())


def test_the_demo_runs_from_a_wheel_for_a_user_with_an_empty_home(wheel, elsewhere):
    python, user = python_for_everybody()
    environment = elsewhere / "environment"
    run(UV, "venv", "-q", "-p", python, environment)
    versions = ["-c", ROOT / "requirements.lock"]
    run(
        *(UV, "pip", "install", "-q", "--link-mode", "copy", *versions, f"{wheel}[lab]"),
        env={**os.environ, "VIRTUAL_ENV": str(environment)},
    )
    home, here = elsewhere / "home", elsewhere / "here"
    for directory in (home, here):
        directory.mkdir()
        if user:
            os.chown(directory, NOBODY, NOBODY)
    said = run(
        *(environment / "bin" / "flashvault", "demo", "--size", "64MiB", "--json"),
        cwd=here,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        **user,
    )
    document = json.loads(said)
    assert document["ok"] is True
    assert all(volume["is_identical"] for volume in document["volumes"])
    assert not list(home.iterdir())
    assert not list(here.iterdir())
