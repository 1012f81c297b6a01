import hashlib
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import HostError, ShortRead
from blocks.host import agent, linux
from blocks.host.base import DigestingReader
from blocks.host.digests import remote_digests
from blocks.host.remote import RemoteReader
from blocks.runner import LocalRunner
from blocks.units import KIB, MIB

SIZE = 3 * MIB + 5 * KIB
EXTENT = 256 * KIB


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


def expected(content, extent, make):
    pieces = [content[at : at + extent] for at in range(0, len(content), extent)]
    return [make(piece) if any(piece) else None for piece in pieces]


def sha256(data):
    return hashlib.sha256(data).digest()


def blake2b(data):
    return hashlib.blake2b(data, digest_size=32).digest()


@pytest.mark.parametrize(("algorithm", "make"), [("sha256", sha256), ("blake2b", blake2b)])
def test_the_node_hashes_what_we_would(path, content, algorithm, make):
    reader = RemoteReader(LocalRunner(), str(path), SIZE, read_command=linux.read_command)
    assert isinstance(reader, DigestingReader)
    told = reader.digests(EXTENT, algorithm)
    assert list(told) == expected(content, EXTENT, make)


def test_a_node_without_the_algorithm_says_so(path):
    reader = RemoteReader(LocalRunner(), str(path), SIZE, read_command=linux.read_command)
    assert reader.digests(EXTENT, "md5") is None


class Without(LocalRunner):
    """A node on which python3 is something else."""

    def __init__(self, instead):
        self._instead = instead

    def stream_out(self, command, *, timeout_s=60.0, stdin=None):
        return super().stream_out(self._instead, timeout_s=timeout_s, stdin=stdin)


def ask(runner, path, size=SIZE):
    return remote_digests(
        runner, str(path), size, extent_bytes=EXTENT, algorithm="sha256", timeout_s=20
    )


def test_a_node_without_python_falls_back(path):
    assert ask(Without("echo 'python3: not found' >&2; exit 127"), path) is None
    assert ask(Without("echo 'Python 2.7 is no more'"), path) is None


@pytest.mark.parametrize("keep", [1, 40, 200])
def test_a_cut_answer_is_a_short_read(path, keep):
    line = b'{"can": true}\n'
    whole = io.BytesIO()
    agent.hash_disk(
        str(path),
        {"size_bytes": SIZE, "extent_bytes": EXTENT},
        agent.hasher("sha256"),
        whole,
    )
    answer = path.with_suffix(".answer")
    answer.write_bytes(line + whole.getvalue()[:keep])
    runner = Without(f"cat {answer}")
    with pytest.raises(ShortRead, match="ended early"):
        list(ask(runner, path))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_damaged_answer_is_never_believed(tmp_path_factory, content, data):
    directory = tmp_path_factory.mktemp("agent")
    disk = directory / "disk"
    disk.write_bytes(content)
    whole = io.BytesIO()
    request = {"size_bytes": SIZE, "extent_bytes": EXTENT}
    agent.hash_disk(str(disk), request, agent.hasher("sha256"), whole)
    answer = bytearray(whole.getvalue())
    at = data.draw(st.integers(0, len(answer) - 1))
    answer[at] ^= data.draw(st.integers(1, 255))
    (directory / "answer").write_bytes(b'{"can": true}\n' + answer)
    with pytest.raises((HostError, ShortRead)):
        list(ask(Without(f"cat {directory / 'answer'}"), disk))


def test_a_disk_that_ends_early_is_a_short_read(path):
    with pytest.raises(ShortRead, match="the disk ended at"):
        list(ask(LocalRunner(), path, size=SIZE + MIB))
