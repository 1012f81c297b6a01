"""How every group stands, for Prometheus: the same rows as `flashvault status`.

Written from the buckets, so the numbers hold while Prefect is down. The buckets are read at most
once a minute, however often the endpoint is scraped, and never twice at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from blocks.policy.overview import Overview, State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_S = 60.0

log = logging.getLogger(__name__)

Look = Callable[[], Sequence[Overview]]


class Rows:
    """A registry for Prometheus' client: `collect` gives the metrics of the rows."""

    def __init__(self, rows: Sequence[Overview], *, looked_at: float, took_s: float) -> None:
        self.rows = rows
        self.looked_at = looked_at
        self.took_s = took_s

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. A value that is not known is left out, never given as 0."""
        yield from (_gauge(self.rows, *each) for each in PER_GROUP)
        yield self._states()
        yield self._remote()
        looked = GaugeMetricFamily(
            "flashvault_look_timestamp_seconds", "When the buckets were last read."
        )
        looked.add_metric([], self.looked_at)
        yield looked
        took = GaugeMetricFamily(
            "flashvault_look_duration_seconds", "How long it took to read the buckets."
        )
        took.add_metric([], self.took_s)
        yield took

    def _states(self) -> Metric:
        states = GaugeMetricFamily(
            "flashvault_state", "1 for the state the group is in.", labels=["group", "state"]
        )
        for row in self.rows:
            for state in State:
                states.add_metric([row.group, str(state)], float(row.state is state))
        return states

    def _remote(self) -> Metric:
        remote = GaugeMetricFamily(
            "flashvault_remote_in_sync",
            "1 while the second site follows within the RPO.",
            labels=["group"],
        )
        for row in self.rows:
            if row.remote is not None:
                remote.add_metric([row.group], float(row.remote.is_well))
        return remote


PER_GROUP: tuple[tuple[str, str, Callable[[Overview], float | None]], ...] = (
    (
        "flashvault_last_restore_point_timestamp_seconds",
        "When the newest good restore point was taken.",
        lambda row: row.last.taken_at.timestamp() if row.last else None,
    ),
    (
        "flashvault_last_restore_point_age_seconds",
        "Age of the newest good restore point, at the last look.",
        lambda row: row.age.total_seconds() if row.age is not None else None,
    ),
    (
        "flashvault_last_restore_point_size_bytes",
        "Bytes of the volumes in it.",
        lambda row: row.last.size_bytes if row.last else None,
    ),
    (
        "flashvault_last_restore_point_stored_bytes",
        "Bytes it added to the bucket.",
        lambda row: row.last.stored_bytes if row.last else None,
    ),
    (
        "flashvault_last_restore_point_duration_seconds",
        "From its snapshot to its commit.",
        lambda row: (
            (row.last.committed_at - row.last.taken_at).total_seconds() if row.last else None
        ),
    ),
    (
        "flashvault_restore_points",
        "Restore points that are not in the trash.",
        lambda row: _if_read(row, len(row.history)),
    ),
    (
        "flashvault_damaged_restore_points",
        "Restore points known to be damaged, or whose record cannot be read.",
        lambda row: _if_read(row, row.damaged + row.unreadable),
    ),
    (
        "flashvault_stored_bytes",
        "Bytes all restore points added to the bucket.",
        lambda row: _if_read(row, row.stored_bytes),
    ),
    (
        "flashvault_overdue",
        "1 when a restore point is missing that should be there.",
        lambda row: _if_read(row, row.is_overdue),
    ),
    (
        "flashvault_next_due_timestamp_seconds",
        "When the next backup is due.",
        lambda row: row.next_due.timestamp() if row.next_due else None,
    ),
    (
        "flashvault_running",
        "1 while a run writes into the group.",
        lambda row: _if_read(row, bool(row.running)),
    ),
    (
        "flashvault_last_drill_timestamp_seconds",
        "When a restore of the group was last proven by a drill.",
        lambda row: row.drills.last_passed.ended_at.timestamp() if row.drills.last_passed else None,
    ),
    (
        "flashvault_last_drill_duration_seconds",
        "How long that restore took.",
        lambda row: row.drills.last_passed.rto_s if row.drills.last_passed else None,
    ),
)
"""Name, help, and the value of a row; `None` where there is none."""


def exposition(rows: Sequence[Overview], *, looked_at: float, took_s: float) -> bytes:
    """Return the rows in Prometheus' text format."""
    return generate_latest(Rows(rows, looked_at=looked_at, took_s=took_s))


class Cached:
    """The exposition, made anew when it is older than `FRESH_S`; one reader at a time."""

    def __init__(self, look: Look, *, fresh_s: float = FRESH_S) -> None:
        self._look = look
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._text = b""

    def text(self) -> bytes:
        """Return what a scrape gets; errors of the look are raised, and nothing stale is told."""
        with self._lock:
            if time.monotonic() - self._made_at > self._fresh_s:
                began = time.monotonic()
                rows = self._look()
                self._text = exposition(
                    rows, looked_at=time.time(), took_s=time.monotonic() - began
                )
                self._made_at = time.monotonic()
            return self._text


def server(host: str, port: int, cached: Cached) -> ThreadingHTTPServer:
    """Return a server that answers /metrics; the caller serves and closes it.

    Raises:
        OSError: the port is taken.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in {"/metrics", "/"}:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                text = cached.text()
            except Exception as error:  # a scrape that fails is what Prometheus calls `up == 0`
                log.exception("the groups could not be read")
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            log.debug(format, *args)

    return ThreadingHTTPServer((host, port), Answer)


def _gauge(
    rows: Sequence[Overview], name: str, help_: str, value: Callable[[Overview], float | None]
) -> Metric:
    gauge = GaugeMetricFamily(name, help_, labels=["group"])
    for row in rows:
        found = value(row)
        if found is not None:
            gauge.add_metric([row.group], float(found))
    return gauge


def _if_read(row: Overview, value: float) -> float | None:
    """Return the value unless the bucket could not be read, or the group has none."""
    return None if row.state is State.UNKNOWN or not row.bucket else value
