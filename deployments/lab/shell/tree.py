"""What a command line is made of."""

from __future__ import annotations

from dataclasses import dataclass

# Words -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """Characters as typed."""

    text: str
    is_quoted: bool = False


@dataclass(frozen=True)
class Variable:
    """`$name`, `${name[index]}`, `${#name}`, `${name%pattern}`.

    `operator` is what follows the name, with its operand still to be expanded.
    """

    name: str
    is_quoted: bool = False
    index: Word | None = None
    operator: str = ""
    operand: Word = ()
    is_length: bool = False


@dataclass(frozen=True)
class Substitution:
    """`$(…)` or `` `…` ``: what a script prints."""

    script: Script
    is_quoted: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """`$((…))`."""

    text: Word
    is_quoted: bool = False


Part = Text | Variable | Substitution | Arithmetic
Word = tuple[Part, ...]

# Commands --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Redirect:
    """`2>/dev/null`, `2>&1`, `<<< word`."""

    operator: str
    target: Word = ()


@dataclass(frozen=True)
class Assignment:
    """`name=word`, `name[index]=word`, `name+=word`, `name=(words)`."""

    name: str
    value: Word
    index: Word | None = None
    words: tuple[Word, ...] | None = None
    is_added: bool = False


@dataclass(frozen=True)
class Simple:
    """Assignments, then a program with its arguments."""

    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Loop:
    """`while` and `until`."""

    condition: Script
    body: Script
    is_until: bool


@dataclass(frozen=True)
class For:
    """`for name in words`; None stands for the arguments."""

    name: str
    words: tuple[Word, ...] | None
    body: Script


@dataclass(frozen=True)
class Count:
    """`for ((start; condition; step))`."""

    start: Word
    condition: Word
    step: Word
    body: Script


@dataclass(frozen=True)
class If:
    """`if`, every `elif`, and what is left."""

    branches: tuple[tuple[Script, Script], ...]
    otherwise: Script | None


@dataclass(frozen=True)
class Case:
    """`case word in pattern) … ;; esac`."""

    word: Word
    branches: tuple[tuple[tuple[Word, ...], Script], ...]


@dataclass(frozen=True)
class Group:
    """`{ …; }`, or `( … )` with variables of its own."""

    body: Script
    is_subshell: bool


@dataclass(frozen=True)
class Function:
    """`name () { …; }`."""

    name: str
    body: Command


@dataclass(frozen=True)
class Compute:
    """`(( … ))`."""

    text: Word


@dataclass(frozen=True)
class Condition:
    """`[[ … ]]`: words, and operators as words of one unquoted text."""

    words: tuple[Word, ...]


@dataclass(frozen=True)
class Command:
    """Anything that can be run, with its redirections."""

    what: Simple | Loop | For | Count | If | Case | Group | Function | Compute | Condition
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """Commands joined by `|`."""

    commands: tuple[Command, ...]
    is_negated: bool = False


@dataclass(frozen=True)
class Script:
    """Pipelines, each with the operator before it: `;`, `&&` or `||`."""

    steps: tuple[tuple[str, Pipeline], ...]
