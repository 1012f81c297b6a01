"""A page gives every extent one fate; what does not is refused by name."""

import contextlib
import json
import random
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import CorruptData, UnknownFormat
from blocks.image.map import PAGE_MAGIC, RUN, ZERO_OBJECT, Page, PageDraft, unpack_page

EXTENT = 4096
NAMED = (CorruptData, UnknownFormat)


def pages():
    return st.builds(draft, st.integers(0, 2**32), st.integers(1, 300))


def draft(seed, count):
    """Draft a page with runs of zeros and frames of 1 to 16 extents in three objects."""
    dice = random.Random(seed)
    page = PageDraft(EXTENT, "blake3", count)
    digests = np.frombuffer(dice.randbytes(32 * count), dtype=np.uint8).reshape(count, 32)
    page.keep(0, digests, np.zeros(count, dtype=np.bool_))
    at = offset = 0
    while at < count:
        length = min(dice.randrange(1, 17), count - at)
        if dice.random() < 0.3:
            page.zero(at, np.ones(length, dtype=np.bool_))
        else:
            stored = dice.randrange(65, 5000)
            page.store(at, length, f"object-{dice.randrange(3)}", offset, stored)
            offset += stored
        at += length
    return page.finish()


def fates(page):
    """Say for each extent where it is: zeros, or object, frame and place in the frame."""
    rows = []
    for first, count, number, skip, frame_count, length, offset in page.runs.tolist():
        for step in range(count):
            if number == ZERO_OBJECT:
                rows.append((first + step, None))
            else:
                place = (page.objects[number], offset, length, frame_count, skip + step)
                rows.append((first + step, place))
    return rows


@given(pages())
def test_a_page_comes_back(page):
    again = unpack_page(page.pack())
    assert fates(again) == fates(page)
    assert [extent for extent, _ in fates(page)] == list(range(page.extent_count))
    assert np.array_equal(again.digests, page.digests)
    assert (again.extent_bytes, again.algorithm) == (EXTENT, "blake3")


def noted(page, seed=1):
    """Give a page the node's digests of all its extents."""
    dice = random.Random(seed)
    made = np.frombuffer(dice.randbytes(32 * page.extent_count), dtype=np.uint8).reshape(-1, 32)
    return page.with_node_digests(made), made


@given(pages())
def test_the_digests_of_the_node_come_back_without_those_of_zeros(page):
    assert unpack_page(page.pack()).node_digests() is None
    with_node, made = noted(page)
    again = unpack_page(with_node.pack())
    is_zero = np.array([place is None for _, place in fates(page)])
    assert np.array_equal(again.node_digests(), np.where(is_zero[:, None], 0, made))
    assert again.pack() == with_node.pack()


def old_reader(data):
    """Read a page as the format was before `node`: its JSON, then exactly two frames."""
    length = struct.unpack_from("<8sI", data)[1]
    head = json.loads(data[12 : 12 + length])
    rest = zstandard.ZstdDecompressor().decompressobj()
    digests = rest.decompress(data[12 + length :])
    runs = zstandard.ZstdDecompressor().decompress(rest.unused_data, allow_extra_data=False)
    return head, digests, runs


@given(pages())
def test_a_reader_of_before_reads_a_page_with_digests_of_the_node(page):
    head, digests, runs = old_reader(noted(page)[0].pack())
    plain_head, *plain = old_reader(page.pack())
    assert [digests, runs] == plain
    assert {name: head[name] for name in plain_head} == plain_head


@pytest.mark.parametrize(
    "node",
    [
        {"algorithm": "sha256", "digests": "AAAA"},
        {"algorithm": "sha256", "digests": "not base64!"},
        {"algorithm": "sha256", "digests": 7},
        {"algorithm": "sha256"},
        {"algorithm": "sha512", "digests": ""},
        "sha256",
        [],
        None,
    ],
)
def test_strange_digests_of_the_node_never_keep_a_page_from_being_read(node):
    page = draft(3, 40)
    packed = page.pack()
    length = struct.unpack_from("<8sI", packed)[1]
    head = {**json.loads(packed[12 : 12 + length]), "node": node}
    text = json.dumps(head).encode()
    read = unpack_page(PAGE_MAGIC + struct.pack("<I", len(text)) + text + packed[12 + length :])
    assert fates(read) == fates(page)
    with contextlib.suppress(CorruptData):
        assert read.node_digests() is None


