"""A run outlives the place that its deployment gave it: limits are advisory."""

import threading
import time
from contextlib import nullcontext
from uuid import uuid4

import pytest
from prefect import flow_engine
from prefect._internal.concurrency.cancellation import CancelledError
from prefect.concurrency import _leases

from tasks.limits import LEASE


@pytest.fixture
def asked(monkeypatch):
    """A server that renews no lease; the event says that it was asked."""
    event = threading.Event()

    def refused(*_: object) -> None:
        event.set()
        raise ConnectionRefusedError

    monkeypatch.setattr(_leases, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(_leases, "_renew_concurrency_lease_with_retries", refused)
    return event


def work(maintain, asked) -> None:
    """Do as Prefect's engine does with a run of a deployment that has a limit."""
    lease = uuid4()
    with maintain(lease, 300, raise_on_lease_renewal_failure=True):
        assert asked.wait(60)
        for thread in threading.enumerate():
            if str(lease) in thread.name:
                thread.join(60)
        time.sleep(0.1)  # where an exception that was sent to this thread is raised


def test_prefect_would_cancel_the_run(asked):
    with pytest.raises(CancelledError):
        work(_leases.maintain_concurrency_lease, asked)


def test_a_run_goes_on_where_its_place_is_not_kept(asked):
    work(getattr(flow_engine, LEASE), asked)
