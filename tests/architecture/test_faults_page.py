"""docs/reference/faults.md names tests; each of them must be there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "faults.md"


def test_every_test_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (TESTS / file).exists()
        or not re.search(rf"\bdef {name}\(", (TESTS / file).read_text(encoding="utf-8"))
    ]
    assert len(named) > 30
    assert missing == []
