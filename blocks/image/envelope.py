"""Sealing a few bytes to a public key: anyone can close the envelope, one key opens it.

X25519 with a fresh ephemeral key, HKDF-SHA256, AES-256-GCM: the construction of RFC 9180 (HPKE) in
its PSK mode, written with the primitives of the `cryptography` package because that package offers
no PSK mode. Used twice: `keys` seals the repository key to its recipients, `cipher` seals the data
key of every object to the repository key.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blocks.errors import WrongKey

KEY_BYTES = 32
TAG_BYTES = 16
OVERHEAD_BYTES = 32 + TAG_BYTES
"""How much longer an envelope is than what it holds: the ephemeral public key and the tag."""

_ONE_USE_NONCE = bytes(12)
"""Every envelope has its own ephemeral key, so its AES key seals exactly one message."""


def derive(secret: bytes, label: str, *, salt: bytes = b"", context: bytes = b"") -> bytes:
    """Derive 32 bytes for one purpose (HKDF-SHA256, RFC 5869); labels never repeat."""
    info = b"flashvault v1 " + label.encode() + b"\0" + context
    return HKDF(SHA256(), KEY_BYTES, salt or None, info).derive(secret)


def public_key_of(private_key: bytes) -> bytes:
    """Return the X25519 public key (RFC 7748) of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def seal_to(
    public_key: bytes, plain: bytes, context: bytes, *, shared_secret: bytes = b""
) -> bytes:
    """Close an envelope.

    Args:
        public_key: 32 bytes, X25519.
        plain: what to seal; short.
        context: what the envelope is for; it opens only with the same context.
        shared_secret: known to both sides. With it, only who knows it can make envelopes that open:
            a bucket's owner sees the public key and must not be able to slip in data of his own.

    Returns:
        The ephemeral public key, then the sealed bytes: `OVERHEAD_BYTES` more than `plain`.
    """
    ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(KEY_BYTES))
    share = ephemeral.public_key().public_bytes_raw()
    exchanged = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    key = derive(exchanged, "envelope", salt=shared_secret, context=share + public_key)
    return share + AESGCM(key).encrypt(_ONE_USE_NONCE, plain, context)


def open_with(
    private_key: bytes, sealed: bytes, context: bytes, *, shared_secret: bytes = b""
) -> bytes:
    """Open an envelope.

    Raises:
        WrongKey: the key, the context or the shared secret is another, or the bytes are damaged:
            by design nobody can tell these apart.
    """
    share, box = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    private = X25519PrivateKey.from_private_bytes(private_key)
    try:
        exchanged = private.exchange(X25519PublicKey.from_public_bytes(share))
        public_key = private.public_key().public_bytes_raw()
        key = derive(exchanged, "envelope", salt=shared_secret, context=share + public_key)
        return AESGCM(key).decrypt(_ONE_USE_NONCE, box, context)
    except (InvalidTag, ValueError) as error:  # ValueError: a share that is no X25519 point
        raise WrongKey("the envelope does not open with this key") from error
