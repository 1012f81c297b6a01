"""`flashvault sync`, `failover`, `failback`, `switch`: a resource group's second site."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from deployments.cli.output import err, reported_errors
from deployments.cli.runs import Json, Quiet, finish, run_now

Group = Annotated[str, typer.Argument(help="Resource group, which is the profile's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel="Second site")(sync)
    app.command(rich_help_panel="Second site")(failover)
    app.command(rich_help_panel="Second site")(failback)
    app.command(rich_help_panel="Second site")(switch)


def sync(
    group: Group,
    resync: Annotated[
        bool,
        typer.Option("--resync", help="Start it though that gives up an old consistent copy."),
    ] = False,
    wait: Annotated[
        str, typer.Option("--wait", help="Watch a copy under way for so long: 90s, 2h.")
    ] = "0s",
    look_only: Annotated[bool, typer.Option("--look", help="Start nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at a group's Global Mirror, start it if that is safe, and say how far behind it is.

    Exit 3 when the second site does not follow, or is further behind than the RPO.

    Example: flashvault sync RG1 --wait 2h
    """
    with reported_errors(as_json=as_json):
        parameters = {
            "profile": group,
            "start": not look_only,
            "resync": resync,
            "approved": yes or not resync,
            "watch_s": _seconds(wait),
        }
        if resync and not yes:
            _ask(
                group, "Give up the consistent copy at the second site until the changes are there"
            )
            parameters["approved"] = True
        ending = run_now("flows.replicate", "replicate", parameters, quiet=quiet or as_json)
        healthy = ending.report.get("is_healthy", True) or ending.outcome == "copying"
        finish(
            ending.model_copy(update={"exit_code": ending.exit_code or (0 if healthy else 3)}),
            as_json=as_json,
        )


def failover(
    group: Group,
    allow_split: Annotated[
        bool,
        typer.Option(
            "--allow-split",
            help="The other array is alive; I see to it that nobody writes there.",
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make the second site's copy the production: the first site is lost.

    Says first what is lost. Refused while the first site is alive: use `switch` then.

    Example: flashvault failover RG1 --dry-run
    """
    _move("failover", group, {"allow_split": allow_split}, dry_run, yes, as_json)


def failback(
    group: Group,
    keep_home: Annotated[
        bool,
        typer.Option("--keep-home", help="Keep what the home site holds; give up the other's."),
    ] = False,
    resync: Annotated[
        bool, typer.Option("--resync", help="Copy home what was written away (the default).")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="First read both sites' volumes whole and say what differs."
        ),
    ] = False,
    wait: Annotated[str, typer.Option("--wait", help="For the copy: 90s, 2h.")] = "10m",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring the production home after a failover or a switch.

    Copies home what was written away, then swaps the roles. If the copy takes longer than --wait,
    it goes on by itself: say the same again later.

    Example: flashvault failback RG1 --wait 2h
    """
    if keep_home and resync:
        raise typer.BadParameter("choose --keep-home or --resync")
    words = {"keep_home": keep_home, "measure": measure, "wait_s": _seconds(wait)}
    _move("failback", group, words, dry_run, yes, as_json)


def switch(
    group: Group,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Swap the sites' roles while both are well; nothing is lost. The group must be offline.

    Example: flashvault switch RG1
    """
    _move("switch", group, {}, dry_run, yes, as_json)


def _move(
    name: str, group: str, words: dict[str, Any], dry_run: bool, yes: bool, as_json: bool
) -> None:
    with reported_errors(as_json=as_json):
        parameters = {"group": group, **words}
        if dry_run or not yes:
            planned = run_now("flows.failover", name, {**parameters, "dry_run": True}, quiet=True)
            if dry_run or planned.exit_code:
                finish(planned, as_json=as_json)
                return
            err().print(planned.markdown, markup=False)
            _ask(group, f"Type {group} to go on")
        ending = run_now("flows.failover", name, {**parameters, "approved": True}, quiet=as_json)
        finish(ending, as_json=as_json)


def _ask(group: str, question: str) -> None:
    from blocks.errors import Refused

    if not sys.stdin.isatty():
        raise Refused("it was not approved", hint="Say --yes after reading the plan (--dry-run).")
    if typer.prompt(f"{question} ({group})", err=True).strip() != group:
        raise Refused("it was not approved")


def _seconds(text: str) -> float:
    from blocks.errors import ConfigError
    from blocks.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"'{text}' is no duration", hint="Write it like 90s or 2h.") from error
