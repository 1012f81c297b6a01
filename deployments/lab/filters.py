"""The few standard programs both simulated machines have: grep, cut, sort, tr, expr and such."""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Callable

from deployments.lab.shell import Io, Program
from deployments.lab.shell.arithmetic import ArithmeticFault, compute
from deployments.lab.shell.scope import Scope


def _lines(streams: Io) -> list[str]:
    return streams.stdin.read().decode(errors="replace").splitlines()


def grep(words: list[str], streams: Io) -> int:
    """Filter lines: -i -v -w -x -E -F -e; count (-c), number (-n), neighbours (-A -B -C)."""
    parser = _Quiet()
    for flag in "ivwcqEFxnohs":
        parser.add_argument(f"-{flag}", action="store_true", dest=flag)
    for option in "mABC":
        parser.add_argument(f"-{option}", type=int, dest=option)
    parser.add_argument("-e", dest="patterns", action="append")
    parser.add_argument("rest", nargs="*")
    try:
        options = parser.parse_args(words[1:])
        patterns = options.patterns or [options.rest.pop(0)]
        wanted = _pattern(patterns, options)
    except (_Usage, IndexError, re.error):
        streams.complain("usage: grep [-ivwcqEFxnoh] [-m N] [-A N] [-B N] [-C N] pattern\n")
        return 2
    if options.rest:
        return _no_file("grep", options.rest[0], streams, 2)
    lines = _lines(streams)
    found = [at for at, line in enumerate(lines) if bool(wanted.search(line)) != options.v]
    found = found if options.m is None else found[: options.m]
    if options.c:
        streams.say(f"{len(found)}\n")
    elif options.o:
        shown = (piece.group() for at in found for piece in wanted.finditer(lines[at]))
        _say_lines(streams, [] if options.v else [text for text in shown if text])
    elif not options.q:
        before = options.C or 0 if options.B is None else options.B
        after = options.C or 0 if options.A is None else options.A
        _say_found(streams, lines, found, before, after, is_numbered=options.n)
    return 0 if found else 1


def _fixed_grep(words: list[str], streams: Io) -> int:
    return grep(["grep", "-F", *words[1:]], streams)


def _pattern(patterns: list[str], options: argparse.Namespace) -> re.Pattern[str]:
    joined = "|".join(f"(?:{re.escape(each) if options.F else each})" for each in patterns)
    joined = rf"(?<!\w)(?:{joined})(?!\w)" if options.w else joined
    joined = rf"^(?:{joined})$" if options.x else joined
    return re.compile(joined, re.IGNORECASE if options.i else 0)


def _say_found(
    streams: Io, lines: list[str], found: list[int], before: int, after: int, *, is_numbered: bool
) -> None:
    """Print lines with their neighbours, a rule between runs that do not touch."""
    last = -1
    chosen = set(found)
    shown = {near for here in found for near in range(here - before, here + after + 1)}
    for at in sorted(shown):
        if not 0 <= at < len(lines):
            continue
        if (before or after) and last >= 0 and at > last + 1:
            streams.say("--\n")
        mark = f"{at + 1}{':' if at in chosen else '-'}" if is_numbered else ""
        streams.say(f"{mark}{lines[at]}\n")
        last = at


def _no_file(name: str, file: str, streams: Io, status: int = 1) -> int:
    """Refuse a file by name: these machines show none of theirs to a filter."""
    streams.complain(f"{name}: {file}: No such file or directory\n")
    return status


def _operand(words: list[str], valued: str = "") -> str:
    """Return the first operand; `valued` are the options that take the next word."""
    rest = iter(words[1:])
    for word in rest:
        if word in {f"-{letter}" for letter in valued}:
            next(rest, None)
        elif word == "--":
            return next(rest, "")
        elif not word.startswith("-") and not (word.startswith("+") and "n" in valued):
            return word
    return ""


def echo(words: list[str], streams: Io) -> int:
    """Print the words."""
    bare = words[1:2] == ["-n"]
    streams.say(" ".join(words[2 if bare else 1 :]) + ("" if bare else "\n"))
    return 0


