"""Commands that are the shell's own: they read, set and test its variables, or leave a loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployments.lab.shell.arithmetic import ArithmeticFault, compute
from deployments.lab.shell.conditions import verdict
from deployments.lab.shell.grammar import parse
from deployments.lab.shell.reading import SyntaxFault
from deployments.lab.shell.streams import Io
from deployments.lab.shell.words import split

if TYPE_CHECKING:
    from deployments.lab.shell.run import Shell

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*(?:\[[^]]*\])?)=(.*)", re.DOTALL)
NAME = re.compile(r"[A-Za-z_]\w*")


class Jump(Exception):
    """Leaves a loop (`status` loops), a function or the shell (with `status`)."""

    def __init__(self, kind: str, status: int) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status


# read ------------------------------------------------------------------------------------------


def read(shell: Shell, words: list[str], streams: Io) -> int:
    """Take a line from stdin and divide it among variables."""
    is_raw, array, end, names = False, "", "\n", []
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-") or word == "-":
            names.append(word)
            continue
        is_raw |= "r" in word
        letter = word[-1]
        if letter in "adptnu":
            value = next(rest, "")
            array = value if letter == "a" else array
            end = value[:1] if letter == "d" else end
    text, is_whole = _line(streams, end, is_raw=is_raw)
    scope = shell.scope
    if array:
        scope.assign_all(array, split(text, scope.ifs))
    elif not names:
        scope.assign("REPLY", text)
    else:
        fields = split(text, scope.ifs, at_most=len(names))
        for place, name in enumerate(names):
            scope.assign(name, fields[place] if place < len(fields) else "")
    return 0 if is_whole else 1


def _line(streams: Io, end: str, *, is_raw: bool) -> tuple[str, bool]:
    """Read up to `end`; say whether it came. Without -r a backslash joins lines."""
    text = ""
    while True:
        if end == "\n":
            data = streams.stdin.readline()
        else:
            data = b""
            while (byte := streams.stdin.read(1)) and not data.endswith(end.encode()):
                data += byte
        text += data.decode(errors="replace")
        if not text.endswith(end) or not end:
            return text, False
        text = text[: -len(end)]
        if is_raw:
            return text, True
        if not text.endswith("\\"):
            return re.sub(r"\\(.)", r"\1", text), True
        text = text[:-1]


# test ------------------------------------------------------------------------------------------


def test(shell: Shell, words: list[str], streams: Io) -> int:
    """Judge a condition: `test …`, `[ … ]`."""
    if words[0] == "[":
        if words[-1] != "]":
            streams.complain(f"{shell.scope.name}: [: missing `]'\n")
            return 2
        words = words[:-1]
    try:
        return verdict(words[1:], shell.scope, is_extended=False)
    except ArithmeticFault as fault:
        streams.complain(f"{shell.scope.name}: {words[0]}: {fault}\n")
        return 2


# Printing --------------------------------------------------------------------------------------

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "0": "\0"}
DIRECTIVE = re.compile(r"%(?:%|(-?0?\d*)(?:\.(\d+))?([sdiucxXofeg]|b|q))")


def unescape(text: str) -> str:
    """Replace backslash escapes."""
    return re.sub(r"\\([ntra\\0])", lambda found: ESCAPES[found.group(1)], text)


def echo(shell: Shell, words: list[str], streams: Io) -> int:
    """Print the words: -n without a newline, -e with escapes."""
    flags = ""
    rest = words[1:]
    while rest and re.fullmatch("-[neE]+", rest[0]):
        flags += rest.pop(0)[1:]
    text = " ".join(rest)
    streams.say((unescape(text) if "e" in flags else text) + ("" if "n" in flags else "\n"))
    return 0


def printf(shell: Shell, words: list[str], streams: Io) -> int:
    """Print words in a format, which is used again while there are words left."""
    if len(words) < 2:
        streams.complain("printf: usage: printf format [arguments]\n")
        return 2
    pattern, rest = words[1], words[2:]
    while True:
        before = len(rest)
        streams.say(unescape(DIRECTIVE.sub(lambda found: _printed(found, rest, shell), pattern)))
        if not rest or len(rest) == before:
            return 0


def _printed(found: re.Match[str], rest: list[str], shell: Shell) -> str:
    if found.group() == "%%":
        return "%"
    flags, precision, kind = found.groups()
    value = rest.pop(0) if rest else ""
    dot = f".{precision}" if precision else ""
    if kind in "sbqc":
        value = value[:1] if kind == "c" else value
        text = f"%{flags}{dot}s" % value
        return text if kind == "b" else text.replace("\\", "\\\\")
    if kind in "feg":
        return f"%{flags}{dot}{kind}" % float(value if re.match(r"-?[\d.]+$", value) else 0)
    return f"%{flags}{dot}{'d' if kind == 'u' else kind}" % compute(value, shell.scope)


# Variables and leaving -------------------------------------------------------------------------


def declare(shell: Shell, words: list[str], streams: Io) -> int:
    """Set variables: export, local, declare, typeset, readonly."""
    for word in words[1:]:
        if found := ASSIGNMENT.fullmatch(word):
            shell.scope.assign(found.group(1), found.group(2))
        elif word.startswith("-"):
            continue
        elif words[0] != "export" and NAME.fullmatch(word) and not shell.scope.knows(word):
            shell.scope.assign(word, "")
    return 0


def set_(shell: Shell, words: list[str], streams: Io) -> int:
    """Set options (`-e`) or the arguments (`-- a b`)."""
    rest = words[1:]
    while rest and rest[0][:1] in {"-", "+"} and rest[0] != "--":
        option = rest.pop(0)
        if "e" in option:
            shell.scope.ends_at_error = option[0] == "-"
        if option[1:] == "o" and rest:
            rest.pop(0)
    if rest:
        shell.scope.arguments = rest[1:] if rest[0] == "--" else rest
    return 0


def unset(shell: Shell, words: list[str], streams: Io) -> int:
    """Forget variables."""
    for word in words[1:]:
        if not word.startswith("-"):
            shell.scope.forget(word)
    return 0


def shift(shell: Shell, words: list[str], streams: Io) -> int:
    """Drop the first arguments."""
    count = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 1
    if count > len(shell.scope.arguments):
        return 1
    shell.scope.arguments = shell.scope.arguments[count:]
    return 0


def let(shell: Shell, words: list[str], streams: Io) -> int:
    """Compute."""
    value = 0
    for word in words[1:]:
        value = compute(word, shell.scope)
    return 0 if value else 1


def eval_(shell: Shell, words: list[str], streams: Io) -> int:
    """Run the words as a line."""
    try:
        script = parse(" ".join(words[1:]))
    except SyntaxFault as fault:
        streams.complain(f"{shell.scope.name}: eval: line 0: {fault}\n")
        return 2
    return shell.run(script, streams)


def _leaving(kind: str) -> Callable[[Shell, list[str], Io], int]:
    def leave(shell: Shell, words: list[str], streams: Io) -> int:
        asked = words[1] if len(words) > 1 and words[1].isdecimal() else ""
        if kind in {"break", "continue"}:
            raise Jump(kind, max(1, int(asked or 1)))
        raise Jump(kind, int(asked or shell.scope.variables.get("?", "0")) & 255)

    return leave


def _restricted(shell: Shell, words: list[str], streams: Io) -> int:
    streams.complain(f"{shell.scope.name}: {words[0]}: restricted\n")
    return 1


def _status(status: int) -> Callable[[Shell, list[str], Io], int]:
    return lambda shell, words, streams: status


BUILTINS: dict[str, Callable[[Shell, list[str], Io], int]] = {
    "read": read,
    "test": test,
    "[": test,
    "echo": echo,
    "printf": printf,
    "export": declare,
    "local": declare,
    "declare": declare,
    "typeset": declare,
    "readonly": declare,
    "set": set_,
    "unset": unset,
    "shift": shift,
    "let": let,
    "eval": eval_,
    "break": _leaving("break"),
    "continue": _leaving("continue"),
    "return": _leaving("return"),
    "exit": _leaving("exit"),
    "true": _status(0),
    "false": _status(1),
    ":": _status(0),
}
