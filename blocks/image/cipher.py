"""Client-side encryption: every frame, page and document leaves the machine sealed.

A frame is sealed with AES-256-GCM under a data key made for one object by one process. The data
key travels with every frame, in an envelope only the repository key opens: so a frame can be read
alone, and an upload taken up by another process goes on under a new data key. A data key is never
used again by whoever did not make it; that, and a counter per key, is why no nonce ever repeats.

The associated data is the volume, the extents, the object and the key: a frame put in another's
place does not open. Pages and documents are sealed deterministically (see `seal_document`), so that
equal pages stay one object. Formats: docs/reference/keyring.md, "What is sealed, and how".
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blocks.errors import CorruptData, UnknownFormat, WrongKey
from blocks.image import envelope
from blocks.image.keys import Epoch, RepositoryKey

Buffer = bytes | bytearray | memoryview

ALGORITHM = "aes-256-gcm"

_FRAME_MAGIC = b"FVE1"
_DOCUMENT_MAGIC = b"FVD1"
_HEAD = struct.Struct("<4s16s80sQ")  # magic, key id, data key in its envelope, nonce counter
_DOCUMENT_HEAD = struct.Struct("<4s16s32s")  # magic, key id, synthetic key seed
_PLACE = struct.Struct("<QIH")  # first extent, extent count, length of the volume's UID

FRAME_OVERHEAD_BYTES = _HEAD.size + envelope.TAG_BYTES
"""How much longer a sealed frame is than the encoded one."""

DOCUMENT_OVERHEAD_BYTES = _DOCUMENT_HEAD.size + envelope.TAG_BYTES

FRAMES_PER_KEY_MAX = 2**32
"""NIST SP 800-38D bounds the messages of one key; a 64 GiB segment has at most 2^20 frames."""


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where a frame belongs; sealed bytes open only with the same place."""

    volume_uid: str
    first_extent: int
    extent_count: int

    def to_bytes(self) -> bytes:
        """Return an unambiguous encoding: no two places share one, whatever follows it."""
        uid = self.volume_uid.encode()
        return _PLACE.pack(self.first_extent, self.extent_count, len(uid)) + uid


