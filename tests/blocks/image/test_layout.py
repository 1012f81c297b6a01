"""What is packed is unpacked, and junk is told by name, never by a traceback of another kind."""

import contextlib
import io
import json

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import CorruptData, UnknownFormat
from blocks.image.layout import (
    FRAME_HEADER_BYTES,
    INDEX_TAIL_BYTES,
    OBJECT_TAG,
    SEEK_FOOT_BYTES,
    ZERO_FRAME_MAX_BYTES,
    FrameHeader,
    FrameKind,
    index_bytes,
    object_header_bytes,
    pack_index,
    pack_object_header,
    pack_seek_table,
    seek_table_bytes,
    skippable,
    unpack_frame_header,
    unpack_index,
    unpack_object_header,
    unpack_seek_table,
    zero_frame,
)

U32 = st.integers(0, 2**32 - 1)
NAMED = (CorruptData, UnknownFormat)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.sampled_from(FrameKind),
    st.integers(0, 2**64 - 1),
    U32,
    U32,
    st.binary(min_size=32, max_size=32),
)
def test_a_frame_header_comes_back(kind, first, count, payload, root):
    header = FrameHeader(kind, first, count, payload, root)
    packed = header.pack()
    assert len(packed) == FRAME_HEADER_BYTES
    assert unpack_frame_header(packed + b"more") == header


@given(st.dictionaries(TEXT, TEXT | st.integers(-(2**53), 2**53), max_size=5), st.binary())
def test_an_object_header_comes_back(document, more):
    document.pop("format", None)
    packed = pack_object_header(document)
    assert object_header_bytes(packed[:12]) == len(packed)
    assert unpack_object_header(packed + more) == {"format": 1, **document}


@given(st.lists(st.tuples(U32, U32), max_size=50))
def test_a_seek_table_comes_back(entries):
    packed = pack_seek_table(entries)
    assert seek_table_bytes(packed[-SEEK_FOOT_BYTES:]) == len(packed)
    assert unpack_seek_table(packed) == entries


@given(U32, U32, U32, st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_an_index_comes_back(frames, extents, plain_bytes, digest, body):
    packed = pack_index(frames, extents, plain_bytes, digest, body)
    assert index_bytes(packed[-INDEX_TAIL_BYTES:]) == len(packed)
    *facts, found = unpack_index(packed)
    assert tuple(facts) == (frames, extents, plain_bytes, digest)
    assert bytes(found) == body


@settings(max_examples=30)
@given(st.integers(1, 3 * 1024 * 1024) | st.just(ZERO_FRAME_MAX_BYTES))
def test_a_zero_frame_decodes_to_so_many_zeros_with_any_zstd(length):
    frame = zero_frame(length)
    assert zstandard.get_frame_parameters(frame).content_size == length
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)).read()
    assert len(plain) == length
    assert not any(memoryview(plain)[:: max(1, length // 4096)])
    assert plain.count(0) == length


READERS = [
    unpack_frame_header,
    unpack_object_header,
    object_header_bytes,
    unpack_seek_table,
    seek_table_bytes,
    unpack_index,
    index_bytes,
]


@pytest.mark.parametrize("read", READERS)
@given(junk=st.binary(max_size=200))
def test_junk_is_told_by_name(read, junk):
    with contextlib.suppress(NAMED):
        read(junk)


def samples():
    """One of each packed thing, with its reader."""
    root = bytes(range(32))
    return [
        (unpack_frame_header, FrameHeader(FrameKind.ZSTD, 7, 3, 99, root).pack()),
        (unpack_object_header, pack_object_header({"volume": "x", "labels": {"a": "b"}})),
        (unpack_seek_table, pack_seek_table([(1, 2), (3, 4)])),
        (unpack_index, pack_index(1, 2, 3, root, b"body")),
    ]


@given(st.sampled_from(samples()), st.data())
def test_what_was_cut_off_is_told_by_name(sample, data):
    read, packed = sample
    with pytest.raises(NAMED):
        read(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(st.sampled_from(samples()), st.data())
def test_a_changed_byte_is_told_by_name_or_read(sample, data):
    read, packed = sample
    changed = bytearray(packed)
    changed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(NAMED):
        read(bytes(changed))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'{"format": 2}', UnknownFormat),
        (b"{}", UnknownFormat),
        (b"[1]", UnknownFormat),
        (b"{", CorruptData),
        (b'{"a": "\xff"}', CorruptData),
        (b"[" * 200_000, CorruptData),
    ],
)
def test_an_object_header_of_another_kind_is_told_by_name(text, error):
    with pytest.raises(error):
        unpack_object_header(skippable(OBJECT_TAG + text))


def test_the_newer_version_is_named_to_the_reader():
    newer = skippable(OBJECT_TAG + json.dumps({"format": 2}).encode())
    with pytest.raises(UnknownFormat, match="format 2"):
        unpack_object_header(newer)
