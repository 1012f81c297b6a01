"""`flashvault metrics`: how every group stands, for Prometheus."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.errors import ConfigError
from deployments.cli.output import err, reported_errors

if TYPE_CHECKING:
    from blocks.policy.overview import Overview


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Operate")(metrics)


def metrics(
    host: Annotated[str, typer.Option("--host", help="Listen here.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The TCP port.")] = 9742,
    fresh: Annotated[
        float, typer.Option("--fresh", min=1.0, help="Read the buckets at most every so many s.")
    ] = 60.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print them and end: for the textfile collector.")
    ] = False,
) -> None:
    """Serve how every group stands on /metrics, in Prometheus' text format.

    Read from the buckets, not from Prefect; needs no Prefect server.
    deployments/grafana/dashboard.json shows it.

    Examples:
      flashvault metrics --port 9742
      flashvault metrics --once > /var/lib/node_exporter/flashvault.prom
    """
    with reported_errors():
        from deployments import metrics as exporter

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
        if once:
            began = time.monotonic()
            rows = _look()
            took = time.monotonic() - began
            text = exporter.exposition(rows, looked_at=time.time(), took_s=took)
            sys.stdout.write(text.decode())
            return
        try:
            server = exporter.server(host, port, exporter.Cached(_look, fresh_s=fresh))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                hint="Choose another with --port.",
            ) from error
        for number in (signal.SIGINT, signal.SIGTERM):
            # `shutdown` waits for the loop that this very thread runs: ask from another.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        err().print(f"http://{host}:{port}/metrics   Ctrl-C stops", markup=False)
        with server:
            server.serve_forever()


def _look() -> Sequence[Overview]:
    from deployments.cli.status import no_waiting

    with no_waiting():
        from tasks.open import configuration
        from tasks.overview import gather

        return gather(configuration(), datetime.now(UTC))
