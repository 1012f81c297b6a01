"""A frame decodes to what went in, or is refused by name; a lying length costs no memory."""

import contextlib
import random
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import CorruptData, WrongKey
from blocks.image.codec import Codec, extent_digests, frame_bytes, open_frame, same_bytes
from blocks.image.digest import Digester
from blocks.image.layout import ZSTD_MAGIC, FrameHeader, FrameKind
from blocks.image.segments import FRAME_ROW, pack_frame_index, unpack_frame_index

CODEC = Codec()
PLAIN = st.binary(min_size=1, max_size=5000) | st.builds(
    lambda seed, length: random.Random(seed).randbytes(length),
    st.integers(0, 2**32),
    st.integers(1, 300_000),
)


@given(PLAIN, st.sampled_from([1, 3, 19]), st.booleans())
def test_a_frame_decodes_to_what_went_in(plain, level, compress):
    frame = Codec(level=level, compress=compress).encode(memoryview(plain))
    assert CODEC.decode(frame, len(plain)) == plain
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.content_size == len(plain)
    assert parameters.has_checksum


class Wrong:
    """A compressor on a machine whose memory flips a bit before the checksum is made."""

    def compress(self, plain):
        flipped = bytearray(plain)
        flipped[len(flipped) // 2] ^= 1
        return zstandard.ZstdCompressor(write_checksum=True).compress(bytes(flipped))


@pytest.mark.parametrize("compress", [True, False])
def test_an_encoder_that_writes_something_else_is_caught_at_once(compress):
    codec = Codec(compress=compress)
    codec._compressor = codec._fast = Wrong()
    with pytest.raises(CorruptData, match="does not decode to its input"):
        codec.encode(memoryview(random.Random(1).randbytes(100_000)))


@given(PLAIN)
def test_encoding_is_the_same_every_time(plain):
    assert Codec().encode(memoryview(plain)) == CODEC.encode(memoryview(plain))


@given(PLAIN, st.data())
def test_a_damaged_frame_is_refused_by_name_or_decodes_to_the_same(plain, data):
    frame = bytearray(CODEC.encode(memoryview(plain)))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(CorruptData):
        assert CODEC.decode(bytes(frame), len(plain)) == plain


@given(st.binary(max_size=300), st.integers(1, 10_000))
def test_junk_is_refused_by_name(junk, plain_bytes):
    with contextlib.suppress(CorruptData):
        assert len(CODEC.decode(junk, plain_bytes)) == plain_bytes


@pytest.mark.parametrize("claimed", [0, 5, 4097, 2**40, 2**62])
def test_a_frame_that_claims_another_length_is_refused_before_memory_is_taken(claimed):
    lying = struct.pack("<IBBQ", ZSTD_MAGIC, 0xC0, 0x38, claimed) + b"\x01\x00\x00"
    with pytest.raises(CorruptData):
        CODEC.decode(lying, 4096)


def test_what_follows_a_frame_is_no_part_of_it():
    frame = CODEC.encode(memoryview(b"x" * 100))
    with pytest.raises(CorruptData):
        CODEC.decode(frame + b"more", 100)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_bytes_are_the_same_only_if_they_are(one, other):
    assert same_bytes(one, other) == (one == other)
    assert same_bytes(one, bytes(one))


def test_noise_costs_only_its_length_and_is_stored():
    noise = random.Random(1).randbytes(1 << 20)
    assert len(CODEC.encode(memoryview(noise))) < len(noise) + 64


@given(st.binary(min_size=1, max_size=20_000))
def test_digests_of_extents_are_those_of_the_pieces(plain):
    digester = Digester()
    pieces = [plain[at : at + 4096] for at in range(0, len(plain), 4096)]
    expected = b"".join(digester.of(piece) for piece in pieces)
    assert extent_digests(digester, memoryview(plain), 4096) == expected


def test_a_sealed_frame_without_a_key_says_so():
    header = FrameHeader(FrameKind.SEALED, 0, 1, 4, bytes(32))
    with pytest.raises(WrongKey):
        open_frame(header, memoryview(b"1234"), None, "volume")


def test_zeros_are_no_frame_of_data():
    header = FrameHeader(FrameKind.ZERO, 0, 1, 4, bytes(32))
    with pytest.raises(CorruptData):
        open_frame(header, memoryview(b"1234"), None, "volume")


def index(frames):
    table = np.zeros(frames, dtype=FRAME_ROW)
    table["first"] = np.arange(frames)
    table["count"] = 1
    return table, random.Random(frames).randbytes(32 * frames)


@given(st.integers(0, 50))
def test_the_index_of_an_object_comes_back(frames):
    table, digests = index(frames)
    found = unpack_frame_index(pack_frame_index(table, digests))
    assert np.array_equal(found.frames, table)
    assert found.digests.tobytes() == digests


@given(st.data())
def test_a_flipped_bit_anywhere_in_an_index_is_refused_by_name(data):
    table, digests = index(5)
    packed = bytearray(pack_frame_index(table, digests))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    # zstd's decoder ignores one bit of a frame's header: then the index is what it was.
    with contextlib.suppress(CorruptData):
        found = unpack_frame_index(bytes(packed))
        assert np.array_equal(found.frames, table)
        assert found.digests.tobytes() == digests


@given(PLAIN, st.binary(max_size=20), st.sampled_from([1, 19]))
def test_the_end_of_a_frame_is_found_without_decoding_it(plain, more, level):
    frame = Codec(level=level).encode(memoryview(plain))
    assert frame_bytes(frame + more) == len(frame)


@given(st.binary(max_size=100))
def test_what_is_no_frame_has_no_length(junk):
    for data in (junk, struct.pack("<I", ZSTD_MAGIC) + junk):
        with contextlib.suppress(CorruptData):
            assert frame_bytes(data) <= len(data)
