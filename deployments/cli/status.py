"""`flashvault status` and `flashvault runs`: how every group stands, and what ran lately."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from deployments.cli.output import out, print_json, reported_errors

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from blocks.policy.overview import Overview

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")]
Every = Annotated[float, typer.Option("--every", min=1.0, help="Seconds between two looks.")]

COLOURS = {
    "ok": "green",
    "no profile": "dim",
    "disabled": "dim",
    "unproven": "bold red",
    "never backed up": "bold red",
    "overdue": "bold red",
    "remote impaired": "bold red",
    "unknown": "bold yellow",
}
RUN_COLOURS = {
    "Completed": "green",
    "Running": "cyan",
    "Failed": "red",
    "Crashed": "red",
    "Damaged": "red",
    "Skipped": "dim",
    "Cancelled": "yellow",
    "Late": "yellow",
}


class Lines(NamedTuple):
    """What is shown: a heading with its rows, and what stays in sight below them."""

    body: list[Text]
    foot: list[Text]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel="Operate")(status)
    app.command(rich_help_panel="Operate")(runs)


def status(
    group: Annotated[str, typer.Argument(metavar="[RG]", help="Only this resource group.")] = "",
    bucket: Annotated[
        str, typer.Option("--bucket", help="s3://bucket/prefix, where no configuration is.")
    ] = "",
    watch: Watch = False,
    every: Every = 10.0,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit 1 unless every group is well; for monitoring.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every resource group: its last good restore point, what is next, what is overdue.

    Read from the buckets themselves: needs no Prefect server, and shows nothing that could not be
    restored.

    Examples:
      flashvault status
      flashvault status RG1 --json
      flashvault status --bucket s3://pha-bucket
    """
    with reported_errors(as_json=as_json):
        if watch:
            _no_json(as_json)
            _again(lambda console: _status_lines(_rows(group, bucket), console), every)
            return
        rows = _rows(group, bucket)
        if as_json:
            _print_status(rows)
        else:
            _print(_status_lines(rows, out()))
        if fail and not all(row.is_good for row in rows):
            sys.exit(1)


def runs(
    group: Annotated[str, typer.Argument(metavar="[RG]", help="Only this resource group.")] = "",
    of: Annotated[str, typer.Option("--group", help="The same.")] = "",
    watch: Watch = False,
    every: Every = 5.0,
    as_json: Json = False,
) -> None:
    """Show the latest runs as Prefect remembers them, the newest first.

    Prefect forgets old runs, and may say Running of one whose machine died: what can be restored is
    what `flashvault status` shows.

    Example: flashvault runs RG1 --watch
    """
    with reported_errors(as_json=as_json):
        from deployments import runtime

        runtime.require_server()
        from deployments import history

        chosen = group or of
        if watch:
            _no_json(as_json)
            _again(lambda console: _runs_lines(history.runs(chosen), console), every)
        elif as_json:
            print_json(history.runs(chosen))
        else:
            _print(_runs_lines(history.runs(chosen), out()))


