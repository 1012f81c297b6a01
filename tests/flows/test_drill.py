"""A drill by schedule: made when it is due, kept in the bucket, told when it fails."""

import random
from datetime import timedelta
from pathlib import Path

import captured
import pytest

from blocks.catalog.drills import read_drills
from blocks.errors import FlashvaultError
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.store.clients import open_store, parse_bucket_url
from flows.drill import drill
from tasks.journal import GroupLock, dead_journals, state_directory
from tasks.pipeline import CaptureSettings

HOW = CaptureSettings(extent_bytes=65536, frame_extents=4, part_bytes=5 << 20)


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    yield
    assert list(dead_journals()) == []
    assert list((state_directory() / "drills").glob("*")) == [], "scratch files are removed"


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def store(bucket):
    return open_store(parse_bucket_url(bucket))


@pytest.fixture
def point(store):
    return captured.back_up(store, random.Random(1).randbytes(3 << 20), settings=HOW)


@pytest.fixture
def told(tmp_path):
    script, file = tmp_path / "tell", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$@" >> {file}\n')
    script.chmod(0o755)
    file.touch()
    return script, file


@pytest.fixture
def profile(monkeypatch, told):
    """Return a function that gives the group a profile with these attributes."""

    def give(**attributes):
        made = BackupProfile(
            name="RG",
            enabled=True,
            method=Method.CLOUD,
            replicated_resources="cg",
            storage_names=("svc1",),
            bucket_name="b",
            notify_method=str(told[0]),
            **attributes,
        )
        wanted = Configuration(profiles=(made,))
        monkeypatch.setattr("tasks.drill.configured", lambda asked: wanted)

    return give


MONTHLY = {"drill_frequency": timedelta(days=30)}


def test_a_drill_that_passed_is_kept_with_how_long_it_took(point, bucket, store):
    ending = drill.fn("RG", bucket=bucket)
    assert ending.outcome == "drilled"
    assert all(row["proven"] for row in ending.report["volumes"])
    (kept,) = read_drills(store, "RG").entries
    assert kept.has_passed
    assert (kept.restore_point, kept.rto_s) == (point.id, ending.report["rto_s"])
    assert kept.size_bytes == 3 << 20


def test_a_scheduled_drill_is_made_once_and_skipped_until_it_is_due(point, bucket, store, profile):
    profile(**MONTHLY)
    assert drill.fn("RG", bucket=bucket, scheduled=True).outcome == "drilled"
    again = drill.fn("RG", bucket=bucket, scheduled=True)
    assert (again.outcome, again.exit_code) == ("skipped", 5)
    assert "not due" in again.summary
    assert drill.fn("RG", bucket=bucket).outcome == "drilled", "a person gets one at once"
    assert len(read_drills(store, "RG").entries) == 2


def test_without_a_restore_point_a_scheduled_drill_has_nothing_to_do(bucket, profile):
    profile(**MONTHLY)
    ending = drill.fn("RG", bucket=bucket, scheduled=True)
    assert ending.outcome == "skipped"
    assert "no restore point" in ending.summary


def test_a_scheduled_drill_gives_way_and_a_persons_is_told(point, bucket, store, profile, told):
    profile(**MONTHLY)
    lock = GroupLock("RG drill", "drill", 0)
    try:
        assert drill.fn("RG", bucket=bucket, scheduled=True).outcome == "skipped"
        with pytest.raises(FlashvaultError, match="RG"):
            drill.fn("RG", bucket=bucket)
    finally:
        lock.close()
    assert read_drills(store, "RG").entries == ()
    assert told[1].read_text() == ""


def test_a_probe_that_says_no_fails_the_drill_and_is_kept_and_told(
    point, bucket, store, profile, told
):
    profile(drill_probe="/bin/false", **MONTHLY)
    with pytest.raises(FlashvaultError, match="probe of RG ended with 1") as caught:
        drill.fn("RG", bucket=bucket, scheduled=True)
    assert caught.value.hint
    (kept,) = read_drills(store, "RG").entries
    assert not kept.has_passed
    assert caught.value.hint in kept.fault, "what to do next"
    assert told[1].read_text().startswith("drill_failed RG error the probe of RG ended with 1")
    with pytest.raises(FlashvaultError, match="probe"):
        drill.fn("RG", bucket=bucket, scheduled=True)
    assert len(read_drills(store, "RG").entries) == 2, (
        "a failed one is tried again at the next tick"
    )


def test_damage_in_the_bucket_fails_the_drill_and_is_told(point, bucket, store, profile, told):
    profile(**MONTHLY)
    (image,) = Path(bucket.removeprefix("file://")).rglob("*.img*")
    body = bytearray(image.read_bytes())
    body[len(body) // 2] ^= 1
    image.write_bytes(bytes(body))
    with pytest.raises(FlashvaultError):
        drill.fn("RG", bucket=bucket, scheduled=True)
    assert "drill_failed RG error" in told[1].read_text()
    assert not read_drills(store, "RG").entries[-1].has_passed


def test_a_bucket_that_may_only_be_read_is_enough(point, bucket, monkeypatch):
    def forbidden(*args):
        raise FlashvaultError("access denied")

    monkeypatch.setattr("tasks.drilled.write_drill", forbidden)
    ending = drill.fn("RG", bucket=bucket)
    assert ending.outcome == "drilled"
    assert "does not keep its record" in ending.report["warnings"][0]
    assert "does not keep its record" in ending.markdown
