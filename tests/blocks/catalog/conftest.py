"""Small restore points with real objects behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3
from ulid import ULID

from blocks.catalog.point import (
    Kind,
    PageRef,
    PointId,
    RestorePoint,
    StoredObject,
    VolumeImage,
    image_folder,
)
from blocks.store.base import Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MakePoint = Callable[..., RestorePoint]


def put_object(store: Store, key: str, data: bytes) -> StoredObject:
    info = store.put(key, data)
    return StoredObject(key=key, size_bytes=len(data), etag=info.etag, version_id=info.version_id)


@pytest.fixture
def make_point() -> MakePoint:
    """Store one image and one page for a new run, and return its (unpublished) point."""

    def make(
        store: Store,
        *,
        group: str = "RG1",
        point_id: str = "",
        day: float = 0,
        parent: RestorePoint | None = None,
        inherited: Sequence[StoredObject] = (),
    ) -> RestorePoint:
        taken_at = EPOCH + timedelta(days=day)
        run_id = PointId(point_id or str(ULID.from_datetime(taken_at)))
        folder = image_folder(group, run_id)
        image = put_object(store, f"{folder}hdisk1.img.zst", run_id.encode() * 3)
        page = put_object(store, f"{folder}maps/0", b"page" + run_id.encode())
        digest = blake3(run_id.encode()).hexdigest()
        volume = VolumeImage(
            name="vol1",
            uid="60050768" + "0" * 24,
            size_bytes=1 << 20,
            disk="hdisk1",
            extent_bytes=1 << 18,
            map_digest=digest,
            pages=(PageRef(object=page, first_extent=0, extent_count=4),),
            read_bytes=1 << 20,
            zero_bytes=0,
            changed_bytes=1 << 20,
            stored_bytes=image.size_bytes,
            image_keys=(image.key,),
        )
        return RestorePoint(
            id=run_id,
            group=group,
            cluster="cl",
            storage_system="svc",
            consistency_group="cg",
            kind=Kind.INCREMENTAL if parent else Kind.FULL,
            parent=parent.id if parent else None,
            taken_at=taken_at,
            committed_at=taken_at,
            reading_host="node1",
            volumes=(volume,),
            objects=(image, *(parent.objects if parent else ()), *inherited),
            maps_digest=digest,
            codec="zstd-1",
            tool_version="0",
        )

    return make
