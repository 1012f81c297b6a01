"""An array without a network, on a clock that only moves when told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.lab import wiring
from deployments.lab.arrays import Arrays
from deployments.lab.svc.system import Output, System

MIB = 1024 * 1024


@dataclass
class HandClock:
    """A clock moved by hand; sleeping moves it."""

    at: float = 1_750_000_000.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class Bench:
    """Two wired arrays, and short words for tests."""

    arrays: Arrays
    clock: HandClock

    @property
    def near(self) -> System:
        return self.arrays.systems["storage1"]

    @property
    def far(self) -> System:
        return self.arrays.systems["storage2"]

    def run(self, line: str, system: System | None = None) -> Output:
        return (system or self.near).run(line.split(" "))

    def ask(self, line: str, system: System | None = None) -> str:
        output = self.run(line, system)
        assert output.status == 0, output.stderr
        return output.stdout

    def code(self, line: str, system: System | None = None) -> str:
        """Return the CMMVC code of a refusal, or "" when the command was done."""
        output = self.run(line, system)
        assert (output.status == 0) == (output.stderr == "")
        assert not (output.stderr and output.stdout)
        return output.stderr.partition(" ")[0]

    def detail(self, line: str, system: System | None = None) -> dict[str, str]:
        lines = self.ask(f"{line} -delim :", system).splitlines()
        return dict(text.partition(":")[::2] for text in lines if text)

    def path(self, volume: str, system: str = "storage1") -> Path:
        return self.arrays.shelf.path((system, volume))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    clock = HandClock()
    arrays = Arrays(tmp_path, clock)
    arrays.wire([wiring.Group(1)], 4 * MIB)
    return Bench(arrays, clock)
