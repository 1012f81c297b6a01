"""What version 1 sealed opens for ever. These files are never made again."""

import json
from pathlib import Path

from blocks.image.cipher import Cipher, FramePlace
from blocks.image.keyring import parse_keyring
from blocks.image.keys import Identity, open_keyring
from blocks.image.keywords import parse_private_key

GOLDEN = Path(__file__).parents[2] / "golden" / "keyring"
FACTS = json.loads((GOLDEN / "v1.json").read_text())
PLACE = FramePlace("60050768018305E120000000000000EA", 32, 16)


def test_a_reader_opens_what_version_1_sealed():
    keyring = parse_keyring((GOLDEN / "v1.keyring.json").read_bytes())
    key = open_keyring(keyring, Identity(passphrase=FACTS["passphrase"]))
    assert [epoch.key_id for epoch in key.epochs] == FACTS["key_ids"]
    cipher = Cipher(key)
    opener = cipher.opener("RG1/01JDCZ0000000000000000000/a.img.zst")
    frame = (GOLDEN / "v1.frame").read_bytes()
    assert opener.open(PLACE, frame) == b"a frame sealed by version 1"


def test_a_writer_reads_the_metadata_of_version_1_and_makes_the_same():
    keyring = parse_keyring((GOLDEN / "v1.keyring.json").read_bytes())
    identity = Identity(private_key=parse_private_key(FACTS["writer"]))
    cipher = Cipher(open_keyring(keyring, identity)).for_key(FACTS["key_ids"][0])
    page = (GOLDEN / "v1.page").read_bytes()
    assert cipher.open_document("page", page) == b"a page sealed by version 1"
    assert cipher.seal_document("page", b"a page sealed by version 1") == page
    assert cipher.digest_key.hex() == FACTS["digest_key"]
    cipher.check_document("points/RG1/1.json", b"{}", FACTS["code"])


def test_the_document_is_stored_in_its_one_form():
    stored = (GOLDEN / "v1.keyring.json").read_bytes()
    assert parse_keyring(stored).to_bytes() == stored
