"""What the lab's array answers over SSH, and what a test may expect of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import paramiko


@dataclass
class Answer:
    out: str
    err: str
    status: int


@dataclass
class Client:
    """A connection to one of the lab's arrays."""

    ssh: paramiko.SSHClient

    def __call__(self, line: str) -> Answer:
        _, out, err = self.ssh.exec_command(line, timeout=60)
        told, said = out.read().decode(), err.read().decode()
        return Answer(told, said, out.channel.recv_exit_status())


Check = Callable[[Answer], None]


def table(delimiter: str, *wanted: str, least: int = 0) -> Check:
    """A header with these columns, and rows of as many fields."""

    def check(answer: Answer) -> None:
        assert (answer.err, answer.status) == ("", 0)
        lines = [line.split(delimiter) for line in answer.out.splitlines()]
        assert set(wanted) <= set(lines[0]), set(wanted) - set(lines[0])
        assert all(len(line) == len(lines[0]) for line in lines)
        assert len(lines) > least

    return check


def rows(delimiter: str, fields: int, count: int) -> Check:
    """Rows without a header."""

    def check(answer: Answer) -> None:
        assert (answer.err, answer.status) == ("", 0)
        lines = answer.out.splitlines()
        assert len(lines) == count
        assert all(len(line.split(delimiter)) >= fields for line in lines)

    return check


def pairs(delimiter: str, **wanted: str) -> Check:
    """Attributes, one a line."""

    def check(answer: Answer) -> None:
        assert (answer.err, answer.status) == ("", 0)
        found = dict(line.split(delimiter, 1) for line in answer.out.splitlines() if line)
        for name, pattern in wanted.items():
            assert re.fullmatch(pattern, found[name]), (name, found[name])

    return check


def made(answer: Answer) -> None:
    """`[id], successfully created`, as all clients look for it."""
    assert (answer.err, answer.status) == ("", 0)
    assert re.search(r"\[([0-9]+)\],? successfully created", answer.out)


def silent(answer: Answer) -> None:
    """Done, and nothing is said."""
    assert answer == Answer("", "", 0)


def refused(code: str, status: int = 1) -> Check:
    """The code on stderr, nothing on stdout."""

    def check(answer: Answer) -> None:
        assert answer.err.startswith(code), answer.err
        assert (answer.out, answer.status) == ("", status)

    return check


def says(pattern: str, status: int = 0) -> Check:
    def check(answer: Answer) -> None:
        assert re.search(pattern, answer.out, re.MULTILINE), answer
        assert answer.status == status

    return check
