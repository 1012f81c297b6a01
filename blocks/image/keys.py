"""The repository key, and who may use it.

A repository has one key pair. Whoever writes needs only its public half, so a backup host cannot
read what it wrote; whoever restores needs the private half. Both also need the *writer secret*,
from which the keys of digests and metadata come (see `cipher`). A `Keyring` holds both, sealed for
any number of recipients: a reader's envelope holds everything, a writer's no private key.

A recipient is an X25519 public key, a passphrase (scrypt makes the private key from it, so a new
envelope needs the passphrase no more), or a key in a KMS. `docs/reference/keyring.md` specifies
the document; `blocks.catalog.keyring` stores it.
"""

from __future__ import annotations

import base64
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from blocks.errors import ConfigError, CorruptData, Refused, WrongKey
from blocks.image import envelope
from blocks.image.keyring import (
    DAMAGED,
    EpochRecord,
    Keyring,
    Recipient,
    RecipientKind,
    Role,
    ScryptCost,
    decode_base64,
    endorsed_bytes,
    key_id_of,
    signed_bytes,
)

PASSPHRASE_CHARACTERS_MIN = 12


class Kms(Protocol):
    """A key service that seals and opens up to 4 KiB with a key that never leaves it."""

    def encrypt(self, kms_key_id: str, plain: bytes, context: dict[str, str]) -> bytes:
        """Seal with a key of the service."""

    def decrypt(self, kms_key_id: str, sealed: bytes, context: dict[str, str]) -> bytes:
        """Open; `WrongKey` if the service says it is not its key or not this context."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One repository key with its secrets; `private_key` only for a reader. Never printed."""

    key_id: str
    public_key: bytes
    writer_secret: bytes
    private_key: bytes | None = None

    def __repr__(self) -> str:
        role = "writer" if self.private_key is None else "reader"
        return f"Epoch(key_id={self.key_id!r}, {role})"


@dataclass(frozen=True, slots=True)
class RepositoryKey:
    """What an opened keyring gives: every epoch, newest last."""

    epochs: tuple[Epoch, ...]

    @property
    def current(self) -> Epoch:
        """The epoch new images are written with."""
        return self.epochs[-1]

    @property
    def key_id(self) -> str:
        """The id of the current epoch."""
        return self.current.key_id

    @property
    def can_read(self) -> bool:
        """Whether images can be decrypted with it."""
        return self.current.private_key is not None

    def epoch(self, key_id: str) -> Epoch:
        """Return the epoch of an id found in an image.

        Raises:
            WrongKey: the keyring has no such key.
        """
        for epoch in self.epochs:
            if epoch.key_id == key_id:
                return epoch
        known = ", ".join(epoch.key_id for epoch in self.epochs)
        raise WrongKey(
            f"key {key_id} is not in the keyring (it has {known})",
            hint="The image belongs to another repository, or the keyring is an older copy.",
        )


@dataclass(frozen=True, slots=True)
class PublicKeyRecipient:
    """Someone whose X25519 public key is known."""

    name: str
    role: Role
    public_key: bytes


@dataclass(frozen=True, slots=True)
class PassphraseRecipient:
    """Whoever knows the passphrase."""

    name: str
    role: Role
    passphrase: str
    cost: ScryptCost = field(default_factory=ScryptCost)

    def __repr__(self) -> str:
        return f"PassphraseRecipient({self.name!r}, {self.role.value})"


@dataclass(frozen=True, slots=True)
class KmsRecipient:
    """Whoever may use a key of a KMS."""

    name: str
    role: Role
    kms_key_id: str
    kms: Kms


NewRecipient = PublicKeyRecipient | PassphraseRecipient | KmsRecipient


@dataclass(frozen=True, slots=True)
class Identity:
    """What someone who opens a keyring brings; whatever is given is tried."""

    private_key: bytes | None = None
    passphrase: str | None = None
    kms: Kms | None = None

    def __repr__(self) -> str:
        given = [name for name in ("private_key", "passphrase", "kms") if getattr(self, name)]
        return " and ".join(given).replace("_", " ") or "nothing"


