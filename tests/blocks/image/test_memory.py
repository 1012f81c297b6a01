"""Buffers of a few MiB are used again without a page fault for each of their pages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import resource, sys, zstandard
from blocks.image.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(9)
frame = zstandard.ZstdCompressor().compress(b"text" * 1_048_576)
decoder = zstandard.ZstdDecompressor()
for _ in range(3):
    one, two = decoder.decompress(frame), decoder.decompress(frame)
    del one, two
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    one, two = decoder.decompress(frame), decoder.decompress(frame)
    del one, two
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 9:
        pytest.skip("this C library has no such setting")
    return int(done.stdout)


def test_freed_buffers_are_used_again():
    pages = 40 * 1024
    assert faults("keep") < pages / 10
