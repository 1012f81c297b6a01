"""`flashvault status`: from a bucket alone."""

from __future__ import annotations

import json
import random

import pytest

from blocks.catalog.claims import begin_intent
from blocks.catalog.point import new_id
from blocks.store.directory import DirectoryStore
from deployments.cli import status


@pytest.fixture
def bucket(flashvault, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(random.Random(1).randbytes(300 * 1024))
    url = f"file://{tmp_path / 'bucket'}"
    for name in ("RG1", "RG2"):
        assert flashvault(f"image put {disk} --to {url} --name {name} --json").status == 0
    return url


def test_a_bucket_alone_is_enough(flashvault, bucket):
    said = flashvault(f"status --bucket {bucket} --json")
    told = json.loads(said.out)
    assert [row["group"] for row in told["groups"]] == ["RG1", "RG2"]
    assert told["all_good"]
    row = told["groups"][0]
    assert row["size_bytes"] == 300 * 1024
    assert row["restore_points"] == 1
    assert 0 <= row["age_s"] < 60
    assert row["running"] is None


def test_a_person_sees_a_line_for_each_group(flashvault, bucket):
    said = flashvault(f"status --bucket {bucket}")
    heading, *lines = said.out.splitlines()
    assert heading.split()[:4] == ["GROUP", "STATE", "LAST", "GOOD"]
    assert [line.split()[0] for line in lines] == ["RG1", "RG2"]
    assert "\x1b" not in said.out, "no colours in a pipe"


def test_one_group_only(flashvault, bucket):
    told = json.loads(flashvault(f"status RG2 --bucket {bucket} --json").out)
    assert [row["group"] for row in told["groups"]] == ["RG2"]


def test_a_run_that_writes_now_is_shown(flashvault, bucket):
    begin_intent(DirectoryStore(bucket.removeprefix("file://")), "RG1", new_id())
    told = json.loads(flashvault(f"status --bucket {bucket} --json").out)
    assert told["groups"][0]["running"].startswith("process ")
    assert told["groups"][1]["running"] is None


def test_every_state_has_a_colour():
    from blocks.policy.overview import State

    assert set(status.COLOURS) == {str(state) for state in State}
