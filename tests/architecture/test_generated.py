"""The generated reference pages are those of this code; `make docs-generate` renews them."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer

from blocks.errors import ConfigError
from blocks.profile.base import parse
from blocks.profile.model import CLASSES
from deployments.cli.grammar import VERB_FORMS, rearrange, understand
from deployments.cli.secrets import FIELDS, split


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
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHOWN = re.compile(
    r"^```[^\n]*\n(?P<fence>.*?)^```|^ {4,}(?P<typed>[^\n]+)|`(?P<said>[^`\n]+)`", re.M | re.S
)
"""What stands on a page as code: a fence, an indented line, a few words in a sentence."""
BEGIN = re.compile(r"(?:^|[|;&(]\s*|\bsudo |\benv .*|\w=\S+ )flashvault(?= +-*[a-zA-Z])")
END = re.compile(r" +#|\s*(?:[|;&>)]|<<<)")
PATTERN = re.compile(r"\[(?:OPTIONS|NAME|ATTRIBUTE)|^ VERB|^ modify …")
"""A synopsis, or half a sentence: nothing that anyone types."""


@pytest.fixture(scope="module")
def commands() -> dict:
    return generated.commands()


def shown(page: str) -> Iterator[tuple[str, bool]]:
    """Every command line of ours on a page, and whether it is one to be typed as it stands."""
    for code in SHOWN.finditer(page.replace("\\\n", " ")):
        for line in (code["fence"] or code["typed"] or code["said"]).splitlines():
            for begin in BEGIN.finditer(line):
                yield until_its_end(line[begin.end() :]), not code["said"]


def until_its_end(line: str) -> str:
    """Cut a shell's line where the command ends, which is not within quotes."""
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif END.match(line, at):
            return line[:at]
    return line


def fault_of(line: str, commands: dict, *, is_typed: bool) -> str:
    """Say what the command line would not understand, or nothing.

    What is only mentioned in a sentence may leave out arguments: `flashvault restore`.
    """
    line = line.replace("$B", "--bucket s3://pha-bucket").replace("[", "").replace("]", "")
    words = rearrange(shlex.split(line))
    if words in (["--help"], ["--version"]):
        return ""
    depth = next((n for n in (3, 2, 1) if tuple(words[:n]) in commands), 0)
    if not depth:
        is_group = any(name[: len(words)] == tuple(words) for name in commands)
        return "" if is_group and not is_typed else "no such verb"
    rest = [
        word
        for before, word in itertools.pairwise(words[depth - 1 :])
        if word != "…" or before.startswith("--")
    ]
    if not is_typed and not rest:
        return ""
    is_whole = is_typed and "…" not in words
    try:
        context = commands[tuple(words[:depth])].make_context(words[0], rest)
        return fault_in(words[0], context.params["words"]) if words[0] in VERB_FORMS else ""
    except typer.Exit:  # --help
        return ""
    except typer.BadParameter as error:
        is_missing = type(error).__name__ == "MissingParameter"
        return "" if is_missing and not is_whole else str(error)
    except (typer.TyperException, ConfigError) as error:
        return str(error)


def fault_in(verb: str, words: list[str]) -> str:
    """Say what is wrong with a class or the attributes of a configuration verb."""
    request = understand(verb, words)
    kind = {"backup_files": "backup_profile", "restore_points": "backup_profile"}.get(
        request.kind, request.kind
    )
    if kind not in CLASSES:
        return ""
    known = {*CLASSES[kind].labels(), *FIELDS.get(kind, {}), "RG_NAME"}
    if lost := set(request.attributes) - known:
        return f"no attribute {', '.join(lost)}"
    if verb == "add" and "…" not in "".join(words):
        attributes, _ = split(request.kind, request.attributes)
        parse(CLASSES[kind], request.name, attributes)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_the_command_line_understands(
    page: Path, commands: dict
) -> None:
    lines = shown(page.read_text(encoding="utf-8"))
    faults = {
        line: fault_of(line, commands, is_typed=is_typed)
        for line, is_typed in lines
        if not PATTERN.search(line)
    }
    assert {line: fault for line, fault in faults.items() if fault} == {}


def test_no_command_of_the_documents_is_overlooked() -> None:
    lines = [line for page in PAGES for line in shown(page.read_text(encoding="utf-8"))]
    assert len(lines) > 350


@pytest.mark.parametrize(
    "line",
    [
        "flashvault restor RG1",
        "flashvault restore RG1 --onto hdisk18=hdisk30",
        "flashvault restore RG1 --workers many",
        "flashvault mount RG1",
        "flashvault backup RG1 RG2",
        "sudo flashvault lab fault s4 error",
        "POINT=$(flashvault query point | head -1)",
        "LANG=C flashvault modify backup_profile RG1 BACKUP_SHEDULE=18:00",
        "flashvault add backup_profile RG1 BACKUP_METHOD=clout VOLUME_GROUP=VG1",
    ],
)
def test_a_command_that_is_wrong_is_seen(line: str, commands: dict) -> None:
    (found,) = shown(f"Type this:\n\n    {line}\n")
    assert fault_of(found[0], commands, is_typed=True)


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
