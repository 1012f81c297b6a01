import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ConfigError
from blocks.profile.parcel import pack, unpack

PREFECTS_LIMIT = 5000


def document(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size // 2).hex().encode()


def opened(pieces: list[str]) -> bytes:
    return unpack(pieces[0], lambda number: pieces[number] if number < len(pieces) else None)


@given(st.text(st.characters(codec="utf-8"), max_size=9000))
def test_what_was_packed_comes_out_again_and_every_piece_fits(text):
    pieces = pack(text.encode())
    assert all(len(json.dumps(piece)) <= PREFECTS_LIMIT for piece in pieces)
    assert opened(pieces) == text.encode()


def test_a_long_one_takes_several_pieces():
    pieces = pack(document(100_000))
    assert len(pieces) > 5
    assert all(len(json.dumps(piece)) <= PREFECTS_LIMIT for piece in pieces)
    assert opened(pieces) == document(100_000)


def test_a_short_one_stays_readable():
    assert pack(b"<flashvault/>") == ["<flashvault/>"]


def test_a_missing_piece_is_noticed():
    with pytest.raises(ConfigError, match="incomplete"):
        opened(pack(document(100_000))[:-1])


def test_pieces_of_two_versions_are_noticed():
    old, new = pack(document(100_000, 1)), pack(document(100_000, 2))
    with pytest.raises(ConfigError, match="incomplete"):
        opened([new[0], *old[1:]])
