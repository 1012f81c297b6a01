"""Sealing: what opens, what does not, and that no nonce is ever used twice."""

import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import CorruptData, UnknownFormat, WrongKey
from blocks.image import cipher as sealing
from blocks.image import envelope, keys
from blocks.image.cipher import Cipher, FramePlace
from blocks.image.keyring import Role, ScryptCost

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
HOST = bytes(range(32))
UID = "60050768018305E120000000000000EA"
PLACE = FramePlace(UID, 32, 16)
OBJECT = "RG1/01J/image.img.zst"

KEYRING, KEY = keys.create_keyring(
    [
        keys.PassphraseRecipient("r", Role.READER, "correct horse battery", ScryptCost(log2_n=4)),
        keys.PublicKeyRecipient("host", Role.WRITER, envelope.public_key_of(HOST)),
    ],
    now=NOW,
)
READER = Cipher(KEY)
WRITER = Cipher(keys.open_keyring(KEYRING, keys.Identity(private_key=HOST)))
ROTATED = Cipher(keys.rotate(KEYRING, KEY, now=NOW, with_new_key=True)[1])
STRANGER = Cipher(
    keys.create_keyring([keys.PublicKeyRecipient("s", Role.READER, HOST)], now=NOW)[1]
)

places = st.builds(
    FramePlace,
    volume_uid=st.text(alphabet="0123456789ABCDEF", min_size=1, max_size=32),
    first_extent=st.integers(0, 2**40),
    extent_count=st.integers(1, 16),
)


def test_aes_gcm_gives_the_vectors_of_nist_sp_800_38d():
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = AESGCM(key).encrypt(
        bytes.fromhex("cafebabefacedbaddecaf888"),
        plain,
        bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    )
    assert sealed.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_a_sealed_frame_is_what_the_specification_says():
    """Open one by hand, from docs/reference/keyring.md, with nothing of `cipher`."""
    sealed = WRITER.sealer(OBJECT).seal(PLACE, b"frame")
    magic, raw_id, wrapped, counter = struct.unpack_from("<4s16s80sQ", sealed)
    assert (magic, raw_id.hex(), counter) == (b"FVE1", KEY.key_id, 0)
    bound = raw_id + OBJECT.encode()
    data_key = envelope.open_with(
        KEY.current.private_key,
        wrapped,
        bound,
        shared_secret=envelope.derive(KEY.current.writer_secret, "object envelope"),
    )
    place = struct.pack("<QIH", 32, 16, len(UID)) + UID.encode()
    assert AESGCM(data_key).decrypt(bytes(12), sealed[108:], place + bound) == b"frame"


@given(place=places, frame=st.binary(max_size=300))
def test_what_a_writer_seals_a_reader_opens(place, frame):
    sealer = WRITER.sealer(OBJECT)
    sealed = sealer.seal(place, memoryview(frame))
    assert len(sealed) == len(frame) + sealing.FRAME_OVERHEAD_BYTES
    assert sealer.open(place, sealed) == frame
    assert READER.opener(OBJECT).open(place, memoryview(sealed)) == frame


@given(place=places, other=places, frame=st.binary(max_size=50))
def test_a_frame_opens_only_in_its_place(place, other, frame):
    sealed = WRITER.sealer(OBJECT).seal(place, frame)
    if other != place:
        with pytest.raises(CorruptData):
            READER.opener(OBJECT).open(other, sealed)
    with pytest.raises(CorruptData):
        READER.opener(OBJECT + "x").open(place, sealed)


@given(one=places, other=places)
def test_no_two_places_have_one_encoding(one, other):
    assert (one == other) == (one.to_bytes() == other.to_bytes())
    assert one == other or not one.to_bytes().startswith(other.to_bytes())


