"""`flashvault key`: who can restore, and who can only back up."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from blocks.catalog.keyring import check_keyrings, load_keyring, save_keyring
from blocks.errors import ConfigError, CorruptData, WrongKey
from blocks.image import envelope, keys
from blocks.image.keyring import Keyring, Role
from blocks.image.keywords import format_private_key, format_public_key, parse_public_key
from blocks.store.base import Store
from blocks.store.kms import open_kms
from deployments.cli.buckets import (
    BucketUrl,
    KmsRegion,
    PassphraseFile,
    PrivateKeyFile,
    identity_of,
    read_passphrase,
    store_of,
)
from deployments.cli.output import out, print_json, reported_errors

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Readers = Annotated[
    list[str] | None, typer.Option("--reader", help="NAME=WHAT: may restore. Repeatable.")
]
Writers = Annotated[
    list[str] | None, typer.Option("--writer", help="NAME=WHAT: may only back up. Repeatable.")
]

key = typer.Typer(no_args_is_help=True, help="Keys of ENCRYPTION=CLIENT: who can read a bucket.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(key, name="key", rich_help_panel="Safety")


@key.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where the private key is written, mode 0600.")],
    as_json: Json = False,
) -> None:
    """Make a key pair for a person or a host; prints the public key.

    Examples:
        flashvault key new /etc/flashvault/host.key
    """
    with reported_errors(as_json=as_json):
        private_key = keys.new_private_key()
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ConfigError(f"{file} cannot be created: {error.strerror}") from error
        with os.fdopen(handle, "w") as target:
            target.write(format_private_key(private_key) + "\n")
        public = format_public_key(envelope.public_key_of(private_key))
        if as_json:
            print_json({"ok": True, "file": str(file), "public_key": public})
        else:
            out().print(public)


@key.command()
def init(
    bucket: BucketUrl,
    reader: Readers = None,
    writer: Writers = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Only the recipients given may read.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    kms_region: KmsRegion = "",
    as_json: Json = False,
) -> None:
    """Make the bucket's repository key and seal it for its first recipients.

    A recovery passphrase is asked for unless --no-passphrase is given: write it down, and keep it
    away from the machines it protects. Without any reader's key the backups cannot be read, by
    anyone, ever. WHAT is a public key made by `key new` (fv-public-…), passphrase:FILE, or
    kms:KEY for a key of AWS KMS.

    Examples:
        flashvault key init --bucket s3://pha-bucket --writer node1=fv-public-…
    """
    with reported_errors(as_json=as_json):
        store = store_of(bucket)
        if check_keyrings(store):
            raise ConfigError(
                f"{store.url} has a keyring already", hint="Use `flashvault key add` or `rotate`."
            )
        recipients = [
            *(_named(text, Role.READER, kms_region) for text in reader or []),
            *(_named(text, Role.WRITER, kms_region) for text in writer or []),
        ]
        if not no_passphrase:
            text = read_passphrase(passphrase_file, twice=True)
            recipients.append(keys.PassphraseRecipient("recovery", Role.READER, text))
        keyring, _ = keys.create_keyring(recipients, now=datetime.now(UTC))
        save_keyring(store, keyring)
        _show(store, keyring, as_json, "Set KEY_ID in every profile of this bucket to this key.")


@key.command("list")
def list_recipients(bucket: BucketUrl, as_json: Json = False) -> None:
    """List the recipients of the newest keyring. Needs no key."""
    with reported_errors(as_json=as_json):
        store = store_of(bucket)
        _show(store, load_keyring(store), as_json)


@key.command()
def add(
    bucket: BucketUrl,
    name: Annotated[str, typer.Argument(help="What the recipient is called.")],
    what: Annotated[str, typer.Argument(help="fv-public-…, passphrase:FILE or kms:KEY.")],
    role: Annotated[Role, typer.Option(help="May restore, or only back up.")] = Role.READER,
    kms_region: KmsRegion = "",
    passphrase_file: PassphraseFile = None,
    private_key_file: PrivateKeyFile = None,
    as_json: Json = False,
) -> None:
    """Let someone else read, or a host write. Needs a reader's key.

    Examples:
        flashvault key add --bucket s3://pha-bucket node2 fv-public-… --role writer
    """
    with reported_errors(as_json=as_json):
        recipient = _recipient(name, what, role, kms_region)
        store = store_of(bucket)
        keyring = load_keyring(store)
        identity = identity_of(passphrase_file, private_key_file, kms_region)
        opened = keys.open_keyring(keyring, identity)
        changed = keys.add_recipient(keyring, opened, recipient, now=datetime.now(UTC))
        save_keyring(store, changed)
        _show(store, changed, as_json)


@key.command()
def remove(
    bucket: BucketUrl,
    name: Annotated[str, typer.Argument(help="The recipient's name or id.")],
    kms_region: KmsRegion = "",
    passphrase_file: PassphraseFile = None,
    private_key_file: PrivateKeyFile = None,
    as_json: Json = False,
) -> None:
    """Take a recipient off the keyring. Needs a reader's key.

    What it could read before it can still read, if it kept a copy of the keyring: use
    `key rotate --new-key` as well when it must not read what is written from now on.
    """
    with reported_errors(as_json=as_json):
        store = store_of(bucket)
        keyring = load_keyring(store)
        identity = identity_of(passphrase_file, private_key_file, kms_region)
        opened = keys.open_keyring(keyring, identity)
        changed = keys.remove_recipient(keyring, opened, name)
        save_keyring(store, changed)
        _show(store, changed, as_json)


@key.command()
def rotate(
    bucket: BucketUrl,
    new_key: Annotated[
        bool,
        typer.Option("--new-key", help="Also a new repository key; the next backup is a full."),
    ] = False,
    kms_region: KmsRegion = "",
    passphrase_file: PassphraseFile = None,
    private_key_file: PrivateKeyFile = None,
    as_json: Json = False,
) -> None:
    """Seal the repository key anew for all its recipients. Needs a reader's key."""
    with reported_errors(as_json=as_json):
        store = store_of(bucket)
        keyring = load_keyring(store)
        identity = identity_of(passphrase_file, private_key_file, kms_region)
        opened = keys.open_keyring(keyring, identity)
        changed, _ = keys.rotate(
            keyring, opened, now=datetime.now(UTC), with_new_key=new_key, kms=identity.kms
        )
        save_keyring(store, changed)
        note = "Set KEY_ID in every profile of this bucket to the new key." if new_key else ""
        _show(store, changed, as_json, note)


