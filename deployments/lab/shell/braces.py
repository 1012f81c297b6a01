"""Brace expansion: `v_{1..3}` and `{a,b}c` are several words, before anything else is expanded.

Braces with a variable or a quote inside stay as they were typed: bash would expand those too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployments.lab.shell.tree import Text, Word

NUMBERS = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])")
LIMIT = 10_000


def expanded(word: Word) -> Iterator[Word]:
    """Yield the words that one stands for: itself, when it has no braces of that kind."""
    for place, part in enumerate(word):
        if not isinstance(part, Text) or part.is_quoted:
            continue
        for begin, end in _braces(part.text):
            choices = _choices(part.text[begin + 1 : end])
            if choices is None:
                continue
            before, after = Text(part.text[:begin]), Text(part.text[end + 1 :])
            for choice in choices:
                # What is left of the braces has none; what is in and right of them may have.
                rest = (Text(choice + after.text), *word[place + 1 :])
                head = (*word[:place], *([before] if before.text else []))
                yield from ((*head, *tail) for tail in expanded(rest))
            return
    yield tuple(part for part in word if part != Text("")) or word


def _braces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each opening brace and its closing one are."""
    for begin, char in enumerate(text):
        if char != "{":
            continue
        depth = 0
        for end in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                yield begin, end
                break


def _choices(inside: str) -> list[str] | None:
    """Read what is between braces: alternatives or a run; None when it is neither."""
    if found := NUMBERS.fullmatch(inside):
        first, last = int(found[1]), int(found[2])
        step = abs(int(found[3] or 1)) or 1
        is_padded = any(re.match(r"-?0\d", text) for text in (found[1], found[2]))
        width = max(len(found[1]), len(found[2])) if is_padded else 0
        run = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return [f"{number:0{width}d}" for number in run[:LIMIT]]
    if found := LETTERS.fullmatch(inside):
        first, last = ord(found[1]), ord(found[2])
        letters = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        return [chr(code) for code in letters]
    choices, depth = [""], 0
    for char in inside:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            choices.append("")
        else:
            choices[-1] += char
    return choices if len(choices) > 1 else None
