"""Runs a script: pipelines, conditions, loops; programs are found by a lookup.

docs/reference/svc-cli.md §1: the array's shell is a restricted bash, and what people type at it is
`lsvdisk -nohdr | while read id name rest; do …; done`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import re
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

from deployments.lab.shell import builtins
from deployments.lab.shell.arithmetic import ArithmeticFault, compute
from deployments.lab.shell.builtins import Jump
from deployments.lab.shell.conditions import verdict
from deployments.lab.shell.grammar import parse
from deployments.lab.shell.reading import SyntaxFault
from deployments.lab.shell.scope import Scope
from deployments.lab.shell.streams import Io, Lookup, Sink
from deployments.lab.shell.tree import (
    Assignment,
    Case,
    Command,
    Compute,
    Condition,
    Count,
    For,
    Function,
    Group,
    If,
    Loop,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Text,
)
from deployments.lab.shell.words import BadSubstitution, Expander

SPOOL_BYTES = 16 * 1024 * 1024
DEPTH_LIMIT = 60
STEP_LIMIT = 200_000


class Fault(Exception):
    """A command that cannot be run ends with this message and status 1."""


def run_line(
    line: str,
    lookup: Lookup,
    streams: Io,
    *,
    name: str = "rbash",
    has_file: Callable[[str], bool] = lambda path: False,
) -> int:
    """Run a command line and return its exit status.

    Args:
        line: what was sent.
        lookup: finds a program by the name typed, None when there is none.
        streams: standard streams and variables.
        name: what the shell calls itself in its messages.
        has_file: says what `[ -e PATH ]` and its like find.
    """
    try:
        script = parse(line)
    except (SyntaxFault, RecursionError) as fault:
        streams.complain(f"{name}: -c: line 0: {fault}\n")
        return 2
    shell = Shell(Scope(streams.variables, name=name, has_file=has_file), lookup)
    try:
        return shell.run(script, streams)
    except Jump as jump:
        return jump.status


def is_unfinished(text: str) -> bool:
    """Say whether more lines must come before this is a command."""
    try:
        parse(text)
    except SyntaxFault as fault:
        return "unexpected end of file" in str(fault) or "unexpected EOF" in str(fault)
    except RecursionError:
        return False
    return False


class Shell:
    """One shell: a scope, and the programs it finds."""

    def __init__(self, scope: Scope, lookup: Lookup) -> None:
        self.scope = scope
        self.lookup = lookup
        self._depth = 0
        self._steps = 0
        self._is_condition = 0

    def run(self, script: Script, streams: Io) -> int:
        """Run the steps of a script."""
        status = 0
        for place, (joint, pipeline) in enumerate(script.steps):
            if (joint == "&&" and status) or (joint == "||" and not status):
                continue
            is_last = place + 1 == len(script.steps) or script.steps[place + 1][0] == ";"
            self._is_condition += not is_last
            try:
                status = self._pipeline(pipeline, streams)
            finally:
                self._is_condition -= not is_last
            self.scope.variables["?"] = str(status)
            if status and self.scope.ends_at_error and not self._is_condition and is_last:
                raise Jump("exit", status)
        return status

    def _ask(self, script: Script, streams: Io) -> bool:
        """Run a script for its status; `set -e` does not count in it."""
        self._is_condition += 1
        try:
            return self.run(script, streams) == 0
        finally:
            self._is_condition -= 1

    def _pipeline(self, pipeline: Pipeline, streams: Io) -> int:
        status = 0
        source: BinaryIO = streams.stdin
        many = len(pipeline.commands) > 1
        with contextlib.ExitStack() as pipes:
            for place, command in enumerate(pipeline.commands):
                target: Sink = streams.stdout
                between = None
                if place < len(pipeline.commands) - 1:
                    between = pipes.enter_context(tempfile.SpooledTemporaryFile(SPOOL_BYTES))
                    target = between
                own = Io(source, target, streams.stderr, streams.variables)
                status = self._apart(command, own) if many else self._command(command, own)
                if between is not None:
                    between.seek(0)
                    source = between  # type: ignore[assignment]
        return int(not status) if pipeline.is_negated else status

    def _subshell(self) -> Shell:
        shell = Shell(self.scope.copy(), self.lookup)
        shell._depth, shell._is_condition = self._depth, self._is_condition
        return shell

    def _apart(self, command: Command, streams: Io) -> int:
        """Run a command in a subshell: what it sets, nobody else sees."""
        shell = self._subshell()
        own = Io(streams.stdin, streams.stdout, streams.stderr, shell.scope.variables)
        try:
            return shell._command(command, own)
        except Jump as jump:
            return jump.status

    def capture(self, script: Script, streams: Io) -> bytes:
        """Run a script in a subshell and return what it printed."""
        told = io.BytesIO()
        group = Command(Group(script, is_subshell=True))
        status = self._apart(group, Io(streams.stdin, told, streams.stderr))
        self.scope.variables["?"] = str(status)
        return told.getvalue()

    def _command(self, command: Command, streams: Io) -> int:
        self._steps += 1
        if self._depth >= DEPTH_LIMIT or self._steps > STEP_LIMIT:
            streams.complain(f"{self.scope.name}: too many steps\n")
            raise Jump("exit", 1)
        own = Io(streams.stdin, streams.stdout, streams.stderr, streams.variables)
        self._depth += 1
        try:
            for redirect in command.redirects:
                self._redirect(redirect, own)
            return self._run(command, own)
        except (Fault, ArithmeticFault, BadSubstitution, re.error) as fault:
            streams.complain(f"{self.scope.name}: {fault}\n")
            return 1
        finally:
            self._depth -= 1

    def _run(self, command: Command, streams: Io) -> int:
        what = command.what
        runners: dict[type, Callable[[Any, Io], int]] = {
            Simple: self._simple,
            Loop: self._loop,
            For: self._for,
            Count: self._count,
            If: self._if,
            Case: self._case,
            Group: self._group,
            Function: self._define,
            Compute: self._compute,
            Condition: self._condition,
        }
        return runners[type(what)](what, streams)

    def expander(self, streams: Io) -> Expander:
        """Return what expands words here."""
        return Expander(self.scope, lambda script: self.capture(script, streams))

    # Compound commands

    def _group(self, group: Group, streams: Io) -> int:
        if not group.is_subshell:
            return self.run(group.body, streams)
        shell = self._subshell()
        try:
            return shell.run(group.body, streams)
        except Jump as jump:
            return jump.status

    def _define(self, function: Function, streams: Io) -> int:
        self.scope.functions[function.name] = function.body
        return 0

    def _compute(self, command: Compute, streams: Io) -> int:
        return int(compute(self.expander(streams).text(command.text), self.scope) == 0)

    def _loop(self, loop: Loop, streams: Io) -> int:
        status = 0
        while self._ask(loop.condition, streams) != loop.is_until:
            status, ends = self._body(loop.body, streams)
            if ends:
                break
        return status

    def _for(self, loop: For, streams: Io) -> int:
        words = self.scope.arguments if loop.words is None else None
        status = 0
        for text in words if words is not None else self.expander(streams).fields(loop.words or ()):
            self.scope.assign(loop.name, text)
            status, ends = self._body(loop.body, streams)
            if ends:
                break
        return status

    def _count(self, loop: Count, streams: Io) -> int:
        expander = self.expander(streams)
        compute(expander.text(loop.start), self.scope)
        status = 0
        while True:
            condition = expander.text(loop.condition)
            if condition.strip() and not compute(condition, self.scope):
                return status
            status, ends = self._body(loop.body, streams)
            if ends:
                return status
            compute(expander.text(loop.step), self.scope)

    def _body(self, body: Script, streams: Io) -> tuple[int, bool]:
        """Run a loop's body once; return its status, and whether the loop is over."""
        try:
            return self.run(body, streams), False
        except Jump as jump:
            if jump.kind not in {"break", "continue"}:
                raise
            if jump.status > 1:
                raise Jump(jump.kind, jump.status - 1) from None
            return 0, jump.kind == "break"

    def _if(self, choice: If, streams: Io) -> int:
        for condition, body in choice.branches:
            if self._ask(condition, streams):
                return self.run(body, streams)
        return self.run(choice.otherwise, streams) if choice.otherwise else 0

    def _case(self, choice: Case, streams: Io) -> int:
        expander = self.expander(streams)
        subject = expander.text(choice.word)
        for patterns, body in choice.branches:
            if any(fnmatch.fnmatchcase(subject, expander.pattern(word)) for word in patterns):
                return self.run(body, streams)
        return 0

    def _condition(self, condition: Condition, streams: Io) -> int:
        expander = self.expander(streams)
        words: list[str] = []
        after = ""
        for word in condition.words:
            is_operator = len(word) == 1 and isinstance(word[0], Text) and not word[0].is_quoted
            if after in {"==", "=", "!="}:
                words.append(expander.pattern(word))
            elif after == "=~":
                words.append(expander.regex(word))
            else:
                words.append(expander.text(word))
            after = words[-1] if is_operator else ""
        return verdict(words, self.scope, is_extended=True)

    # Simple commands

    def _simple(self, command: Simple, streams: Io) -> int:
        expander = self.expander(streams)
        words = expander.fields(command.words)
        if not words:
            self.scope.variables["?"] = "0"
            for assignment in command.assignments:
                self._assign(assignment, expander)
            return int(self.scope.variables["?"])
        kept = {each.name: self.scope.variables.get(each.name) for each in command.assignments}
        for assignment in command.assignments:
            self._assign(assignment, expander)
        try:
            return self._call(words, streams)
        finally:
            for name, before in kept.items():
                if before is None:
                    self.scope.variables.pop(name, None)
                else:
                    self.scope.variables[name] = before

    def _assign(self, assignment: Assignment, expander: Expander) -> None:
        if assignment.words is not None:
            texts = expander.fields(assignment.words)
            self.scope.assign_all(assignment.name, texts, is_added=assignment.is_added)
            return
        name = assignment.name
        if assignment.index is not None:
            name += f"[{expander.text(assignment.index)}]"
        text = expander.text(assignment.value)
        if assignment.is_added:
            text = self.scope.look_up(name) + text
        self.scope.assign(name, text)

    def _call(self, words: list[str], streams: Io) -> int:
        name = words[0]
        if name in self.scope.functions:
            return self._function(words, streams)
        if name in builtins.BUILTINS:
            return builtins.BUILTINS[name](self, words, streams)
        program = self.lookup(name)
        if program is None:
            streams.complain(f"{self.scope.name}: {name}: command not found\n")
            return 127
        own = dict(self.scope.variables)
        return program(words, Io(streams.stdin, streams.stdout, streams.stderr, own))

    def _function(self, words: list[str], streams: Io) -> int:
        kept, self.scope.arguments = self.scope.arguments, words[1:]
        try:
            return self._command(self.scope.functions[words[0]], streams)
        except Jump as jump:
            if jump.kind != "return":
                raise
            return jump.status
        finally:
            self.scope.arguments = kept

    def _redirect(self, redirect: Redirect, streams: Io) -> None:
        """Apply a redirection; only /dev/null and the other stream exist here."""
        operator, target = redirect.operator, self.expander(streams).text(redirect.target)
        if operator == "<<<":
            streams.stdin = io.BytesIO(f"{target}\n".encode())
        elif operator in {">&", "1>&", "2>&"} and target in {"1", "2"}:
            other = streams.stdout if target == "1" else streams.stderr
            if operator == "2>&":
                streams.stderr = other
            else:
                streams.stdout = other
        elif target != "/dev/null":
            raise Fault(f"{target}: restricted: cannot redirect output")
        elif operator in {"<", "0<"}:
            streams.stdin = io.BytesIO()
        elif operator.startswith("2"):
            streams.stderr = io.BytesIO()
        else:
            streams.stdout = io.BytesIO()
            if operator in {"&>", ">&"}:
                streams.stderr = io.BytesIO()
