"""The keyring in the bucket: written twice, under keys never used before, read back before use.

A keyring lost is every image lost, so the two copies are objects of their own and every change
makes two new ones; older generations stay. Nothing here deletes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, StoreError, WrongKey
from blocks.image.cipher import Cipher
from blocks.image.keyring import Keyring, parse_keyring
from blocks.image.keys import Identity, Kms, open_keyring
from blocks.image.keywords import parse_private_key
from blocks.store.base import Store

log = logging.getLogger(__name__)

FOLDER = "keyring/"
_COPIES = ("a", "b")
_KEY = re.compile(r"^keyring/(\d{8})-([ab])\.json$")


@dataclass(frozen=True, slots=True)
class Copy:
    """One stored copy; `fault` is empty if it is whole."""

    key: str
    generation: int
    keyring: Keyring | None
    fault: str = ""


def copy_keys(generation: int) -> tuple[str, ...]:
    """Return the keys of both copies of a generation."""
    return tuple(f"{FOLDER}{generation:08d}-{copy}.json" for copy in _COPIES)


def save_keyring(store: Store, keyring: Keyring) -> None:
    """Store both copies of a new generation, and read them back.

    Raises:
        ObjectChanged: the generation exists: somebody else changed the keyring meanwhile.
        CorruptData: the store gave back something else than it was given. Do not use the keyring.
    """
    newest = max((generation for generation, _ in _listed(store)), default=0)
    if keyring.generation <= newest:
        raise ObjectChanged(
            f"the keyring is at generation {newest} already",
            hint="Somebody changed it meanwhile: look at `flashvault key list`, then try again.",
        )
    data = keyring.to_bytes()
    for key in copy_keys(keyring.generation):
        store.put(key, data, if_absent=True)
    for key in copy_keys(keyring.generation):
        if store.get(key) != data:
            raise CorruptData(
                f"{store.url}: {key} reads back otherwise than it was written",
                hint="Do not use this store: probe it with `flashvault store probe`.",
            )
    log.info("saved keyring %s generation %s", keyring.key_id, keyring.generation)


def load_keyring(store: Store, *, generation: int | None = None) -> Keyring:
    """Read the newest generation, from whichever copy is whole.

    Args:
        store: the bucket.
        generation: an older one, if the newest is damaged in both copies.

    Raises:
        WrongKey: there is no keyring in the bucket.
        CorruptData: no copy of the generation is whole. An older one is never used silently: its
            recipients may have been removed since.
        StoreUnavailable: the store did not answer; that says nothing about the keyring.
    """
    found = sorted(_listed(store))
    if not found:
        raise WrongKey(
            f"{store.url} has no keyring",
            hint="Before the first encrypted backup make one: `flashvault key init`. If backups are"
            " there already, bring a version or a copy of keyring/ back: a new one opens none.",
        )
    wanted = found[-1][0] if generation is None else generation
    copies = [_read(store, wanted, key) for number, key in found if number == wanted]
    faults = [copy.fault for copy in copies if copy.fault]
    for copy in copies:
        if copy.keyring is not None:
            if faults:
                log.warning("the other copy of the keyring is damaged: %s", "; ".join(faults))
            return copy.keyring
    raise CorruptData(
        f"{store.url}: keyring generation {wanted}: {'; '.join(faults) or 'not there'}",
        hint="Bring a version or a copy of these back. Else move them out of keyring/: then the"
        " generation before counts (`flashvault key check`), with the recipients it had.",
    )


def open_cipher(
    store: Store,
    *,
    passphrase: str = "",
    private_key: str = "",
    kms: Kms | None = None,
    pinned_key_id: str = "",
) -> Cipher:
    """Return the cipher of a bucket with ENCRYPTION=CLIENT, from whatever secret is at hand.

    Args:
        store: the bucket.
        passphrase: empty if there is none.
        private_key: as `flashvault key new` writes it (`fv-private-…`); empty if there is none.
        kms: for recipients that are KMS keys.
        pinned_key_id: the profile's KEY_ID; without it a foreign keyring is not noticed.

    Raises:
        WrongKey: there is no keyring, or nothing given opens it, or it is not the pinned one.
        CorruptData: the keyring is damaged in both copies.
    """
    identity = Identity(
        private_key=parse_private_key(private_key) if private_key else None,
        passphrase=passphrase or None,
        kms=kms,
    )
    return Cipher(open_keyring(load_keyring(store), identity, pinned_key_id=pinned_key_id))


def check_keyrings(store: Store) -> Sequence[Copy]:
    """Read every copy of every generation, newest first; missing ones are listed too."""
    listed = set(_listed(store))
    copies = []
    for generation in sorted({number for number, _ in listed}, reverse=True):
        for key in copy_keys(generation):
            if (generation, key) in listed:
                copies.append(_read(store, generation, key))
            else:
                copies.append(Copy(key, generation, None, "missing"))
    return copies


def _listed(store: Store) -> Iterator[tuple[int, str]]:
    for info in store.list(FOLDER):
        match = _KEY.match(info.key)
        if match:
            yield int(match[1]), info.key


def _read(store: Store, generation: int, key: str) -> Copy:
    try:
        keyring = parse_keyring(store.get(key), where=key)
    except (CorruptData, ObjectMissing) as error:
        return Copy(key, generation, None, str(error))
    except StoreError as error:
        if error.transient:
            raise
        return Copy(key, generation, None, str(error))
    if keyring.generation != generation:
        return Copy(key, generation, None, f"{key}: holds generation {keyring.generation}")
    return Copy(key, generation, keyring)
