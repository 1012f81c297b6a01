"""A line of text, read as a script. Recursive descent over the characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployments.lab.shell.reading import METACHARACTERS, SyntaxFault, WordReader
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
    Word,
)

REDIRECT = re.compile(r"(\d?)(<<<|<<|>>|>&|<&|&>|>\||<|>)")
NAME = re.compile(r"[A-Za-z_]\w*")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[([^]]*)\])?(\+?)=")


def parse(text: str) -> Script:
    """Read a whole text.

    Raises:
        SyntaxFault: it is no script.
    """
    reader = Reader(text)
    script = reader.script()
    if reader.at < len(text):
        raise reader.unexpected()
    return script


class Reader(WordReader):
    """Reads commands."""

    def inner(self, text: str) -> Script:
        """Read a script that is a text of its own."""
        return parse(text)

    # Scripts

    def script(self, *ends: str) -> Script:
        """Read steps until one of these reserved words or operators, which stays."""
        steps: list[tuple[str, Pipeline]] = []
        joint = ";"
        while True:
            self.skip(lines=True)
            if self._is_at(ends):
                if joint in {"&&", "||"}:
                    raise self.unexpected()
                return Script(tuple(steps))
            steps.append((joint, self._pipeline()))
            self.skip()
            joint = next((op for op in ("&&", "||") if self.takes(op)), "")
            if joint or self._is_at(ends):
                joint = joint or ";"
            elif self.at < len(self.text):
                if self.text.startswith(";;", self.at) or self.text[self.at] not in ";&\n":
                    raise self.unexpected()
                self.at += 1
                joint = ";"

    def _is_at(self, ends: tuple[str, ...]) -> bool:
        self.skip()
        if self.at >= len(self.text):
            return True
        operators = [end for end in ends if not end.isalpha() and end != "}"]
        return self.reserved() in ends or any(self.text.startswith(op, self.at) for op in operators)

    def _pipeline(self) -> Pipeline:
        is_negated = False
        while self.reserved() == "!":
            self.at += 1
            is_negated = not is_negated
        commands = [self._command()]
        while not self.text.startswith("||", self.at) and self.takes("|"):
            self.takes("&")
            self.skip(lines=True)
            commands.append(self._command())
            self.skip()
        return Pipeline(tuple(commands), is_negated)

    def _command(self) -> Command:
        self.skip()
        compound = self._compound()
        if compound is None:
            return self._simple()
        redirects = tuple(iter(self._redirect, None))
        self.skip()
        return Command(compound, redirects)

    # Compound commands

    def _compound(
        self,
    ) -> Loop | For | Count | If | Case | Group | Function | Compute | Condition | None:
        word = self.reserved()
        if self.text.startswith("((", self.at):
            return Compute(self.computed())
        if self.takes("("):
            body = self._body(")")
            return Group(body, is_subshell=True)
        if named := re.compile(r"([A-Za-z_]\w*)[ \t]*\([ \t]*\)").match(self.text, self.at):
            self.at = named.end()
            return self._function(named.group(1))
        readers = {
            "while": self._loop,
            "until": self._loop,
            "for": self._for,
            "if": self._if,
            "case": self._case,
            "{": self._braces,
            "[[": self._condition,
            "function": self._named_function,
        }
        if word in readers:
            self.at += len(word)
            return readers[word](word)
        if word:
            raise self.unexpected()
        return None

    def _body(self, end: str, *more: str) -> Script:
        """Read a script that must not be empty, and the word that ends it."""
        script = self.script(end, *more)
        if not script.steps:
            raise self.unexpected()
        if not more:
            self.wants(end)
        return script

    def _loop(self, word: str) -> Loop:
        condition = self._body("do")
        return Loop(condition, self._body("done"), word == "until")

    def _for(self, word: str) -> For | Count:
        self.skip()
        if self.text.startswith("((", self.at):
            parts = self.raw_computed().split(";")
            if len(parts) != 3:
                raise SyntaxFault("syntax error: arithmetic expression required")
            self.takes(";")
            self.wants("do")
            start, condition, step = map(self.within, parts)
            return Count(start, condition, step, self._body("done"))
        name = NAME.match(self.text, self.at)
        if not name:
            raise self.unexpected()
        self.at = name.end()
        self.skip(lines=True)
        words = None
        if self.reserved() == "in":
            self.at += 2
            words = tuple(iter(self.word, None))
        self.takes(";")
        self.wants("do")
        return For(name.group(), words, self._body("done"))

    def _if(self, word: str) -> If:
        branches = []
        otherwise = None
        while True:
            condition = self._body("then")
            branches.append((condition, self._body("fi", "elif", "else")))
            next_word = self.reserved()
            if next_word == "elif":
                self.at += 4
                continue
            if next_word == "else":
                self.at += 4
                otherwise = self._body("fi")
            else:
                self.wants("fi")
            return If(tuple(branches), otherwise)

    def _case(self, word: str) -> Case:
        subject = self.word()
        if subject is None:
            raise self.unexpected()
        self.wants("in")
        branches: list[tuple[tuple[Word, ...], Script]] = []
        while True:
            self.skip(lines=True)
            if self.reserved() == "esac":
                self.at += 4
                return Case(subject, tuple(branches))
            self.takes("(")
            patterns = []
            while True:
                pattern = self.word()
                if pattern is None:
                    raise self.unexpected()
                patterns.append(pattern)
                if not self.takes("|"):
                    break
            self.wants(")")
            branches.append((tuple(patterns), self.script("esac", ";;")))
            self.takes(";;")

    def _braces(self, word: str) -> Group:
        return Group(self._body("}"), is_subshell=False)

    def _named_function(self, word: str) -> Function:
        self.skip()
        name = NAME.match(self.text, self.at)
        if not name:
            raise self.unexpected()
        self.at = name.end()
        if self.takes("("):
            self.wants(")")
        return self._function(name.group())

    def _function(self, name: str) -> Function:
        self.skip(lines=True)
        body = self._compound()
        if body is None:
            raise self.unexpected()
        return Function(name, Command(body))

    def _condition(self, word: str) -> Condition:
        words: list[Word] = []
        while True:
            self.skip(lines=True)
            if self.text.startswith("]]", self.at):
                self.at += 2
                return Condition(tuple(words))
            operator = re.compile(r"&&|\|\||[()<>]").match(self.text, self.at)
            if operator:
                self.at = operator.end()
                words.append((Text(operator.group()),))
                continue
            is_pattern = bool(words) and words[-1] == (Text("=~"),)
            found = self.word(allowed="()|" if is_pattern else "")
            if found is None:
                raise self.unexpected()
            words.append(found)

    # Simple commands

    def _simple(self) -> Command:
        assignments: list[Assignment] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while True:
            self.skip()
            redirect = self._redirect()
            if redirect is not None:
                redirects.append(redirect)
                continue
            found = ASSIGNMENT.match(self.text, self.at)
            if found and not words:
                self.at = found.end()
                assignments.append(self._assignment(found))
                continue
            word = self.word()
            if word is None:
                break
            words.append(word)
        if not (assignments or words or redirects):
            raise self.unexpected()
        return Command(Simple(tuple(assignments), tuple(words)), tuple(redirects))

    def _assignment(self, found: re.Match[str]) -> Assignment:
        name, index, plus = found.groups()
        words = None
        value: Word = ()
        if self.text.startswith("(", self.at):
            self.at += 1
            words = tuple(self._listed())
        elif self.at < len(self.text) and self.text[self.at] not in METACHARACTERS:
            value = self.word() or ()
        place = None if index is None else self.within(index)
        return Assignment(name, value, place, words, bool(plus))

    def _listed(self) -> Iterator[Word]:
        while True:
            self.skip(lines=True)
            if self.takes(")"):
                return
            word = self.word()
            if word is None:
                raise self.unexpected()
            yield word

    def _redirect(self) -> Redirect | None:
        self.skip()
        found = REDIRECT.match(self.text, self.at)
        if not found:
            return None
        self.at = found.end()
        if found.group(2) == "<<":
            raise SyntaxFault("syntax error near unexpected token `<<'")
        target = self.word()
        if target is None:
            raise self.unexpected()
        return Redirect(found.group(), target)
