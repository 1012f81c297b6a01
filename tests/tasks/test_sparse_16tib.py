"""A sparse disk of 16 TiB is backed up, in full and incrementally, in bounded memory and time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("sparse_volume.py")
ROOT = Path(__file__).parents[2]
SIZE = (16 << 40) - 4096
"""The largest file ext4 can hold; the last extent is short by it."""


def run(folder, size):
    try:
        with (folder / "probe").open("wb") as file:
            file.truncate(size)
    except OSError as error:
        pytest.skip(f"this file system has no files of {size} bytes: {error}")
    (folder / "probe").unlink()
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder), str(size)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'builders'}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_16_tib_are_backed_up_under_512_mib(tmp_path):
    seen = run(tmp_path, SIZE)
    assert seen["pages"] == 1024
    assert seen["peak_mib"] < 512
    # 40 pieces in reads of 4 MiB: the holes are not read.
    assert seen["read_bytes"] < 40 * 2 * 4 * 1024 * 1024
    # Zeros cost 4 bytes for 128 KiB in a full, for the stock decoder, and nothing after that.
    assert seen["stored_bytes"] < SIZE // 32_768 + 64 * 1024 * 1024
    assert seen["added_bytes"] < 16 * 1024 * 1024
    assert seen["map_is_new"]
    # A page takes about 20 ms; ten times that is a quadratic step, not a busy machine.
    assert seen["full_s"] < 200
    assert seen["incremental_s"] < 100


def test_a_sparse_disk_of_one_page_and_a_bit_comes_back(tmp_path):
    seen = run(tmp_path, (16 << 30) + 5 * 4096)
    assert seen["pages"] == 2
    assert seen["peak_mib"] < 512
