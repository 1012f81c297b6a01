"""Places in line: global concurrency limits, taken in the order group, array, host, bucket.

They spare the array and the network, and they show in the UI; they are advisory. What keeps two
runs of a group apart is the lock on this machine, the claim in the bucket, and the array itself.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from blocks.errors import GroupBusy
from blocks.profile.model import BackupProfile, Configuration, Platform
from blocks.units import slug

WAIT_S = 600.0
LEASE_S = 60.0
"""The place of a run that was killed, or whose answer from the server was lost, is free after this
long: nothing renews its lease. A living run renews it."""
GROUP_WAIT_S = LEASE_S + 30.0
"""Whoever waits for a group outlasts the lease of a dead run. On one machine nobody waits for a
living one: its lock is asked first (`tasks.run`)."""

DEFAULTS = {"group": 1, "array": 4, "host": 4, "bucket": 8}
"""Runs at a time, where nobody has said otherwise (`prefect gcl update NAME --limit N`)."""

log = logging.getLogger(__name__)


def limit_name(kind: str, name: str) -> str:
    """Return the name of a limit: `group-rg1-…`."""
    return f"{kind}-{slug(name)}"


def reading_host(wanted: Configuration, profile: BackupProfile) -> str:
    """Return whose disks and CPU a profile's captures use: the node's, or this machine's."""
    node = wanted.reading_node(profile)
    return socket.gethostname() if node.type == Platform.LOCAL else node.name


@contextmanager
def places(
    group: str, arrays: Sequence[str] = (), bucket: str = "", *, reader: str = ""
) -> Iterator[None]:
    """Hold a place for the group, each array, the host that reads, and the bucket.

    Raises:
        GroupBusy: another run has the group.
    """
    if FlowRunContext.get() is None:
        yield
        return
    wanted = [("group", group), *(("array", array) for array in sorted(arrays))]
    if reader:
        wanted.append(("host", reader))
    if bucket:
        wanted.append(("bucket", bucket))
    with ExitStack() as held:
        for kind, name in wanted:
            _take(held, kind, name)
        yield


def _take(held: ExitStack, kind: str, name: str) -> None:
    limit = limit_name(kind, name)
    try:
        _ensure(limit, DEFAULTS[kind])
        held.enter_context(
            concurrency(
                limit,
                timeout_seconds=GROUP_WAIT_S if kind == "group" else WAIT_S,
                lease_duration=LEASE_S,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
        )
    except TimeoutError as error:
        raise GroupBusy(
            f"no place free at the limit {limit}",
            hint=f"See who holds it: prefect gcl inspect {limit}.",
        ) from error
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        log.warning("limit %s not taken, going on without: %s", limit, error)


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
