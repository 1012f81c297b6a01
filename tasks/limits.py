"""Places in line: global concurrency limits, taken in the order group, array, host, bucket.

They spare the array and the network, and they show in the UI; they are advisory. What keeps two
runs of a group apart is the lock on this machine, the claim in the bucket, and the array itself.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any
from uuid import UUID

import httpx
from prefect import flow_engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.context import ConcurrencyContext
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from blocks.errors import GroupBusy
from blocks.profile.model import BackupProfile, Configuration, Platform
from blocks.units import slug
from tasks.asking import Silent, ask
from tasks.open import has_api
from tasks.run import Run

PLACED = "placed"
"""The kind of a journal entry: a place that is held, by the id of its lease."""

WAIT_S = 600.0
TRY_S = 60.0
"""How long a run waits in line before it looks whether the server, that lets it wait, is there at
all. Prefect asks for a place at least every half a minute, give or take."""
LEASE_S = 60.0
"""The place of a run whose machine died, or whose answer from the server was lost, is free after
this long: nothing renews its lease. A living run renews it. That of a run that was killed is given
back sooner, by the next backup or reconcile of its machine (`free_place`)."""
GROUP_WAIT_S = LEASE_S + 30.0
"""Whoever waits for a group outlasts the lease of a dead run. On one machine nobody waits for a
living one: its lock is asked first (`tasks.run`)."""

DEFAULTS = {"group": 1, "array": 4, "host": 4, "bucket": 8}
"""Runs at a time, where nobody has said otherwise (`prefect gcl update NAME --limit N`)."""

LEASE = "maintain_concurrency_lease"
"""What Prefect's engine calls to keep the place that a limited deployment gives to its run."""

UNANSWERED = (
    Silent,
    httpx.HTTPError,
    PrefectHTTPStatusError,
    ConcurrencySlotAcquisitionError,
)
"""Limits are advisory: without an answer a run goes on without a place."""

log = logging.getLogger(__name__)


def _outlived(maintain: Callable[..., Any]) -> Callable[..., Any]:
    """Let a run go on where the place of its deployment cannot be kept.

    Prefect's engine renews it every 225 s, and cancels the run when its server does not answer: a
    backup or restore of hours would end where the server is away for a minute at that moment.
    """

    @wraps(maintain)
    def kept(lease_id: UUID, lease_duration: float, *_: Any, **__: Any) -> Any:
        return maintain(lease_id, lease_duration, raise_on_lease_renewal_failure=False)

    return kept


if hasattr(flow_engine, LEASE):  # a Prefect without it is told by tests/tasks/test_leases.py
    setattr(flow_engine, LEASE, _outlived(getattr(flow_engine, LEASE)))


def limit_name(kind: str, name: str) -> str:
    """Return the name of a limit: `group-rg1-…`."""
    return f"{kind}-{slug(name)}"


def reading_host(wanted: Configuration, profile: BackupProfile) -> str:
    """Return whose disks and CPU a profile's captures use: the node's, or this machine's."""
    node = wanted.reading_node(profile)
    return socket.gethostname() if node.type == Platform.LOCAL else node.name


@contextmanager
def places(
    run: Run, arrays: Sequence[str] = (), bucket: str = "", *, reader: str = ""
) -> Iterator[None]:
    """Hold a place for what the run locks (its group), each array, the host that reads, the bucket.

    Raises:
        GroupBusy: another run has the group.
    """
    if FlowRunContext.get() is None:
        yield
        return
    wanted = [("group", run.lock), *(("array", array) for array in sorted(arrays))]
    if reader:
        wanted.append(("host", reader))
    if bucket:
        wanted.append(("bucket", bucket))
    with ExitStack() as held:
        for kind, name in wanted:
            _take(run, held, kind, name)
        yield


def free_place(facts: dict[str, Any]) -> None:
    """Give back the place of a dead run, by its lease, at once; nobody else can have that lease.

    A lease that has ended is not known any more, and giving it back does nothing. Where the server
    does not answer, the lease ends by itself.
    """
    if not has_api():
        return
    try:
        ask(lambda: _release(UUID(facts["lease"])))
    except UNANSWERED as error:
        log.info("the place at %s is free when its lease ends: %s", facts["limit"], error)


def _release(lease: UUID) -> None:
    with get_client(sync_client=True) as client:
        client.release_concurrency_slots_with_lease(lease)


def _take(run: Run, held: ExitStack, kind: str, name: str) -> None:
    limit = limit_name(kind, name)
    before = _leases()
    try:
        _wait_in_line(held, limit, DEFAULTS[kind], GROUP_WAIT_S if kind == "group" else WAIT_S)
    except UNANSWERED as error:
        log.warning("limit %s not taken, going on without: %s", limit, error)
    # Only now is the lease known. Killed before this line, its place is free when the lease ends.
    for lease in _leases() - before:
        held.callback(run.journal.unmade, run.journal.made(PLACED, limit=limit, lease=str(lease)))


def _wait_in_line(held: ExitStack, limit: str, size: int, wait_s: float) -> None:
    """Take a place at a limit; whoever waits in vain asks first whether anybody is there.

    Raises:
        GroupBusy: others have had all places of the limit for that long.
        Silent: there is no server that could say so.
    """
    while True:
        ask(lambda: _ensure(limit, size))
        if wait_s <= 0:
            raise GroupBusy(
                f"no place free at the limit {limit}",
                hint=f"See who holds it: prefect gcl inspect {limit}.",
            )
        try:
            held.enter_context(_place(limit, min(wait_s, TRY_S)))
        except TimeoutError:
            wait_s -= TRY_S
        else:
            return


@contextmanager
def _place(limit: str, wait_s: float) -> Iterator[None]:
    """Hold a place; if it cannot be given back, its lease ends it.

    The work is done by then: that the server does not hear of it makes no failure of a backup.
    """
    before = _leases()
    place = concurrency(
        limit,
        timeout_seconds=wait_s,
        lease_duration=LEASE_S,
        strict=True,
        raise_on_lease_renewal_failure=False,
    )
    place.__enter__()
    mine = _leases() - before
    try:
        yield
    finally:
        try:
            ask(lambda: place.__exit__(None, None, None))
        except UNANSWERED as error:
            log.warning("place at %s not given back, its lease ends it: %s", limit, error)
            _forget(mine)


def _forget(leases: set[UUID]) -> None:
    """Keep Prefect from trying, once more and for minutes, to give back what ends by itself."""
    if context := ConcurrencyContext.get():
        for lease in leases & set(context.cleanup_lease_ids):
            context.cleanup_lease_ids.remove(lease)


def _leases() -> set[UUID]:
    """Return the leases this flow run holds: Prefect keeps them for its own clearing up."""
    context = ConcurrencyContext.get()
    return set(context.cleanup_lease_ids) if context else set()


def _ensure(limit: str, size: int) -> None:
    """Make the limit if it is not there; one a person or another run has made stays as it is."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(limit)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=limit, limit=size)
                )
