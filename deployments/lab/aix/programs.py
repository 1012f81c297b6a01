"""How the node's programs are found and how they fail.

A program registers with `program` under its path. A session that is no login has a short PATH:
what is not on it must be called by its full path, as on a real node.
"""

from __future__ import annotations

import getopt
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

Handler = Callable[["Machine", list[str], Io], int]

PATH = ("/usr/bin", "/etc", "/usr/sbin", "/usr/ucb", "/sbin", "/bin")
SAME = {"/etc": "/usr/sbin", "/sbin": "/usr/sbin", "/bin": "/usr/bin"}
"""Directories that are links to others on AIX."""

PROGRAMS: dict[str, Handler] = {}


class Complaint(Exception):
    """A command ends with this message on stderr."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def program(*paths: str) -> Callable[[Handler], Handler]:
    """Register a handler under its full paths."""

    def register(handler: Handler) -> Handler:
        PROGRAMS.update(dict.fromkeys(paths, handler))
        return handler

    return register


def find(name: str) -> Handler | None:
    """Find a program by the name typed."""
    directory, slash, base = name.rpartition("/")
    if slash:
        return PROGRAMS.get(f"{SAME.get(directory, directory)}/{base}")
    for place in PATH:
        if handler := PROGRAMS.get(f"{SAME.get(place, place)}/{name}"):
            return handler
    return None


def options(words: list[str], letters: str) -> tuple[dict[str, str], list[str]]:
    """Read options by getopt's letters: (option → value, operands)."""
    try:
        found, rest = getopt.getopt(words[1:], letters)
    except getopt.GetoptError as error:
        name = words[0].rpartition("/")[2]
        raise Complaint(
            f"0516-1 {name}: Not a recognized flag: {error.opt}\nUsage: {name} [-{letters}]"
        ) from None
    return {flag[1:]: value for flag, value in found}, rest
