"""`flashvault apply`: bring Prefect in step with the XML file; the plan is shown first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocks.errors import ConfigError, Unreachable
from blocks.profile.document import config_path, load_configuration
from blocks.units import counted
from deployments.cli.output import err, out, print_json, reported_errors

if TYPE_CHECKING:
    from deployments.register import Change

SIGNS = {"create": "+", "update": "~", "delete": "-"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Configuration")(apply)


def apply(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="The XML file; else $FLASHVAULT_CONFIG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Bring Prefect in step with the configuration: blocks, deployments, schedules, alarms.

    Shows the plan, then does it. Safe to run twice: the second time there is nothing to do. Run it
    after editing the XML file by hand, and to see whether someone changed Prefect by hand.

    Examples:
        flashvault apply --dry-run

        flashvault apply
    """
    with reported_errors(as_json=as_json):
        from deployments import runtime

        runtime.require_server()
        from deployments import register as registration

        path = config or config_path()
        configuration = load_configuration(path)
        changes = registration.plan(configuration)
        problems = registration.problems(configuration)
        if not as_json:
            _print(changes, problems)
        if changes and not dry_run:
            registration.apply(configuration)
        if as_json:
            print_json(_document(changes, problems, dry_run=dry_run))
        elif changes:
            done = "would be made" if dry_run else "made"
            out().print(f"{counted(len(changes), 'change')} {done}", markup=False)
        if problems:
            raise typer.Exit(ConfigError.exit_code)


def after_a_change(path: Path, group: str = "") -> list[dict[str, str]]:
    """Bring Prefect in step after the file was changed; return what was done there.

    `group` is the resource group whose profile was changed; without it everything is compared.
    The change of the file stands whatever happens here: what cannot be done is said, and
    `flashvault apply` does it later.
    """
    from deployments import runtime, settings

    if not settings.prepare():
        return []
    from deployments import register as registration

    try:
        runtime.require_server()
        return [asdict(change) for change in registration.apply(load_configuration(path), group)]
    except Unreachable as error:
        err().print(f"warning: {error}; the file is changed", markup=False)
        err().print("hint: run `flashvault apply` when the server is back", markup=False)
        return []


def _print(changes: list[Change], problems: list[str]) -> None:
    console = out()
    for change in changes:
        detail = f"  ({change.detail})" if change.detail else ""
        console.print(f"{SIGNS[change.action]} {change.kind} {change.name}{detail}", markup=False)
    if not changes:
        console.print("nothing to do", markup=False)
    for problem in problems:
        err().print(f"warning: left out: {problem}", markup=False)


def _document(changes: list[Change], problems: list[str], *, dry_run: bool) -> dict[str, Any]:
    return {
        "ok": not problems,
        "dry_run": dry_run,
        "changes": [asdict(change) for change in changes],
        "problems": problems,
    }
