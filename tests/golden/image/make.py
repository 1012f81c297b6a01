"""Wrote the golden files of version 1. Never run again: it refuses to write over them."""

import json
import sys
import threading
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from plain import EXTENT, SIZE, first_day, second_day

from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.labels import Labels
from blocks.catalog.point import (
    Kind,
    PointId,
    RestorePoint,
    VolumeImage,
    image_folder,
    image_name,
)
from blocks.catalog.shelf import publish
from blocks.image.digest import maps_digest
from blocks.store.base import Store
from blocks.store.memory import MemoryStore
from tasks.parent import Parent
from tasks.pipeline import CaptureSettings, capture_volume
from tasks.transfer import Progress

UID = "60050768018305E120000000000000EA"
GROUP = "golden"


class Bytes:
    """A disk that is a string of bytes."""

    def __init__(self, data: bytes) -> None:
        self.size_bytes = len(data)
        self._data = data

    def read_into(self, offset, buffer):
        buffer[:] = self._data[offset : offset + len(buffer)]

    def data_runs(self):
        yield 0, len(self._data)

    def close(self):
        pass


def store_point(
    store: Store, run: str, data: bytes, parent: RestorePoint | None, *, compress: bool = True
) -> RestorePoint:
    taken_at = datetime(2026, 11, 22, 3, 4, int(run[-1]), tzinfo=UTC)
    earlier: Parent | None = (parent.volumes[0], parent.objects) if parent else None
    facts = {"cluster": "c1", "storage_system": "svc1", "consistency_group": "cg1"}
    labels = Labels(
        point=run,
        group=GROUP,
        parent=parent.id if parent else "",
        taken_at=taken_at,
        reading_host="node1",
        tool_version="0.1.0",
        volumes=UID,
        name="vol1",
        disk="hdisk1",
        volume_group="datavg",
        **facts,
    )
    intent = begin_intent(store, GROUP, run, parent=parent)
    captured = capture_volume(
        Bytes(data),
        store,
        folder=image_folder(GROUP, run),
        name=image_name("c1", GROUP, "datavg", "hdisk1", taken_at),
        uid=UID,
        parent=earlier,
        settings=CaptureSettings(
            extent_bytes=EXTENT,
            frame_extents=4,
            segment_bytes=16 * EXTENT,
            compress=compress,
            labels=labels.as_header(),
        ),
        stop=threading.Event(),
        progress=Progress(),
    )
    volume = VolumeImage(
        name="vol1",
        uid=UID,
        size_bytes=SIZE,
        disk="hdisk1",
        volume_group="datavg",
        extent_bytes=EXTENT,
        map_digest=captured.map_digest,
        pages=captured.pages,
        read_bytes=captured.read_bytes,
        zero_bytes=captured.zero_bytes,
        changed_bytes=captured.changed_bytes,
        stored_bytes=captured.stored_bytes,
        image_keys=captured.image_keys,
    )
    point = RestorePoint(
        id=PointId(run),
        group=GROUP,
        kind=Kind.FULL if captured.is_full else Kind.INCREMENTAL,
        parent=None if captured.is_full or parent is None else parent.id,
        taken_at=taken_at,
        committed_at=taken_at,
        reading_host="node1",
        volumes=(volume,),
        objects=captured.objects,
        maps_digest=maps_digest([captured.map_digest]),
        codec="zstd-1" if compress else "none",
        tool_version="0.1.0",
        **facts,
    )
    published = publish(store, point)
    end_intent(store, intent)
    return published


def main(folder: Path) -> None:
    if (folder / "manifest.json").exists():
        sys.exit("golden files are never made again")
    store = MemoryStore()
    full = store_point(store, "01JDCZ00000000000000000001", first_day(), None)
    incremental = store_point(store, "01JDCZ00000000000000000002", second_day(), full)
    raw = store_point(store, "01JDCZ00000000000000000003", second_day(), None, compress=False)
    objects = {}
    for number, info in enumerate(store.list()):
        name = f"v1.{number:02}{Path(info.key).suffix}"
        objects[info.key] = name
        (folder / name).write_bytes(store.get(info.key))
    points = {
        name: {"id": point.id, "plain_sha256": sha256(plain).hexdigest()}
        for name, point, plain in (
            ("full", full, first_day()),
            ("incremental", incremental, second_day()),
            ("raw", raw, second_day()),
        )
    }
    manifest = {"group": GROUP, "points": points, "objects": objects}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(__file__).parent)
