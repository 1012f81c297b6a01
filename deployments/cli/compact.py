"""`flashvault image compact`: a restore point's live bytes in new objects, without the dead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.output import out, print_json, reported_errors

if TYPE_CHECKING:
    from tasks.compact_point import CompactedPoint


def compact(
    source: Annotated[str, typer.Option("--from", help="s3://bucket/prefix, cos://… or file:///…")],
    name: Annotated[str, typer.Option("--name", help="The image's name, or the resource group.")],
    point: Annotated[str, typer.Option("--point", help="Restore point; else the newest.")] = "",
    dead: Annotated[
        int,
        typer.Option(
            "--dead",
            help="Only segments of which more than so many percent are dead; 0 makes a full.",
            min=0,
            max=100,
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a full of an incremental inside the bucket, for stock tools and to free space.

    A new restore point of the same moment, proven frame by frame before it counts; nothing is
    written over, and the old point stays until it is pruned. Encrypted points are refused.

    Example: flashvault image compact --from s3://bucket/by-hand --name db
    """
    with reported_errors(as_json=as_json):
        done = _compact(source, name, point, dead, quiet=quiet or as_json)
        document = {"ok": True, **done.document()}
        if as_json:
            print_json(document)
        else:
            _tell(document)


def _compact(source: str, name: str, point: str, dead: int, *, quiet: bool) -> CompactedPoint:
    from blocks.catalog import shelf
    from blocks.store.clients import open_store, parse_bucket_url
    from deployments.cli.progress import shown_progress
    from tasks.compact_point import compact_point
    from tasks.compaction import CompactSettings
    from tasks.counters import tracked
    from tasks.transfer import Progress

    store = open_store(parse_bucket_url(source))
    found = shelf.find_point(shelf.existing_points(store, name), point_id=point or None)
    progress = Progress()
    with tracked(progress), shown_progress(quiet=quiet):
        return compact_point(
            store,
            found,
            stop=threading.Event(),
            progress=progress,
            settings=CompactSettings(dead_share=dead / 100),
        )


def _tell(document: dict[str, Any]) -> None:
    from blocks.units import format_size

    sizes = {name: format_size(document[f"{name}_bytes"]) for name in ("stored", "copied", "moved")}
    out().print(
        f"compacted {document['of']} into {document['restore_point']} ({document['kind']}):"
        f" {sizes['stored']} stored, of which {sizes['copied']} copied inside the store and"
        f" {sizes['moved']} moved as they were",
        markup=False,
    )
