"""The words of a script: quotes, variables, `$(…)`. `grammar` reads what they are part of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployments.lab.shell.tree import (
    Arithmetic,
    Part,
    Script,
    Substitution,
    Text,
    Variable,
    Word,
)

RESERVED = re.compile(
    r"(while|until|for|if|then|elif|else|fi|do|done|case|esac|in|function|\{|\}|!|\[\[)"
    r"(?=[\s;&|()<>]|$)"
)
PARAMETER = re.compile(r"([A-Za-z_]\w*|\d+|[?#@*$!-])(?:\[([^]]*)\])?")
OPERATOR = re.compile(r":?[-=+?]|##?|%%?|//?|:")
METACHARACTERS = " \t\n;&|()<>"
END_OF_FILE = "syntax error: unexpected end of file"


class SyntaxFault(Exception):
    """The line is not a command line."""


class WordReader:
    """A text and a place in it; `script`, which `$(…)` needs, is `grammar`'s."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at

    def script(self, *ends: str) -> Script:
        """Read a script up to one of these words or operators."""
        raise NotImplementedError

    def inner(self, text: str) -> Script:
        """Read a script that is a text of its own."""
        raise NotImplementedError

    # Small steps

    def unexpected(self) -> SyntaxFault:
        """Name what stands here."""
        self.skip()
        rest = self.text[self.at :]
        if not rest:
            return SyntaxFault(END_OF_FILE)
        if rest[0] == "\n":
            return SyntaxFault("syntax error near unexpected token `newline'")
        token = re.match(r"&&|\|\||;;|[;&|()<>]|[^\s;&|()<>]+", rest)
        return SyntaxFault(f"syntax error near unexpected token `{token and token.group()}'")

    def skip(self, *, lines: bool = False) -> None:
        """Pass blanks, comments, and line ends where they mean nothing."""
        blanks = " \t\n" if lines else " \t"
        while self.at < len(self.text):
            if self.text[self.at] in blanks:
                self.at += 1
            elif self.text.startswith("\\\n", self.at):
                self.at += 2
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def takes(self, token: str) -> bool:
        """Take an operator, if it is the one that stands here."""
        self.skip()
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True

    def reserved(self) -> str:
        """Return the reserved word that stands here, if any."""
        self.skip()
        found = RESERVED.match(self.text, self.at)
        return found.group(1) if found else ""

    def wants(self, word: str) -> None:
        """Take a reserved word or an operator that must stand here."""
        self.skip(lines=True)
        if word.isalpha() or word in {"{", "}"}:
            if self.reserved() != word:
                raise self.unexpected()
            self.at += len(word)
        elif not self.takes(word):
            raise self.unexpected()

    # Words

    def word(self, allowed: str = "") -> Word | None:
        """Take a word, if one stands here."""
        self.skip()
        parts: list[Part] = []
        is_there = False
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in METACHARACTERS and char not in allowed:
                break
            is_there = True
            for part in self.piece(char):
                _append(parts, part)
        return tuple(parts) if is_there else None

    def piece(self, char: str) -> Iterator[Part]:
        """Take one character, escape, variable or quoted run."""
        self.at += 1
        if char == "'":
            yield self._single("'")
        elif char == '"':
            yield Text("", is_quoted=True)  # "" is a word too
            yield from self.quoted('"')
        elif char == "\\":
            if not self.text.startswith("\n", self.at):
                yield Text(self.text[self.at : self.at + 1], is_quoted=True)
            self.at += 1
        elif char == "$":
            yield self._dollar(is_quoted=False)
        elif char == "`":
            yield self._backticks(is_quoted=False)
        else:
            yield Text(char)

    def _single(self, quote: str) -> Text:
        end = self.text.find(quote, self.at)
        if end < 0:
            raise SyntaxFault(f"unexpected EOF while looking for matching `{quote}'")
        text, self.at = self.text[self.at : end], end + 1
        return Text(text, is_quoted=True)

    def quoted(self, end: str) -> Iterator[Part]:
        """Read up to a closing quote (or the end): variables count, nothing else does."""
        text = ""
        while self.at < len(self.text) and (not end or self.text[self.at] != end):
            char = self.text[self.at]
            self.at += 1
            if char == "\\" and self.text[self.at : self.at + 1] in {'"', "\\", "$", "`"}:
                text += self.text[self.at]
                self.at += 1
            elif char in "$`":
                yield Text(text, is_quoted=True)
                text = ""
                read = self._dollar if char == "$" else self._backticks
                yield read(is_quoted=True)
            else:
                text += char
        if end and self.at >= len(self.text):
            raise SyntaxFault(f"unexpected EOF while looking for matching `{end}'")
        self.at += len(end)
        yield Text(text, is_quoted=True)

    def _backticks(self, *, is_quoted: bool) -> Substitution:
        found = re.compile(r"((?:[^`\\]|\\.)*)`", re.DOTALL).match(self.text, self.at)
        if not found:
            raise SyntaxFault("unexpected EOF while looking for matching ``'")
        self.at = found.end()
        return Substitution(self.inner(re.sub(r"\\([`\\$])", r"\1", found.group(1))), is_quoted)

    def _dollar(self, *, is_quoted: bool) -> Part:
        if self.text.startswith("((", self.at):
            return Arithmetic(self.computed(), is_quoted)
        if self.text.startswith("(", self.at):
            self.at += 1
            script = self.script(")")
            if not self.takes(")"):
                raise SyntaxFault("unexpected EOF while looking for matching `)'")
            return Substitution(script, is_quoted)
        if self.text.startswith("{", self.at):
            return self._parameter(is_quoted=is_quoted)
        if self.text.startswith("'", self.at) and not is_quoted:
            self.at += 1
            text = self._single("'").text
            return Text(re.sub(r"\\([nt\\'])", _escaped, text), is_quoted=True)
        found = re.compile(r"[A-Za-z_]\w*|\d|[?#@*$!-]").match(self.text, self.at)
        if not found:
            return Text("$", is_quoted)
        self.at = found.end()
        return Variable(found.group(), is_quoted)

    def _parameter(self, *, is_quoted: bool) -> Variable:
        end = self._closing_brace()
        inside, self.at = self.text[self.at + 1 : end], end + 1
        is_length = len(inside) > 1 and inside[0] == "#"
        found = PARAMETER.match(inside, int(is_length))
        if not found:
            raise SyntaxFault(f"${{{inside}}}: bad substitution")
        name, index = found.groups()
        rest = inside[found.end() :]
        operator = OPERATOR.match(rest)
        if rest and (operator is None or is_length):
            raise SyntaxFault(f"${{{inside}}}: bad substitution")
        sign = operator.group() if operator else ""
        return Variable(
            name,
            is_quoted,
            None if index is None else self.within(index),
            sign,
            self.operand(rest[len(sign) :]),
            is_length,
        )

    def _closing_brace(self) -> int:
        depth, at = 0, self.at
        while at < len(self.text):
            char = self.text[at]
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth == 0:
                return at
            at += 2 if char == "\\" else 1
        raise SyntaxFault("unexpected EOF while looking for matching `}'")

    def raw_computed(self) -> str:
        """Take `((…))` and return what is between."""
        depth, start = 0, self.at + 2
        for at in range(self.at, len(self.text)):
            depth += {"(": 1, ")": -1}.get(self.text[at], 0)
            if depth == 0:
                self.at = at + 1
                return self.text[start : at - 1]
        raise SyntaxFault(END_OF_FILE)

    def computed(self) -> Word:
        """Take `((…))`, its variables still to be expanded."""
        return self.within(self.raw_computed())

    def within(self, text: str) -> Word:
        """Read a text as if it stood in double quotes: variables count, blanks do not divide."""
        return tuple(type(self)(text).quoted(""))

    def operand(self, text: str) -> Word:
        """Read what follows an operator in braces: quotes count, blanks are text."""
        reader, parts = type(self)(text), list[Part]()
        while reader.at < len(text):
            parts += reader.piece(text[reader.at])
        return tuple(parts)


def _escaped(found: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(found.group(1), found.group(1))


def _append(parts: list[Part], part: Part) -> None:
    """Add a part; text goes on with the text before it."""
    last = parts[-1] if parts else None
    if isinstance(part, Text) and isinstance(last, Text) and part.is_quoted == last.is_quoted:
        parts[-1] = Text(last.text + part.text, part.is_quoted)
    else:
        parts.append(part)
