"""What `[ … ]`, `test …` and `[[ … ]]` judge."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from deployments.lab.shell.arithmetic import ArithmeticFault, compute
from deployments.lab.shell.scope import Scope


def verdict(words: list[str], scope: Scope, *, is_extended: bool) -> int:
    """Return 0 when a condition holds, 1 when not.

    Raises:
        ArithmeticFault: it is no condition.
    """
    if not words:
        return 1
    judge = _Judge(list(words), scope, is_extended=is_extended)
    holds = judge.either()
    if judge.rest:
        raise ArithmeticFault("too many arguments")
    return 0 if holds else 1


NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}
TEXTS = {"=", "==", "!=", "<", ">", "=~"}


class _Judge:
    def __init__(self, words: list[str], scope: Scope, *, is_extended: bool) -> None:
        self.rest = words
        self._scope = scope
        self._is_extended = is_extended

    def either(self) -> bool:
        holds = self._both()
        while self.rest and self.rest[0] == ("||" if self._is_extended else "-o"):
            self.rest.pop(0)
            holds = self._both() or holds
        return holds

    def _both(self) -> bool:
        holds = self._one()
        while self.rest and self.rest[0] == ("&&" if self._is_extended else "-a"):
            self.rest.pop(0)
            holds = self._one() and holds
        return holds

    def _one(self) -> bool:
        words = self.rest
        if not words:
            raise ArithmeticFault("argument expected")
        if len(words) > 2 and (words[1] in NUMBERS or words[1] in TEXTS):
            left, operator, right = words.pop(0), words.pop(0), words.pop(0)
            return self._compare(left, operator, right)
        if words[0] == "!" and len(words) > 1:
            words.pop(0)
            return not self._one()
        if words[0] == "(" and ")" in words:
            words.pop(0)
            holds = self.either()
            if not words or words.pop(0) != ")":
                raise ArithmeticFault("`)' expected")
            return holds
        if len(words) > 1 and re.fullmatch("-[nzefdrwxsvLbc]", words[0]):
            flag, text = words.pop(0), words.pop(0)
            if flag == "-v":
                return self._scope.knows(text)
            if flag in {"-e", "-r", "-w", "-b", "-c"}:
                return self._scope.has_file(text)
            return {"-n": bool(text), "-z": not text}.get(flag, False)  # there are only devices
        return bool(words.pop(0))

    def _compare(self, left: str, operator: str, right: str) -> bool:
        if operator in NUMBERS:
            return NUMBERS[operator](self._number(left), self._number(right))
        if operator == "=~":
            found = re.search(right, left)
            told = [text or "" for text in (found.group(), *found.groups())] if found else []
            self._scope.assign_all("BASH_REMATCH", told)
            return bool(found)
        if operator in "<>":
            return left < right if operator == "<" else left > right
        same = fnmatch.fnmatchcase(left, right) if self._is_extended else left == right
        return same != (operator == "!=")

    def _number(self, text: str) -> int:
        if self._is_extended:
            return compute(text, self._scope)
        if not re.fullmatch(r"\s*[-+]?\d+\s*", text):
            raise ArithmeticFault(f"{text}: integer expression expected")
        return int(text)
