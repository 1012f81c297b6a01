"""How a secret comes in: by prompt, environment or file. Never as text on the command line.

    PASSWORD=-                asked for on the terminal, or read from standard input
    PASSWORD=@/path/to/file   the file's content
    PASSWORD=env:NAME         the environment variable's value

and without being mentioned, from FLASHVAULT_<ATTRIBUTE>_<OBJECT>, such as
FLASHVAULT_SECRET_KEY_PHA_BUCKET. Each goes into the object's Prefect block and nowhere else.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from blocks.errors import ConfigError

FIELDS: dict[str, dict[str, str]] = {
    "storage_system": {"PASSWORD": "password", "PRIVATE_KEY": "private_key"},
    "node": {"PASSWORD": "password", "PRIVATE_KEY": "private_key"},
    "bucket": {
        "ACCESS_KEY": "access_key",
        "SECRET_KEY": "secret_key",
        "API_KEY": "api_key",
        "CUSTOMER_KEY": "customer_key",
        "PASSPHRASE": "passphrase",
        "PRIVATE_KEY": "private_key",
    },
}
"""By class: the attribute's name, and its field in the Prefect block."""

PUBLIC = frozenset({"ACCESS_KEY"})
"""Identifiers that may be typed: half of a pair, useless alone."""


def variable(label: str, name: str) -> str:
    """Return the environment variable that holds an object's secret.

    Runs read it by the same rule: `tasks.open.secret_of`.
    """
    plain = "".join(letter if letter.isalnum() else "_" for letter in name).upper()
    return f"FLASHVAULT_{label}_{plain}"


def split(kind: str, attributes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Part what goes into the file from what goes into the block: (attributes, secrets)."""
    known = FIELDS.get(kind, {})
    plain = {label: text for label, text in attributes.items() if label not in known}
    return plain, {label: text for label, text in attributes.items() if label in known}


def collect(kind: str, name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Read the secrets of an object: those given, and those the environment holds.

    Returns:
        The values by the block's field names.

    Raises:
        ConfigError: a secret was typed in full, or cannot be read.
    """
    found = {}
    for label, block_field in FIELDS.get(kind, {}).items():
        if label in given:
            found[block_field] = _read(label, given[label])
        elif value := os.environ.get(variable(label, name)):
            found[block_field] = value
    return found


def _read(label: str, text: str) -> str:
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        try:
            value = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "") or "it is not text"
            raise ConfigError(f"{label}: cannot read {path}: {reason}") from error
        # A private key needs its last line's end; a password must not have one.
        return value if "\n" in value.strip() else value.strip()
    if text.startswith("env:"):
        held = os.environ.get(text[4:])
        if held is None:
            raise ConfigError(f"{label}: there is no environment variable {text[4:]}")
        return held
    if text == "-":
        if sys.stdin.isatty():
            return getpass.getpass(f"{label}: ")
        return sys.stdin.readline().rstrip("\n")
    if text and label not in PUBLIC:
        raise ConfigError(
            f"{label}: a secret on the command line is seen by everyone on this machine",
            hint=f"Write {label}=- to be asked, {label}=@FILE, or {label}=env:VARIABLE.",
        )
    return text
