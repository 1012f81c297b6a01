"""Ids and names of the array's objects. docs/reference/svc-cli.md §1 and §4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from deployments.lab.svc.refusals import Refusal

NAME = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_. -]*[A-Za-z0-9_.-])?")


class Named(Protocol):
    """Anything with an id and a name."""

    id: int
    name: str


Thing = TypeVar("Thing", bound=Named)


def find(things: Mapping[int, Thing], word: str, missing: str = "") -> Thing:
    """Find an object by id or name; `missing` is the code for an unknown one."""
    if word.isdecimal():
        if int(word) in things:
            return things[int(word)]
        raise Refusal(missing or "CMMVC5753E")
    for thing in things.values():
        if thing.name == word:
            return thing
    raise Refusal(missing or "CMMVC5754E")


def new_name(things: Iterable[Named], wanted: str | None, default: str) -> str:
    """Check the name of a new object, or give it the default one."""
    if wanted is None:
        return default
    if len(wanted) > 63:
        raise Refusal("CMMVC5738E", wanted)
    if not NAME.fullmatch(wanted):
        raise Refusal("CMMVC6527E")
    if any(thing.name == wanted for thing in things):
        raise Refusal("CMMVC6035E")
    return wanted


def free_id(things: Iterable[int]) -> int:
    """Return the lowest id that is not taken."""
    taken = set(things)
    return next(number for number in range(len(taken) + 1) if number not in taken)
