import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.testing.utilities import prefect_test_harness

from tasks.limits import _ensure

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
