"""Who is at the other end, and who we are: host keys pinned or known, private keys read.

Pure but for reading `known_hosts`. Used by `ssh`, which connects.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from pathlib import Path

import paramiko

from blocks.errors import ConfigError, LoginRefused, UnknownHostKey

_KEY_CLASSES: tuple[type[paramiko.PKey], ...] = (
    paramiko.Ed25519Key,
    paramiko.ECDSAKey,
    paramiko.RSAKey,
)


def fingerprint(key_bytes: bytes) -> str:
    """Print a public key's fingerprint as OpenSSH does: `SHA256:…`."""
    digest = base64.b64encode(hashlib.sha256(key_bytes).digest()).decode()
    return "SHA256:" + digest.rstrip("=")


def parse_pins(text: str) -> list[tuple[str, str]]:
    """Read pinned host keys: lines of `ssh-ed25519 AAAA…` or `SHA256:…`.

    Returns:
        Pairs of (key type, fingerprint); the type is empty when only a fingerprint is pinned.

    Raises:
        ConfigError: a line is neither.
    """
    pins = []
    for line in text.replace(",", "\n").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 1 and words[0].startswith("SHA256:"):
            pins.append(("", words[0].rstrip("=")))
            continue
        try:
            kind, encoded = words[0], words[1]
            key_bytes = base64.b64decode(encoded, validate=True)
        except (IndexError, binascii.Error, ValueError) as error:
            raise ConfigError(
                f"'{line.strip()[:60]}' is not a host key",
                hint="Write it like 'ssh-ed25519 AAAA…' (ssh-keyscan prints it) or 'SHA256:…'.",
            ) from error
        if key_bytes[4 : 4 + len(kind)] != kind.encode():
            raise ConfigError(f"the host key is not of the type '{kind}' it claims")
        pins.append((kind, fingerprint(key_bytes)))
    return pins


def known_pins(path: Path | None, address: str, port: int) -> list[tuple[str, str]]:
    """Look an address up in a known_hosts file; a missing file knows nobody."""
    if path is None or not path.expanduser().is_file():
        return []
    keys = paramiko.HostKeys()
    try:
        keys.load(str(path.expanduser()))
    except (OSError, paramiko.SSHException, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    name = address if port == 22 else f"[{address}]:{port}"
    found = keys.lookup(name)
    if found is None:
        return []
    return [(kind, fingerprint(key.asbytes())) for kind, key in found.items()]


def check_host_key(
    key: paramiko.PKey,
    pins: list[tuple[str, str]],
    *,
    address: str,
    port: int,
    registered_as: str = "",
) -> None:
    """Accept the key a machine showed, or refuse with what an operator needs to decide.

    Args:
        key: what the machine showed.
        pins: what it may show, from `parse_pins` and `known_pins`.
        address: where it was shown.
        port: the same.
        registered_as: `storage_system storage1`, to name the command that accepts the key.

    Raises:
        UnknownHostKey: nothing is pinned, or something else.
    """
    shown = fingerprint(key.asbytes())
    if any(pin == shown for _, pin in pins):
        return
    line = f"{key.get_name()} {key.get_base64()}"
    accept = (
        f"flashvault modify {registered_as} HOST_KEY='{line}'"
        if registered_as
        else f"ssh-keyscan -p {port} {address} >> ~/.ssh/known_hosts"
    )
    where = f"{address}:{port}"
    if not pins:
        raise UnknownHostKey(
            f"the host key of {where} is not known yet: {key.get_name()} {shown}",
            hint=f"Compare the fingerprint with the machine's console; if it is the same: {accept}",
        )
    expected = ", ".join(pin for _, pin in pins)
    raise UnknownHostKey(
        f"the host key of {where} is {key.get_name()} {shown}, but pinned is {expected}",
        hint="Either the machine was reinstalled or someone is in between. Compare with the "
        f"machine's console; only if it is the same: {accept}",
    )


def read_private_key(text: str, passphrase: str | None = None) -> paramiko.PKey:
    """Read an ed25519, ECDSA or RSA private key from its text (OpenSSH or PEM).

    Raises:
        LoginRefused: it is none of them, or the passphrase does not open it.
    """
    cause: Exception | None = None
    for key_class in _KEY_CLASSES:
        try:
            return key_class.from_private_key(io.StringIO(text), password=passphrase)
        except paramiko.PasswordRequiredException as error:
            raise LoginRefused(
                "the private key is protected by a passphrase",
                hint="Give a key without a passphrase, or the passphrase with it.",
            ) from error
        # A key of another class fails in many ways, all of them meaning "not mine".
        except (paramiko.SSHException, ValueError, TypeError, IndexError, EOFError) as error:
            cause = error
    raise LoginRefused(
        "the private key cannot be read", hint="It must be ed25519, ECDSA or RSA, OpenSSH or PEM."
    ) from cause