@key.command()
def check(
    bucket: BucketUrl,
    open_it: Annotated[
        bool,
        typer.Option(
            "--open", help="Also open it; done anyway where a passphrase or key file is named."
        ),
    ] = False,
    key_id: Annotated[str, typer.Option(help="The profile's KEY_ID, to compare with.")] = "",
    kms_region: KmsRegion = "",
    passphrase_file: PassphraseFile = None,
    private_key_file: PrivateKeyFile = None,
    as_json: Json = False,
) -> None:
    """Read every copy of the keyring; with a passphrase or key, see that it opens the newest."""
    with reported_errors(as_json=as_json):
        store = store_of(bucket)
        copies = check_keyrings(store)
        if not copies:
            raise WrongKey(
                f"{store.url} has no keyring",
                hint="Is it the right bucket and prefix? If its keyring was deleted, bring a"
                " version or a copy of keyring/ back: without it nothing encrypted can be read.",
            )
        role = ""
        if any(not copy.fault for copy in copies) and (
            open_it or passphrase_file or private_key_file or key_id
        ):
            identity = identity_of(passphrase_file, private_key_file, kms_region)
            opened = keys.open_keyring(load_keyring(store), identity, pinned_key_id=key_id)
            role = "reader" if opened.can_read else "writer"
        if as_json:
            listed = [
                {"key": copy.key, "generation": copy.generation, "fault": copy.fault}
                for copy in copies
            ]
            faults = [copy for copy in copies if copy.fault]
            print_json({"ok": not faults, "copies": listed, "opened_as": role})
        else:
            for copy in copies:
                state = "[red]" + copy.fault.replace("[", "\\[") + "[/]" if copy.fault else "whole"
                out().print(f"{copy.key}  {state}")
            if role:
                out().print(f"opened as {role}")
        newest = [copy for copy in copies if copy.generation == copies[0].generation]
        if any(copy.fault for copy in newest):
            is_lost = all(copy.fault for copy in copies)
            raise CorruptData(
                "no copy of the keyring is whole"
                if is_lost
                else "the newest keyring is not whole twice",
                hint="Bring a version or a copy of keyring/ back: without it nothing that is"
                " encrypted can be read."
                if is_lost
                else "Run `flashvault key rotate`: it writes two new copies.",
            )


def _named(text: str, role: Role, kms_region: str) -> keys.NewRecipient:
    name, separator, what = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"'{text}' is not NAME=WHAT", hint="For example node1=fv-public-…")
    return _recipient(name, what, role, kms_region)


def _recipient(name: str, what: str, role: Role, kms_region: str) -> keys.NewRecipient:
    kind, _, rest = what.partition(":")
    if kind == "kms" and rest:
        return keys.KmsRecipient(name, role, rest, open_kms(kms_region))
    if kind == "passphrase" and rest:
        return keys.PassphraseRecipient(name, role, read_passphrase(Path(rest)))
    return keys.PublicKeyRecipient(name, role, parse_public_key(what))


def _show(store: Store, keyring: Keyring, as_json: bool, note: str = "") -> None:
    recipients = [
        {
            "name": each.name,
            "id": each.id,
            "role": each.role.value,
            "kind": each.kind.value,
            "added_at": each.added_at.isoformat(),
        }
        for each in keyring.recipients
    ]
    if as_json:
        document = {"ok": True, "key_id": keyring.key_id, "generation": keyring.generation}
        print_json({**document, "bucket": store.url, "recipients": recipients})
        return
    console = out()
    console.print(f"KEY_ID {keyring.key_id}  generation {keyring.generation}  {store.url}")
    for each in recipients:
        console.print(f"  {each['name']:20} {each['role']:7} {each['kind']:11} {each['id']}")
    if note:
        console.print(note)
