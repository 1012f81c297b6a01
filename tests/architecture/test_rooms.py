import subprocess
import sys
from pathlib import Path

import pytest

import blocks
import deployments
import flows
import tasks

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "blocks").rglob("*.py")
    if path.name not in {"block.py", "__init__.py"}
)


@pytest.mark.parametrize("package", [blocks, tasks, flows, deployments])
def test_our_packages_are_the_ones_imported(package):
    assert Path(package.__file__).is_relative_to(ROOT)


def test_no_room_pulls_in_prefect():
    code = (
        "import importlib, sys\n"
        f"for room in {ROOMS!r}:\n"
        "    importlib.import_module(room)\n"
        "    assert 'prefect' not in sys.modules, room\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_line_starts_without_prefect():
    code = (
        "import sys; sys.argv = ['flashvault', '--help']\n"
        "from deployments.cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'prefect' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_every_room_introduces_itself():
    for plate in (*ROOT.glob("blocks/**/__init__.py"), *ROOT.glob("*/__init__.py")):
        assert plate.read_text().startswith('"""'), f"{plate} has no docstring"


def test_no_init_files_below_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))
