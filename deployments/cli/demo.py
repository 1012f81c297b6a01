"""`flashvault demo`: a disaster and a recovery in the lab, narrated."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.cli.output import err, out, print_json, reported_errors


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="On one machine")(demo)


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave lab and UI running, and say where.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The lab's directory; a temporary one if not given."),
    ] = None,
    size: Annotated[str, typer.Option("--size", help="Of each volume.")] = "256MiB",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Bring up the lab, back up a resource group, destroy it, restore it, and prove it."""
    from deployments import runtime

    with reported_errors(as_json=as_json):
        runtime.prepare_environment(quiet=True)
        document = _perform(keep=keep, directory=directory, size=size, as_json=as_json)
    if as_json:
        print_json(document)
    if not document["ok"]:
        raise typer.Exit(1)


def _perform(*, keep: bool, directory: Path | None, size: str, as_json: bool) -> dict[str, Any]:
    from blocks.units import parse_size
    from deployments.lab import demo as stage
    from deployments.lab import site as lab

    console = err()
    own = directory is None
    place = directory or Path(tempfile.mkdtemp(prefix="flashvault-demo-"))
    lab_directory = place / "lab" if own else place
    console.rule("[bold]Flashvault: a disaster and a recovery")
    try:
        with console.status("the lab comes up: two arrays, a node, an object store, Prefect"):
            site = lab.up(lab_directory, size_bytes=parse_size(size), with_worker=keep)
        document = stage.perform(
            site, lambda line: console.print(f"\n[bold]{line}[/]"), _runner(as_json)
        )
        if not as_json:
            _show(document)
        stage.require(document)
        if keep:
            _say_where(site)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            lab.down(lab_directory, purge=own)
            if own:
                shutil.rmtree(place)
    return document


def _runner(as_json: bool) -> Any:
    from deployments import runtime
    from deployments.cli.progress import shown_progress

    def run(module: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        flow = getattr(importlib.import_module(module), name)
        with shown_progress(quiet=as_json):
            return runtime.run_flow(flow, parameters).report

    return run


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from blocks.units import format_duration, format_size

    table = Table(title="What came back")
    for column in ("disk", "onto", "size", "stored", "ratio", "same", "fsck", "files"):
        left = column in {"disk", "onto"}
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for volume in document["volumes"]:
        table.add_row(
            volume["disk"],
            volume["target"],
            format_size(volume["bytes"]),
            format_size(volume["stored_bytes"]),
            f"{volume['bytes'] / max(volume['stored_bytes'], 1):.1f}",
            "yes" if volume["is_identical"] else "NO",
            volume["fsck"],
            f"{volume['files']} {'same' if volume['files_identical'] else 'DIFFER'}",
        )
    out().print(table)
    size = document["bytes"]
    figures = Table(title="What it took")
    for column in ("", "seconds", "MB/s", "stored"):
        figures.add_column(column, justify="right" if column else "left")
    for label, seconds, stored in (
        ("full backup", document["backup_s"], document["stored_bytes"]),
        ("incremental backup", document["incremental_s"], document["incremental_stored_bytes"]),
        ("restore (RTO)", document["restore_s"], None),
    ):
        figures.add_row(
            label,
            f"{seconds:.1f}",
            f"{size / 1e6 / max(seconds, 0.001):.0f}",
            format_size(stored) if stored is not None else "",
        )
    out().print(figures)
    out().print(
        f"RPO: the restored state is {format_duration(document['rpo_s'])} older than the restore."
    )


def _say_where(site: Any) -> None:
    out().print(f"\nThe lab stays up. Prefect UI: {site.prefect.ui_url}")
    out().print(f'Talk to it:  eval "$(flashvault lab env --dir {site.directory})"')
    out().print("Then try:    flashvault query backup_files RG_NAME=RG1")
    out().print("             flashvault restore RG1 --to hdisk18=/tmp/hdisk18.img --import no")
    out().print(f"Take it away: flashvault lab down --dir {site.directory}")