def _rows(group: str, bucket: str) -> list[Overview]:
    """Read how the groups stand now."""
    now = datetime.now(UTC)
    with no_waiting():
        from tasks.overview import gather, gather_bucket

        if bucket:
            from blocks.store.clients import open_store, parse_bucket_url

            return gather_bucket(open_store(parse_bucket_url(bucket)), now, group=group)
        from tasks.open import configuration

        return gather(configuration(), now, group=group)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Take secrets from Prefect if it answers just now, else from the environment.

    Each block of a server that is away would be waited for; the buckets are what counts.
    """
    from deployments import runtime, settings

    settings.prepare()
    import prefect  # noqa: F401 - reads its settings now, before the address may be hidden

    url = os.environ.get("PREFECT_API_URL")
    if url is None or runtime.has_server():
        yield
        return
    del os.environ["PREFECT_API_URL"]
    try:
        yield
    finally:
        os.environ["PREFECT_API_URL"] = url


def _print_status(rows: Sequence[Overview]) -> None:
    from tasks.overview import document

    print_json(
        {
            "ok": True,
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "all_good": all(row.is_good for row in rows),
            "groups": [document(row) for row in rows],
        }
    )


def _status_lines(rows: Sequence[Overview], console: Console) -> Lines:
    """Show the groups; on a terminal those that need somebody first, and the sum of all last."""
    from rich.text import Text

    from deployments.cli.columns import Column, laid_out, width_of
    from tasks.overview import HEADINGS, cells, headline, worst_first

    if not rows:
        return Lines([Text("no resource groups", style="dim")], [])
    if console.is_terminal:
        rows = worst_first(rows)
    told = [cells(row) for row in rows]
    # A column that says nothing about any group is not worth its width.
    shown = [name for name in HEADINGS if name in MAIN or any(line[name] for line in told)]
    columns = [
        Column(name, RANKS.index(name) if name in RANKS else 0, name in NUMBERS, name == "note")
        for name in shown
    ]
    texts = [
        [Text(line[name], style=_style(row, name)) for name in shown]
        for row, line in zip(rows, told, strict=True)
    ]
    lines, left_out = laid_out(columns, texts, width_of(console))
    if not console.is_terminal:
        return Lines(lines, [])
    more = f"; wider or --json: {', '.join(left_out)}" if left_out else ""
    return Lines(lines, [Text(headline(rows), style="bold").append(more, style="not bold dim")])


MAIN = ("group", "state", "last good", "age")
RANKS = (
    "",
    "now",
    "next due",
    "remote",
    "last drill",
    "verified",
    "size",
    "points",
    "stored",
    "kind",
)
"""Beside the main columns: what a narrow terminal shows first."""

NUMBERS = {"age", "size", "points", "stored"}


def _style(row: Overview, name: str) -> str:
    if name == "state":
        return COLOURS[str(row.state)]
    if name == "age" and row.is_overdue:
        return "red"
    if name == "last drill" and row.drills.last:
        return "" if row.drills.last.has_passed else "red"
    if name == "remote" and row.remote:
        return "green" if row.remote.is_well else "red"
    if name == "now":
        return "cyan"
    return "yellow" if name == "note" else ""


def _runs_lines(rows: Sequence[dict[str, str]], console: Console) -> Lines:
    from rich.text import Text

    from deployments.cli.columns import Column, laid_out, width_of

    if not rows:
        return Lines([Text("no runs", style="dim")], [])
    names = ("STARTED_AT", "NAME", "STATE", "TOOK", "MESSAGE")
    columns = [Column(name.replace("_", " "), is_note=name == "MESSAGE") for name in names]
    texts = [
        [
            Text(row[name], style=RUN_COLOURS.get(row[name], "") if name == "STATE" else "")
            for name in names
        ]
        for row in rows
    ]
    lines, _ = laid_out(columns, texts, width_of(console))
    return Lines(lines, [])


def _print(shown: Lines) -> None:
    console = out()
    for line in [*shown.body, *shown.foot]:
        console.print(line)


def _no_json(as_json: bool) -> None:
    if as_json:
        raise typer.BadParameter("--watch is for a person: call it again for another --json")


def _again(show: Callable[[Console], Lines], every: float) -> None:
    """Show something again and again: in place on a terminal, one below the other elsewhere."""
    from rich.live import Live
    from rich.text import Text

    console = out()

    def dated() -> RenderableType:
        shown = show(console)
        clock = Text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", style="dim")
        body = shown.body
        room = console.height - 1 - len(shown.foot)
        if console.is_terminal and len(body) + 1 > room:
            hidden = len(body) - room + 2
            body = [*body[: room - 2], Text(f"… and {hidden} lines more", style="dim")]
        glue = Text("\n", no_wrap=True, overflow="ellipsis")
        return glue.join([clock, *body, *shown.foot])

    if not console.is_terminal:
        while True:
            console.print(dated())
            time.sleep(every)
    with Live(dated(), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(dated(), refresh=True)
