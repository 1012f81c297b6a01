"""The lab's secrets: SSH keys of every machine and of the user, passwords. Made once per lab."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Keys:
    """The directory `<lab>/keys`; every file in it is readable by its owner only."""

    directory: Path

    def key_file(self, name: str) -> Path:
        """Return the file of a private ed25519 key, made if missing, with its `.pub` beside it."""
        path = self.directory / name
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            public = key.public_key().public_bytes(
                serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            )
            self._write(path.with_name(f"{name}.pub"), public + b"\n")
            self._write(path, private)
        return path

    def public(self, name: str) -> str:
        """Return a key's public half, as `ssh-ed25519 AAAA…`."""
        return self.key_file(name).with_name(f"{name}.pub").read_text().strip()

    def private(self, name: str) -> paramiko.PKey:
        """Return a key as paramiko uses it."""
        return paramiko.Ed25519Key.from_private_key_file(str(self.key_file(name)))

    def secret(self, name: str) -> str:
        """Return a random word, made if missing."""
        path = self.directory / f"{name}.secret"
        if not path.exists():
            self._write(path, secrets.token_urlsafe(24).encode())
        return path.read_text()

    def fernet(self, name: str) -> str:
        """Return a Fernet key, made if missing."""
        path = self.directory / f"{name}.fernet"
        if not path.exists():
            self._write(path, Fernet.generate_key())
        return path.read_text()

    def _write(self, path: Path, content: bytes) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
