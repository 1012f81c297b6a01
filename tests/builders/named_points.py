"""Restore points that only name things: for rules and plans, which read no bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.catalog.point import Kind, PointId, RestorePoint, VolumeImage


def volume_named(disk: str, uid: str, size_bytes: int, **more: Any) -> VolumeImage:
    """Return the record of a volume that was a disk of this name, all read, none stored."""
    facts: dict[str, Any] = {
        "name": disk,
        "extent_bytes": 1 << 18,
        "map_digest": "0" * 64,
        "pages": (),
        "read_bytes": size_bytes,
        "zero_bytes": 0,
        "changed_bytes": 0,
        "stored_bytes": 0,
        "image_keys": (),
    }
    return VolumeImage(disk=disk, uid=uid, size_bytes=size_bytes, **{**facts, **more})


def point_of(volumes: Sequence[VolumeImage], **more: Any) -> RestorePoint:
    """Return a full restore point of volumes, taken at noon on 2026-11-01."""
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    facts: dict[str, Any] = {
        "id": PointId("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        "group": "RG1",
        "cluster": "c",
        "storage_system": "storage1",
        "consistency_group": "g",
        "kind": Kind.FULL,
        "taken_at": noon,
        "committed_at": noon,
        "reading_host": "backuphost",
        "objects": (),
        "maps_digest": "0" * 64,
        "codec": "zstd-1",
        "tool_version": "0",
    }
    return RestorePoint(volumes=tuple(volumes), **{**facts, **more})
