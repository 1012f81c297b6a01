"""`flashvault image`: volumes in and out of a bucket, with no server, array or profile.

For measuring, and for the worst day: needs a disk or file, a bucket, and its credentials.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.output import err, out, print_json, reported_errors
from deployments.cli.signals import terminated_like_ctrl_c

if TYPE_CHECKING:
    from blocks.catalog.point import RestorePoint
    from blocks.store.base import Store
    from tasks.transfer import Progress

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
From = Annotated[str, typer.Option("--from", help="s3://bucket/prefix, cos://… or file:///dir")]
Name = Annotated[str, typer.Option("--name", help="The image's name.")]
Point = Annotated[str, typer.Option("--point", help="Restore point; else the newest.")]

image = typer.Typer(no_args_is_help=True, help="Volumes in and out of a bucket, nothing else.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    from deployments.cli.compact import compact

    image.command()(compact)
    app.add_typer(image, name="image", rich_help_panel="Backup and restore")


@image.command()
def put(
    source: Annotated[Path, typer.Argument(help="A block device or file.")],
    to: Annotated[str, typer.Option("--to", help="s3://bucket/prefix, cos://… or file:///dir")],
    name: Name,
    parent: Annotated[
        str, typer.Option("--parent", help="Store only what differs from this point, or `latest`.")
    ] = "",
    level: Annotated[int, typer.Option("--level", help="Of zstd, 1 to 19.", min=1, max=19)] = 1,
    extent: Annotated[str, typer.Option("--extent", help="The unit of change.")] = "256KiB",
    compress: Annotated[bool, typer.Option(help="Off: the object is the disk, as it is.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Store a disk or file as a restore point.

    Example: flashvault image put /dev/mapper/vg-db --to s3://bucket/by-hand --name db
    """
    with reported_errors(as_json=as_json), terminated_like_ctrl_c():
        asked = _Put(source, to, name, parent, level, extent, compress)
        document = _put(asked, quiet=quiet or as_json)
        _finish(document, as_json=as_json, line="stored {bytes} as {restore_point}")


