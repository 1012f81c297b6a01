"""One command to the array and its answer: busy is asked again, refusals become errors.

`client` builds on this; it knows what commands there are, this knows how any of them ends.
Source: docs/reference/svc-cli.md §1.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Mapping

from blocks.errors import LoginRefused, SvcAnswerError, SvcBusy
from blocks.runner import Completed, Runner, redact
from blocks.svc.codes import BUSY_STATUS, LOGIN_FAILED, error_for
from blocks.svc.parse import DELIMITER, Record, parse_codes, parse_concise, parse_detail

log = logging.getLogger(__name__)

BUSY_TRIES = 3
BUSY_PAUSE_S = 1.0
ANSWER_TIMEOUT_S = 120.0

Filter = Mapping[str, str]
"""Attribute to value; all must match. `*` is a wildcard."""

Options = Mapping[str, str | int | bool | None]
"""Option to value, without the dash: True prints a bare flag, None and False nothing."""


class SvcShell:
    """Runs commands on one array."""

    def __init__(self, runner: Runner, *, pause: Callable[[float], object] = time.sleep) -> None:
        self._runner = runner
        self._pause = pause

    @property
    def address(self) -> str:
        """Where the array answers."""
        return self._runner.address

    def close(self) -> None:
        """Let the array go."""
        self._runner.close()

    def ask(self, verb: str, object_: str | None = None, options: Options | None = None) -> str:
        """Run one command and return what it printed.

        Args:
            verb: its name, `mkfcmap`.
            object_: id or name of the object it is about, which SVC wants last.
            options: its options.

        Raises:
            SvcError: refused, with its code; or one of the kinds of `blocks.errors`.
            SvcBusy: still busy after three tries.
            LoginRefused: the array closed its door (CMMVC7017E): session limit or bad login.
        """
        line = spell(verb, options or {}, object_)
        for _ in range(BUSY_TRIES - 1):
            done = self._runner.run(line, timeout_s=ANSWER_TIMEOUT_S)
            if done.status != BUSY_STATUS:
                return self._answer(done, line)
            self._pause(BUSY_PAUSE_S)
        return self._answer(self._runner.run(line, timeout_s=ANSWER_TIMEOUT_S), line)

    def rows(self, verb: str, *, filtervalue: Filter | None = None, **more: bool) -> list[Record]:
        """List objects: the concise view."""
        terms = ":".join(f"{name}={value}" for name, value in (filtervalue or {}).items())
        return self.rows_of(verb, None, {"filtervalue": terms or None, **more})

    def rows_of(
        self, verb: str, object_: str | None, options: Options | None = None
    ) -> list[Record]:
        """List what belongs to one object, for commands that answer with rows even then."""
        return parse_concise(self.ask(verb, object_, {**(options or {}), "delim": DELIMITER}))

    def detail(self, verb: str, object_: str | None, **more: bool) -> Record:
        """Show one object: the detailed view."""
        return parse_detail(self.ask(verb, object_, {**more, "delim": DELIMITER}))

    def _answer(self, done: Completed, line: str) -> str:
        shown = redact(line)
        codes = parse_codes(f"{done.stderr}\n{done.stdout}")
        if LOGIN_FAILED in codes:
            raise LoginRefused(
                f"{self.address}: {LOGIN_FAILED}: the array refused the session",
                hint="Check the user on the array, and that its 32 sessions are not used up.",
            )
        warnings = [code for code in codes if code.endswith("W")]
        errors = [code for code in codes if code.endswith("E")]
        if warnings and not errors and done.status != BUSY_STATUS:
            # The action was done, whatever the exit status says.
            said = " ".join(f"{done.stderr} {done.stdout}".split())
            log.warning("%s: %s: %s", self.address, shown, said)
            return done.stdout
        if done.status == 0 and not _is_refusal(done):
            return done.stdout
        if done.status < 0:
            raise SvcAnswerError(f"{self.address}: '{shown}' ended without a status", command=shown)
        error = error_for(done.status, errors, done.stderr.strip() or done.stdout, shown)
        if isinstance(error, SvcBusy):
            error.hint = f"It was asked {BUSY_TRIES} times; the run is retried."
        raise error


def _is_refusal(done: Completed) -> bool:
    """Some refusals come with status 0: an error code alone on stderr, or opening stdout."""
    told = done.stderr.strip() or done.stdout.strip()
    codes = parse_codes(told.split("\n", 1)[0])
    return bool(codes) and codes[0].endswith("E") and told.startswith(codes[0])


def spell(verb: str, options: Options, object_: str | None = None) -> str:
    """Spell a command line as it is sent: options first, the object last, quoted."""
    words = [verb]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"-{name}")
        if value is not True:
            words.append(str(value))
    if object_ is not None:
        words.append(object_)
    return shlex.join(words)
