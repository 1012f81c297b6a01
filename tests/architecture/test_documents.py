"""What the documents say about files, functions and each other is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from deployments.cli.__main__ import VERBS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PACKAGES = "blocks|tasks|flows|deployments|tests"
NAMED = re.compile(rf"`((?:{PACKAGES})/[\w/.]+\.py)(?:::(\w+))?`")
OTHERS = {
    "faults.md": "has a test of its own",
    "restore.md": "has a test of its own",
    "svc-cli.md": "names files of another project",
    "adr": "a decision is not edited when the code moves on",
}
WORDS = {"test", "now", "run", "Io"}
"""What stands in backticks on a door plate and is no file."""

LINK = re.compile(r"\]\(([^)\s]+)\)")


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_function_a_page_names_exists(page: Path) -> None:
    if reasons := OTHERS.keys() & set(page.parts):
        pytest.skip(OTHERS[reasons.pop()])
    missing = []
    for file, name in NAMED.findall(page.read_text(encoding="utf-8")):
        path = ROOT / file
        if not path.exists() or (name and name not in names_in(path)):
            missing.append(f"{file}::{name}" if name else file)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    lost = [each for each in targets if each and not (page.parent / each).exists()]
    assert lost == []


def test_every_page_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = set(LINK.findall(index.read_text(encoding="utf-8")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    pages -= {"index.md"}
    assert sorted(pages - linked) == [], "add a line to docs/index.md"


def test_architecture_names_a_file_of_every_room() -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in ROOT.glob("blocks/*/__init__.py")}
    rooms |= {f"flows/{path.stem}" for path in ROOT.glob("flows/[a-z]*.py")} - {"flows/endings"}
    assert [room for room in sorted(rooms) if f"{room}" not in page] == []


PLATES = sorted(
    plate for name in PACKAGES.split("|") for plate in (ROOT / name).rglob("__init__.py")
)


@pytest.mark.parametrize("plate", PLATES, ids=lambda plate: str(plate.parent.relative_to(ROOT)))
def test_every_file_is_named_on_the_page_or_its_rooms_door_plate(plate: Path) -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(plate.read_text(encoding="utf-8"))) or ""
    if plate.parent.name == "cli":
        said += "".join(f"`{module}`" for module in VERBS.values())  # the plate points there
    lost = [
        file.name
        for file in sorted(plate.parent.glob("*.py"))
        if file.name not in {"__init__.py", "__main__.py", "block.py"}
        and f"`{file.stem}`" not in said
        and str(file.relative_to(ROOT)) not in page
    ]
    assert lost == [], f"say in {plate.relative_to(ROOT)} what is in them"


@pytest.mark.parametrize("plate", PLATES, ids=lambda plate: str(plate.parent.relative_to(ROOT)))
def test_every_name_on_a_door_plate_is_still_there(plate: Path) -> None:
    said = ast.get_docstring(ast.parse(plate.read_text(encoding="utf-8"))) or ""
    names = set(re.findall(r"`(\w+)`", said)) - WORDS
    homes = (plate.parent, ROOT, ROOT / "blocks", ROOT / "deployments")
    lost = [
        name
        for name in sorted(names)
        if not any((home / name).is_dir() or (home / f"{name}.py").exists() for home in homes)
    ]
    assert lost == []


def test_settings_names_every_variable_of_ours() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    files = [file for name in ("blocks", "tasks", "flows") for file in (ROOT / name).rglob("*.py")]
    files += (ROOT / "deployments").rglob("*.py")
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    used = set(re.findall(r"\b(?:FLASHVAULT|CBM)_[A-Z0-9_]*[A-Z0-9]\b", code))
    used |= set(re.findall(r"environ\.get\(\"(\w+)\"", code)) - {
        "PATH",
        "SUDO_USER",
        "PREFECT__FLOW_RUN_ID",
    }
    assert len(used) > 10
    assert [name for name in sorted(used) if name not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_belongs_to_a_numbered_step_is_indented_by_four(page: Path) -> None:
    # The site's markdown ends the list at anything less; write `1.  text`, then four blanks.
    lines = page.read_text(encoding="utf-8").splitlines()
    steps = [number for number, line in enumerate(lines) if re.match(r"\d+\. ", line)]
    wrong = []
    for number in steps:
        after = iter(lines[number + 1 :])
        is_new_paragraph = False
        for line in after:
            if line and not line.startswith("  "):
                break
            blanks = len(line) - len(line.lstrip())
            if is_new_paragraph and blanks % 4:
                wrong.append(line)
            is_new_paragraph = not line
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_list_that_follows_a_paragraph_begins_after_an_empty_line(page: Path) -> None:
    # Else the site's markdown takes its first line for more of the paragraph.
    text = re.sub(r"^ *```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    lost = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip("\n").splitlines()
        begins = [bool(re.match(r"(\d+\.|[-*]) ", line)) for line in lines]
        if lines and not begins[0] and not re.match(r"#|\||<", lines[0]):
            lost += [line for line, is_item in zip(lines, begins, strict=True) if is_item]
    assert lost == []


QUOTING = ("disaster-runbook", "read-a-failed-run", "failover")
BETWEEN = re.compile(r"…|, (?!hdisk)|\b(?:hdisk|storage|node|RG)\d+|s3://|[()]")


def quoted_messages(page: Path) -> list[str]:
    """The first column of each table that says what to do about a message."""
    found = []
    for table in re.split(r"\n\s*\n", page.read_text(encoding="utf-8")):
        lines = [line.strip() for line in table.splitlines() if line.strip().startswith("|")]
        if lines and re.match(r"\| (It refuses|It says|Message) \|", lines[0]):
            found += [line.split("|")[1].strip() for line in lines[2:]]
    return found


@pytest.mark.parametrize("name", QUOTING)
def test_every_message_a_table_explains_is_one_the_code_says(name: str) -> None:
    files = [file for each in ("blocks", "tasks", "flows") for file in (ROOT / each).rglob("*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in sorted(files))
    code = re.sub(r"\s+", " ", re.sub(r'"\s*f?"', "", code)).replace("%s", "")
    messages = quoted_messages(ROOT / "docs" / "how-to" / f"{name}.md")
    assert messages
    lost = {
        message: part.strip()
        for message in messages
        for part in BETWEEN.split(message)
        if part.strip() and part.strip() not in code
    }
    assert lost == {}