def wc(words: list[str], streams: Io) -> int:
    """Count lines (-l), words (-w), bytes (-c); all three without a flag."""
    if file := _operand(words):
        return _no_file("wc", file, streams)
    data = streams.stdin.read()
    counts = {"l": data.count(b"\n"), "w": len(data.split()), "c": len(data)}
    chosen = [letter for letter in "lwc" if letter in "".join(words[1:])] or list("lwc")
    streams.say(" ".join(str(counts[letter]) for letter in chosen) + "\n")
    return 0


def head(words: list[str], streams: Io) -> int:
    """Print the first lines: -N, -n N; all but the last N with -n -N."""
    if file := _operand(words, "n"):
        return _no_file("head", file, streams)
    lines = _lines(streams)
    text = _count(words)
    _say_lines(streams, lines[: int(text)])
    return 0


def tail(words: list[str], streams: Io) -> int:
    """Print the last lines: -N, -n N; `-n +K` from line K."""
    if file := _operand(words, "n"):
        return _no_file("tail", file, streams)
    lines = _lines(streams)
    text = _count(words)
    count = abs(int(text))
    first = count - 1 if "+" in text else len(lines) - count
    _say_lines(streams, lines[max(0, first) :])
    return 0


def _count(words: list[str]) -> str:
    """Return how many lines: `-5`, `-n 5`, `-n5`, `-n +2`."""
    joined = " ".join(words[1:])
    found = re.search(r"-n ?([-+]?\d+)", joined) or re.search(r"(?:^| )-?(\+?\d+)$", joined)
    return found.group(1) if found else "10"


def _say_lines(streams: Io, lines: list[str]) -> None:
    streams.say("".join(f"{line}\n" for line in lines))


def cut(words: list[str], streams: Io) -> int:
    """Print fields (-d and -f) or characters (-c), in ranges."""
    parser = _Quiet()
    parser.add_argument("-d", "--delimiter", default="\t")
    parser.add_argument("-f", "--fields")
    parser.add_argument("-c", "--characters")
    parser.add_argument("-s", "--only-delimited", action="store_true")
    parser.add_argument("files", nargs="*")
    try:
        options = parser.parse_args(words[1:])
        chosen = _ranges(options.fields or options.characters or "")
    except (_Usage, ValueError):
        streams.complain("cut: you must specify a list of bytes, characters, or fields\n")
        return 1
    if options.files:
        return _no_file("cut", options.files[0], streams)
    for line in _lines(streams):
        cells = line.split(options.delimiter) if options.fields else list(line)
        if options.fields and len(cells) == 1:
            streams.say("" if options.only_delimited else f"{line}\n")
            continue
        kept = [cell for at, cell in enumerate(cells, start=1) if any(at in r for r in chosen)]
        streams.say((options.delimiter if options.fields else "").join(kept) + "\n")
    return 0


def _ranges(text: str) -> list[range]:
    """Read `1,3-5,7-`."""
    ranges = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        end = int(last) if last else (1 << 30 if dash else int(first))
        ranges.append(range(int(first or 1), end + 1))
    return ranges


def sort(words: list[str], streams: Io) -> int:
    """Sort lines: -u -r -n -f, by a field with -k and -t."""
    parser = _Quiet()
    for flag in "urnf":
        parser.add_argument(f"-{flag}", action="store_true", dest=flag)
    parser.add_argument("-k")
    parser.add_argument("-t")
    parser.add_argument("files", nargs="*")
    try:
        options = parser.parse_args(words[1:])
        field = int(re.split(r"\D", options.k)[0]) if options.k else 0
    except (_Usage, ValueError):
        streams.complain("sort: invalid option\n")
        return 2
    if options.files:
        return _no_file("sort: cannot read", options.files[0], streams, 2)
    is_numeric = options.n or bool(options.k and "n" in options.k)

    def key(line: str) -> tuple[float, str]:
        cells = line.split(options.t)
        text = (cells[field - 1] if field <= len(cells) else "") if field else line
        text = text.lower() if options.f else text
        number = re.match(r"\s*-?\d+(?:\.\d+)?", text) if is_numeric else None
        return float(number.group()) if number else 0.0, "" if is_numeric else text

    lines = sorted(_lines(streams), key=lambda line: (*key(line), line), reverse=options.r)
    _say_lines(streams, list(dict.fromkeys(lines)) if options.u else lines)
    return 0


