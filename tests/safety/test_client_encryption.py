"""ENCRYPTION=CLIENT end to end: what is in the bucket, who can read it, and what tampering does."""

import random
import threading
from contextlib import closing
from datetime import UTC, datetime

import captured
import pytest
from memory_disk import MemoryDisk

from blocks.catalog.keyring import open_cipher, save_keyring
from blocks.errors import CorruptData, FlashvaultError, UnknownFormat, WrongKey
from blocks.image import envelope, keys
from blocks.image.keyring import Role, ScryptCost
from blocks.image.keywords import format_private_key
from blocks.store.memory import MemoryStore
from tasks.lens import Lens
from tasks.pipeline import CaptureSettings
from tasks.transfer import Progress
from tasks.verification import verify_volume

EXTENT = 4096
UID = "6005076400810000000000000000000A"
HOST_KEY = bytes(range(32))
PASSPHRASE = "correct horse battery"
MARK = b"a sentence only the volume holds "


@pytest.fixture
def store():
    store = MemoryStore(part_min_bytes=0)
    keyring, _ = keys.create_keyring(
        [
            keys.PassphraseRecipient("r", Role.READER, PASSPHRASE, ScryptCost(log2_n=4)),
            keys.PublicKeyRecipient("host", Role.WRITER, envelope.public_key_of(HOST_KEY)),
        ],
        now=datetime(2026, 11, 23, tzinfo=UTC),
    )
    save_keyring(store, keyring)
    return store


@pytest.fixture
def writer(store):
    return open_cipher(store, private_key=format_private_key(HOST_KEY))


@pytest.fixture
def reader(store):
    return open_cipher(store, passphrase=PASSPHRASE)


def volume(seed=1, extents=60):
    dice = random.Random(seed)
    data = bytearray()
    while len(data) < extents * EXTENT:
        data += (MARK * 300, bytes(5 * EXTENT), dice.randbytes(3 * EXTENT))[dice.randrange(3)]
    return bytes(data[: extents * EXTENT])


def capture(store, data, folder, cipher, parent=None):
    settings = CaptureSettings(
        extent_bytes=EXTENT, frame_extents=4, encoders=2, uploads=2, cipher=cipher
    )
    taken, _ = captured.capture(MemoryDisk(data), store, folder, settings=settings, parent=parent)
    return taken


def restore(store, taken, cipher):
    return captured.restore(taken, store, cipher=cipher)


def bucket_bytes(store):
    return {info.key: store.get(info.key) for info in store.list()}


def test_a_writer_backs_up_and_a_reader_restores_full_and_incremental(store, writer, reader):
    before = volume()
    after = bytearray(before)
    after[7 * EXTENT : 9 * EXTENT] = bytes(2 * EXTENT)
    after[30 * EXTENT : 31 * EXTENT] = random.Random(9).randbytes(EXTENT)
    full = capture(store, before, "RG/1/", writer)
    incremental = capture(store, bytes(after), "RG/2/", writer, parent=full)
    assert incremental[0].changed_bytes < full[0].changed_bytes / 2
    assert restore(store, full, reader) == before
    assert restore(store, incremental, reader) == bytes(after)


def test_a_reader_looks_inside_without_a_restore_and_a_writer_cannot(store, writer, reader):
    before = volume()
    taken = capture(store, before, "RG/1/", writer)
    with closing(Lens(*taken, store, cipher=reader)) as lens:
        for at in range(0, len(before), 7000):
            assert lens.read(at, 5000) == before[at : at + 5000]
    with closing(Lens(*taken, store, cipher=writer)) as lens, pytest.raises(FlashvaultError):
        lens.read(0, len(before))


def test_nothing_of_the_contents_can_be_found_in_the_bucket(store, writer):
    capture(store, volume(), "RG/1/", writer)
    for key, content in bucket_bytes(store).items():
        assert MARK not in content, key
        assert b"FVMAP" not in content, key


def test_without_encryption_the_same_search_does_find_it(store):
    data = random.Random(3).randbytes(EXTENT) + MARK
    capture(store, data, "RG/1/", None)
    assert any(MARK in content for content in bucket_bytes(store).values())


