"""What a shell remembers: variables, arrays, functions, arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.lab.shell.arithmetic import compute
from deployments.lab.shell.tree import Command

DEFAULT_IFS = " \t\n"


@dataclass
class Scope:
    """Variables are shared with the session they came from; a subshell has a copy."""

    variables: dict[str, str]
    arrays: dict[str, dict[int, str]] = field(default_factory=dict)
    functions: dict[str, Command] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    name: str = "rbash"
    ends_at_error: bool = False
    has_file: Callable[[str], bool] = lambda path: False
    """Says whether the machine has something at a path, for `[ -e … ]` and its like."""

    def copy(self) -> Scope:
        """Make a subshell's own."""
        return Scope(
            dict(self.variables),
            {name: dict(array) for name, array in self.arrays.items()},
            dict(self.functions),
            list(self.arguments),
            self.name,
            self.ends_at_error,
            self.has_file,
        )

    @property
    def ifs(self) -> str:
        """What divides fields."""
        return self.variables.get("IFS", DEFAULT_IFS)

    def look_up(self, name: str) -> str:
        """Return a variable, parameter or array element; empty when there is none."""
        bare, bracket, rest = name.partition("[")
        if bracket:
            return self.array(bare).get(self._place(rest[:-1]), "")
        if bare.isdecimal():
            number = int(bare)
            known = [self.name, *self.arguments]
            return known[number] if number < len(known) else ""
        if bare == "#":
            return str(len(self.arguments))
        if bare in {"@", "*"}:
            return " ".join(self.arguments)
        if bare in {"$", "!"}:
            return "1" if bare == "$" else ""
        if bare in self.arrays:
            return self.arrays[bare].get(0, "")
        return self.variables.get(bare, "")

    def knows(self, name: str) -> bool:
        """Say whether a variable is set."""
        if name.isdecimal():
            return int(name) <= len(self.arguments)
        return name in self.variables or name in self.arrays or name in "#@*?$"

    def array(self, name: str) -> dict[int, str]:
        """Return an array's elements; a plain variable is an array of one."""
        if name in self.arrays:
            return self.arrays[name]
        return {0: self.variables[name]} if name in self.variables else {}

    def assign(self, name: str, text: str) -> None:
        """Set a variable or an array's element."""
        bare, bracket, rest = name.partition("[")
        if bracket or bare in self.arrays:
            place = self._place(rest[:-1]) if bracket else 0
            if bare not in self.arrays:
                self.arrays[bare] = self.array(bare)
                self.variables.pop(bare, None)
            self.arrays[bare][place] = text
        else:
            self.variables[bare] = text

    def assign_all(self, name: str, texts: list[str], *, is_added: bool = False) -> None:
        """Set an array, or lengthen it."""
        known = self.array(name) if is_added else {}
        first = max(known, default=-1) + 1
        self.variables.pop(name, None)
        self.arrays[name] = {**known, **dict(enumerate(texts, start=first))}

    def forget(self, name: str) -> None:
        """Unset a variable, array, array element or function."""
        bare, bracket, rest = name.partition("[")
        if bracket:
            self.arrays.get(bare, {}).pop(self._place(rest[:-1]), None)
            return
        for kind in (self.variables, self.arrays, self.functions):
            kind.pop(bare, None)

    def _place(self, text: str) -> int:
        return compute(text, self)