def uniq(words: list[str], streams: Io) -> int:
    """Print each run of equal lines once: -c with its length, -d only the repeated."""
    if file := _operand(words):
        return _no_file("uniq", file, streams)
    flags = "".join(word[1:] for word in words[1:] if word.startswith("-"))
    for line, run in itertools.groupby(_lines(streams)):
        count = len(list(run))
        if count > 1 or "d" not in flags:
            streams.say(f"{count:7} {line}\n" if "c" in flags else f"{line}\n")
    return 0


def tr(words: list[str], streams: Io) -> int:
    """Replace characters, drop them (-d), or squeeze runs of them (-s)."""
    flags = "".join(word[1:] for word in words[1:] if word.startswith("-") and len(word) > 1)
    sets = [_characters(word) for word in words[1:] if not word.startswith("-") or word == "-"]
    if not sets:
        streams.complain("tr: missing operand\n")
        return 1
    text = streams.stdin.read().decode(errors="replace")
    if "d" in flags:
        text = "".join(char for char in text if char not in sets[0])
    elif len(sets) > 1:
        new = sets[1].ljust(len(sets[0]), sets[1][-1:])[: len(sets[0])]
        text = text.translate(str.maketrans(sets[0], new))
    if "s" in flags:
        text = re.sub(f"([{re.escape(sets[-1])}])\\1+", r"\1", text)
    streams.say(text)
    return 0


def _characters(text: str) -> str:
    """Write out ranges, classes and escapes."""
    text = text.replace("[:lower:]", "a-z").replace("[:upper:]", "A-Z")
    text = text.replace("[:digit:]", "0-9").replace("[:space:]", " \t\n")
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    return re.sub(
        r"(.)-(.)",
        lambda found: "".join(map(chr, range(ord(found.group(1)), ord(found.group(2)) + 1))),
        text,
    )


def _constant(status: int) -> Program:
    return lambda words, streams: status


def cat(words: list[str], streams: Io) -> int:
    """Copy stdin to stdout."""
    if file := _operand(words):
        return _no_file(words[0].rpartition("/")[2], file, streams)
    while data := streams.stdin.read(1 << 20):
        streams.stdout.write(data)
    return 0


def sleep(words: list[str], streams: Io) -> int:
    """Wait some seconds, an hour at most."""
    if len(words) != 2 or not re.fullmatch(r"\d+(?:\.\d+)?", words[1]):
        streams.complain("sleep: invalid time interval\n")
        return 1
    time.sleep(min(float(words[1]), 3600.0))
    return 0


def expr(words: list[str], streams: Io) -> int:
    """Compute whole numbers: `expr 3 + 4`; status 1 when the result is 0."""
    text = " ".join(words[1:]).replace(" = ", " == ")
    if not re.fullmatch(r"[-+*/%()<>!=&|\d ]+", text):
        streams.complain("expr: non-integer argument\n")
        return 2
    try:
        value = compute(text, Scope({}))
    except ArithmeticFault as fault:
        streams.complain(f"expr: {fault}\n")
        return 2
    streams.say(f"{value}\n")
    return 0 if value else 1


FILTERS: dict[str, Callable[[list[str], Io], int]] = {
    "grep": grep,
    "echo": echo,
    "wc": wc,
    "head": head,
    "tail": tail,
    "cut": cut,
    "sort": sort,
    "uniq": uniq,
    "tr": tr,
    "more": cat,
    "less": cat,
    "cat": cat,
    "sleep": sleep,
    "expr": expr,
    "egrep": grep,
    "fgrep": _fixed_grep,
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
