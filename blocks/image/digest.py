"""Digests of extents and of whole maps, as docs/reference/format.md §3 defines them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import blake3

Algorithm = Literal["blake3", "blake3-keyed", "sha256"]
Buffer = bytes | bytearray | memoryview

DIGEST_BYTES = 32


class Hash(Protocol):
    """A running digest."""

    def update(self, data: Buffer, /) -> object:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the digest of what was added."""


@dataclass(frozen=True)
class Digester:
    """Makes 32-byte digests with one algorithm and, when keyed, one key."""

    algorithm: Algorithm = "blake3"
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        assert (self.key is not None) == (self.algorithm == "blake3-keyed")

    def new(self) -> Hash:
        """Begin a running digest."""
        if self.algorithm == "sha256":
            return hashlib.sha256()
        return blake3.blake3(b"", key=self.key) if self.key else blake3.blake3()

    def of(self, data: Buffer) -> bytes:
        """Return the digest of one buffer. Lets go of the interpreter lock while it works."""
        if self.algorithm == "sha256":
            return hashlib.sha256(data).digest()
        if self.key is None:
            return blake3.blake3(data).digest()
        return blake3.blake3(data, key=self.key).digest()

    def of_zeros(self, length: int) -> bytes:
        """Return the digest of `length` zero bytes."""
        return self.of(bytes(length))


def maps_digest(map_digests: Sequence[str]) -> str:
    """Return the digest over the maps of all volumes, in order (docs/reference/format.md §6)."""
    return Digester().of(b"".join(bytes.fromhex(digest) for digest in map_digests)).hex()
