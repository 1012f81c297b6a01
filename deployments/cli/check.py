"""`flashvault check`: what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from blocks.profile.document import config_path, load_configuration
from deployments.cli.output import out, print_json, reported_errors

MARKS = {"ok": "ok     ", "off": "off    ", "warning": "warning", "wrong": "WRONG  "}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Configuration")(check)


def check(
    group: Annotated[str, typer.Argument(help="Resource group; all if not given.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="The XML file; else $FLASHVAULT_CONFIG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look over arrays, nodes, buckets, profiles and Prefect; change nothing.

    Exit 0 if all is well, 1 if something is wrong; each line says what to do. A profile that is
    switched off is not looked at.

    Example: flashvault check RG1
    """
    with reported_errors(as_json=as_json):
        from deployments import runtime, settings

        settings.prepare()
        runtime.found_server()
        from deployments import checks

        wanted = load_configuration(config or config_path())
        findings = [*checks.loose_ends(wanted), *checks.check(wanted, group)]
        status = checks.worst(findings)
        if as_json:
            print_json({"ok": not status, "findings": [asdict(found) for found in findings]})
        else:
            for found in findings:
                line = f"{MARKS[found.status]} {found.subject}: {found.message}"
                out().print(line, markup=False)
                if found.hint:
                    out().print(f"        {found.hint}", markup=False)
        raise typer.Exit(status)