def test_the_backup_host_cannot_read_what_it_wrote(store, writer):
    taken = capture(store, volume(), "RG/1/", writer)
    with pytest.raises(WrongKey, match="cannot decrypt"):
        restore(store, taken, writer)


def test_nobody_restores_without_a_key(store, writer):
    taken = capture(store, volume(), "RG/1/", writer)
    with pytest.raises(FlashvaultError):
        restore(store, taken, None)


def test_two_captures_of_one_volume_share_no_stored_frame(store, writer):
    data = volume()
    capture(store, data, "RG/1/", writer)
    capture(store, data, "RG/2/", writer)
    contents = bucket_bytes(store)
    first, second = (
        next(c for key, c in contents.items() if key.startswith(f"RG/{n}/c_")) for n in (1, 2)
    )
    shared = {first[at : at + 64] for at in range(0, len(first) - 64, 64)} & {
        second[at : at + 64] for at in range(len(second) - 64)
    }
    assert not {piece for piece in shared if len(set(piece)) > 20}


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_anywhere_is_never_restored(store, writer, reader, seed):
    data = volume(seed)
    taken = capture(store, data, "RG/1/", writer)
    dice = random.Random(seed)
    key = dice.choice([info.key for info in store.list("RG/")])
    content = bytearray(store.get(key))
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    etags = {item.key: store.put(item.key, store.get(item.key)).etag for item in taken[1]}
    etags[key] = store.put(key, bytes(content)).etag
    # An attacker who can write the bucket is not stopped by ETags: pin what he left there.
    image = taken[0].model_copy(
        update={
            "pages": tuple(
                page.model_copy(
                    update={
                        "object": page.object.model_copy(
                            update={"etag": store.head(page.object.key).etag}
                        )
                    }
                )
                for page in taken[0].pages
            )
        }
    )
    objects = [item.model_copy(update={"etag": etags[item.key]}) for item in taken[1]]
    try:
        restored = restore(store, (image, objects), reader)
    except (CorruptData, UnknownFormat, WrongKey):
        return
    assert restored == data  # a bit nobody reads: the index, or the header of another frame


def test_frames_of_an_older_point_cannot_stand_in_for_newer_ones(store, writer, reader):
    """A rollback inside the bucket: the older image's bytes under the newer image's key."""
    # Noise does not compress: both images have the same layout, and only their keys differ. The
    # index at the end does compress, and may come out a byte shorter or longer.
    old, new = (
        capture(store, random.Random(n).randbytes(40 * EXTENT), f"RG/{n}/", writer) for n in (1, 2)
    )
    old_key, new_key = old[0].image_keys[0], new[0].image_keys[0]
    assert abs(store.head(old_key).size_bytes - store.head(new_key).size_bytes) < 16
    put = store.put(new_key, store.get(old_key))
    facts = {"etag": put.etag, "size_bytes": put.size_bytes}
    objects = [item.model_copy(update=facts) if item.key == new_key else item for item in new[1]]
    with pytest.raises(CorruptData):
        restore(store, (new[0], objects), reader)


def test_after_a_new_key_the_next_capture_stores_everything_and_both_restore(store, reader):
    from blocks.catalog.keyring import load_keyring

    before = volume()
    full = capture(store, before, "RG/1/", reader)
    keyring = load_keyring(store)
    opened = keys.open_keyring(keyring, keys.Identity(passphrase=PASSPHRASE))
    rotated, _ = keys.rotate(
        keyring, opened, now=datetime(2026, 11, 24, tzinfo=UTC), with_new_key=True
    )
    save_keyring(store, rotated)
    newer = open_cipher(store, passphrase=PASSPHRASE)
    after = capture(store, before, "RG/2/", newer, parent=full)
    assert after[0].changed_bytes == full[0].changed_bytes
    assert restore(store, after, newer) == before
    assert restore(store, full, newer.for_key(reader.key_id)) == before
    looked = verify_volume(
        *after,
        store,
        deep=True,
        sample=None,
        stop=threading.Event(),
        progress=Progress(),
        cipher=newer,
    )
    assert looked.damaged == ()
