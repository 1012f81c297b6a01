"""The generated reference pages are those of this code; `make docs-generate` renews them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _generator() -> ModuleType:
    path = Path(__file__).with_name("generated.py")
    spec = importlib.util.spec_from_file_location("generated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = _generator()


@pytest.mark.parametrize("name", generated.PAGES)
def test_the_committed_page_is_the_generated_one(name: str) -> None:
    committed = (generated.REFERENCE / name).read_text(encoding="utf-8")
    assert committed == generated.PAGES[name](), "run `make docs-generate` and commit"


def test_every_parameter_of_a_verb_says_what_it_means() -> None:
    rows = [row for row in generated.command_line().splitlines() if row.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_parameter_of_a_flow_says_what_it_means() -> None:
    rows = [row for row in generated.flows().splitlines() if row.startswith("| `")]
    assert len(rows) > 20
    assert [row for row in rows if row.endswith("|  |")] == []
