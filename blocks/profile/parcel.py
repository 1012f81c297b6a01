"""The configuration as text that fits into Prefect variables, which hold 5,000 characters each.

A short one stays readable XML. A longer one is compressed and cut into numbered pieces; a reader
that meets pieces of two versions notices and says so.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable

from blocks.errors import ConfigError

PIECE = 4500
_MARK = "flashvault-parcel"


def pack(data: bytes) -> list[str]:
    """Return the document as one text, or as pieces of which the first says how many there are."""
    text = data.decode()
    # JSON writes a quote and a line's end as two characters, and others as six.
    if text.isascii() and len(text) + text.count('"') + text.count("\n") <= PIECE:
        return [text]
    body = base64.b64encode(zlib.compress(data, 9)).decode()
    cut = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return [f"{_MARK} {digest} {number} {len(cut)} {piece}" for number, piece in enumerate(cut)]


def unpack(first: str, fetch: Callable[[int], str | None]) -> bytes:
    """Put a document together again.

    Args:
        first: the first text.
        fetch: returns the piece of a number, from 1 on; None if there is none.

    Raises:
        ConfigError: a piece is missing, or is of another version: somebody is writing it now.
    """
    if not first.startswith(_MARK):
        return first.encode()
    _, digest, _, count, piece = first.split(" ")
    pieces = [piece]
    for number in range(1, int(count)):
        words = (fetch(number) or "").split(" ")
        if words[:3] != [_MARK, digest, str(number)]:
            raise ConfigError(
                "the configuration in Prefect is incomplete",
                hint="Run `flashvault apply` again, then try once more.",
            )
        pieces.append(words[4])
    body = "".join(pieces)
    if hashlib.sha256(body.encode()).hexdigest()[:16] != digest:
        raise ConfigError("the configuration in Prefect is damaged", hint="Run `flashvault apply`.")
    return zlib.decompress(base64.b64decode(body))
