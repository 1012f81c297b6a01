"""The keyring in a store: two copies, new keys, read back, and never an older one silently."""

from datetime import UTC, datetime

import pytest

from blocks.catalog.keyring import (
    check_keyrings,
    copy_keys,
    load_keyring,
    open_cipher,
    save_keyring,
)
from blocks.errors import CorruptData, ObjectChanged, StoreUnavailable, WrongKey
from blocks.image import envelope, keys
from blocks.image.keyring import Role
from blocks.image.keywords import format_private_key
from blocks.store.memory import MemoryStore

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PRIVATE = bytes(range(32))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def first():
    reader = keys.PublicKeyRecipient("safe", Role.READER, envelope.public_key_of(PRIVATE))
    return keys.create_keyring([reader], now=NOW)


def test_both_copies_are_stored_and_each_is_enough(store, first):
    keyring, _ = first
    save_keyring(store, keyring)
    assert [info.key for info in store.list()] == list(copy_keys(1))
    for key in copy_keys(1):
        whole = store.get(key)
        store.put(key, whole[: len(whole) // 2])
        assert load_keyring(store) == keyring
        store.put(key, whole)
        store.delete([key])
        assert load_keyring(store) == keyring
        store.put(key, whole)


def test_a_change_writes_two_new_objects_and_touches_no_other(store, first):
    keyring, key = first
    save_keyring(store, keyring)
    before = {info.key: info.etag for info in store.list()}
    rotated, _ = keys.rotate(keyring, key, now=NOW)
    save_keyring(store, rotated)
    after = {info.key: info.etag for info in store.list()}
    assert after.items() >= before.items()
    assert set(after) - set(before) == set(copy_keys(2))
    assert load_keyring(store) == rotated
    assert load_keyring(store, generation=1) == keyring


def test_two_changes_at_once_do_not_overwrite_each_other(store, first):
    keyring, key = first
    save_keyring(store, keyring)
    one, other = (keys.rotate(keyring, key, now=NOW)[0] for _ in range(2))
    save_keyring(store, one)
    with pytest.raises(ObjectChanged, match="generation 2 already"):
        save_keyring(store, other)
    assert load_keyring(store) == one


def test_a_damaged_newest_generation_is_an_error_and_no_older_one_is_used(store, first):
    keyring, key = first
    save_keyring(store, keyring)
    save_keyring(store, keys.rotate(keyring, key, now=NOW)[0])
    for copy in copy_keys(2):
        store.put(copy, b"{")
    with pytest.raises(CorruptData, match="generation 2"):
        load_keyring(store)
    assert load_keyring(store, generation=1) == keyring
    assert [(copy.key, bool(copy.fault)) for copy in check_keyrings(store)] == [
        *((copy, True) for copy in copy_keys(2)),
        *((copy, False) for copy in copy_keys(1)),
    ]


def test_a_copy_under_another_generation_is_refused(store, first):
    keyring, _ = first
    for copy in copy_keys(7):
        store.put(copy, keyring.to_bytes())
    with pytest.raises(CorruptData, match="holds generation 1"):
        load_keyring(store)


def test_a_store_that_gives_back_other_bytes_is_not_trusted_with_a_key(first):
    class Lying(MemoryStore):
        def get(self, key, *, etag=None):
            return super().get(key, etag=etag)[:-1]

    with pytest.raises(CorruptData, match="reads back otherwise"):
        save_keyring(Lying(), first[0])


def test_a_store_that_does_not_answer_is_not_a_missing_keyring(store, first):
    class Down(MemoryStore):
        def get(self, key, *, etag=None):
            raise StoreUnavailable("503")

    with pytest.raises(WrongKey, match="has no keyring"):
        load_keyring(store)
    down = Down()
    for copy in copy_keys(1):
        down.put(copy, first[0].to_bytes())
    with pytest.raises(StoreUnavailable):
        load_keyring(down)
    with pytest.raises(StoreUnavailable):
        check_keyrings(down)


def test_a_missing_copy_is_reported(store, first):
    save_keyring(store, first[0])
    store.delete([copy_keys(1)[1]])
    assert [copy.fault for copy in check_keyrings(store)] == ["", "missing"]


def test_a_cipher_is_opened_with_the_key_as_it_is_written_down(store, first):
    keyring, key = first
    save_keyring(store, keyring)
    word = format_private_key(PRIVATE)
    assert open_cipher(store, private_key=word, pinned_key_id=key.key_id).can_read
    with pytest.raises(WrongKey):
        open_cipher(store, private_key=word, pinned_key_id="0" * 32)
    with pytest.raises(WrongKey):
        open_cipher(store, passphrase="not a passphrase")
