import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ConfigError
from blocks.units import (
    GIB,
    KIB,
    MIB,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    slug,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256KiB", 256 * KIB),
        ("4M", 4 * MIB),
        ("10.00GB", 10 * GIB),
        ("4096", 4096),
        (" 1 tb ", 1024 * GIB),
    ],
)
def test_sizes_are_binary_whatever_the_spelling(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4X", "-1M", "1 2", "M", "1e3"])
def test_junk_is_no_size(text):
    with pytest.raises(ConfigError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("1w", 604800)]
)
def test_durations_add_up(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5x", "1h-3m", "h"])
def test_junk_is_no_duration(text):
    with pytest.raises(ConfigError, match="not a duration"):
        parse_duration(text)


def test_people_read_sizes_and_durations():
    assert format_size(4 * GIB) == "4.0 GiB"
    assert format_size(12) == "12 B"
    assert format_duration(4.21) == "4.2 s"
    assert format_duration(3720) == "1h 02m"


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_have_different_slugs(one, other):
    if one != other:
        assert slug(one) != slug(other)
