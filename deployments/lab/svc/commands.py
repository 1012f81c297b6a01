"""The grammar of a command line: options, which are mandatory, and the object at its end.

Handlers register themselves with `command`; `parse` turns words into a `Request` or a refusal.
docs/reference/svc-cli.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import UNIT_BYTES, Detail, Format, Table

if TYPE_CHECKING:
    from deployments.lab.svc.system import System


@dataclass(frozen=True)
class Done:
    """A finished action: what goes to stdout, and a condition the answer waits for, if any.

    The array answers `start -prep` only when the copy is started; `settled` says when that is.
    """

    text: str = ""
    settled: Callable[[], bool] | None = None


Answer = Table | Detail | Done
Handler = Callable[["System", "Request"], Answer]


@dataclass(frozen=True)
class Request:
    """One parsed command line."""

    command: str
    target: str | None
    values: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()

    def get(self, name: str) -> str | None:
        """Return an option's value, or None when it was not given."""
        return self.values.get(name)

    def has(self, name: str) -> bool:
        """Say whether a flag was given."""
        return name in self.flags

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return an option as a number in its range, or refuse it."""
        text = self.values.get(name)
        if text is None:
            return default
        if not text.isdecimal() or not low <= int(text) <= high:
            raise Refusal("CMMVC5711E", text)
        return int(text)

    def switch(self, name: str, default: bool) -> bool:
        """Return an on/off (yes/no) option as a truth value, or refuse it."""
        text = self.values.get(name)
        if text is None:
            return default
        if text not in {"on", "off", "yes", "no"}:
            raise Refusal("CMMVC5711E", text)
        return text in {"on", "yes"}

    @property
    def object(self) -> str:
        """The object at the end of the line; refuses a line without one."""
        if self.target is None:
            raise Refusal("CMMVC5701E")
        return self.target

    @property
    def form(self) -> Format:
        """The printing options."""
        return Format(self.get("delim"), self.has("nohdr"), self.get("filtervalue"))

    @property
    def unit(self) -> str:
        """The unit capacities are printed in: `b` with -bytes, the readable one when empty."""
        word = "b" if self.has("bytes") else self.get("unit") or ""
        if word and word not in UNIT_BYTES:
            raise Refusal("CMMVC5711E", word)
        return word


@dataclass(frozen=True)
class Command:
    """One command: its handler and its options."""

    name: str
    handler: Handler
    values: frozenset[str]
    flags: frozenset[str]
    needs: frozenset[str]
    takes_object: bool
    is_view: bool


COMMANDS: dict[str, Command] = {}


class Help(Exception):
    """The line asked for the command's help."""


def usage(known: Command) -> str:
    """Print what a command takes, as `-h` does."""
    words = [f"-{name} value" for name in sorted(known.needs)]
    words += [f"[-{name} value]" for name in sorted(known.values - known.needs)]
    words += [f"[-{name}]" for name in sorted(known.flags)]
    words += ["[object]"] if known.takes_object else []
    told = (known.handler.__doc__ or "").strip().partition("\n")[0]
    return f"\n{known.name}\n\nSyntax\n\n>>- {known.name} {' '.join(words)}\n\n{told}\n"


def command(
    name: str, *, values: str = "", flags: str = "", needs: str = "", takes_object: bool = True
) -> Callable[[Handler], Handler]:
    """Register a handler; option names are blank-separated, without their dash."""
    is_view = name.startswith(("ls", "cat", "show"))

    def register(handler: Handler) -> Handler:
        valued = {*values.split(), *needs.split()}
        flagged = set(flags.split())
        if is_view:
            valued |= {"delim", "filtervalue", "unit"}
            flagged |= {"nohdr", "bytes", "gui"}
        COMMANDS[name] = Command(
            name,
            handler,
            frozenset(valued),
            frozenset(flagged),
            frozenset(needs.split()),
            takes_object,
            is_view,
        )
        return handler

    return register


def one_or_all(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    request: Request,
    more: Sequence[tuple[str, object]] = (),
) -> Table | Detail:
    """Answer with all rows, or with the one whose id or name is asked for, and `more` about it."""
    if request.target is None:
        return Table(columns, rows)
    for row in rows:
        if request.target in {str(row[0]), row[1]}:
            return Detail([[*zip(columns, row, strict=True), *more]])
    raise Refusal("CMMVC5753E" if request.target.isdecimal() else "CMMVC5754E")


def parse(words: list[str]) -> tuple[Command, Request]:
    """Turn the words of a command line into a request.

    Raises:
        Refusal: unknown option, missing mandatory option, option without value, given twice.
    """
    known = COMMANDS[words[0]]
    values: dict[str, str] = {}
    flags: set[str] = set()
    target: str | None = None
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-") or word == "-":
            if target is not None or not known.takes_object:
                raise Refusal("CMMVC6070E")
            target = word
            continue
        name, value = _option(known, word, rest)
        if name in values or name in flags:
            raise Refusal("CMMVC6070E")
        if value is None:
            flags.add(name)
        else:
            values[name] = value
    if known.needs - set(values):
        raise Refusal("CMMVC5707E")
    return known, Request(known.name, target, values, frozenset(flags))


def _option(known: Command, word: str, rest: Iterator[str]) -> tuple[str, str | None]:
    """Take one option: (name, value), with None for a flag."""
    name, has_value, text = word[1:].partition("=")
    if name == "filtervalue?":
        return "filtervalue", "?"
    if name in known.flags and not has_value:
        return name, None
    if name in {"h", "?"}:
        raise Help(known.name)
    if name not in known.values:
        raise Refusal("CMMVC5709E", f"-{name}")
    value = text if has_value else next(rest, None)
    if value is None:
        raise Refusal("CMMVC5707E")
    if not value.isascii():
        raise Refusal("CMMVC6017E")
    if name == "delim" and len(value) != 1:
        raise Refusal("CMMVC5711E", value)
    return name, value
