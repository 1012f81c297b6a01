import sys
from dataclasses import dataclass

import pytest

from deployments.cli.__main__ import main


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@pytest.fixture
def flashvault(tmp_path, monkeypatch, capsys):
    """The command line in this process: `flashvault("query backup_profile RG1")`."""
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "flashvault.xml"))
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")

    def run(line: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["flashvault", *line.split()])
        status = 0
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run
