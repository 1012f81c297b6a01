"""What `flashvault query` answers: from the XML file, the bucket, or Prefect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.errors import ConfigError, PointMissing
from blocks.profile.base import Configured, did_you_mean
from blocks.profile.document import load_configuration, print_object
from blocks.profile.model import CLASSES, Configuration
from blocks.units import format_size
from deployments.cli import render
from deployments.cli.actions import SHELVES
from deployments.cli.columns import width_of
from deployments.cli.grammar import Request
from deployments.cli.output import out
from deployments.cli.render import Row, Style

if TYPE_CHECKING:
    from blocks.catalog.point import RestorePoint
    from blocks.store.base import Store


POINT_COLUMNS = {"STORED": 1, "SIZE": 2, "VOLUMES": 3, "PARENT": 4}
RUN_COLUMNS = {"ID": 1, "MESSAGE": 2}
"""Which columns a narrow terminal can do without, the last ones first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as text for a person or a script, and as one JSON document."""

    text: str
    document: Any = field(default_factory=list)


def answer(request: Request, path: Path, style: Style, *, bucket: str = "") -> Answer:
    """Answer a query.

    Args:
        request: what is asked.
        path: the XML file.
        style: how the text is printed.
        bucket: a bucket's URL, for what is in it, where no configuration is.
    """
    match request.kind:
        case "backup_files":
            rows = _backup_files(_points(request, path, bucket))
            plain = "\n".join(row["NAME"] for row in rows)
        case "restore_points":
            rows = _restore_points(_points(request, path, bucket))
            plain = render.table(rows, POINT_COLUMNS, width_of(out()))
        case "runs":
            rows = _runs(_group(request, required=False))
            plain = render.table(rows, RUN_COLUMNS, width_of(out()))
        case "cluster":
            configuration = _read(path)
            rows = [{"NAME": configuration.cluster_name}]
            plain = render.lines(rows, style)
        case _:
            return _objects(request, _read(path), style)
    _known_attributes(style, rows)
    text = plain if style.is_plain else render.lines(rows, style)
    return Answer(text, render.chosen(rows, style.attributes))


def _read(path: Path) -> Configuration:
    return load_configuration(path) if path.exists() else Configuration()


def _objects(request: Request, configuration: Configuration, style: Style) -> Answer:
    items: Sequence[Configured] = getattr(configuration, SHELVES[request.kind])
    if request.name:
        names = [name.strip() for name in request.name.split(",") if name.strip()]
        for name in names:
            if request.kind == "backup_profile" and any(i.name == name for i in items):
                continue
            look_up = {"backup_profile": "profile"}.get(request.kind, request.kind)
            getattr(configuration, look_up)(name)
        items = [item for name in names for item in items if item.name == name]
    labels = ["NAME", *CLASSES[request.kind].labels()]
    for label in (*style.attributes, *request.attributes):
        if label not in labels:
            raise ConfigError(f"{request.kind} has no {label}{did_you_mean(label, labels)}")
    items = [item for item in items if _matches(item, request)]
    rows: list[Row] = [{"NAME": item.name} | item.attributes() for item in items]
    document = render.chosen(rows, style.attributes)
    if not request.name and style.is_plain:
        return Answer("\n".join(dict.fromkeys(item.name for item in items)), document)
    if style.is_xml and not style.attributes:
        return Answer("".join(print_object(item) for item in items).rstrip("\n"), document)
    return Answer(render.lines(rows, style), document)


def _matches(item: Configured, request: Request) -> bool:
    values = {"NAME": item.name} | item.attributes()
    return all(
        fnmatchcase(values.get(label, "").lower(), pattern.lower())
        for label, pattern in request.attributes.items()
    )


def _known_attributes(style: Style, rows: Sequence[Row]) -> None:
    for label in style.attributes if rows else ():
        if label not in rows[0]:
            raise ConfigError(f"there is no {label}{did_you_mean(label, rows[0])}")


def _group(request: Request, *, required: bool) -> str:
    attributes = dict(request.attributes)
    group = attributes.pop("RG_NAME", "") or request.name
    if attributes:
        wrong = next(iter(attributes))
        raise ConfigError(f"{request.kind} has no {wrong}{did_you_mean(wrong, ['RG_NAME'])}")
    if required and not group:
        raise ConfigError(
            "which resource group?", hint=f"flashvault query {request.kind} RG_NAME=…"
        )
    return group


def _points(request: Request, path: Path, bucket: str) -> list[RestorePoint]:
    from blocks.catalog import shelf

    group = _group(request, required=False)
    found: list[RestorePoint] = []
    for store, groups in _stores(path, group, bucket):
        for name in groups:
            found.extend(shelf.points(store, name))
    if bucket and not found:
        # A list of nothing reads as "nothing was lost", or as a mistyped prefix: which of them?
        raise PointMissing(
            f"{bucket} holds no restore points" + (f" of {group}" if group else ""),
            hint="Are bucket and prefix right? Images without points:"
            f" flashvault catalog rebuild --bucket {bucket} --dry-run",
        )
    return found


def _stores(path: Path, group: str, bucket: str) -> Iterable[tuple[Store, list[str]]]:
    from blocks.catalog import shelf

    if bucket:
        from blocks.store.clients import open_store, parse_bucket_url

        store = open_store(parse_bucket_url(bucket))
        yield store, [group] if group else shelf.groups(store)
        return
    from deployments import runtime, settings

    settings.prepare()
    runtime.found_server()
    from tasks.open import store as registered

    configuration = load_configuration(path)
    profiles = [p for p in configuration.profiles if p.bucket_name and group in ("", p.name)]
    if group and not profiles:
        profiles = [configuration.profile(group)]
    for profile in profiles:
        yield registered(configuration, profile.bucket_name), [profile.name]


def _backup_files(points: Iterable[RestorePoint]) -> list[dict[str, str]]:
    return [
        {
            "NAME": key,
            "RG_NAME": point.group,
            "VOLUME_GROUP": volume.volume_group,
            "DISK": volume.disk,
            "KIND": point.kind.value,
            "RESTORE_POINT": point.id,
            "TAKEN_AT": f"{point.taken_at:%Y-%m-%dT%H:%M:%SZ}",
        }
        for point in points
        for volume in point.volumes
        for key in volume.image_keys
    ]


def _restore_points(points: Iterable[RestorePoint]) -> list[dict[str, str]]:
    return [
        {
            "ID": point.id,
            "RG_NAME": point.group,
            "KIND": point.kind.value,
            "TAKEN_AT": f"{point.taken_at:%Y-%m-%dT%H:%M:%SZ}",
            "VOLUMES": str(len(point.volumes)),
            "SIZE": format_size(point.size_bytes),
            "STORED": format_size(point.stored_bytes),
            "PARENT": point.parent or "",
        }
        for point in points
    ]


def _runs(group: str) -> list[dict[str, str]]:
    from deployments import runtime

    runtime.require_server()
    from deployments import history

    return history.runs(group)
