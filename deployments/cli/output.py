"""What the command line prints: one JSON document, or text for people; errors in one place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from blocks.errors import FlashvaultError


def out() -> Console:
    """Return the console for results. Colour only on a terminal, and never with NO_COLOR."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Return the console for logs, progress and errors."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and nothing else."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


@contextmanager
def reported_errors(*, as_json: bool = False) -> Iterator[None]:
    """Turn an error of the tree into one message with its hint and the right exit status.

    With `as_json` the error is also the JSON document on stdout:
    `{"ok": false, "error": {"type", "message", "hint"}}`. Set FLASHVAULT_TRACEBACK=1 to see the
    traceback of any error.
    """
    try:
        yield
    except FlashvaultError as error:
        if os.environ.get("FLASHVAULT_TRACEBACK"):
            raise
        kind = type(error).__name__
        if as_json:
            fault = {"type": kind, "message": str(error), "hint": error.hint}
            print_json({"ok": False, "error": fault})
        console = err()
        console.print(f"[bold red]error[/]: {_escape(str(error))}")
        if error.hint:
            console.print(f"[dim]hint: {_escape(error.hint)}[/]")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err().print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
