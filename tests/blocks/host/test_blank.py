import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.host.blank import LOOK_BYTES, _spread, looks_blank
from blocks.units import MIB


class Bytes:
    """A disk in memory."""

    def __init__(self, size, data=None):
        self.size_bytes = size
        self.data = data or {}

    def read_into(self, offset, buffer):
        assert offset + len(buffer) <= self.size_bytes
        for place, value in self.data.items():
            if offset <= place < offset + len(buffer):
                buffer[place - offset] = value


def test_a_disk_of_no_bytes_is_blank():
    assert looks_blank(Bytes(0))


def test_zeros_are_blank():
    assert looks_blank(Bytes(300 * MIB))


@pytest.mark.parametrize("size", [512, 4096, MIB, 3 * MIB + 512, 500 * MIB])
def test_the_first_and_the_last_byte_count(size):
    assert not looks_blank(Bytes(size, {size - 1: 1})) or size <= 512
    assert not looks_blank(Bytes(size + 600, {600: 1}))


def test_a_pvid_alone_is_nothing():
    assert looks_blank(Bytes(64 * MIB, {0: 0xC9, 1: 0xC2, 0x80: 7}))


@given(st.integers(0, 10**13), st.integers(1, 64))
def test_looks_stay_on_the_disk_and_include_both_ends(last, steps):
    offsets = _spread(last, steps)
    assert offsets[0] == 0
    assert offsets[-1] == last
    assert all(0 <= offset <= last for offset in offsets)


def test_a_small_disk_is_looked_at_whole():
    size = 8 * LOOK_BYTES
    for place in range(LOOK_BYTES // 2, size, LOOK_BYTES):
        assert not looks_blank(Bytes(size, {place: 1}))
