"""What the program on the node says of a disk is right, or is not believed."""

import hashlib
import io
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import HostError, ShortRead
from blocks.host import agent, dd
from blocks.host.base import ComparingReader
from blocks.host.compare import start_comparison
from blocks.host.remote import RemoteReader
from blocks.runner import LocalRunner
from blocks.units import KIB, MIB

SIZE = 3 * MIB + 5 * KIB
EXTENT = 64 * KIB
BATCH = 16
COUNT = -(-SIZE // EXTENT)


def sha256(data):
    return hashlib.sha256(data).digest()


@pytest.fixture(scope="module")
def content():
    made = bytearray(random.Random(5).randbytes(SIZE))
    made[EXTENT : 3 * EXTENT] = bytes(2 * EXTENT)
    made[-5 * KIB :] = bytes(5 * KIB)
    return bytes(made)


@pytest.fixture
def path(tmp_path, content):
    made = tmp_path / "disk"
    made.write_bytes(content)
    return made


def extents(content, extent=EXTENT):
    return [content[at : at + extent] for at in range(0, len(content), extent)]


def known_of(content):
    return b"".join(sha256(extent) for extent in extents(content))


def ask(runner, path, known, *, offset=0, length=SIZE, extent=EXTENT):
    return start_comparison(
        runner,
        str(path),
        offset,
        length,
        memoryview(known),
        extent_bytes=extent,
        batch_extents=BATCH,
        timeout_s=20,
    )


def told(comparison, length=SIZE, extent=EXTENT):
    """Take all of a comparison: for each extent (is zero, its digest, its bytes or None)."""
    found = []
    try:
        for at in range(0, length, BATCH * extent):
            buffer = bytearray(min(BATCH * extent, length - at))
            is_zero, has_bytes, digests = comparison.take(memoryview(buffer))
            for index, piece in enumerate(extents(bytes(buffer), extent)):
                sent = piece if has_bytes[index] else None
                found.append((bool(is_zero[index]), digests[index].tobytes(), sent))
        comparison.finish()
    finally:
        comparison.close()
    return found


def expected(content, known):
    rows = []
    for index, extent in enumerate(extents(content)):
        if not any(extent):
            rows.append((True, bytes(32), None))
            continue
        digest = sha256(extent)
        is_known = digest == known[index * 32 : index * 32 + 32]
        rows.append((False, digest, None if is_known else extent))
    return rows


def test_the_node_sends_what_differs_and_only_digests_of_the_rest(path, content):
    reader = RemoteReader(LocalRunner(), str(path), SIZE, read_command=dd.gnu_read)
    assert isinstance(reader, ComparingReader)
    assert reader.can_compare()
    before = bytearray(content)
    before[5 * EXTENT] ^= 1
    before[EXTENT] ^= 1  # has become zero since
    known = known_of(bytes(before))
    comparison = reader.compare(0, SIZE, memoryview(known), extent_bytes=EXTENT, batch_extents=16)
    rows = told(comparison)
    assert rows == expected(content, known)
    assert [index for index, row in enumerate(rows) if row[2]] == [5]


def test_a_range_in_the_middle_is_compared(path, content):
    offset, length = 16 * EXTENT, 20 * EXTENT
    part = content[offset : offset + length]
    known = known_of(part)
    rows = told(ask(LocalRunner(), path, known, offset=offset, length=length), length)
    assert rows == expected(part, known)


def test_only_the_first_bytes_of_a_digest_are_told_to_the_node(path, content):
    sent = []

    class Watching(LocalRunner):
        def stream_out(self, command, *, timeout_s=60.0, stdin=None):
            sent.append(stdin)
            return super().stream_out(command, timeout_s=timeout_s, stdin=stdin)

    known = known_of(content)
    told(ask(Watching(), path, known))
    assert known[:8] in sent[0]
    assert not any(known[at : at + 9] in sent[0] for at in range(0, len(known), 32))


class Instead(LocalRunner):
    """A node on which python3 is something else."""

    def __init__(self, instead):
        self._instead = instead

    def stream_out(self, command, *, timeout_s=60.0, stdin=None):
        return super().stream_out(self._instead, timeout_s=timeout_s, stdin=stdin)


@pytest.mark.parametrize(
    "instead",
    [
        "echo 'python3: not found' >&2; exit 127",
        "echo 'Python 2.7 is no more'",
        "head -c 100000 /dev/zero",
    ],
)
def test_a_node_without_python_cannot_and_says_so(path, content, instead):
    assert ask(Instead(instead), path, known_of(content)) is None
    reader = RemoteReader(Instead(instead), str(path), SIZE, read_command=dd.gnu_read)
    assert not reader.can_compare()


def test_a_disk_the_node_may_not_open_is_not_compared(tmp_path):
    reader = RemoteReader(LocalRunner(), str(tmp_path / "none"), SIZE, read_command=dd.gnu_read)
    assert not reader.can_compare()


def answer_of(path, known):
    whole = io.BytesIO()
    request = {"offset": 0, "length": SIZE, "extent_bytes": EXTENT, "piece_extents": BATCH}
    begins = b"".join(known[at : at + 8] for at in range(0, len(known), 32))
    agent.answer(str(path), request, begins, whole)
    return whole.getvalue()


def saved(path, answer):
    file = path.with_suffix(".answer")
    file.write_bytes(b'{"can": true}\n' + answer)
    return Instead(f"cat {file}")


@pytest.mark.parametrize("keep", [0, 1, 40, 200, -50, -1])
def test_a_cut_answer_is_a_short_read(path, content, keep):
    known = known_of(content)
    answer = answer_of(path, known)
    comparison = ask(saved(path, answer[:keep]), path, known)
    with pytest.raises(ShortRead, match="ended early"):
        told(comparison)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_answer_is_never_believed(tmp_path_factory, content, data):
    path = tmp_path_factory.mktemp("agent") / "disk"
    path.write_bytes(content)
    known = known_of(content)
    answer = bytearray(answer_of(path, known))
    answer[data.draw(st.integers(0, len(answer) - 1))] ^= data.draw(st.integers(1, 255))
    comparison = ask(saved(path, answer), path, known)
    with pytest.raises(HostError):
        told(comparison)


def test_an_answer_with_more_than_was_asked_for_is_refused(path, content):
    known = known_of(content)
    comparison = ask(saved(path, answer_of(path, known) + b"S"), path, known)
    with pytest.raises(HostError):
        told(comparison)


def test_an_answer_about_another_length_is_refused(path, content):
    known = known_of(content)
    shorter = answer_of(path, known)
    length = SIZE - 2 * BATCH * EXTENT
    comparison = ask(saved(path, shorter), path, known[: -(-length // EXTENT) * 32], length=length)
    with pytest.raises(HostError):
        told(comparison, length)


def test_a_disk_that_ends_early_is_a_short_read(path, content):
    known = known_of(content + bytes(MIB))
    comparison = ask(LocalRunner(), path, known, length=SIZE + MIB)
    with pytest.raises(ShortRead, match="the disk ended at"):
        told(comparison, SIZE + MIB)


def test_the_program_needs_nothing_but_the_standard_library(path, content):
    known = known_of(content)
    begins = b"".join(known[at : at + 8] for at in range(0, len(known), 32))
    request = {"offset": 0, "length": SIZE, "extent_bytes": EXTENT, "piece_extents": BATCH}
    done = subprocess.run(
        [sys.executable, "-IS", agent.__file__, str(path)],
        input=json.dumps(request).encode() + b"\n" + begins,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b'{"can": true}\n' + answer_of(path, known)


def test_the_program_is_python_3_7():
    import ast
    from pathlib import Path

    ast.parse(Path(agent.__file__).read_text(), feature_version=(3, 7))
