"""COMPACTION in the lab: the newest point written anew in the bucket, and nothing lost by it."""

import subprocess

import pytest

from blocks.catalog import shelf
from blocks.errors import ConfigError
from flows.backup import backup
from flows.compact import compact
from flows.restore import restore
from tasks.open import configuration, store

pytestmark = pytest.mark.server

TO = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}


def back_up(mode):
    ending = backup.fn("RG1", mode=mode, force=True)
    assert ending.outcome == "backed_up", ending
    return ending.report


@pytest.fixture
def chain(blank_spares):
    """Make a full and two incrementals; return the disks as they were last."""
    disks = blank_spares
    disks.fill("Node1_1", 71)
    disks.fill("Node1_2", 72)
    back_up("full")
    for number in (1, 2):
        one = disks.write("Node1_1", b"day %d " % number * 400_000, offset=2_000_000)
        two = disks.write("Node1_2", bytes(3_000_000), offset=number * 1_000_000)
        newest = back_up("incremental")
    return disks, newest, one, two


def test_the_newest_point_becomes_a_full_that_stock_tools_restore(chain, tmp_path):
    disks, newest, one, two = chain
    ending = compact.fn("RG1", dead_percent=0)
    assert ending.outcome == "compacted"
    assert ending.report["of"] == newest["restore_point"]
    assert ending.report["kind"] == "full"
    bucket = store(configuration(), "pha-bucket")
    for key, expected in zip(sorted(ending.report["keys"]), (one, two), strict=True):
        image = tmp_path / "image.zst"
        image.write_bytes(bucket.get(key))
        plain = subprocess.run(["zstd", "-dc", image], check=True, capture_output=True).stdout
        assert plain == expected
    assert compact.fn("RG1", dead_percent=0).outcome == "skipped"
    after = disks.write("Node1_1", b"afterwards", offset=9_000_000)
    assert back_up("incremental")["parent"] == ending.report["restore_point"]
    restore.fn("RG1", to=TO, approved=True, importing="no", force=True)
    assert disks.read("Node1_6") == after
    assert disks.read("Node1_7") == two


def test_what_is_not_dead_enough_is_left_alone(chain):
    _, newest, _, _ = chain
    ending = compact.fn("RG1", dead_percent=99)
    assert ending.outcome == "skipped"
    assert "is dead, 99% is allowed" in ending.summary
    bucket = store(configuration(), "pha-bucket")
    assert shelf.find_point(shelf.points(bucket, "RG1")).id == newest["restore_point"]


def test_without_compaction_in_the_profile_it_must_be_said_how_much(disks):
    with pytest.raises(ConfigError, match="has COMPACTION=no"):
        compact.fn("RG1")
