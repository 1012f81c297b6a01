"""What the command line prints: one JSON document, or text for people; errors in one place."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from blocks.errors import FlashvaultError

STDOUT = "stdout"


class _Stdout(io.FileIO):
    """Says in its errors that it is stdout."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from error


def prepare_streams() -> None:
    """Make sure that there are three streams, and that any text can be printed on them.

    A caller may have closed one (`>&-`). The next file that is opened would get its number, which
    may be a disk that is restored, and what anything prints would go there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if None in (sys.stdin, sys.stdout, sys.stderr):
        nowhere = open(os.devnull, "r+", encoding="utf-8")  # noqa: SIM115 - as long as we run
        sys.stdin, sys.stderr = sys.stdin or nowhere, sys.stderr or nowhere
        sys.stdout = sys.stdout or nowhere
    given = sys.stdout
    if given is sys.__stdout__ and isinstance(given, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(given.fileno(), "w", closefd=False)),
            encoding=given.encoding,
            line_buffering=given.line_buffering or given.write_through,
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no "…" gets `\\u2026` rather than a traceback.
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("COLUMNS") == "0":
        del os.environ["COLUMNS"]  # a serial console does not know, and nothing fits into none


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
    `{"ok": false, "error": {"type", "message", "hint"}}`. An error of the operating system that
    nobody expected is told the same way. Set FLASHVAULT_TRACEBACK=1 to see the traceback of any
    error.
    """
    try:
        yield
    except FlashvaultError as error:
        if os.environ.get("FLASHVAULT_TRACEBACK"):
            raise
        _report(type(error).__name__, str(error), error.hint, as_json=as_json)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err().print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is left to say it to.
        _discard_output()
        sys.exit(141)
    except OSError as error:
        if os.environ.get("FLASHVAULT_TRACEBACK"):
            raise
        where, reason = error.filename, error.strerror or str(error) or type(error).__name__
        message = f"{where}: {reason}" if where else reason
        if where == STDOUT:
            _discard_output()
            _report(
                "OSError",
                message,
                "Only the printing failed: look with `flashvault status` what was done.",
            )
        else:
            hint = "FLASHVAULT_TRACEBACK=1 shows what was being done."
            _report("OSError", message, hint, as_json=as_json)
        sys.exit(1)


@contextmanager
def printed_to_the_end() -> Iterator[None]:
    """Notice here, not in the interpreter's last moments, that what was printed cannot be kept."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _report(kind: str, message: str, hint: str, *, as_json: bool = False) -> None:
    console = err()
    console.print(f"[bold red]error[/]: {_escape(message)}")
    if hint:
        console.print(f"[dim]hint: {_escape(hint)}[/]")
    if as_json:
        print_json({"ok": False, "error": {"type": kind, "message": message, "hint": hint}})


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