def new_private_key() -> bytes:
    """Make an X25519 private key for a recipient."""
    return os.urandom(envelope.KEY_BYTES)


def create_keyring(
    recipients: Sequence[NewRecipient], *, now: datetime
) -> tuple[Keyring, RepositoryKey]:
    """Make a repository key and seal it for its first recipients.

    Raises:
        Refused: nobody could read.
        ConfigError: a passphrase is too short, or two recipients have one name.
    """
    secret, record = _new_epoch(now)
    key = RepositoryKey((secret,))
    records = tuple(_enrol(new, key, now) for new in recipients)
    return _signed(1, (record,), records, key), key


def open_keyring(keyring: Keyring, identity: Identity, *, pinned_key_id: str = "") -> RepositoryKey:
    """Open the keyring with whatever the identity brings; a reader's envelope is preferred.

    Args:
        keyring: a parsed document.
        identity: private key, passphrase, KMS, or several.
        pinned_key_id: the profile's KEY_ID. Without it a bucket's owner could put a keyring of
            his own in place, and every later backup would be sealed for him.

    Raises:
        WrongKey: nothing given opens it, or it is not the pinned keyring.
    """
    if pinned_key_id and pinned_key_id not in {epoch.key_id for epoch in keyring.epochs}:
        raise WrongKey(
            f"the bucket's keyring is {keyring.key_id}, the profile wants {pinned_key_id}",
            hint="Someone put another keyring in the bucket, or KEY_ID is wrong. Do not back up.",
        )
    readers_first = sorted(keyring.recipients, key=lambda recipient: recipient.role)
    for recipient in readers_first:
        opened = _open_envelope(recipient, identity)
        if opened is not None:
            return _unpack(keyring, opened)
    names = ", ".join(f"{r.name} ({r.kind.value}, {r.role.value})" for r in keyring.recipients)
    raise WrongKey(
        f"keyring {keyring.key_id} generation {keyring.generation} does not open: tried "
        f"{identity}, its recipients are {names}",
        hint="Give the passphrase or private key of one of these. Without any, the data is lost.",
    )


def add_recipient(
    keyring: Keyring, key: RepositoryKey, new: NewRecipient, *, now: datetime
) -> Keyring:
    """Return the next generation, with one more recipient."""
    _require_reader(key)
    recipients = (*keyring.recipients, _enrol(new, key, now))
    return _signed(keyring.generation + 1, keyring.epochs, recipients, key)


def remove_recipient(keyring: Keyring, key: RepositoryKey, name: str) -> Keyring:
    """Return the next generation, without a recipient.

    It can still read what it could read before, from a copy it kept: `rotate` with a new key ends
    that for images written later.

    Raises:
        ConfigError: there is none of that name or id.
        Refused: nobody could read any more.
    """
    _require_reader(key)
    kept = tuple(r for r in keyring.recipients if name not in (r.name, r.id))
    if len(kept) == len(keyring.recipients):
        raise ConfigError(f"the keyring has no recipient '{name}'")
    return _signed(keyring.generation + 1, keyring.epochs, kept, key)


def rotate(
    keyring: Keyring,
    key: RepositoryKey,
    *,
    now: datetime,
    with_new_key: bool = False,
    kms: Kms | None = None,
) -> tuple[Keyring, RepositoryKey]:
    """Return the next generation with fresh envelopes for everybody, and the key they hold.

    Args:
        keyring: the present one.
        key: opened by a reader.
        now: aware UTC.
        with_new_key: also begin a new repository key. Images written from now on can be read by
            the present recipients only; since digests change with it, the next backup is a full.
        kms: needed when a recipient is a KMS key.
    """
    epochs, former = keyring.epochs, _require_reader(key)
    if with_new_key:
        secret, record = _new_epoch(now)
        key = RepositoryKey((*key.epochs, secret))
        signer = _signing_key(former)
        endorsement = signer.sign(endorsed_bytes(record)).hex()
        epochs = (*epochs, record.model_copy(update={"endorsement": endorsement}))
    recipients = tuple(_reseal(recipient, key, kms) for recipient in keyring.recipients)
    return _signed(keyring.generation + 1, epochs, recipients, key), key