class Cipher:
    """Seals with the current repository key; opens what any key of the keyring has sealed.

    Safe to share between threads. AES runs outside the GIL.
    """

    def __init__(self, key: RepositoryKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Cipher({self.key_id}, {'reader' if self.can_read else 'writer'})"

    @property
    def name(self) -> str:
        """As named in a restore point's codec: `zstd-1+aes-256-gcm`."""
        return ALGORITHM

    @property
    def key_id(self) -> str:
        """The id of the key that seals; a parent under another key calls for a full."""
        return self._key.key_id

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys a restore of what is sealed now needs, as a restore point lists them."""
        return (self._key.key_id,)

    @property
    def can_read(self) -> bool:
        """Whether frames can be opened, not only sealed."""
        return self._key.can_read

    @cached_property
    def digest_key(self) -> bytes:
        """Key for BLAKE3 over plain extents; unkeyed digests would betray equal content."""
        return digest_key(self._key.current)

    def for_key(self, key_id: str) -> Cipher:
        """Return the cipher as it was when `key_id` was current, to read an older point.

        Raises:
            WrongKey: the keyring has no such key.
        """
        wanted = self._key.epoch(key_id)
        earlier = self._key.epochs[: self._key.epochs.index(wanted) + 1]
        return Cipher(RepositoryKey(earlier))

    def sealer(self, object_key: str) -> ObjectSealer:
        """Begin sealing the frames of one object, under a data key of their own.

        Args:
            object_key: the object's key in the store, without the store's own prefix.
        """
        return ObjectSealer(self._key.current, object_key)

    def opener(self, object_key: str) -> ObjectOpener:
        """Begin opening the frames of one object. Needs a reader's key, at the first frame."""
        return ObjectOpener(self._key, object_key)

    def seal_document(self, name: str, plain: Buffer) -> bytes:
        """Seal a map page or a document; equal content under an equal name gives equal bytes.

        The AES key is derived from a keyed digest of the content, so no key ever seals two
        different messages: deterministic without a nonce to get wrong (the idea of SIV, RFC 5297).

        Args:
            name: what it is, e.g. its key in the store; it opens only under the same name.
            plain: its bytes.
        """
        epoch = self._key.current
        seed = _document_seed(epoch, name, plain)
        sealed = _document_box(epoch, seed).encrypt(bytes(12), plain, name.encode())
        return _DOCUMENT_HEAD.pack(_DOCUMENT_MAGIC, bytes.fromhex(epoch.key_id), seed) + sealed

    def open_document(self, name: str, sealed: Buffer) -> bytes:
        """Open what `seal_document` sealed. A writer's key is enough.

        Raises:
            CorruptData: altered, cut, or sealed under another name.
            WrongKey: sealed by a key that is not in the keyring.
            UnknownFormat: not a sealed document.
        """
        view = memoryview(sealed)
        if len(view) < DOCUMENT_OVERHEAD_BYTES or bytes(view[:4]) != _DOCUMENT_MAGIC:
            raise UnknownFormat(f"{name}: not a sealed document")
        _, raw_id, seed = _DOCUMENT_HEAD.unpack_from(view)
        epoch = self._key.epoch(raw_id.hex())
        box = _document_box(epoch, seed)
        try:
            plain = box.decrypt(bytes(12), view[_DOCUMENT_HEAD.size :], name.encode())
        except InvalidTag as error:
            raise CorruptData(f"{name}: altered, or not under its own name") from error
        if _document_seed(epoch, name, plain) != seed:
            raise CorruptData(f"{name}: sealed by something else")
        return plain

    def sign_document(self, name: str, plain: Buffer) -> str:
        """Return a code (hex) proving that a key holder wrote a document that stays readable."""
        return _document_code(self._key.current, name, plain).hexdigest()

    def check_document(
        self, name: str, plain: Buffer, code: str, *, key_ids: Sequence[str] = ()
    ) -> None:
        """Check the code of a document.

        Args:
            name: what it is; the code holds only under the same name.
            plain: its bytes.
            code: what `sign_document` gave.
            key_ids: the keys that may have signed; all of the keyring if empty.

        Raises:
            CorruptData: no key of the keyring signed this.
        """
        epochs = [self._key.epoch(key_id) for key_id in key_ids] or self._key.epochs
        codes = (_document_code(epoch, name, plain).hexdigest() for epoch in epochs)
        if not any(hmac.compare_digest(expected, code) for expected in codes):
            raise CorruptData(f"{name}: altered, or not written by a holder of the key")


class ObjectSealer:
    """Seals the frames of one object, in any order, from any thread.

    Never stored, never revived: whoever takes up an upload makes a new one.
    """

    def __init__(self, epoch: Epoch, object_key: str) -> None:
        self._bound = _bound(epoch.key_id, object_key)
        data_key = os.urandom(envelope.KEY_BYTES)
        self._box = AESGCM(data_key)
        self._wrapped = envelope.seal_to(
            epoch.public_key, data_key, self._bound, shared_secret=_envelope_secret(epoch)
        )
        self._raw_id = bytes.fromhex(epoch.key_id)
        self._counter = 0
        self._lock = threading.Lock()

    def seal(self, place: FramePlace, frame: Buffer) -> bytes:
        """Seal one encoded frame; sealing it again gives other bytes that open to the same."""
        with self._lock:
            counter = self._counter
            self._counter += 1
        assert counter < FRAMES_PER_KEY_MAX, "one object has far fewer frames"
        head = _HEAD.pack(_FRAME_MAGIC, self._raw_id, self._wrapped, counter)
        return head + self._box.encrypt(_nonce(counter), frame, place.to_bytes() + self._bound)

    def open(self, place: FramePlace, sealed: Buffer) -> bytes:
        """Open a frame this very sealer has sealed: the proof before it is uploaded."""
        counter, box = _split(sealed, self._wrapped)
        return _decrypt(self._box, counter, box, place, self._bound)


class ObjectOpener:
    """Opens the frames of one object, in any order, from any thread."""

    def __init__(self, key: RepositoryKey, object_key: str) -> None:
        self._key = key
        self._object_key = object_key
        self._boxes: dict[bytes, tuple[AESGCM, bytes]] = {}

    def open(self, place: FramePlace, sealed: Buffer) -> bytes:
        """Open a frame.

        Raises:
            WrongKey: the key is another, or can only write.
            CorruptData: the bytes are altered, or belong to another place or object.
            UnknownFormat: not a sealed frame.
        """
        counter, box = _split(sealed)
        opened = bytes(memoryview(sealed)[: _HEAD.size - 8])
        # Two threads may both unwrap the first frame's key: wasteful, never wrong.
        if opened not in self._boxes:
            self._boxes[opened] = self._unwrap(opened)
        data_box, bound = self._boxes[opened]
        return _decrypt(data_box, counter, box, place, bound)

    def _unwrap(self, head: bytes) -> tuple[AESGCM, bytes]:
        epoch = self._key.epoch(head[4:20].hex())
        bound = _bound(epoch.key_id, self._object_key)
        if epoch.private_key is None:
            raise WrongKey(
                f"{self._object_key}: a writer's key cannot decrypt",
                hint="Give the passphrase or private key of a reader of this repository.",
            )
        try:
            data_key = envelope.open_with(
                epoch.private_key, head[20:], bound, shared_secret=_envelope_secret(epoch)
            )
        except WrongKey as error:
            # The keyring has the key of this id, so it is the bytes that are wrong.
            raise CorruptData(f"{self._object_key}: a data key is altered or foreign") from error
        return AESGCM(data_key), bound


def digest_key(epoch: Epoch) -> bytes:
    """Return the key of the digests of an epoch's images."""
    return envelope.derive(epoch.writer_secret, "digest")


def _envelope_secret(epoch: Epoch) -> bytes:
    return envelope.derive(epoch.writer_secret, "object envelope")


def _bound(key_id: str, object_key: str) -> bytes:
    return bytes.fromhex(key_id) + object_key.encode()


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _split(sealed: Buffer, wrapped: bytes | None = None) -> tuple[int, memoryview]:
    view = memoryview(sealed)
    if len(view) < FRAME_OVERHEAD_BYTES or bytes(view[:4]) != _FRAME_MAGIC:
        raise UnknownFormat("not a sealed frame")
    _, _, found, counter = _HEAD.unpack_from(view)
    assert wrapped is None or wrapped == found, "a sealer opens only what it sealed"
    return counter, view[_HEAD.size :]


def _decrypt(
    box: AESGCM, counter: int, sealed: memoryview, place: FramePlace, bound: bytes
) -> bytes:
    try:
        return box.decrypt(_nonce(counter), sealed, place.to_bytes() + bound)
    except InvalidTag as error:
        last = place.first_extent + place.extent_count - 1
        raise CorruptData(
            f"extents {place.first_extent}-{last} of {place.volume_uid}: "
            "altered, or from another place"
        ) from error


def _document_seed(epoch: Epoch, name: str, plain: Buffer) -> bytes:
    key = envelope.derive(epoch.writer_secret, "document seed")
    return blake3(_name_prefix(name), key=key).update(plain).digest()


def _document_box(epoch: Epoch, seed: bytes) -> AESGCM:
    secret = envelope.derive(epoch.writer_secret, "document key")
    return AESGCM(blake3(seed, key=secret).digest())


def _document_code(epoch: Epoch, name: str, plain: Buffer) -> blake3:
    key = envelope.derive(epoch.writer_secret, "document code")
    return blake3(_name_prefix(name), key=key).update(plain)


def _name_prefix(name: str) -> bytes:
    encoded = name.encode()
    return len(encoded).to_bytes(4, "big") + encoded
