"""`make test-prefects` tries the ends of the range of Prefect that the package admits."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_what_is_tried_are_the_oldest_that_is_admitted_and_a_newer_one_below_the_end():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = [each for each in project["dependencies"] if each.startswith("prefect>=")]
    lowest, end = re.fullmatch(r"prefect>=([\d.]+),<([\d.]+)", asked).groups()
    line = re.search(r"^PREFECTS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    oldest, newest = line[1].split()
    assert oldest == lowest
    assert numbers(oldest) < numbers(newest) < numbers(end)
