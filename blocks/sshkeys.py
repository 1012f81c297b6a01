"""Read private keys, given as text or as a file."""

from __future__ import annotations

from pathlib import Path

from blocks.errors import ConfigError


def private_key(text: str, path: str) -> str | None:
    """Return the text of a private key: the one given, else the file's, else none."""
    return text or (read_key_file(path) if path else None)


def read_key_file(path: str) -> str:
    """Read a private key.

    Raises:
        ConfigError: it is not there, or not ours to read.
    """
    try:
        return Path(path).expanduser().read_text()
    except OSError as error:
        raise ConfigError(
            f"cannot read the key file {path}: {error.strerror}",
            hint="Check KEY_FILE, and that this user may read it.",
        ) from error
