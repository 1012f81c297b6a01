"""The record of drills is in the bucket: two at once lose nothing, and damage is not history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from blocks.catalog.drills import Drill, read_drills, write_drill
from blocks.errors import StoreUnavailable
from blocks.store.memory import MemoryStore

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def drill(days: float, fault: str = "") -> Drill:
    began = NOW + timedelta(days=days)
    run_id = str(ULID.from_datetime(began))
    ended = began + timedelta(minutes=9)
    return Drill(run_id=run_id, began_at=began, ended_at=ended, rto_s=540, fault=fault)


def keys(store: MemoryStore) -> list[str]:
    return [info.key for info in store.list("drills/")]


def test_each_drill_carries_on_what_was_known_in_one_document():
    store = MemoryStore()
    for days in (0, 1, 2):
        write_drill(store, "RG1", drill(days))
    assert [entry.began_at for entry in read_drills(store, "RG1").entries] == [
        NOW + timedelta(days=days) for days in (0, 1, 2)
    ]
    assert len(keys(store)) == 1


def test_two_drills_that_end_together_are_both_known():
    store = MemoryStore()
    write_drill(store, "RG1", drill(0))
    first, second = drill(1), drill(2)
    other = MemoryStore()
    write_drill(other, "RG1", first)
    write_drill(store, "RG1", second)
    (key,) = keys(other)
    store.put(key, other.get(key))
    assert len(read_drills(store, "RG1").entries) == 3
    write_drill(store, "RG1", drill(3))
    assert len(read_drills(store, "RG1").entries) == 4
    assert len(keys(store)) == 1


def test_the_last_that_passed_is_told_beside_the_last():
    store = MemoryStore()
    write_drill(store, "RG1", drill(0))
    known = write_drill(store, "RG1", drill(1, fault="the probe ended with 1"))
    assert known.last is not None
    assert not known.last.has_passed
    assert known.last_passed is not None
    assert known.last_passed.began_at == NOW


def test_a_damaged_record_is_left_out_and_stays_for_a_person():
    store = MemoryStore()
    write_drill(store, "RG1", drill(0))
    (key,) = keys(store)
    store.put(key, store.get(key).replace(b"540", b"541"))
    assert read_drills(store, "RG1").entries == ()
    write_drill(store, "RG1", drill(1))
    assert key in keys(store)
    assert len(read_drills(store, "RG1").entries) == 1


def test_a_bucket_that_does_not_answer_is_not_a_group_without_drills():
    class Away(MemoryStore):
        def list(self, prefix: str = ""):
            raise StoreUnavailable("no answer")

    with pytest.raises(StoreUnavailable):
        read_drills(Away(), "RG1")
