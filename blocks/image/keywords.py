"""Keys as one word that can be typed, read aloud, and checks itself."""

from __future__ import annotations

import base64
import binascii
import hashlib

from blocks.errors import ConfigError

_KEY_BYTES = 32
_PUBLIC_PREFIX = "fv-public-"
_PRIVATE_PREFIX = "fv-private-"


def format_public_key(key: bytes) -> str:
    """Write a public key as one word that can be typed and checks itself."""
    return _PUBLIC_PREFIX + _word(key)


def format_private_key(key: bytes) -> str:
    """Write a private key as one word that can be typed and checks itself."""
    return _PRIVATE_PREFIX + _word(key)


def parse_public_key(text: str) -> bytes:
    """Read a public key written by `format_public_key`; `ConfigError` if it is none."""
    return _parse_word(text, _PUBLIC_PREFIX, "public")


def parse_private_key(text: str) -> bytes:
    """Read a private key written by `format_private_key`; `ConfigError` if it is none."""
    return _parse_word(text, _PRIVATE_PREFIX, "private")


def _word(key: bytes) -> str:
    checked = key + hashlib.sha256(key).digest()[:4]
    return base64.b32encode(checked).decode().rstrip("=").lower()


def _parse_word(text: str, prefix: str, what: str) -> bytes:
    word = text.strip()
    if word.startswith(prefix):
        letters = word[len(prefix) :].upper()
        try:
            checked = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except binascii.Error:
            checked = b""
        key = checked[:_KEY_BYTES]
        if len(checked) == _KEY_BYTES + 4 and hashlib.sha256(key).digest()[:4] == checked[-4:]:
            return key
    raise ConfigError(f"not a {what} key", hint=f"It begins with {prefix} and is one word.")
