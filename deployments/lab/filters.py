"""The few standard programs both simulated machines have: grep, echo, wc, head, tail, cut, sort."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from deployments.lab.shell import Io, Program


def _lines(streams: Io) -> list[str]:
    return streams.stdin.read().decode(errors="replace").splitlines()


def grep(words: list[str], streams: Io) -> int:
    """Filter lines: -i -v -w -c -q -E -F -x -e."""
    parser = _Quiet()
    for flag in "ivwcqEFxn":
        parser.add_argument(f"-{flag}", action="store_true", dest=flag)
    parser.add_argument("-e", dest="expression")
    parser.add_argument("rest", nargs="*")
    try:
        options = parser.parse_args(words[1:])
    except _Usage:
        streams.complain("usage: grep [-ivwcqEFx] pattern\n")
        return 2
    pattern = (
        options.expression if options.expression is not None else next(iter(options.rest), None)
    )
    if pattern is None:
        streams.complain("usage: grep [-ivwcqEFx] pattern\n")
        return 2
    pattern = re.escape(pattern) if options.F else pattern
    pattern = rf"(?<!\w)(?:{pattern})(?!\w)" if options.w else pattern
    pattern = rf"^(?:{pattern})$" if options.x else pattern
    wanted = re.compile(pattern, re.IGNORECASE if options.i else 0)
    found = [line for line in _lines(streams) if bool(wanted.search(line)) != options.v]
    if options.c:
        streams.say(f"{len(found)}\n")
    elif not options.q:
        streams.say("".join(f"{line}\n" for line in found))
    return 0 if found else 1


def echo(words: list[str], streams: Io) -> int:
    """Print the words."""
    bare = words[1:2] == ["-n"]
    streams.say(" ".join(words[2 if bare else 1 :]) + ("" if bare else "\n"))
    return 0


def wc(words: list[str], streams: Io) -> int:
    """Count lines (-l), bytes (-c)."""
    data = streams.stdin.read()
    count = len(data) if "-c" in words else data.count(b"\n")
    streams.say(f"{count}\n")
    return 0


def head(words: list[str], streams: Io) -> int:
    """Print the first lines."""
    streams.say("".join(f"{line}\n" for line in _lines(streams)[: _count(words)]))
    return 0


def tail(words: list[str], streams: Io) -> int:
    """Print the last lines; `-n +K` from line K."""
    lines = _lines(streams)
    text = words[-1] if len(words) > 1 else "-10"
    kept = lines[int(text) - 1 :] if text.startswith("+") else lines[-_count(words) :]
    streams.say("".join(f"{line}\n" for line in kept))
    return 0


def _count(words: list[str]) -> int:
    found = re.search(r"(\d+)$", words[-1]) if len(words) > 1 else None
    return int(found.group(1)) if found else 10


def cut(words: list[str], streams: Io) -> int:
    """Print fields: -d and -f."""
    joined = " ".join(words[1:])
    gap = re.search(r"-d ?(.)", joined)
    chosen = re.search(r"-f ?([\d,]+)", joined)
    if not chosen:
        streams.complain("usage: cut -d C -f LIST\n")
        return 2
    fields = [int(number) for number in chosen.group(1).split(",") if number]
    delimiter = gap.group(1) if gap else "\t"
    for line in _lines(streams):
        cells = line.split(delimiter)
        streams.say(delimiter.join(cells[at - 1] for at in fields if at <= len(cells)) + "\n")
    return 0


def sort(words: list[str], streams: Io) -> int:
    """Sort lines; -u, -r."""
    lines = _lines(streams)
    lines = sorted(set(lines) if "-u" in words else lines, reverse="-r" in words)
    streams.say("".join(f"{line}\n" for line in lines))
    return 0


def _constant(status: int) -> Program:
    return lambda words, streams: status


def cat(words: list[str], streams: Io) -> int:
    """Copy stdin to stdout."""
    while data := streams.stdin.read(1 << 20):
        streams.stdout.write(data)
    return 0


FILTERS: dict[str, Callable[[list[str], Io], int]] = {
    "grep": grep,
    "egrep": grep,
    "echo": echo,
    "wc": wc,
    "head": head,
    "tail": tail,
    "cut": cut,
    "sort": sort,
    "cat": cat,
    "true": _constant(0),
    "false": _constant(1),
    ":": _constant(0),
}


class _Usage(Exception):
    pass


class _Quiet(argparse.ArgumentParser):
    """A parser that raises instead of printing and leaving."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)

    def error(self, message: str) -> None:  # type: ignore[override]
        raise _Usage(message)
