"""Words to fields: variables, `$(…)`, arithmetic, and the splitting at IFS."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from deployments.lab.shell.arithmetic import compute
from deployments.lab.shell.braces import expanded
from deployments.lab.shell.scope import Scope
from deployments.lab.shell.tree import Arithmetic, Part, Script, Substitution, Text, Variable, Word

Capture = Callable[[Script], bytes]
"""Runs a script in a subshell and returns what it printed."""


class BadSubstitution(Exception):
    """`${name?message}`, or nonsense in braces."""


def split(text: str, ifs: str, at_most: int = 0) -> list[str]:
    """Divide a text at IFS: blanks in it run together, other characters each divide.

    Args:
        text: the text.
        ifs: the characters that divide.
        at_most: how many fields at most; the last one then has the rest. 0: as many as there are.
    """
    blanks = re.escape("".join(char for char in ifs if char in " \t\n"))
    others = re.escape("".join(char for char in ifs if char not in " \t\n"))
    if blanks:
        text = re.sub(f"^[{blanks}]+|[{blanks}]+$", "", text)
    if not text or not ifs:
        return [text] if text else []
    space = f"[{blanks}]*" if blanks else ""
    choices = [f"{space}[{others}]{space}"] if others else []
    choices += [f"[{blanks}]+"] if blanks else []
    fields = (
        re.split("|".join(choices), text, maxsplit=max(0, at_most - 1)) if at_most != 1 else [text]
    )
    if len(fields) > 1 and not fields[-1]:
        fields.pop()  # a divider at the very end ends the last field, it begins no other
    return fields


class Expander:
    """Expands words in one scope."""

    def __init__(self, scope: Scope, capture: Capture) -> None:
        self._scope = scope
        self._capture = capture

    def fields(self, words: tuple[Word, ...]) -> list[str]:
        """Expand words to fields: unquoted values are divided, and vanish when empty."""
        found: list[str] = []
        for word in words:
            for each in expanded(word):
                found += self._fields_of(each)
        return found

    def text(self, word: Word) -> str:
        """Expand a word to one text, undivided."""
        return "".join(self._value(part) for part in word)

    def pattern(self, word: Word) -> str:
        """Expand a word to a pattern in which quoted characters stand for themselves."""
        pieces = []
        for part in word:
            value = self._value(part)
            pieces.append(re.sub(r"([*?\[])", r"[\1]", value) if part.is_quoted else value)
        return "".join(pieces)

    def regex(self, word: Word) -> str:
        """Expand a word to a regular expression in which quoted characters mean themselves."""
        values = [(self._value(part), part.is_quoted) for part in word]
        return "".join(re.escape(value) if quoted else value for value, quoted in values)

    def _fields_of(self, word: Word) -> list[str]:
        fields: list[str] = []
        current = ""
        is_there = False
        for part in word:
            if isinstance(part, Variable) and part.is_quoted and self._is_list(part):
                values = self._list(part)
                for number, value in enumerate(values):
                    if number:
                        fields.append(current)
                        current = ""
                    current, is_there = current + value, True
                continue
            value = self._value(part)
            if part.is_quoted or isinstance(part, Text):
                current, is_there = current + value, True
                continue
            pieces = split(value, self._scope.ifs)
            opens = bool(value) and value[0] in self._scope.ifs
            closes = bool(value) and value[-1] in self._scope.ifs
            if opens and is_there and pieces and pieces[0]:
                fields.append(current)
                current, is_there = "", False
            for number, piece in enumerate(pieces):
                if number:
                    fields.append(current)
                    current = ""
                current, is_there = current + piece, True
            if closes and is_there:
                fields.append(current)
                current, is_there = "", False
        return [*fields, current] if is_there else fields

    @staticmethod
    def _is_list(part: Variable) -> bool:
        if part.is_length or part.operator not in {"", ":"}:
            return False
        return part.name == "@" or part.index == (Text("@", is_quoted=True),)

    def _list(self, part: Variable) -> list[str]:
        """Return all arguments or elements, or a run of them: `${a[@]:1:2}`."""
        if part.index is None:
            values = list(self._scope.arguments)
        else:
            array = self._scope.array(part.name)
            values = [array[place] for place in sorted(array)]
        if not part.operator:
            return values
        begin, end = self._run_of(part, len(values))
        return values[begin:end]

    def _run_of(self, part: Variable, length: int) -> tuple[int, int]:
        offset, colon, count = self.text(part.operand).partition(":")
        begin = compute(offset, self._scope)
        begin = max(0, begin + length) if begin < 0 else min(begin, length)
        if not colon:
            return begin, length
        wanted = compute(count, self._scope)
        return begin, length + wanted if wanted < 0 else begin + wanted

    def _value(self, part: Part) -> str:
        if isinstance(part, Text):
            return part.text
        if isinstance(part, Arithmetic):
            return str(compute(self.text(part.text), self._scope))
        if isinstance(part, Substitution):
            return self._capture(part.script).decode(errors="replace").rstrip("\n")
        return self._variable(part)

    def _variable(self, part: Variable) -> str:
        scope = self._scope
        index = None if part.index is None else self.text(part.index)
        if index in {"@", "*"} or part.name in {"@", "*"}:
            if part.is_length:
                array = scope.arguments if index is None else scope.array(part.name)
                return str(len(array))
            if part.operator in {"", ":"}:
                shown = self._list(
                    Variable(part.name, True, part.index, part.operator, part.operand)
                )
                return " ".join(shown)
        name = part.name if index is None else f"{part.name}[{index}]"
        value = scope.look_up(name)
        if part.is_length:
            return str(len(value))
        if not part.operator:
            return value
        return self._operated(part, name, value)

    def _operated(self, part: Variable, name: str, value: str) -> str:
        operator = part.operator
        if operator[-1] in "-=+?" and operator not in {"#", "%"}:
            is_set = bool(value) or (operator[0] != ":" and self._scope.knows(part.name))
            if operator[-1] == "+":
                return self.text(part.operand) if is_set else ""
            if is_set:
                return value
            other = self.text(part.operand)
            if operator[-1] == "?":
                raise BadSubstitution(f"{name}: {other or 'parameter null or not set'}")
            if operator[-1] == "=":
                self._scope.assign(name, other)
            return other
        if operator == ":":
            begin, end = self._run_of(part, len(value))
            return value[begin:end]
        if operator[0] in "#%":
            return _trimmed(value, self.pattern(part.operand), operator)
        wanted, _, replacement = self.text(part.operand).partition("/")
        expression = fnmatch.translate(wanted).removesuffix(r"\Z").removesuffix("\\z")
        return re.sub(
            expression, lambda found: replacement, value, count=0 if operator == "//" else 1
        )


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Take the shortest (`#`, `%`) or longest (`##`, `%%`) match off one end."""
    lengths = range(len(value) + 1)
    for length in lengths if len(operator) == 1 else reversed(lengths):
        at_front = operator[0] == "#"
        piece = value[:length] if at_front else value[len(value) - length :]
        if fnmatch.fnmatchcase(piece, pattern):
            return value[length:] if at_front else value[: len(value) - length]
    return value
