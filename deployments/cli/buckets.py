"""Which bucket a plumbing command means, and with which key its keyring opens."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from blocks.errors import ConfigError
from blocks.image.keys import Identity
from blocks.image.keywords import parse_private_key
from blocks.store.base import Store
from blocks.store.clients import BucketSettings, open_store, parse_bucket_url
from blocks.store.kms import open_kms

BucketUrl = Annotated[
    str,
    typer.Option("--bucket", help="s3://bucket/prefix, cos://bucket/prefix; the rest from AWS_…."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Its first line is the passphrase; else $FLASHVAULT_PASSPHRASE, or asked."),
]
PrivateKeyFile = Annotated[
    Path | None, typer.Option(help="A private key made by `key new`; else $FLASHVAULT_PRIVATE_KEY.")
]
KmsRegion = Annotated[str, typer.Option(help="The AWS region of a KMS recipient's key.")]


def settings_of(url: str) -> BucketSettings:
    """Read a bucket's URL; what it does not say comes from the environment."""
    return parse_bucket_url(url)


def store_of(url: str) -> Store:
    """Open the store at a URL."""
    return open_store(parse_bucket_url(url))


def identity_of(
    passphrase_file: Path | None, private_key_file: Path | None, kms_region: str = ""
) -> Identity:
    """Gather every secret given; ask for a passphrase if there is none and a person to ask.

    Raises:
        ConfigError: a file cannot be read, or nothing was given.
    """
    private_text = _secret(private_key_file, "FLASHVAULT_PRIVATE_KEY")
    passphrase = _secret(passphrase_file, "FLASHVAULT_PASSPHRASE")
    if not (passphrase or private_text or kms_region):
        passphrase = ask_passphrase()
    return Identity(
        private_key=parse_private_key(private_text) if private_text else None,
        passphrase=passphrase or None,
        kms=open_kms(kms_region) if kms_region else None,
    )


def read_passphrase(file: Path | None, *, twice: bool = False) -> str:
    """Read a passphrase from a file, the environment, or the terminal."""
    return _secret(file, "FLASHVAULT_PASSPHRASE") or ask_passphrase(twice=twice)


def ask_passphrase(*, twice: bool = False) -> str:
    """Ask at the terminal.

    Raises:
        ConfigError: nobody is there to ask, or the two answers differ.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "no passphrase",
            hint="Give --passphrase-file, set FLASHVAULT_PASSPHRASE, or use a terminal.",
        )
    passphrase = getpass.getpass("Passphrase: ")
    if twice and getpass.getpass("Again: ") != passphrase:
        raise ConfigError("the two passphrases differ")
    return passphrase


def _secret(file: Path | None, variable: str) -> str:
    if file is None:
        return os.environ.get(variable, "")
    try:
        return file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
