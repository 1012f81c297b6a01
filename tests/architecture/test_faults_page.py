"""Pages that say what must hold name the tests that would fail; each of them must be there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from blocks import errors

TESTS = Path(__file__).parents[1]
REFERENCE = TESTS.parent / "docs" / "reference"


@pytest.mark.parametrize(("page", "least"), [("faults.md", 30), ("restore.md", 45)])
def test_every_test_the_page_names_exists(page: str, least: int) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (REFERENCE / page).read_text(encoding="utf-8"))
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).exists()
        or not re.search(rf"\bdef {name}\(", (TESTS / file).read_text(encoding="utf-8"))
    ]
    assert len(named) > least
    assert missing == []


def test_every_refusal_and_every_error_of_an_image_is_on_the_page_of_restores() -> None:
    page = (REFERENCE / "restore.md").read_text(encoding="utf-8")
    kinds = [
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, (errors.Refused, errors.ImageError)) and kind is not errors.ImageError
    ]
    assert len(kinds) > 6
    assert [name for name in kinds if f"`{name}`" not in page] == []


def test_every_row_names_a_test() -> None:
    page = (REFERENCE / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.count("|") == 5]
    untested = [row[:40] for row in rows[2:] if "::test_" not in row and "simulator" not in row]
    assert len(rows) > 25
    assert untested == []