@given(frame=st.binary(max_size=50), at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(frame, at, bit):
    sealed = bytearray(WRITER.sealer(OBJECT).seal(PLACE, frame))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises((CorruptData, UnknownFormat, WrongKey)):
        READER.opener(OBJECT).open(PLACE, sealed)


@given(frame=st.binary(max_size=50), cut=st.integers(min_value=0))
def test_a_cut_frame_is_refused(frame, cut):
    sealed = WRITER.sealer(OBJECT).seal(PLACE, frame)
    with pytest.raises((CorruptData, UnknownFormat)):
        READER.opener(OBJECT).open(PLACE, sealed[: cut % len(sealed)])


def test_a_writer_cannot_read_what_it_wrote():
    sealed = WRITER.sealer(OBJECT).seal(PLACE, b"frame")
    assert not WRITER.can_read
    with pytest.raises(WrongKey, match="a writer's key cannot decrypt"):
        WRITER.opener(OBJECT).open(PLACE, sealed)


def test_another_repository_is_told_by_its_key_id():
    sealed = WRITER.sealer(OBJECT).seal(PLACE, b"frame")
    with pytest.raises(WrongKey, match=KEY.key_id):
        STRANGER.opener(OBJECT).open(PLACE, sealed)


def test_who_knows_only_the_public_key_cannot_make_frames_that_open():
    """The bucket's owner sees the public key in the keyring; the writer secret he has not."""
    blind = keys.Epoch(KEY.key_id, KEY.current.public_key, writer_secret=os.urandom(32))
    forged = sealing.ObjectSealer(blind, OBJECT).seal(PLACE, b"mine")
    with pytest.raises(CorruptData, match="foreign"):
        READER.opener(OBJECT).open(PLACE, forged)


def test_images_of_an_older_key_stay_readable_after_rotation():
    sealed = WRITER.sealer(OBJECT).seal(PLACE, b"frame")
    assert ROTATED.key_id != READER.key_id
    assert ROTATED.opener(OBJECT).open(PLACE, sealed) == b"frame"
    assert ROTATED.digest_key != READER.digest_key
    assert ROTATED.for_key(KEY.key_id).digest_key == READER.digest_key == WRITER.digest_key


# --- nonces ----------------------------------------------------------------------------------


def nonce_and_key(sealed: bytes) -> tuple[bytes, bytes]:
    return sealed[20:100], sealed[100:108]


@given(rounds=st.lists(st.lists(places, max_size=8), max_size=6))
def test_no_nonce_is_used_twice_under_one_key(rounds):
    """Each round is a process that takes up the same object, and may seal the same frames again."""
    seen = set()
    for frames in rounds:
        sealer = WRITER.sealer(OBJECT)
        for place in frames:
            used = nonce_and_key(sealer.seal(place, b"x"))
            assert used not in seen
            seen.add(used)


def test_no_nonce_is_used_twice_by_threads():
    sealer = WRITER.sealer(OBJECT)
    start = threading.Barrier(8)

    def seal_many(_):
        start.wait()
        return [nonce_and_key(sealer.seal(PLACE, b"x")) for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        used = [pair for pairs in pool.map(seal_many, range(8)) for pair in pairs]
    assert len(set(used)) == len(used) == 4000


def test_a_key_refuses_more_frames_than_it_may_seal(monkeypatch):
    monkeypatch.setattr(sealing, "FRAMES_PER_KEY_MAX", 2)
    sealer = WRITER.sealer(OBJECT)
    sealer.seal(PLACE, b"x")
    sealer.seal(PLACE, b"x")
    with pytest.raises(AssertionError):
        sealer.seal(PLACE, b"x")


def test_equal_frames_do_not_look_equal():
    sealer = WRITER.sealer(OBJECT)
    assert sealer.seal(PLACE, b"same")[108:] != sealer.seal(PLACE, b"same")[108:]


# --- documents -------------------------------------------------------------------------------


@given(name=st.text(max_size=30), plain=st.binary(max_size=300))
def test_a_document_sealed_twice_is_one_document_and_a_writer_can_open_it(name, plain):
    sealed = READER.seal_document(name, plain)
    assert sealed == WRITER.seal_document(name, plain)
    assert len(sealed) == len(plain) + sealing.DOCUMENT_OVERHEAD_BYTES
    assert WRITER.open_document(name, sealed) == plain


@given(plain=st.binary(max_size=60), at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_an_altered_document_is_refused(plain, at, bit):
    sealed = bytearray(WRITER.seal_document("page", plain))
    with pytest.raises(CorruptData):
        READER.open_document("another page", sealed)
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises((CorruptData, UnknownFormat, WrongKey)):
        READER.open_document("page", sealed)


@given(one=st.binary(max_size=20), other=st.binary(max_size=20))
def test_no_document_key_seals_two_contents(one, other):
    seeds = {WRITER.seal_document("p", plain)[20:52] for plain in (one, other)}
    assert len(seeds) == len({one, other})


def test_documents_of_an_older_key_stay_readable_after_rotation():
    assert ROTATED.open_document("page", READER.seal_document("page", b"x")) == b"x"
    with pytest.raises(WrongKey):
        STRANGER.open_document("page", READER.seal_document("page", b"x"))


def test_a_signed_document_is_bound_to_its_name_and_to_every_byte():
    code = WRITER.sign_document("points/RG1/1.json", b"{}")
    READER.check_document("points/RG1/1.json", b"{}", code)
    ROTATED.check_document("points/RG1/1.json", b"{}", code, key_ids=[KEY.key_id])
    for cipher, name, plain in [
        (READER, "points/RG1/2.json", b"{}"),
        (READER, "points/RG1/1.json", b"{ }"),
        (STRANGER, "points/RG1/1.json", b"{}"),
    ]:
        with pytest.raises(CorruptData):
            cipher.check_document(name, plain, code)
    with pytest.raises(CorruptData):
        ROTATED.check_document("points/RG1/1.json", b"{}", code, key_ids=[ROTATED.key_id])


def test_keys_never_show_in_a_representation():
    assert repr(READER) == f"Cipher({KEY.key_id}, reader)"
    assert repr(WRITER) == f"Cipher({KEY.key_id}, writer)"
