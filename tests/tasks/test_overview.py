"""Rows of a whole configuration, gathered without a Prefect server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from blocks.catalog.drills import Drill, write_drill
from blocks.catalog.point import Kind
from blocks.errors import ConfigError, StoreUnavailable
from blocks.policy.overview import Kept, State
from blocks.policy.replication import Condition, Memory
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.store.memory import MemoryStore
from tasks.overview import HEADINGS, cells, document, gather
from tasks.remote_memory import remember

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path))
    return tmp_path


def cloud(name: str, bucket: str) -> BackupProfile:
    return BackupProfile(
        name=name,
        enabled=True,
        method=Method.CLOUD,
        replicated_resources="cg",
        storage_names=("svc1",),
        bucket_name=bucket,
    )


def remote(name: str) -> BackupProfile:
    return BackupProfile(
        name=name,
        enabled=True,
        method=Method.REMOTE_STORAGE,
        replicated_resources="cg",
        storage_names=("svc1", "svc2"),
    )


@pytest.fixture
def here() -> MemoryStore:
    return MemoryStore()


def rows(*profiles: BackupProfile, group: str = "", here: MemoryStore | None = None):
    def open_store(_wanted: Configuration, name: str) -> MemoryStore:
        if name == "away":
            raise StoreUnavailable("no answer")
        return here or MemoryStore()

    wanted = Configuration(profiles=profiles)
    found = gather(wanted, NOW, group=group, open_store=open_store)
    return {row.group: row for row in found}


def test_a_bucket_that_is_away_hides_only_its_own_groups():
    found = rows(cloud("RG2", "here"), cloud("RG1", "away"))
    assert found["RG1"].state is State.UNKNOWN
    assert found["RG1"].why == "no answer"
    assert found["RG2"].state is State.NEVER


def test_a_group_with_both_methods_is_one_row_with_both(here):
    at = NOW - timedelta(minutes=2)
    remember("RG1", Memory(at=at, condition=Condition.IN_SYNC, since=at))
    drilled = datetime(2026, 5, 1, 10, 0, tzinfo=UTC)
    done = Drill(run_id=str(ULID()), began_at=drilled, ended_at=drilled, rto_s=90)
    write_drill(here, "RG1", done)
    found = rows(cloud("RG1", "here"), remote("RG1"), remote("RG3"), here=here)
    assert list(found) == ["RG1", "RG3"]
    shown = cells(found["RG1"])
    assert shown["remote"] == "in sync since 2026-06-01 11:58"
    assert shown["last drill"] == "2026-05-01, 1m 30s"
    assert tuple(shown) == HEADINGS
    assert document(found["RG1"])["remote"]["well"] is True
    assert found["RG3"].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("minutes", "newest"),
    [
        (2, "2026-06-01 11:58 second site"),
        (90, "2026-06-01 11:00 cloud"),
        (None, "2026-06-01 11:00 cloud"),
    ],
)
def test_the_newest_of_both_methods_is_shown(minutes, newest):
    at = NOW - timedelta(minutes=minutes or 2)
    remember(
        "RG1",
        Memory(at=NOW, condition=Condition.IN_SYNC, recovery_point=at if minutes else None),
    )
    taken_at = NOW - timedelta(hours=1)
    row = rows(cloud("RG1", "here"), remote("RG1"), cloud("RG2", "here"))["RG1"]
    kept = Kept("P", Kind.FULL, taken_at, taken_at, taken_at, 1, 1, 1)
    row = replace(row, last=kept, age=NOW - taken_at)
    assert cells(row)["newest of both"] == newest
    told = document(row)
    assert newest.endswith(told["newest_of_both"])
    assert told["joint_recovery_point"].replace("T", " ").startswith(newest[:16])


def test_with_one_method_there_is_no_newest_of_both():
    remember("RG3", Memory(at=NOW, condition=Condition.IN_SYNC, recovery_point=NOW))
    found = rows(cloud("RG1", "here"), remote("RG3"))
    assert {cells(row)["newest of both"] for row in found.values()} == {""}
    assert document(found["RG3"])["newest_of_both"] == "second site"


def test_an_unknown_group_is_refused():
    with pytest.raises(ConfigError):
        rows(cloud("RG1", "here"), group="RG9")
