"""Keyrings: who opens them, what each may do, and what is refused."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.errors import ConfigError, CorruptData, Refused, UnknownFormat, WrongKey
from blocks.image import envelope, keys
from blocks.image.keyring import Keyring, Role, ScryptCost, parse_keyring
from blocks.image.keywords import (
    format_private_key,
    format_public_key,
    parse_private_key,
    parse_public_key,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
QUICK = ScryptCost(log2_n=4)
PASSPHRASE = "correct horse battery"


class FakeKms:
    """A KMS that keeps what it was given under a ticket, bound to key and context."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[str, dict[str, str], bytes]] = {}

    def encrypt(self, kms_key_id: str, plain: bytes, context: dict[str, str]) -> bytes:
        ticket = f"ticket-{len(self.kept)}".encode()
        self.kept[ticket] = (kms_key_id, context, plain)
        return ticket

    def decrypt(self, kms_key_id: str, sealed: bytes, context: dict[str, str]) -> bytes:
        if sealed not in self.kept or self.kept[sealed][:2] != (kms_key_id, context):
            raise WrongKey("the KMS refuses")
        return self.kept[sealed][2]


def passphrase(name: str = "recovery", role: Role = Role.READER, text: str = PASSPHRASE):
    return keys.PassphraseRecipient(name, role, text, QUICK)


def public(name: str, private_key: bytes, role: Role = Role.READER):
    return keys.PublicKeyRecipient(name, role, envelope.public_key_of(private_key))


def stored(keyring: Keyring) -> Keyring:
    return parse_keyring(keyring.to_bytes())


# --- the primitives, against the standards ---------------------------------------------------


def test_scrypt_gives_the_vectors_of_rfc_7914():
    first = keys.stretch("password", b"NaCl", ScryptCost(log2_n=10, r=8, p=16))
    assert first.hex() == "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
    second = keys.stretch("pleaseletmein", b"SodiumChloride", ScryptCost(log2_n=14, r=8, p=1))
    assert second.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


def test_x25519_gives_the_vectors_of_rfc_7748():
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert envelope.public_key_of(alice).hex() == (
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )
    assert envelope.public_key_of(bob).hex() == (
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )


