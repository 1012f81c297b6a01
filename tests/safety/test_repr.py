"""What holds a secret never shows it: in reprs, errors, dumps or tracebacks."""

import traceback
from datetime import UTC, datetime

import pytest

from blocks.errors import FlashvaultError, WrongKey
from blocks.image.keyring import Role, ScryptCost
from blocks.image.keys import Identity, PassphraseRecipient, create_keyring, open_keyring
from blocks.image.keywords import format_private_key, parse_private_key
from blocks.store.block import Bucket
from blocks.store.encryption import Encryption, Mode
from blocks.svc.block import SvcSystem

SECRET = "Sup3r-Secret-Value-1234567890"


def test_prefect_blocks_dump_stars():
    bucket = Bucket(
        name="b",
        bucket="b",
        secret_key=SECRET,
        api_key=SECRET,
        customer_key=SECRET,
        passphrase=SECRET,
        private_key=SECRET,
    )
    system = SvcSystem(name="s", addresses=["h"], user="u", password=SECRET, private_key=SECRET)
    for block in (bucket, system):
        shown = repr(block) + str(block) + str(block.model_dump()) + block.model_dump_json()
        assert SECRET not in shown


def test_a_wrong_passphrase_is_not_repeated_in_the_error():
    recipient = PassphraseRecipient("r", Role.READER, "another passphrase", ScryptCost(log2_n=4))
    keyring, _ = create_keyring([recipient], now=datetime(2026, 11, 23, tzinfo=UTC))
    with pytest.raises(WrongKey) as caught:
        open_keyring(keyring, Identity(passphrase=SECRET))
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert SECRET not in shown
    assert "another passphrase" not in shown


def test_a_mistyped_private_key_is_not_repeated_in_the_error():
    word = format_private_key(bytes(range(32)))
    with pytest.raises(FlashvaultError) as caught:
        parse_private_key(word[:-1] + "x")
    assert word[20:-1] not in "".join(traceback.format_exception(caught.value))


def test_encryption_settings_do_not_show_their_key():
    assert "1112131415" not in repr(
        Encryption(Mode.AES, "IBM", customer_key=b"1112131415" * 3 + b"xx")
    )