@given(pages())
def test_a_page_has_one_form(page):
    assert unpack_page(page.pack()).pack() == page.pack()


@given(pages(), st.integers(0, 2**32))
def test_what_is_kept_of_the_parent_keeps_its_place(parent, seed):
    dice = random.Random(seed)
    count = parent.extent_count
    kept = np.array([dice.random() < 0.7 for _ in range(count)])
    child = PageDraft(EXTENT, "blake3", count)
    child.adopt(parent)
    child.keep(0, parent.digests, kept)
    child.zero(0, ~kept)
    wanted = dict(fates(parent))
    for extent, fate in fates(child.finish()):
        assert fate == (wanted[extent] if kept[extent] else None)


@given(st.binary(max_size=300))
def test_junk_is_refused_by_name(junk):
    for data in (junk, PAGE_MAGIC + junk):
        with pytest.raises(NAMED):
            unpack_page(data)


@given(pages(), st.data())
def test_a_changed_byte_is_refused_by_name_or_read(page, data):
    packed = bytearray(page.pack())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(NAMED):
        unpack_page(bytes(packed)).check()


@given(pages(), st.data())
def test_a_page_cut_off_is_refused_by_name(page, data):
    packed = page.pack()
    with pytest.raises(NAMED):
        unpack_page(packed[: data.draw(st.integers(0, len(packed) - 1))])


def written(**changes):
    """Write a page of one zero extent whose header says something else."""
    head = {
        "format": 1,
        "extent_bytes": EXTENT,
        "extents": 1,
        "digest": "blake3",
        "runs": 1,
        "objects": [],
        **changes,
    }
    text = json.dumps({key: value for key, value in head.items() if value is not None}).encode()
    row = np.zeros(1, dtype=RUN)
    row["count"], row["object"] = 1, ZERO_OBJECT
    columns = b"".join(row[name].tobytes() for name in RUN.names)
    compress = zstandard.ZstdCompressor().compress
    return (
        PAGE_MAGIC + struct.pack("<I", len(text)) + text + compress(bytes(32)) + compress(columns)
    )


def test_the_page_of_the_next_tests_is_right():
    assert unpack_page(written()).extent_count == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"objects": None},
        {"objects": 5},
        {"extent_bytes": None},
        {"extent_bytes": "many"},
        {"extents": 0},
        {"extents": 65_537},
        {"extents": [1]},
        {"runs": 2},
        {"runs": -1},
        {"digest": None},
    ],
)
def test_a_header_that_says_nonsense_is_refused_by_name(changes):
    with pytest.raises(CorruptData):
        unpack_page(written(**changes))


def test_a_newer_version_is_named():
    with pytest.raises(UnknownFormat, match="2"):
        unpack_page(written(format=2))


def test_a_page_that_unpacks_to_gigabytes_is_refused_before_memory_is_taken():
    page = written()
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    [length] = struct.unpack_from("<I", page, 8)
    with pytest.raises(CorruptData):
        unpack_page(page[: 12 + length] + bomb + bomb)


RUNS = [
    [(0, 1, 0, 0, 1, 100, 0)],  # a hole at the end
    [(1, 2, 0, 0, 2, 100, 0)],  # and at the beginning
    [(0, 2, 0, 0, 2, 100, 0), (1, 1, -1, 0, 0, 0, 0)],  # an extent with two fates
    [(0, 3, 0, 0, 2, 100, 0)],  # more extents than the frame has
    [(0, 2, 1, 0, 2, 100, 0)],  # an object that is not listed
    [(0, 2, -2, 0, 2, 100, 0)],
    [(0, 0, 0, 0, 2, 100, 0), (0, 2, 0, 0, 2, 100, 0)],  # an empty run
    [],
]


@pytest.mark.parametrize("rows", RUNS)
def test_an_extent_without_exactly_one_fate_is_refused(rows):
    digests = np.zeros((2, 32), dtype=np.uint8)
    page = Page(EXTENT, "blake3", digests, np.array(rows, dtype=RUN), ("object",))
    with pytest.raises(CorruptData):
        page.check()
