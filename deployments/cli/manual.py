"""`flashvault man`: the manual page, from the texts that --help shows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

EXIT_STATUS = (
    (0, "done"),
    (1, "failed"),
    (2, "wrong usage or configuration"),
    (3, "done, but damage was found: the list says what"),
    (4, "refused: it is safer to say no"),
    (5, "nothing was due, and `--fail-if-skipped` was given"),
    (130, "interrupted"),
)
"""What every verb's exit status means."""

MANNERS = (
    "With `--json` one JSON document is printed on stdout, and nothing else; logs and progress go"
    ' to stderr. An error is `{"ok": false, "error": {"type", "message", "hint"}}`.',
    "On a terminal long work shows a bar with rate and time left; otherwise plain lines. Colours"
    " are off in a pipe.",
    "Ctrl-C stops well: what was being made is unmade.",
)
"""What is true of every verb."""

ENVIRONMENT = (
    (
        "FLASHVAULT_CONFIG",
        "the XML file; else /etc/flashvault/flashvault.xml, or ~/.config/flashvault/",
    ),
    (
        "FLASHVAULT_STATE",
        "locks and journals of this machine; else /var/lib/flashvault, for root",
    ),
    ("FLASHVAULT_TRACEBACK", "1 shows the traceback of any error"),
    ("PREFECT_API_URL", "the Prefect server; a restore needs none"),
    ("NO_COLOR", "no colours, whatever the terminal"),
)

PLUMBING = {"--help", "--install-completion", "--show-completion"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("man", rich_help_panel="On one machine")(man)


def man() -> None:
    """Print the manual page: every verb, every option, every exit status.

    Examples:
      flashvault man > /usr/local/share/man/man1/flashvault.1
      flashvault man | man -l -
    """
    print(page(), end="")


def verbs() -> dict[tuple[str, ...], Any]:
    """Return every verb's command, by its words, in the order in which help shows them."""
    from typer.main import get_command

    from deployments.cli.__main__ import VERBS, application

    found = dict(_walk(get_command(application(dict.fromkeys(VERBS.values()))), ()))
    order = list(VERBS)
    return {words: found[words] for words in sorted(found, key=lambda w: (order.index(w[0]), w))}


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _walk(below, (*words, name))
    elif not command.hidden:
        yield words, command


def page() -> str:
    """Return the page in the language of man(7)."""
    import importlib.metadata

    lines = [
        f'.TH FLASHVAULT 1 "" "flashvault {importlib.metadata.version("flashvault")}"',
        ".SH NAME",
        "flashvault \\- back up PowerHA resource groups from FlashCopy snapshots, and restore them",
        ".SH SYNOPSIS",
        ".B flashvault",
        "\\fIVERB\\fR [\\fIARGUMENT\\fR ...] [\\fIOPTION\\fR ...]",
        ".SH DESCRIPTION",
    ]
    for sentence in MANNERS:
        lines += [".PP", _text(sentence)]
    lines.append(".SH VERBS")
    for words, command in verbs().items():
        lines += _verb(words, command)
    lines.append(".SH EXIT STATUS")
    for status, meaning in EXIT_STATUS:
        lines += [".TP", f".B {status}", _text(meaning)]
    lines.append(".SH ENVIRONMENT")
    for name, meaning in ENVIRONMENT:
        lines += [".TP", f".B {name}", _text(meaning)]
    return "\n".join(lines) + "\n"


def _verb(words: Sequence[str], command: Any) -> Iterator[str]:
    shown = [each for each in command.params if not PLUMBING & set(each.opts)]
    arguments = [_spelled(each) for each in shown if each.param_type_name == "argument"]
    yield f".SS {_text(' '.join(['flashvault', *words, *arguments]))}"
    prose, _, examples = re.sub(r"\bExamples?:", "\0", command.help or "").partition("\0")
    for paragraph in inspect.cleandoc(prose).split("\n\n"):
        yield from (".PP", _text(paragraph))
    for each in shown:
        yield from (".TP", f"\\fB{_text(_spelled(each))}\\fR", _text(each.help or ""))
    if examples:
        yield from (".PP", "Examples:", ".PP", ".nf", ".RS")
        yield from (_text(row.strip()) for row in examples.strip().splitlines() if row.strip())
        yield from (".RE", ".fi")


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.metavar or parameter.name.upper())
        return name if parameter.required or "[" in name or parameter.nargs == -1 else f"[{name}]"
    names = [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(names) + ("" if parameter.is_flag else " ...")


def _text(text: str) -> str:
    """Write plain text so that troff prints it as it is."""
    plain = " ".join(text.replace("\\", "\\e").replace("-", "\\-").split())
    whole = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in plain)
    return "\\&" + whole if whole[:1] in {".", "'"} else whole