def _new_epoch(now: datetime) -> tuple[Epoch, EpochRecord]:
    private_key, writer_secret = os.urandom(32), os.urandom(32)
    draft = EpochRecord(
        key_id="0" * 32,
        public_key=envelope.public_key_of(private_key).hex(),
        verify_key=_signing_key(private_key).public_key().public_bytes_raw().hex(),
        commitment=envelope.derive(writer_secret, "commitment").hex(),
        created_at=now,
    )
    record = draft.model_copy(update={"key_id": key_id_of(draft)})
    public_key = bytes.fromhex(record.public_key)
    return Epoch(record.key_id, public_key, writer_secret, private_key), record


def _signing_key(private_key: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(envelope.derive(private_key, "keyring signature"))


def _signed(
    generation: int,
    epochs: tuple[EpochRecord, ...],
    recipients: tuple[Recipient, ...],
    key: RepositoryKey,
) -> Keyring:
    if not any(recipient.role is Role.READER for recipient in recipients):
        raise Refused("nobody could read: a keyring needs at least one reader")
    names = [recipient.name for recipient in recipients]
    if len(set(names)) < len(names):
        raise ConfigError("two recipients have the same name")
    unsigned = Keyring(generation=generation, epochs=epochs, recipients=recipients)
    signature = _signing_key(_require_reader(key)).sign(signed_bytes(unsigned)).hex()
    return unsigned.model_copy(update={"signature": signature})


def _require_reader(key: RepositoryKey) -> bytes:
    if key.current.private_key is None:
        raise WrongKey("only a reader can change the keyring, and a writer's key was given")
    return key.current.private_key


def _enrol(new: NewRecipient, key: RepositoryKey, now: datetime) -> Recipient:
    fields: dict[str, Any] = {
        "id": os.urandom(8).hex(),
        "name": new.name,
        "role": new.role,
        "sealed": "AA==",
        "added_at": now,
    }
    if isinstance(new, PublicKeyRecipient):
        draft = Recipient(kind=RecipientKind.X25519, public_key=new.public_key.hex(), **fields)
        return _reseal(draft, key, None)
    if isinstance(new, PassphraseRecipient):
        if len(new.passphrase) < PASSPHRASE_CHARACTERS_MIN:
            raise ConfigError(
                f"the passphrase has fewer than {PASSPHRASE_CHARACTERS_MIN} characters",
                hint="Use several words: the bucket's owner can try passphrases without limit.",
            )
        salt = os.urandom(32)
        public_key = envelope.public_key_of(stretch(new.passphrase, salt, new.cost))
        draft = Recipient(
            kind=RecipientKind.PASSPHRASE,
            public_key=public_key.hex(),
            salt=salt.hex(),
            scrypt=new.cost,
            **fields,
        )
        return _reseal(draft, key, None)
    draft = Recipient(kind=RecipientKind.KMS, kms_key_id=new.kms_key_id, **fields)
    return _reseal(draft, key, new.kms)


def stretch(passphrase: str, salt: bytes, cost: ScryptCost) -> bytes:
    """Make an X25519 private key from a passphrase (scrypt, RFC 7914).

    The text is normalised (NFKC), so that a passphrase typed on another keyboard is the same.
    """
    text = unicodedata.normalize("NFKC", passphrase).encode()
    return Scrypt(salt, envelope.KEY_BYTES, 2**cost.log2_n, cost.r, cost.p).derive(text)


def _reseal(recipient: Recipient, key: RepositoryKey, kms: Kms | None) -> Recipient:
    payload, context = _pack(key, recipient.role), _context(recipient)
    if recipient.public_key is not None:
        sealed = envelope.seal_to(bytes.fromhex(recipient.public_key), payload, context)
        return recipient.model_copy(update={"sealed": base64.b64encode(sealed).decode()})
    if kms is None:
        raise ConfigError(f"recipient '{recipient.name}' is a KMS key: access to the KMS is needed")
    assert recipient.kms_key_id is not None
    one_use = os.urandom(envelope.KEY_BYTES)
    wrapped = kms.encrypt(recipient.kms_key_id, one_use, _kms_context(recipient))
    sealed = AESGCM(one_use).encrypt(bytes(12), payload, context)
    return recipient.model_copy(
        update={
            "kms_wrapped": base64.b64encode(wrapped).decode(),
            "sealed": base64.b64encode(sealed).decode(),
        }
    )


def _open_envelope(recipient: Recipient, identity: Identity) -> bytes | None:
    """Return what the envelope holds, or None if it is not for this identity."""
    sealed, context = decode_base64(recipient.sealed), _context(recipient)
    try:
        if recipient.kind is RecipientKind.KMS:
            if identity.kms is None or not recipient.kms_wrapped or not recipient.kms_key_id:
                return None
            wrapped = decode_base64(recipient.kms_wrapped)
            one_use = identity.kms.decrypt(recipient.kms_key_id, wrapped, _kms_context(recipient))
            return AESGCM(one_use).decrypt(bytes(12), sealed, context)
        private_key = _private_key_for(recipient, identity)
        return None if private_key is None else envelope.open_with(private_key, sealed, context)
    except (WrongKey, InvalidTag):
        return None


def _private_key_for(recipient: Recipient, identity: Identity) -> bytes | None:
    if recipient.kind is RecipientKind.X25519:
        key = identity.private_key
    elif identity.passphrase is None or recipient.salt is None or recipient.scrypt is None:
        key = None
    else:
        key = stretch(identity.passphrase, bytes.fromhex(recipient.salt), recipient.scrypt)
    if key is None or envelope.public_key_of(key).hex() != recipient.public_key:
        return None
    return key


def _context(recipient: Recipient) -> bytes:
    return f"flashvault recipient v1\0{recipient.id}\0{recipient.role.value}".encode()


def _kms_context(recipient: Recipient) -> dict[str, str]:
    return {"application": "flashvault", "recipient": recipient.id}


def _pack(key: RepositoryKey, role: Role) -> bytes:
    """Write an envelope's content: a writer's has no private keys."""
    epochs = []
    for epoch in key.epochs:
        secrets = {"key_id": epoch.key_id, "writer_secret": epoch.writer_secret.hex()}
        if role is Role.READER:
            if epoch.private_key is None:
                raise WrongKey("a writer's key cannot admit a reader")
            secrets["private_key"] = epoch.private_key.hex()
        epochs.append(secrets)
    return json.dumps(epochs).encode()


def _unpack(keyring: Keyring, payload: bytes) -> RepositoryKey:
    """Read an envelope's content, and check each secret against the public record of its key."""
    secrets = {entry["key_id"]: entry for entry in json.loads(payload)}
    epochs = []
    for record in keyring.epochs:
        entry = secrets.get(record.key_id)
        if entry is None:
            raise CorruptData(f"the envelope lacks key {record.key_id}", hint=DAMAGED)
        writer_secret = bytes.fromhex(entry["writer_secret"])
        private_key = bytes.fromhex(entry["private_key"]) if "private_key" in entry else None
        public_key = bytes.fromhex(record.public_key)
        if envelope.derive(writer_secret, "commitment").hex() != record.commitment or (
            private_key is not None and envelope.public_key_of(private_key) != public_key
        ):
            raise CorruptData(f"the secrets of key {record.key_id} are not its own", hint=DAMAGED)
        epochs.append(Epoch(record.key_id, public_key, writer_secret, private_key))
    return RepositoryKey(tuple(epochs))
