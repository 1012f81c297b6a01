"""What a program of a simulated machine gets: its streams and its variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


class Sink(Protocol):
    """Where a program's output goes."""

    def write(self, data: bytes, /) -> object:
        """Take some bytes."""


@dataclass
class Io:
    """A program's standard streams, and the shell's variables."""

    stdin: BinaryIO
    stdout: Sink
    stderr: Sink
    variables: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print to stdout."""
        self.stdout.write(text.encode())

    def complain(self, text: str) -> None:
        """Print to stderr."""
        self.stderr.write(text.encode())


Program = Callable[[list[str], Io], int]
Lookup = Callable[[str], Program | None]
