"""The generated reference pages are those of this code; `make docs-generate` renews them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
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


ROOT = Path(__file__).resolve().parents[2]
WRITTEN = re.compile(r"(?:^ {4,}|^|`)(flashvault [a-z][^`\n]*)", re.MULTILINE)


@pytest.fixture(scope="module")
def commands() -> dict:
    return generated.commands()


def written() -> Iterator[tuple[str, str]]:
    """Every command line of ours in the documents: (page, line)."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in WRITTEN.findall(text):
            yield page.name, line.split(" #")[0]


def fault_of(line: str, commands: dict) -> str:
    """Say what the command line would not understand, or nothing."""
    from deployments.cli.grammar import rearrange

    words = shlex.split(re.split(r" [|;&]|\$\(|[;)]", line)[0].replace("…", "x"))[1:]
    words = rearrange(words)
    depth = next((n for n in (3, 2, 1) if tuple(words[:n]) in commands), 0)
    if not depth:
        is_group = any(name[: len(words)] == tuple(words) for name in commands)
        return "" if is_group else "no such verb"
    known = {opt for p in commands[tuple(words[:depth])].params for opt in p.opts}
    known |= {opt for p in commands[tuple(words[:depth])].params for opt in p.secondary_opts}
    given = [word.split("=")[0] for word in words[depth:] if word.startswith("--")]
    return ", ".join(option for option in given if option not in known | {"--help"})


def test_every_command_in_the_documents_is_one_the_command_line_knows(commands: dict) -> None:
    lines = list(written())
    assert len(lines) > 150
    faults = [(page, line, fault_of(line, commands)) for page, line in lines]
    assert [fault for fault in faults if fault[2]] == []


@pytest.mark.parametrize("name", generated.PAGES)
def test_the_committed_page_is_the_generated_one(name: str) -> None:
    committed = (generated.REFERENCE / name).read_text(encoding="utf-8")
    assert committed == generated.whole(generated.PAGES[name]), (
        "run `make docs-generate` and commit"
    )


def test_every_parameter_of_a_verb_says_what_it_means() -> None:
    rows = [row for row in generated.command_line().splitlines() if row.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if re.search(r"\|  \||\| Default", row)] == []


def test_every_parameter_of_a_flow_says_what_it_means() -> None:
    rows = [row for row in generated.flows().splitlines() if row.startswith("| `")]
    assert len(rows) > 20
    assert [row for row in rows if row.endswith("|  |")] == []
