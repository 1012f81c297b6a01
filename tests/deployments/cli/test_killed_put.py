"""`flashvault image put` is killed; an operator with nothing but the bucket clears up after it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.catalog.claims import read_intents
from blocks.catalog.shelf import points
from blocks.store.directory import DirectoryStore
from blocks.units import MIB


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(48 * MIB))
    return path


def put(disk: Path, url: str, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "deployments.cli", "image", "put", str(disk), "--to", url]
    return subprocess.Popen(
        [*words, "--name", "db", "--json", *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_in_the_middle(disk: Path, url: str, store: DirectoryStore) -> str:
    """Kill a put once an upload is open; return its run."""
    process = put(disk, url, "--level", "19")  # slow: there is a middle
    try:
        while not list(store.uploads("db/")):
            assert process.poll() is None, "over before it was killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (intent,) = read_intents(store, "db")
    return intent.run_id


def left_of(store: DirectoryStore) -> list[str]:
    """Return the objects and the open uploads of images."""
    uploads = [upload.key for upload in store.uploads()]
    return sorted([*(found.key for found in store.list("db/")), *uploads])


def test_its_claim_and_its_open_upload_are_cleared_by_the_buckets_url_and_the_next_put_works(
    flashvault, disk, tmp_path
):
    bucket = tmp_path / "bucket"
    url, store = f"file://{bucket}", DirectoryStore(bucket)
    run = kill_in_the_middle(disk, url, store)
    assert left_of(store)
    listed = flashvault(f"catalog claims db --bucket {url} --json")
    assert [(row["run"], row["state"]) for row in json.loads(listed.out)["claims"]] == [
        (run, "dead")
    ]
    assert flashvault(f"catalog claims db --bucket {url} --clear {run}").status == 0
    assert read_intents(store, "db") == []
    assert left_of(store) == []
    assert flashvault(f"image put {disk} --to {url} --name db --json").status == 0
    assert len(points(store, "db")) == 1
    back = tmp_path / "back.img"
    assert flashvault(f"image get {back} --from {url} --name db --json").status == 0
    assert back.read_bytes() == disk.read_bytes()


def test_what_committed_stays_when_its_claim_is_cleared(flashvault, disk, tmp_path):
    bucket = tmp_path / "bucket"
    url, store = f"file://{bucket}", DirectoryStore(bucket)
    assert flashvault(f"image put {disk} --to {url} --name db --json").status == 0
    before = left_of(store)
    run = kill_in_the_middle(disk, url, store)
    assert flashvault(f"catalog claims db --bucket {url} --clear {run}").status == 0
    assert left_of(store) == before


def test_the_claim_of_a_put_that_lives_is_not_cleared(flashvault, disk, tmp_path):
    bucket = tmp_path / "bucket"
    url, store = f"file://{bucket}", DirectoryStore(bucket)
    process = put(disk, url, "--level", "19")
    try:
        while not list(store.uploads("db/")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        (intent,) = read_intents(store, "db")
        said = flashvault(f"catalog claims db --bucket {url} --clear {intent.run_id}")
        assert said.status != 0
        assert "is alive" in said.err
        assert list(store.uploads("db/"))
        assert len(read_intents(store, "db")) == 1
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
