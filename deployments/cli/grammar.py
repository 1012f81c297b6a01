"""clmgr's grammar: VERB CLASS [NAME] [ATTRIBUTE=value …]. Pure.

Verbs, classes and attribute names are case-insensitive and have clmgr's short forms; object names
are not and have none (docs/reference/powerha-cbm.md §2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from blocks.errors import ConfigError
from blocks.profile.base import did_you_mean

VERB_FORMS = {
    "add": ("a", "create", "make", "mk"),
    "query": ("q", "ls", "list", "show", "get"),
    "modify": ("mod", "ch", "change", "set"),
    "delete": ("del", "rm", "remove", "er"),
}

CLASS_FORMS = {
    "cluster": ("cl",),
    "storage_system": ("storage_systems", "storage", "sts", "ss"),
    "node": ("nodes", "no"),
    "bucket": ("buckets", "bu"),
    "backup_profile": ("backup_profiles", "profile", "profiles", "bp"),
    "backup_files": ("backup_file", "files", "bf"),
    "restore_points": ("restore_point", "points", "rp"),
    "runs": ("run",),
}

CHANGEABLE = ("storage_system", "node", "bucket", "backup_profile")

_ASSIGNMENT = re.compile(r"^([A-Za-z][A-Za-z0-9_-]*)=(.*)$", re.DOTALL)
_VALUED = frozenset("ad")
_ROOT_OPTIONS = ("--version", "--help", "-h", "--install-completion", "--show-completion")


@dataclass(frozen=True, slots=True)
class Request:
    """One command, understood. `attributes` keep the order typed, with names in upper case."""

    verb: str
    kind: str
    name: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def verb_of(word: str) -> str:
    """Return the verb a word means, or the word itself in lower case."""
    lower = word.lower()
    for verb, forms in VERB_FORMS.items():
        if lower == verb or lower in forms:
            return verb
    return lower


def class_of(word: str, verb: str) -> str:
    """Return the class a word means.

    Raises:
        ConfigError: there is none, or the verb has nothing to do with it.
    """
    lower = word.lower().replace("-", "_")
    found = [kind for kind, forms in CLASS_FORMS.items() if lower == kind or lower in forms]
    known = known_classes(verb)
    if not found:
        hint = f"Classes: {', '.join(known)}."
        raise ConfigError(f"'{word}' is no class{did_you_mean(lower, known)}", hint=hint)
    if found[0] not in known:
        raise ConfigError(f"cannot {verb} {found[0]}", hint=f"{verb} knows {', '.join(known)}.")
    return found[0]


def known_classes(verb: str) -> tuple[str, ...]:
    """Return the classes a verb knows."""
    match verb:
        case "query":
            return tuple(CLASS_FORMS)
        case "modify":
            return ("cluster", *CHANGEABLE)
        case _:
            return CHANGEABLE


def understand(verb: str, words: Sequence[str]) -> Request:
    """Read the words after a verb.

    Raises:
        ConfigError: what cannot be understood, and how to write it.
    """
    if not words:
        classes = ", ".join(known_classes(verb))
        raise ConfigError(f"{verb} what?", hint=f"flashvault {verb} CLASS …; classes: {classes}.")
    if _ASSIGNMENT.match(words[0]):
        raise ConfigError(
            f"the class is missing before '{words[0]}'",
            hint=f"Write: flashvault {verb} backup_profile RG1 {words[0]}",
        )
    kind = class_of(words[0], verb)
    name, attributes = "", {}
    for word in _joined(words[1:]):
        match = _ASSIGNMENT.match(word)
        if match:
            label = match[1].upper().replace("-", "_")
            if label in attributes:
                raise ConfigError(f"{label} is given twice")
            attributes[label] = match[2].strip()
        elif word.startswith("="):
            raise ConfigError(f"'{word}' has no attribute name", hint="Write ATTRIBUTE=value.")
        elif name or attributes:
            raise ConfigError(
                f"do not understand '{word}'",
                hint="Attributes are written ATTRIBUTE=value; a value with blanks needs quotes.",
            )
        else:
            name = word
    return Request(verb, kind, name, attributes)


def _joined(words: Iterable[str]) -> list[str]:
    """Join a list typed with blanks, as IBM prints it: `STORAGE_NAME=storage1, storage2`."""
    joined: list[str] = []
    for word in words:
        previous = joined[-1] if joined else ""
        goes_on = previous.endswith(",") or word.startswith(",")
        if "=" in previous and goes_on and not _ASSIGNMENT.match(word):
            joined[-1] = previous + word
        else:
            joined.append(word)
    return joined


def rearrange(arguments: Sequence[str]) -> list[str]:
    """Put the verb first, spelled in full.

    clmgr takes its options before the verb (`clmgr -cSa ENABLE_BACKUP query …`); ours come after.
    """
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        option = arguments[at]
        if option in _ROOT_OPTIONS:
            return list(arguments)
        bundle = not option.startswith("--")
        takes_next = option in {"--attributes", "--delimiter", "--config"} or (
            bundle and option[-1] in _VALUED and not set(option[1:-1]) & _VALUED
        )
        at += 2 if takes_next else 1
    if at >= len(arguments):
        return list(arguments)
    return [verb_of(arguments[at]), *arguments[:at], *arguments[at + 1 :]]
