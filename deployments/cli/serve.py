"""`flashvault serve`: everything on one machine, with one command."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.errors import ConfigError, FlashvaultError
from blocks.profile.document import config_path, load_configuration
from deployments.cli.output import err, print_json, reported_errors
from tasks.journal import state_directory


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="On one machine")(serve)


def serve(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Database, keys and logs; else $FLASHVAULT_STATE.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Listen here.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The TCP port.")] = 4200,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print where everything is as one JSON document.")
    ] = False,
) -> None:
    """Run Prefect's server, two workers and the deployments of the configuration.

    Stays until Ctrl-C or SIGTERM, which leave a running backup alone. Other `flashvault` commands
    on this machine find the server by themselves. For several machines, see
    docs/how-to/run-unattended.md.

    Example: flashvault serve --port 4200
    """
    with reported_errors(as_json=as_json):
        from deployments import settings

        where = (directory or state_directory()).absolute()
        os.environ["FLASHVAULT_STATE"] = str(where)
        settings.prepare_quiet()
        from deployments import serve as serving

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
        place = serving.prepare(where, host, port)
        served = serving.Served(place)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: served.stop())
        try:
            served.start_server()
            applied = _apply()
            served.start_workers()
            serving.run_reconcile()
            _say(place, served.pids(), applied, as_json=as_json)
            served.watch()
        finally:
            served.close()
        err().print("stopped; a backup that was running goes on", markup=False)


def _apply() -> list[str]:
    from deployments import register as registration

    path = config_path()
    if not path.exists():
        err().print(f"no configuration at {path} yet: `flashvault add …` makes one", markup=False)
        return []
    try:
        configuration = load_configuration(path)
        for problem in registration.problems(configuration):
            err().print(f"warning: left out: {problem}", markup=False)
        return [
            f"{change.action} {change.kind} {change.name}"
            for change in registration.apply(configuration)
        ]
    except ConfigError as error:
        # What was deployed goes on; a typo in the file must not stop tonight's backups.
        err().print(f"warning: the configuration is not applied: {error}", markup=False)
    except FlashvaultError as error:
        err().print(f"warning: not applied: {error}", markup=False)
    return []


def _say(place: Any, pids: dict[str, int], applied: list[str], *, as_json: bool) -> None:
    if as_json:
        document = {
            "url": place.url,
            "api_url": f"{place.url}/api",
            "directory": str(place.directory),
            "processes": pids,
            "applied": applied,
        }
        print_json(document)
        return
    user, _, password = place.auth.partition(":")
    console = err()
    console.print(f"applied {len(applied)} changes", markup=False)
    console.print(f"UI: {place.url}   sign in as {user}:{password}", markup=False)
    console.print(f"logs: {place.directory}/logs   Ctrl-C stops", markup=False)
