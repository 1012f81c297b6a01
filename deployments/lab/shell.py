"""A small shell for the simulated machines: words, quotes, `|`, `||`, `&&`, `;`, `$?`, `2>&1`.

The array's shell is restricted: only its own commands and a few filters. The AIX node adds more
programs. Commands are functions over an `Io`; nothing of the real machine is ever run from here.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

SPOOL_BYTES = 16 * 1024 * 1024
OPERATORS = ("||", "&&", "|", ";", "&", "\n")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


class Sink(Protocol):
    """Where a program's output goes."""

    def write(self, data: bytes, /) -> object:
        """Take some bytes."""


@dataclass
class Io:
    """A program's standard streams, and the shell's variables."""

    stdin: BinaryIO
    stdout: Sink
    stderr: Sink
    variables: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print to stdout."""
        self.stdout.write(text.encode())

    def complain(self, text: str) -> None:
        """Print to stderr."""
        self.stderr.write(text.encode())


Program = Callable[[list[str], Io], int]
Lookup = Callable[[str], Program | None]


class SyntaxFault(Exception):
    """The line is not a command line."""


@dataclass(frozen=True)
class Word:
    """One word, with its unquoted variables still to be replaced; or an operator."""

    text: str
    is_operator: bool = False


def run_line(line: str, lookup: Lookup, streams: Io, *, name: str = "rbash") -> int:
    """Run a command line and return its exit status.

    Args:
        line: what was sent.
        lookup: finds a program by the name typed, None when there is none.
        streams: standard streams and variables.
        name: what the shell calls itself in its messages.
    """
    try:
        steps = list(_steps(list(_words(line))))
    except SyntaxFault as fault:
        streams.complain(f"{name}: -c: line 0: {fault}\n")
        return 2
    status = 0
    for joint, pipeline in steps:
        if (joint == "&&" and status) or (joint == "||" and not status):
            continue
        streams.variables["?"] = str(status)
        status = _run_pipeline(pipeline, lookup, streams, name)
    return status


def _words(line: str) -> Iterator[Word]:
    """Split a line. A `$name` outside single quotes stands between NULs until the word is used."""
    at, text, in_word = 0, "", False
    while at < len(line):
        char = line[at]
        redirect = (
            None
            if in_word and not text.isdecimal()
            else re.match(r"2>&1|1>&2|>&2|2?>>?|<", line[at:])
        )
        if char in " \t" or char == "\n" or line.startswith(OPERATORS, at) or redirect:
            if (redirect and char in "<>") or not redirect:
                if in_word:
                    yield Word(text)
                text, in_word = "", False
            if redirect:
                yield Word(redirect.group(), is_operator=True)
                at += len(redirect.group())
                continue
            operator = next((op for op in OPERATORS if line.startswith(op, at)), "")
            if operator:
                yield Word(";" if operator == "\n" else operator, is_operator=True)
            at += max(1, len(operator))
            continue
        if char == "#" and not in_word:
            at = line.find("\n", at) if "\n" in line[at:] else len(line)
            continue
        piece, at = _piece(line, at)
        text, in_word = text + piece, True
    if in_word:
        yield Word(text)


def _piece(line: str, at: int) -> tuple[str, int]:
    """Take one character, escape, variable or quoted run."""
    char = line[at]
    if char == "'":
        end = line.find("'", at + 1)
        if end < 0:
            raise SyntaxFault("unexpected EOF while looking for matching `''")
        return line[at + 1 : end], end + 1
    if char == "\\":
        return line[at + 1 : at + 2], at + 2
    if char == "$":
        return _variable(line, at)
    if char != '"':
        return char, at + 1
    text, at = "", at + 1
    while at < len(line) and line[at] != '"':
        if line[at] == "\\" and line[at + 1 : at + 2] in {'"', "\\", "$", "`"}:
            text, at = text + line[at + 1], at + 2
        elif line[at] == "$":
            piece, at = _variable(line, at)
            text += piece
        else:
            text, at = text + line[at], at + 1
    if at >= len(line):
        raise SyntaxFault("unexpected EOF while looking for matching `\"'")
    return text, at + 1


def _variable(line: str, at: int) -> tuple[str, int]:
    found = re.match(r"\$(?:\{(\w+|\?)\}|(\w+|\?))", line[at:])
    if not found:
        return "$", at + 1
    return f"\0{found.group(1) or found.group(2)}\0", at + found.end()


Pipeline = list[list[Word]]


def _steps(words: list[Word]) -> Iterator[tuple[str, Pipeline]]:
    """Group words into pipelines, each with the operator before it."""
    joint = ";"
    pipeline: Pipeline = []
    command: list[Word] = []
    for word in [*words, Word(";", is_operator=True)]:
        if not word.is_operator or word.text.lstrip("12")[:1] in {"<", ">"}:
            command.append(word)
            continue
        if not command:
            if pipeline:
                raise SyntaxFault("syntax error: unexpected end of file")
            if word.text in {";", "&"}:
                continue
            raise SyntaxFault(f"syntax error near unexpected token `{word.text}'")
        pipeline.append(command)
        command = []
        if word.text != "|":
            yield joint, pipeline
            joint, pipeline = word.text, []


def _run_pipeline(pipeline: Pipeline, lookup: Lookup, streams: Io, name: str) -> int:
    status = 0
    source: BinaryIO = streams.stdin
    with contextlib.ExitStack() as pipes:
        for place, words in enumerate(pipeline):
            target: Sink = streams.stdout
            between = None
            if place < len(pipeline) - 1:
                target = between = pipes.enter_context(tempfile.SpooledTemporaryFile(SPOOL_BYTES))
            own = Io(source, target, streams.stderr, streams.variables)
            status = _run_command(words, lookup, own, name)
            if between is not None:
                between.seek(0)
                source = between  # type: ignore[assignment]
    return status


def _run_command(words: list[Word], lookup: Lookup, streams: Io, name: str) -> int:
    arguments: list[str] = []
    rest = iter(words)
    variables = streams.variables
    for word in rest:
        if not word.is_operator:
            arguments.append(_expand(word.text, variables))
            continue
        fault = _redirect(word.text, rest, streams)
        if fault:
            streams.complain(f"{name}: {fault}\n")
            return 1
    own = dict(variables)
    while arguments and (assignment := ASSIGNMENT.fullmatch(arguments[0])):
        own[assignment.group(1)] = assignment.group(2)
        arguments.pop(0)
    if not arguments:
        variables.update(own)
        return 0
    if arguments[0] == "export":
        for text in arguments[1:]:
            if assignment := ASSIGNMENT.fullmatch(text):
                variables[assignment.group(1)] = assignment.group(2)
        return 0
    program = lookup(arguments[0])
    if program is None:
        streams.complain(f"{name}: {arguments[0]}: command not found\n")
        return 127
    return program(arguments, Io(streams.stdin, streams.stdout, streams.stderr, own))


def _expand(text: str, variables: Mapping[str, str]) -> str:
    return re.sub("\0(.*?)\0", lambda found: variables.get(found.group(1), ""), text)


def _redirect(operator: str, rest: Iterator[Word], streams: Io) -> str:
    """Apply one redirection; only /dev/null and the other stream exist here."""
    if operator == "2>&1":
        streams.stderr = streams.stdout
        return ""
    if operator in {"1>&2", ">&2"}:
        streams.stdout = streams.stderr
        return ""
    target = next(rest, Word("")).text
    if target != "/dev/null":
        return f"{target}: restricted: cannot redirect output"
    if operator.startswith("2"):
        streams.stderr = io.BytesIO()
    elif operator == "<":
        streams.stdin = io.BytesIO()
    else:
        streams.stdout = io.BytesIO()
    return ""
