"""A bit of a stored object rots: found, marked, alarmed, and stored again from the source."""

import pytest

from blocks.catalog import shelf
from blocks.catalog.marks import read_damage
from blocks.store.clients import open_store, parse_bucket_url
from flows.backup import backup
from flows.restore import restore
from flows.verify import verify

pytestmark = pytest.mark.server


@pytest.fixture
def store(lab_site):
    return open_store(parse_bucket_url("s3://pha-bucket"))


def forget_everything(store):
    """Remove all there is of the group, images first: other tests look for what nobody names."""
    for prefix in ("RG1/", "points/RG1/", "marks/RG1/", "readings/RG1/"):
        store.delete([info.key for info in store.list(prefix)])


@pytest.fixture
def rotten(disks, store):
    """The group's points, all on one full of which a byte is then flipped."""
    forget_everything(store)
    disks.fill("Node1_1", 61)
    disks.fill("Node1_2", 62)
    full = backup.fn("RG1", mode="full", force=True).report["restore_point"]
    disks.write("Node1_1", b"newer" * 1000, offset=5_000_000)
    child = backup.fn("RG1", mode="incremental", force=True).report["restore_point"]
    assert verify.fn("RG1", deep=True).outcome == "verified"
    key = shelf.read_point(store, "RG1", full).volumes[0].image_keys[0]
    data = bytearray(store.get(key))
    data[len(data) // 3] ^= 1
    store.put(key, bytes(data))
    yield full, child, key
    forget_everything(store)


@pytest.mark.parametrize("how", [{"deep": True}, {"deep": True, "within_days": 1}])
def test_a_flipped_byte_is_found_marked_and_stored_again(rotten, store, disks, tmp_path, how):
    full, child, key = rotten
    ending = verify.fn("RG1", **how)
    assert (ending.outcome, ending.exit_code) == ("damaged", 3)
    assert set(ending.report["damaged_points"]) == {full, child}
    assert {mark.key for mark in read_damage(store, "RG1")} == {key}
    assert all(entry.is_damaged for entry in shelf.read_shelf(store, "RG1").points)

    # The schedule's own incremental, not forced: it must not wait for the next full's time.
    ending = backup.fn("RG1", mode="incremental")
    assert ending.outcome == "backed_up", ending
    assert ending.report["kind"] == "full"
    point = ending.report["restore_point"]
    assert key not in {item.key for item in shelf.read_point(store, "RG1", point).objects}

    target = {disk: str(tmp_path / disk) for disk in ("hdisk18", "hdisk19")}
    restore.fn("RG1", to=target, approved=True, verify=True)
    assert (tmp_path / "hdisk18").read_bytes() == disks.read("Node1_1")
    assert (tmp_path / "hdisk19").read_bytes() == disks.read("Node1_2")

    disks.write("Node1_1", b"newest" * 1000, offset=9_000_000)
    ending = backup.fn("RG1", mode="incremental", force=True)
    assert (ending.report["kind"], ending.report["parent"]) == ("incremental", point)


def test_what_a_deep_verify_has_just_proven_is_not_due(rotten, store):
    whole = verify.fn("RG1", deep=True, within_days=30)
    assert whole.outcome == "verified", "just proven: nothing is due"
    assert whole.report["coverage"]["complete"] is True
    assert "Everything proven within 30 days: yes" in whole.markdown
