import os
import subprocess
import sys

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks.limits import _ensure, free_place, limit_name
from tasks.reconcile import clear_dead_runs

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


def limit_of(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).limit


def test_a_limit_is_made_once_and_the_size_a_person_gave_it_stays():
    _ensure("host-a", 4)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("host-a", 2)
    _ensure("host-a", 4)
    assert limit_of("host-a") == 2


def test_of_two_runs_that_begin_together_both_go_on(monkeypatch):
    """Both look, neither sees it, both make it: the second is answered 409."""

    def unseen(*_: object) -> None:
        raise ObjectNotFound(http_exc=Exception("404"))

    with monkeypatch.context() as patch:
        patch.setattr(SyncPrefectClient, "read_global_concurrency_limit_by_name", unseen)
        _ensure("host-b", 4)
        _ensure("host-b", 8)
    assert limit_of("host-b") == 4


HOLDER = """
import time
from prefect import flow
from tasks.limits import places
from tasks.run import run_of
from tasks.undo import UNDO

@flow
def hold():
    with run_of("RG1", "backup", UNDO) as run, places(run, ["svc1"], "bucket1"):
        print("held", flush=True)
        time.sleep(600)

hold()
"""


def places_taken() -> list[int]:
    names = [
        limit_name("group", "RG1"),
        limit_name("array", "svc1"),
        limit_name("bucket", "bucket1"),
    ]
    with get_client(sync_client=True) as client:
        found = [client.read_global_concurrency_limit_by_name(name) for name in names]
    return [limit.active_slots for limit in found]


def test_the_places_of_a_run_that_was_killed_are_free_at_once_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path))
    run = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert run.stdout.readline() == "held\n"
        assert clear_dead_runs() == []
        assert places_taken() == [1, 1, 1], "the places of a living run are its own"
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
    assert [dead.unmade for dead in clear_dead_runs()] == [3]
    assert places_taken() == [0, 0, 0]
    assert list(tmp_path.glob("runs/*")) == []


def test_a_place_given_back_twice_frees_nobody_elses(tmp_path, monkeypatch):
    """The lease of a dead run may have ended by itself, and its place gone to another run."""
    monkeypatch.setenv("PREFECT_API_URL", str(get_current_settings().api.url))
    name = limit_name("group", "RG9")
    _ensure(name, 1)
    with get_client(sync_client=True) as client:
        leases = []
        for _ in range(2):
            got = client.increment_concurrency_slots_with_lease([name], 1, "concurrency", 60)
            leases.append(got.json()["lease_id"])
            if len(leases) == 1:
                client.release_concurrency_slots_with_lease(leases[0])
    free_place({"limit": name, "lease": leases[0]})
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(name).active_slots == 1


def test_a_server_that_is_away_keeps_no_journal(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        free_place({"limit": "group-a", "lease": "0" * 32})
