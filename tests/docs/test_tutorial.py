"""The commands of docs/tutorial/first-recovery.md, run as a reader types them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-recovery.md"
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_a_reader_who_types_the_tutorial_gets_the_data_back(tmp_path: Path) -> None:
    script = "".join(["set -euo pipefail\n", *COMMANDS.findall(PAGE.read_text(encoding="utf-8"))])
    own = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**own, "HOME": str(tmp_path), "PATH": path, "DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
    finally:
        purge = ["flashvault", "lab", "down", "--dir", str(tmp_path / "first-lab"), "--purge"]
        subprocess.run(purge, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the ledger, second day" in done.stdout
    assert done.stdout.count("| whole device |") == 3
    assert not (tmp_path / "first-lab").exists()