@image.command()
def get(
    target: Annotated[Path, typer.Argument(help="A block device or file; made if not there.")],
    source: From,
    name: Name,
    point: Point = "",
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything back.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Restore a stored disk, and prove it."""
    with reported_errors(as_json=as_json):
        document = _get(
            target, source, name, point, force=force, verify=verify, quiet=quiet or as_json
        )
        _finish(document, as_json=as_json, line="restored {bytes} from {restore_point}")


@image.command(name="verify")
def verify_(
    source: From,
    name: Name,
    point: Point = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read and decode every frame.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look whether a stored disk can be restored: exit 3 if something is damaged."""
    with reported_errors(as_json=as_json):
        document = _verify(source, name, point, deep=deep, quiet=quiet or as_json)
        _finish(document, as_json=as_json, line="{restore_point} is {verdict}")
        if document["damaged"]:
            sys.exit(3)


@image.command(name="ls")
def list_(source: From, name: Name = "", as_json: Json = False) -> None:
    """List what is stored."""
    from blocks.catalog import shelf

    with reported_errors(as_json=as_json):
        points = shelf.points(_open(source), name or None)
        rows = [
            {
                "name": found.group,
                "restore_point": found.id,
                "taken_at": found.taken_at.isoformat(),
                "kind": str(found.kind),
                "bytes": found.size_bytes,
                "stored_bytes": found.stored_bytes,
                "volumes": [volume.disk for volume in found.volumes],
            }
            for found in points
        ]
        if as_json:
            print_json(rows)
            return
        for row in rows:
            out().print(
                f"{row['name']}  {row['restore_point']}  {row['taken_at']}  {row['kind']:11}"
                f"  {row['bytes']:>16,}  {row['stored_bytes']:>16,}",
                markup=False,
            )


@image.command()
def cat(
    source: From,
    name: Name,
    point: Point = "",
    volume: Annotated[str, typer.Option("--volume", help="Which, if there are several.")] = "",
    wanted: Annotated[
        str, typer.Option("--range", help="FIRST-LAST, bytes from 0; the whole if not given.")
    ] = "",
) -> None:
    """Write some bytes of a stored disk to stdout, without restoring it."""
    with reported_errors():
        _cat(source, name, point, volume, wanted)


@dataclass(frozen=True)
class _Put:
    source: Path
    to: str
    name: str
    parent: str
    level: int
    extent: str
    compress: bool


def _put(asked: _Put, *, quiet: bool) -> dict[str, Any]:
    from ulid import ULID

    from blocks.catalog.claims import begin_intent, end_intent
    from blocks.catalog.point import image_folder, image_name
    from blocks.catalog.shelf import publish
    from blocks.host.local import LocalReader
    from tasks.pipeline import CaptureSettings, capture_volume
    from tasks.transfer import Progress

    extent_bytes = _extent(asked.extent)
    store = _open(asked.to)
    earlier = _parent(store, asked)
    reader = LocalReader(asked.source)
    taken_at = datetime.now(UTC)
    run_id = str(ULID())
    began = time.monotonic()
    progress = Progress()
    intent = begin_intent(store, asked.name, run_id, parent=earlier)
    try:
        with _shown(progress, quiet=quiet):
            captured = capture_volume(
                reader,
                store,
                folder=image_folder(asked.name, run_id),
                name=image_name("image", asked.name, "-", asked.source.name, taken_at),
                uid=_uid(asked.name),
                parent=(earlier.volumes[0], earlier.objects) if earlier else None,
                settings=CaptureSettings(
                    extent_bytes=extent_bytes,
                    level=asked.level,
                    compress=asked.compress,
                    labels=_labels(asked, run_id, taken_at, earlier),
                ),
                stop=threading.Event(),
                progress=progress,
            )
        point = publish(store, _point(asked, run_id, taken_at, captured, earlier))
    finally:
        reader.close()
        if not end_intent(store, intent):
            _remove_leftovers(store, image_folder(asked.name, run_id))
    seconds = time.monotonic() - began
    return {
        "ok": True,
        "restore_point": point.id,
        "kind": str(point.kind),
        "bytes": captured.size_bytes,
        "stored_bytes": captured.stored_bytes,
        "changed_bytes": captured.changed_bytes,
        "zero_bytes": captured.zero_bytes,
        "keys": list(captured.image_keys),
        "warning": captured.warning,
        "seconds": round(seconds, 3),
    }


def _remove_leftovers(store: Store, folder: str) -> None:
    from blocks.catalog.leftovers import remove_uncommitted
    from blocks.errors import StoreError

    try:
        remove_uncommitted(store, folder)
    except StoreError as error:  # a role that may not delete: why it ended is what counts
        err().print(f"what was uploaded stays below {folder}: {error}", markup=False)


def _extent(text: str) -> int:
    from blocks.errors import ConfigError
    from blocks.units import KIB, MIB, parse_size

    extent = parse_size(text)
    if not 4 * KIB <= extent <= 4 * MIB or extent & (extent - 1):
        raise ConfigError(f"--extent {text}: must be a power of two from 4KiB to 4MiB")
    return extent


def _point(
    asked: _Put, run_id: str, taken_at: datetime, captured: Any, earlier: RestorePoint | None
) -> RestorePoint:
    from importlib.metadata import version
    from socket import gethostname

    from blocks.catalog.point import Kind, PointId, RestorePoint
    from blocks.image.digest import maps_digest

    volume = captured.image(name=asked.name, uid=_uid(asked.name), disk=asked.source.name)
    return RestorePoint(
        id=PointId(run_id),
        group=asked.name,
        cluster="image",
        storage_system="",
        consistency_group="",
        kind=Kind.FULL if captured.is_full else Kind.INCREMENTAL,
        parent=earlier.id if earlier and not captured.is_full else None,
        taken_at=taken_at,
        committed_at=datetime.now(UTC),
        reading_host=gethostname(),
        volumes=(volume,),
        objects=captured.objects,
        maps_digest=maps_digest([captured.map_digest]),
        codec=f"zstd-{asked.level}" if asked.compress else "none",
        tool_version=version("flashvault"),
    )


def _labels(
    asked: _Put, run_id: str, taken_at: datetime, earlier: RestorePoint | None
) -> dict[str, str]:
    from importlib.metadata import version
    from socket import gethostname

    from blocks.catalog.labels import Labels

    labels = Labels(
        point=run_id,
        group=asked.name,
        cluster="image",
        parent=earlier.id if earlier else "",
        taken_at=taken_at,
        reading_host=gethostname(),
        tool_version=version("flashvault"),
        volumes=_uid(asked.name),
        name=asked.name,
        disk=asked.source.name,
    )
    return labels.as_header()


def _get(
    target: Path, source: str, name: str, point: str, *, force: bool, verify: bool, quiet: bool
) -> dict[str, Any]:
    from blocks.errors import TargetNotEmpty
    from blocks.host.blank import looks_blank
    from blocks.host.local import LocalReader, LocalWriter
    from tasks.recovery import restore_volume
    from tasks.transfer import Progress

    store = _open(source)
    found = _find(store, name, point)
    [volume] = found.volumes
    if target.exists() and not force:
        reader = LocalReader(target)
        try:
            is_blank = looks_blank(reader)
        finally:
            reader.close()
        if not is_blank:
            raise TargetNotEmpty(f"{target} is not empty", hint="Say --force to write over it.")
    began = time.monotonic()
    progress = Progress()
    writer = LocalWriter(target, create_bytes=volume.size_bytes)
    try:
        with _shown(progress, quiet=quiet):
            done = restore_volume(
                volume,
                found.objects,
                store,
                writer,
                bookmark=None,
                stop=threading.Event(),
                progress=progress,
                verify_readback=verify,
            )
    finally:
        writer.close()
    return {
        "ok": True,
        "restore_point": found.id,
        "bytes": done.size_bytes,
        "read_bytes": done.read_bytes,
        "written_bytes": done.written_bytes,
        "seconds": round(time.monotonic() - began, 3),
    }


def _verify(source: str, name: str, point: str, *, deep: bool, quiet: bool) -> dict[str, Any]:
    from tasks.transfer import Progress
    from tasks.verification import verify_volume

    store = _open(source)
    found = _find(store, name, point)
    damaged, extents = [], 0
    for volume in found.volumes:
        progress = Progress()
        with _shown(progress, quiet=quiet):
            looked = verify_volume(
                volume,
                found.objects,
                store,
                deep=deep,
                sample=None,
                stop=threading.Event(),
                progress=progress,
            )
        damaged += [str(damage) for damage in looked.damaged]
        extents += looked.checked_extents
    return {
        "ok": not damaged,
        "restore_point": found.id,
        "verdict": "damaged" if damaged else "whole",
        "checked_extents": extents,
        "damaged": damaged,
    }


def _cat(source: str, name: str, point: str, volume: str, wanted: str) -> None:
    from blocks.errors import ConfigError
    from blocks.policy.recovery import chosen_volumes
    from blocks.units import MIB
    from tasks.proven_reads import read_range

    store = _open(source)
    found = _find(store, name, point)
    volumes = chosen_volumes(found, [volume] if volume else [])
    if len(volumes) != 1:
        raise ConfigError(
            f"{found.id} has {len(volumes)} volumes",
            hint=f"Choose --volume: {', '.join(each.disk for each in volumes)}.",
        )
    first, last = _range(wanted, volumes[0].size_bytes)
    step = 16 * MIB
    for offset in range(first, last + 1, step):
        length = min(step, last + 1 - offset)
        piece = read_range(volumes[0], found.objects, store, offset, length)
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _range(text: str, size_bytes: int) -> tuple[int, int]:
    from blocks.errors import ConfigError

    if not text:
        return 0, size_bytes - 1
    low, dash, high = text.partition("-")
    if not (low.isdigit() and dash and (high.isdigit() or not high)):
        raise ConfigError(f"--range {text} is no range", hint="Write it like 4096-8191.")
    first, last = int(low), int(high) if high else size_bytes - 1
    if not first <= last < size_bytes:
        raise ConfigError(f"--range {text} is outside the volume's {size_bytes} bytes")
    return first, last


def _open(url: str) -> Store:
    from blocks.store.clients import open_store, parse_bucket_url

    return open_store(parse_bucket_url(url))


def _find(store: Store, name: str, point: str) -> RestorePoint:
    from blocks.catalog import shelf

    points = shelf.existing_points(store, name)
    return shelf.find_point(points, point_id=point or None)


def _parent(store: Store, asked: _Put) -> RestorePoint | None:
    if not asked.parent:
        return None
    return _find(store, asked.name, "" if asked.parent == "latest" else asked.parent)


def _uid(name: str) -> str:
    """Return what stands for a vdisk UID: an image by hand is known by its name alone."""
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()[:32].upper()


@contextmanager
def _shown(progress: Progress, *, quiet: bool) -> Iterator[None]:
    from deployments.cli.progress import shown_progress
    from tasks.counters import tracked

    with tracked(progress), shown_progress(quiet=quiet):
        yield


def _finish(document: dict[str, Any], *, as_json: bool, line: str) -> None:
    if as_json:
        print_json(document)
        return
    from blocks.units import format_duration, format_size

    told = {**document, "bytes": format_size(document.get("bytes", 0))}
    text = line.format(**told)
    if "seconds" in document:
        rate = document["bytes"] / max(document["seconds"], 0.001)
        text += f" in {format_duration(document['seconds'])} ({format_size(rate)}/s)"
    if "stored_bytes" in document:
        text += f", {format_size(document['stored_bytes'])} stored"
    out().print(text, markup=False)
    for fault in document.get("damaged", []):
        out().print(f"  {fault}", style="red", markup=False)
