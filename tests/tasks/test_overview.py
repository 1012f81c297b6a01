"""Rows of a whole configuration, gathered without a Prefect server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from blocks.errors import ConfigError, StoreUnavailable
from blocks.policy.overview import State
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


def open_store(_wanted: Configuration, name: str) -> MemoryStore:
    if name == "away":
        raise StoreUnavailable("no answer")
    return MemoryStore()


def rows(*profiles: BackupProfile, group: str = ""):
    wanted = Configuration(profiles=profiles)
    found = gather(wanted, NOW, group=group, open_store=open_store)
    return {row.group: row for row in found}


def test_a_bucket_that_is_away_hides_only_its_own_groups():
    found = rows(cloud("RG2", "here"), cloud("RG1", "away"))
    assert found["RG1"].state is State.UNKNOWN
    assert found["RG1"].why == "no answer"
    assert found["RG2"].state is State.NEVER


def test_a_group_with_both_methods_is_one_row_with_both(state):
    at = NOW - timedelta(minutes=2)
    remember("RG1", Memory(at=at, condition=Condition.IN_SYNC, since=at))
    (state / "drills").mkdir()
    row = {"at": "2026-05-01T10:00:00+00:00", "restore_point": "X", "bytes": 1, "rto_s": 90}
    (state / "drills" / f"{_slug('RG1')}.jsonl").write_text(json.dumps(row) + "\n{cut sho")
    found = rows(cloud("RG1", "here"), remote("RG1"), remote("RG3"))
    assert list(found) == ["RG1", "RG3"]
    shown = cells(found["RG1"])
    assert shown["remote"] == "in sync since 2026-06-01 11:58"
    assert shown["last drill"] == "2026-05-01, 1m 30s"
    assert tuple(shown) == HEADINGS
    assert document(found["RG1"])["remote"]["well"] is True
    assert found["RG3"].state is State.UNKNOWN


def test_an_unknown_group_is_refused():
    with pytest.raises(ConfigError):
        rows(cloud("RG1", "here"), group="RG9")


def _slug(name: str) -> str:
    from blocks.units import slug

    return slug(name)
