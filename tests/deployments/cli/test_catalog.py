"""`flashvault catalog`, on a bucket that is a directory."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from blocks.catalog.claims import begin_intent
from blocks.catalog.marks import put_trash
from blocks.catalog.owner import this_process
from blocks.catalog.point import new_id
from blocks.catalog.shelf import points
from blocks.catalog.writers import (
    OrderedTarget,
    RestoreOrder,
    begin,
    holders,
    machine_id,
    write_restore_order,
)
from blocks.store.directory import DirectoryStore
from deployments.cli import catalog, image

KIB = 1024


@pytest.fixture
def flashvault() -> Callable[..., Any]:
    app = typer.Typer()
    image.register(app)
    catalog.register(app)

    def run(*words: object, status: int = 0) -> Any:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == status, done.output
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(600 * KIB))
    return path


def backup(flashvault: Callable[..., Any], disk: Path, bucket: Path) -> bytes:
    data = bytearray(disk.read_bytes())
    data[300 * KIB : 300 * KIB + 8] = random.Random(len(data)).randbytes(8)
    disk.write_bytes(data)
    flashvault("image", "put", disk, "--to", f"file://{bucket}", "--name", "db", "--json")
    return bytes(data)


@pytest.mark.parametrize("pattern", ["points/*/*.json", "[!.]*"], ids=["points", "all but images"])
def test_lost_points_are_rebuilt_and_come_back(
    flashvault: Callable[..., Any], disk: Path, tmp_path: Path, pattern: str
) -> None:
    bucket = tmp_path / "bucket"
    content = backup(flashvault, disk, bucket)
    store = DirectoryStore(bucket)
    assert "zstd -dc | dd" in store.get("README.txt").decode()
    gone = [info.key for info in store.list() if not info.key.endswith(".zst")]
    if pattern.startswith("points"):
        gone = [key for key in gone if key.startswith("points/")]
    store.delete(gone)
    url = f"file://{bucket}"
    told = flashvault("catalog", "rebuild", "--bucket", url, "--dry-run", "--json")
    assert len(told["groups"]["db"]["rebuilt"]) == 1
    assert points(store) == []
    flashvault("catalog", "rebuild", "db", "--bucket", url)
    assert len(points(store)) == 1
    target = tmp_path / "back.img"
    flashvault("image", "get", target, "--from", url, "--name", "db", "--json")
    assert target.read_bytes() == content


def test_what_is_no_point_is_listed_with_exit_status_3(
    flashvault: Callable[..., Any], disk: Path, tmp_path: Path
) -> None:
    bucket = tmp_path / "bucket"
    backup(flashvault, disk, bucket)
    store = DirectoryStore(bucket)
    image = next(info.key for info in store.list("db/") if info.key.endswith(".zst"))
    store.put(f"db/{new_id()}/x.img.zst", store.get(image)[:-9])
    url = f"file://{bucket}"
    told = flashvault("catalog", "rebuild", "--bucket", url, "--json", status=3)
    assert len(told["groups"]["db"]["left"]) == 1


def test_a_point_is_brought_back_held_and_released(
    flashvault: Callable[..., Any], disk: Path, tmp_path: Path
) -> None:
    bucket = tmp_path / "bucket"
    backup(flashvault, disk, bucket)
    store = DirectoryStore(bucket)
    (point,) = points(store)
    put_trash(store, "db", point.id, "no rule keeps it")
    assert points(store) == []
    url = f"file://{bucket}"
    flashvault("catalog", "undelete", "db", point.id, "--bucket", url)
    assert points(store) == [point]
    flashvault("catalog", "release", "db", point.id, "--bucket", url)
    flashvault("catalog", "undelete", "db", "01NONE", "--bucket", url, status=1)


def test_the_claim_of_another_machine_is_ended_only_by_force(
    flashvault: Callable[..., Any], tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path / "bucket")
    run = new_id()
    begin_intent(store, "db", run)
    url = f"file://{tmp_path}/bucket"
    told = flashvault("catalog", "claims", "db", "--bucket", url, "--json")
    assert told["claims"][0]["state"] == "alive"  # this very process
    flashvault("catalog", "claims", "db", "--bucket", url, "--clear", run, status=4)
    flashvault("catalog", "claims", "db", "--bucket", url, "--clear", run, "--force")
    told = flashvault("catalog", "claims", "db", "--bucket", url, "--json")
    assert told["claims"] == []


def test_a_restore_by_several_workers_is_listed_and_ended(
    flashvault: Callable[..., Any], tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/bucket"
    store = DirectoryStore(tmp_path / "bucket")
    target = OrderedTarget(uid="V1", disk="hdisk1", target="hdisk31", target_uid="T1")
    order = RestoreOrder(
        group="db",
        run_id=new_id(),
        point=new_id(),
        writer="backup",
        owner=this_process(),
        machine=machine_id(),
        targets=(target,),
    )
    write_restore_order(store, order)
    begin(store, order, target)
    told = flashvault("catalog", "claims", "db", "--bucket", url, "--json")
    assert [(row["run"], row["writes"], row["state"]) for row in told["restores"]] == [
        (order.run_id, ["hdisk31"], "alive"),
        (order.run_id, ["hdisk31"], "alive"),
    ]
    clear = ["catalog", "claims", "db", "--bucket", url, "--clear", order.run_id]
    flashvault(*clear, status=4)
    assert "hdisk31 can be written by another" in flashvault(*clear, "--force")
    assert list(holders(store, ["T1"])) == []
    flashvault(*clear, status=1)