def rfc_5869(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 spelled out from the RFC."""
    pseudorandom = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.new(pseudorandom, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
    return output[:length]


def test_derived_keys_are_the_hkdf_of_rfc_5869():
    vector = rfc_5869(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert vector.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    info = b"flashvault v1 digest\0ctx"
    ours = envelope.derive(b"secret", "digest", salt=b"salt", context=b"ctx")
    assert ours == rfc_5869(b"secret", b"salt", info, 32)


@given(plain=st.binary(max_size=200), context=st.binary(max_size=20), at=st.integers(min_value=0))
def test_an_envelope_opens_only_whole_with_its_key_its_context_and_its_secret(plain, context, at):
    key, other = keys.new_private_key(), keys.new_private_key()
    public_key = envelope.public_key_of(key)
    sealed = envelope.seal_to(public_key, plain, context, shared_secret=b"s")
    assert len(sealed) == len(plain) + envelope.OVERHEAD_BYTES
    assert envelope.open_with(key, sealed, context, shared_secret=b"s") == plain
    flipped = bytearray(sealed)
    flipped[at % len(sealed)] ^= 1
    for args in [(other, sealed, context), (key, sealed, context + b"x"), (key, flipped, context)]:
        with pytest.raises(WrongKey):
            envelope.open_with(args[0], bytes(args[1]), args[2], shared_secret=b"s")
    with pytest.raises(WrongKey):
        envelope.open_with(key, sealed, context, shared_secret=b"t")


# --- opening ---------------------------------------------------------------------------------


def test_each_kind_of_recipient_opens_the_keyring():
    private_key, kms = keys.new_private_key(), FakeKms()
    keyring, key = keys.create_keyring(
        [
            passphrase(),
            public("safe", private_key),
            keys.KmsRecipient("hsm", Role.READER, "k", kms),
        ],
        now=NOW,
    )
    for identity in (
        keys.Identity(passphrase=PASSPHRASE),
        keys.Identity(private_key=private_key),
        keys.Identity(kms=kms),
    ):
        assert keys.open_keyring(stored(keyring), identity) == key


def test_a_writer_gets_no_private_key():
    host = keys.new_private_key()
    keyring, key = keys.create_keyring([passphrase(), public("host", host, Role.WRITER)], now=NOW)
    opened = keys.open_keyring(stored(keyring), keys.Identity(private_key=host))
    assert not opened.can_read
    assert opened.current.private_key is None
    assert opened.current.writer_secret == key.current.writer_secret
    assert key.current.private_key is not None
    assert key.current.private_key.hex() not in keyring.to_bytes().decode()


def test_a_reader_envelope_is_preferred_to_a_writer_envelope():
    both = keys.new_private_key()
    keyring, _ = keys.create_keyring(
        [public("as writer", both, Role.WRITER), public("as reader", both)], now=NOW
    )
    assert keys.open_keyring(keyring, keys.Identity(private_key=both)).can_read


@pytest.mark.parametrize(
    "identity",
    [
        keys.Identity(),
        keys.Identity(passphrase="correct horse batterx"),
        keys.Identity(private_key=bytes(range(32))),
        keys.Identity(kms=FakeKms()),
    ],
    ids=repr,
)
def test_a_lost_or_wrong_key_is_said_with_who_could_open_it(identity):
    keyring, _ = keys.create_keyring([passphrase("the safe")], now=NOW)
    with pytest.raises(WrongKey, match=r"the safe \(passphrase, reader\)"):
        keys.open_keyring(keyring, identity)


def test_a_passphrase_is_the_same_however_its_letters_are_composed():
    keyring, key = keys.create_keyring([passphrase(text="stra\u00dfe \u00fcber alles")], now=NOW)
    composed_otherwise = keys.Identity(passphrase="stra\u00dfe u\u0308ber alles")
    assert keys.open_keyring(keyring, composed_otherwise) == key


def test_a_foreign_keyring_is_refused_when_the_key_id_is_pinned():
    mine, key = keys.create_keyring([passphrase()], now=NOW)
    foreign, _ = keys.create_keyring([passphrase()], now=NOW)
    identity = keys.Identity(passphrase=PASSPHRASE)
    assert keys.open_keyring(mine, identity, pinned_key_id=key.key_id) == key
    with pytest.raises(WrongKey, match="the profile wants"):
        keys.open_keyring(foreign, identity, pinned_key_id=key.key_id)


def test_an_epoch_slipped_in_by_a_stranger_is_refused():
    mine, key = keys.create_keyring([passphrase()], now=NOW)
    stranger, his = keys.create_keyring([passphrase()], now=NOW)
    # The stranger puts his epoch after mine, so that the pinned id is still in the document.
    forged = keys._signed(2, (*mine.epochs, *stranger.epochs), mine.recipients, his)
    with pytest.raises(CorruptData, match="slipped in"):
        stored(forged)
    assert forged.epochs[0].key_id == key.key_id


# --- damage ----------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=0))
def test_a_truncated_keyring_is_refused(whole_keyring, cut):
    with pytest.raises(CorruptData):
        parse_keyring(whole_keyring[: cut % (len(whole_keyring) - 1)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_never_gives_another_key(whole_keyring, at, bit):
    damaged = bytearray(whole_keyring)
    damaged[at % len(damaged)] ^= 1 << bit
    try:
        keyring = parse_keyring(bytes(damaged))
    except (CorruptData, UnknownFormat):
        return
    # Blanks and the case of an escape may change without changing the document.
    assert keyring == parse_keyring(whole_keyring)


@pytest.fixture(scope="module")
def whole_keyring() -> bytes:
    keyring, _ = keys.create_keyring(
        [passphrase(), keys.KmsRecipient("hsm", Role.WRITER, "k", FakeKms())], now=NOW
    )
    return keyring.to_bytes()


def test_a_newer_keyring_is_named_as_such(whole_keyring):
    newer = {**json.loads(whole_keyring), "format_version": 2}
    with pytest.raises(UnknownFormat, match="version 2"):
        parse_keyring(json.dumps(newer).encode())


def test_a_keyring_cannot_ask_for_more_than_a_gibibyte_of_memory():
    largest = ScryptCost(log2_n=20, r=8)
    assert 128 * 2**largest.log2_n * largest.r == 2**30
    with pytest.raises(ValueError, match="log2_n"):
        ScryptCost(log2_n=21)


# --- changes ---------------------------------------------------------------------------------


def test_a_recipient_added_later_opens_everything():
    keyring, key = keys.create_keyring([passphrase()], now=NOW)
    late = keys.new_private_key()
    more = keys.add_recipient(keyring, key, public("late", late), now=NOW)
    assert more.generation == keyring.generation + 1
    assert keys.open_keyring(stored(more), keys.Identity(private_key=late)) == key


def test_a_removed_recipient_opens_the_new_generation_no_more():
    gone = keys.new_private_key()
    keyring, key = keys.create_keyring([passphrase(), public("gone", gone)], now=NOW)
    fewer = keys.remove_recipient(keyring, key, "gone")
    with pytest.raises(WrongKey):
        keys.open_keyring(stored(fewer), keys.Identity(private_key=gone))
    assert keys.open_keyring(stored(fewer), keys.Identity(passphrase=PASSPHRASE)) == key


def test_the_last_reader_cannot_be_removed():
    host = keys.new_private_key()
    keyring, key = keys.create_keyring([passphrase(), public("host", host, Role.WRITER)], now=NOW)
    with pytest.raises(Refused, match="nobody could read"):
        keys.remove_recipient(keyring, key, "recovery")
    with pytest.raises(Refused):
        keys.create_keyring([public("host", host, Role.WRITER)], now=NOW)


def test_a_writer_cannot_change_the_keyring():
    host = keys.new_private_key()
    keyring, _ = keys.create_keyring([passphrase(), public("host", host, Role.WRITER)], now=NOW)
    opened = keys.open_keyring(keyring, keys.Identity(private_key=host))
    for change in (
        lambda: keys.add_recipient(keyring, opened, public("me too", host), now=NOW),
        lambda: keys.add_recipient(keyring, opened, public("me", host, Role.WRITER), now=NOW),
        lambda: keys.remove_recipient(keyring, opened, "host"),
        lambda: keys.rotate(keyring, opened, now=NOW),
        lambda: keys.rotate(keyring, opened, now=NOW, with_new_key=True),
    ):
        with pytest.raises(WrongKey):
            change()


def test_rotation_makes_new_envelopes_for_the_same_key_without_any_passphrase():
    private_key, kms = keys.new_private_key(), FakeKms()
    keyring, key = keys.create_keyring(
        [
            passphrase(),
            public("safe", private_key),
            keys.KmsRecipient("hsm", Role.READER, "k", kms),
        ],
        now=NOW,
    )
    rotated, same = keys.rotate(keyring, key, now=NOW, kms=kms)
    assert same == key
    before = {recipient.sealed for recipient in keyring.recipients}
    assert before.isdisjoint(recipient.sealed for recipient in rotated.recipients)
    for identity in (
        keys.Identity(passphrase=PASSPHRASE),
        keys.Identity(private_key=private_key),
        keys.Identity(kms=kms),
    ):
        assert keys.open_keyring(stored(rotated), identity) == key


def test_rotation_to_a_new_key_keeps_the_old_one_for_old_images():
    keyring, key = keys.create_keyring([passphrase()], now=NOW)
    rotated, newer = keys.rotate(keyring, key, now=NOW, with_new_key=True)
    opened = keys.open_keyring(
        stored(rotated), keys.Identity(passphrase=PASSPHRASE), pinned_key_id=key.key_id
    )
    assert opened == newer
    assert opened.key_id == rotated.key_id != key.key_id
    assert opened.epoch(key.key_id) == key.current


def test_rotation_with_a_kms_recipient_says_that_it_needs_the_kms():
    keyring, key = keys.create_keyring(
        [keys.KmsRecipient("hsm", Role.READER, "k", FakeKms())], now=NOW
    )
    with pytest.raises(ConfigError, match="access to the KMS"):
        keys.rotate(keyring, key, now=NOW)


def test_short_passphrases_and_double_names_are_refused():
    with pytest.raises(ConfigError, match="fewer than 12"):
        keys.create_keyring([passphrase(text="hunter2")], now=NOW)
    with pytest.raises(ConfigError, match="same name"):
        keys.create_keyring([passphrase("a"), passphrase("a")], now=NOW)


# --- words -----------------------------------------------------------------------------------


@given(key=st.binary(min_size=32, max_size=32))
def test_a_key_typed_back_is_the_same_key(key):
    assert parse_public_key(f"  {format_public_key(key)}\n") == key
    assert parse_private_key(format_private_key(key)) == key


@given(key=st.binary(min_size=32, max_size=32), at=st.integers(10, 40))
def test_a_mistyped_key_is_refused_and_never_repeated_in_the_error(key, at):
    word = format_private_key(key)
    at = min(at, len(word) - 2)
    typo = word[:at] + ("a" if word[at] != "a" else "b") + word[at + 1 :]
    with pytest.raises(ConfigError) as caught:
        parse_private_key(typo)
    assert word[-20:] not in str(caught.value) + caught.value.hint
    with pytest.raises(ConfigError):
        parse_public_key(word)


def test_nothing_secret_shows_when_a_key_is_printed():
    keyring, key = keys.create_keyring([passphrase()], now=NOW)
    secrets = [key.current.writer_secret, key.current.private_key or b""]
    shown = repr(key) + repr(key.current) + repr(passphrase()) + keyring.to_bytes().decode()
    shown += repr(keys.Identity(passphrase=PASSPHRASE, private_key=secrets[1]))
    assert PASSPHRASE not in shown
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret) not in shown
