"""Whole-number arithmetic as the shell has it: `$((i + 1))`, `((i++))`, `[ … -eq … ]`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

TOKEN = re.compile(
    r"\s*(\d+|[A-Za-z_]\w*(?:\[[^]]*\])?|\+\+|--|&&|\|\||[<>=!]=|[-+*/%]=|\*\*|[-+*/%()<>!?:=,])"
)
LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/", "%"),
)
BINARY: dict[str, Callable[[int, int], int]] = {
    "||": lambda a, b: int(bool(a or b)),
    "&&": lambda a, b: int(bool(a and b)),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "<=": lambda a, b: int(a <= b),
    ">=": lambda a, b: int(a >= b),
    "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: _divided(a, b)[0],
    "%": lambda a, b: _divided(a, b)[1],
}


class ArithmeticFault(Exception):
    """The text cannot be computed."""


class Names(Protocol):
    """Where variables are."""

    def look_up(self, name: str) -> str:
        """Return a variable's text, empty when there is none."""

    def assign(self, name: str, text: str) -> None:
        """Set a variable."""


def _divided(a: int, b: int) -> tuple[int, int]:
    """Divide towards zero."""
    if b == 0:
        raise ArithmeticFault("division by 0")
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient, a - quotient * b


def compute(text: str, names: Names) -> int:
    """Compute an expression; an empty one is 0.

    Raises:
        ArithmeticFault: it cannot be computed.
    """
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise ArithmeticFault(f"{text}: syntax error: invalid arithmetic operator")
        tokens.append(found.group(1))
        at = found.end()
    if not tokens:
        return 0
    reader = _Reader(tokens, names, text)
    value = reader.all()
    if reader.rest:
        raise reader.fault()
    return value


class _Reader:
    def __init__(self, tokens: list[str], names: Names, text: str) -> None:
        self.rest = tokens
        self._names = names
        self._text = text

    def fault(self) -> ArithmeticFault:
        return ArithmeticFault(f"{self._text}: syntax error in expression")

    def _takes(self, *tokens: str) -> str:
        return self.rest.pop(0) if self.rest and self.rest[0] in tokens else ""

    def all(self) -> int:
        value = self._assigned()
        while self._takes(","):
            value = self._assigned()
        return value

    def _assigned(self) -> int:
        is_name = len(self.rest) > 1 and re.match(r"[A-Za-z_]", self.rest[0])
        if is_name and self.rest[1] in {"=", "+=", "-=", "*=", "/=", "%="}:
            name, operator = self.rest.pop(0), self.rest.pop(0)
            value = self._assigned()
            if operator != "=":
                value = BINARY[operator[0]](self._value(name), value)
            return self._set(name, value)
        value = self._level(0)
        if self._takes("?"):
            first = self._assigned()
            if not self._takes(":"):
                raise self.fault()
            second = self._assigned()
            return first if value else second
        return value

    def _level(self, level: int) -> int:
        if level == len(LEVELS):
            return self._power()
        value = self._level(level + 1)
        while operator := self._takes(*LEVELS[level]):
            value = BINARY[operator](value, self._level(level + 1))
        return value

    def _power(self) -> int:
        value = self._single()
        if self._takes("**"):
            exponent = self._power()
            if not 0 <= exponent <= 64:
                raise ArithmeticFault("exponent out of range")
            return int(value**exponent)
        return value

    def _single(self) -> int:
        if not self.rest:
            raise self.fault()
        sign = self.rest.pop(0)
        if sign in {"-", "+", "!"}:
            value = self._single()
            return {"-": -value, "+": value, "!": int(not value)}[sign]
        if sign in {"++", "--"}:
            name = self.rest.pop(0) if self.rest else ""
            return self._set(name, self._value(name) + (1 if sign == "++" else -1))
        if sign == "(":
            value = self.all()
            if not self._takes(")"):
                raise self.fault()
            return value
        if sign.isdecimal():
            return int(sign, 8) if re.fullmatch(r"0[0-7]+", sign) else int(sign)
        if not re.match(r"[A-Za-z_]", sign):
            raise self.fault()
        value = self._value(sign)
        if operator := self._takes("++", "--"):
            self._set(sign, value + (1 if operator == "++" else -1))
        return value

    def _value(self, name: str) -> int:
        text = self._names.look_up(name).strip()
        if re.fullmatch(r"[-+]?\d+", text):
            return int(text)
        return compute(text, self._names) if text else 0

    def _set(self, name: str, value: int) -> int:
        if not re.match(r"[A-Za-z_]", name):
            raise self.fault()
        self._names.assign(name, str(value))
        return value
