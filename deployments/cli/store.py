"""`flashvault store`: what a store really does, and whether its protection was changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from blocks.errors import ConfigError
from blocks.store.bench import Verdict
from blocks.store.clients import open_store, s3_client
from blocks.store.encryption import Encryption, Mode, check_transport, parse_customer_key
from blocks.store.fingerprint import (
    compare,
    recorded_fingerprint,
    save_fingerprint,
    take_fingerprint,
)
from blocks.store.probe import Report, markdown, notes, probe, require, save_report
from deployments.cli.buckets import BucketUrl, settings_of
from deployments.cli.output import out, print_json, reported_errors

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

store = typer.Typer(no_args_is_help=True, help="What the object store does, and how it is set.")

_COLOURS = {
    Verdict.WORKS: "green",
    Verdict.IGNORED: "bold red",
    Verdict.BROKEN: "bold red",
    Verdict.REFUSED: "yellow",
    Verdict.UNTRIED: "dim",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(store, name="store", rich_help_panel="Safety")


@store.command("probe")
def probe_store(
    bucket: BucketUrl,
    encryption: Annotated[
        Mode, typer.Option(case_sensitive=False, help="What the profile asks of the store.")
    ] = Mode.DISABLE,
    kms_key_id: Annotated[str, typer.Option(help="With KMS: the key's id, ARN or CRN.")] = "",
    object_lock: Annotated[
        bool, typer.Option("--object-lock", help="The profile wants locked objects.")
    ] = False,
    save_to: Annotated[
        Path | None, typer.Option("--save-to", help="Also write the report into this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Try everything a backup needs, with real bytes; record it in the bucket.

    Exit status 4 means: this store cannot be used as configured, and why.

    Examples:
        flashvault store probe --bucket s3://pha-bucket --encryption KMS
    """
    with reported_errors(as_json=as_json):
        settings = settings_of(bucket)
        if settings.provider == "FILE":
            raise ConfigError("a directory is no S3 store: there is nothing to probe")
        asked = Encryption(
            encryption,
            settings.provider,
            kms_key_id,
            parse_customer_key(settings.customer_key) if settings.customer_key else None,
        )
        check_transport(asked, settings.endpoint)
        opened = open_store(settings)
        report = probe(
            s3_client(settings),
            settings.bucket,
            settings.prefix,
            encryption=asked,
            now=datetime.now(UTC),
            url=opened.url,
        )
        if report.verdict("put and get") is Verdict.WORKS:
            save_report(opened, report)
        if save_to:
            save_to.write_text(report.model_dump_json(indent=2) + "\n")
        if as_json:
            refusals = report.refusals(object_lock=object_lock)
            document = report.model_dump(mode="json")
            print_json({"ok": not refusals, "refusals": refusals, "report": document})
            if refusals:
                raise typer.Exit(4)
            return
        _print(report)
        require(report, object_lock=object_lock)


@store.command()
def table(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Recorded reports (probe/….json); the name is the column's."),
    ],
) -> None:
    """Print reports side by side as Markdown: the table of docs/reference/stores.md."""
    with reported_errors():
        columns = {}
        for file in reports:
            try:
                columns[file.stem] = Report.model_validate_json(file.read_bytes())
            except (OSError, ValidationError) as error:
                raise ConfigError(f"{file} is no report of `flashvault store probe`") from error
        print(markdown(columns) + "\n" + notes(columns), end="")


@store.command()
def settings(
    bucket: BucketUrl,
    accept: Annotated[
        bool, typer.Option("--accept", help="Record the settings as they are now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the bucket's lock, versioning and encryption settings with the recorded ones.

    The first time they are recorded. Exit status 1 means that something changed.
    """
    with reported_errors(as_json=as_json):
        wanted = settings_of(bucket)
        opened = open_store(wanted)
        found = take_fingerprint(s3_client(wanted), wanted.bucket, now=datetime.now(UTC))
        recorded = recorded_fingerprint(opened)
        changes = compare(recorded, found) if recorded else []
        if recorded is None or (accept and changes):
            save_fingerprint(opened, found)
        if as_json:
            print_json(
                {
                    "ok": accept or not changes,
                    "settings": found.model_dump(mode="json"),
                    "changes": [change.model_dump() for change in changes],
                }
            )
        else:
            for setting, value in found.model_dump(exclude={"format", "format_version"}).items():
                out().print(f"{setting:14} {value}")
            for change in changes:
                out().print(f"[bold red]changed[/] {change}")
            if recorded is None or (accept and changes):
                out().print("recorded, to be compared after each backup")
            elif not changes:
                out().print(f"as recorded at {recorded.taken_at:%Y-%m-%d %H:%M}")
        if changes and not accept:
            raise typer.Exit(1)


def _print(report: Report) -> None:
    console = out()
    console.print(f"{report.url}  [dim]{report.server}[/]")
    for outcome in report.outcomes:
        colour = _COLOURS[outcome.verdict]
        verdict, detail = outcome.verdict.value, outcome.detail.replace("[", "\\[")
        told = f"[{colour}]{verdict:8}[/] {detail}" if detail else f"[{colour}]{verdict}[/]"
        console.print(f"  {outcome.name:20} {told}")
    for caution in report.cautions():
        console.print(f"[yellow]note[/] {caution}")
