"""The keyring document: what is in it, how it is stored, and when it is believed.

Only its form and its signatures are checked here; `keys` opens it. Specified in
docs/reference/keyring.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from blocks.errors import CorruptData, UnknownFormat

FORMAT = "flashvault-keyring"

DAMAGED = "The other copy of the keyring may be whole: run `flashvault key check`."

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Signature = Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$", max_length=1_000_000)]


class Role(StrEnum):
    """What a recipient can do: restore (and everything else), or only back up."""

    READER = "reader"
    WRITER = "writer"


class RecipientKind(StrEnum):
    """What opens a recipient's envelope."""

    X25519 = "x25519"
    PASSPHRASE = "passphrase"  # noqa: S105 — the name of a kind
    KMS = "kms"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScryptCost(_Document):
    """RFC 7914 parameters. Memory is 128 · 2^log2_n · r bytes; the bounds cap it at 1 GiB."""

    log2_n: int = Field(default=17, ge=4, le=20)
    r: int = Field(default=8, ge=1, le=8)
    p: int = Field(default=1, ge=1, le=16)


class Recipient(_Document):
    """One envelope of the keyring."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    name: str = Field(min_length=1, max_length=100)
    role: Role
    kind: RecipientKind
    public_key: Hex32 | None = None
    salt: Hex32 | None = None
    scrypt: ScryptCost | None = None
    kms_key_id: str | None = None
    kms_wrapped: Base64 | None = Field(default=None, description="the envelope's key, by the KMS")
    sealed: Base64
    added_at: AwareDatetime


class EpochRecord(_Document):
    """One repository key, as everybody may see it. Older ones stay, to read older images."""

    key_id: KeyId
    public_key: Hex32
    verify_key: Hex32 = Field(description="Ed25519: readers sign the keyring with it")
    commitment: Hex32 = Field(description="binds the key id to the writer secret")
    created_at: AwareDatetime
    endorsement: Signature = Field(
        default="", description="by the epoch before; empty in the first"
    )


class Keyring(_Document):
    """The keyring document; `generation` grows by one with every change and names its objects."""

    format: Literal["flashvault-keyring"] = "flashvault-keyring"
    format_version: Literal[1] = 1
    generation: int = Field(ge=1)
    epochs: tuple[EpochRecord, ...] = Field(min_length=1, description="newest last: it is used")
    recipients: tuple[Recipient, ...] = Field(min_length=1)
    signature: Signature = Field(default="", description="over all the rest, by the newest epoch")

    @property
    def key_id(self) -> str:
        """The id of the key that new images use."""
        return self.epochs[-1].key_id

    def to_bytes(self) -> bytes:
        """Return the document as stored: JSON for people, one form only."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)
        return text.encode() + b"\n"


def parse_keyring(data: bytes, *, where: str = "keyring") -> Keyring:
    """Read a keyring document and check its signature (not yet whose it is: `open_keyring` pins).

    Raises:
        CorruptData: truncated, altered, or no keyring at all.
        UnknownFormat: a newer version wrote it.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise CorruptData(f"{where}: not complete ({len(data)} bytes)", hint=DAMAGED) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CorruptData(f"{where}: not a keyring", hint=DAMAGED)
    if document.get("format_version") != 1:
        raise UnknownFormat(f"{where}: keyring version {document.get('format_version')}")
    try:
        keyring = Keyring.model_validate(document)
    except ValidationError as error:
        fields = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
        raise CorruptData(f"{where}: bad {', '.join(fields)}", hint=DAMAGED) from error
    _check_signatures(keyring, where)
    return keyring


def _check_signatures(keyring: Keyring, where: str) -> None:
    signer = None
    for epoch in keyring.epochs:
        if key_id_of(epoch) != epoch.key_id:
            raise CorruptData(f"{where}: key {epoch.key_id} is not what its id says", hint=DAMAGED)
        if signer is not None and not _is_signed(signer, epoch.endorsement, endorsed_bytes(epoch)):
            raise CorruptData(f"{where}: key {epoch.key_id} was slipped in", hint=DAMAGED)
        signer = epoch
    assert signer is not None, "a keyring has at least one epoch"
    if not _is_signed(signer, keyring.signature, signed_bytes(keyring)):
        raise CorruptData(f"{where}: altered: its signature is wrong", hint=DAMAGED)


def _is_signed(signer: EpochRecord, signature: str, signed: bytes) -> bool:
    try:
        verify_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.verify_key))
        verify_key.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):  # ValueError: no signature, or no Ed25519 key at all
        return False
    return True


def key_id_of(record: EpochRecord) -> str:
    """Return the id that the public parts of a key must have: 128 bits over all of them."""
    parts = record.public_key + record.verify_key + record.commitment
    return hashlib.sha256(b"flashvault key id v1\0" + bytes.fromhex(parts)).hexdigest()[:32]


def signed_bytes(keyring: Keyring) -> bytes:
    """Return what a reader signs: the document without its signature."""
    return b"flashvault keyring v1\0" + keyring.model_copy(update={"signature": ""}).to_bytes()


def endorsed_bytes(record: EpochRecord) -> bytes:
    """Return what the epoch before signs of a new one."""
    unsigned = record.model_copy(update={"endorsement": ""})
    return b"flashvault epoch v1\0" + unsigned.model_dump_json().encode()


def decode_base64(text: str) -> bytes:
    """Decode a field of the document.

    Raises:
        CorruptData: it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise CorruptData("keyring: a field is no base64", hint=DAMAGED) from error
