"""A restore point made new: every volume compacted, proven, and published under a new id."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from socket import gethostname
from typing import Any

from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.labels import Labels
from blocks.catalog.point import Kind, PointId, RestorePoint, image_folder, image_name, new_id
from blocks.catalog.shelf import publish
from blocks.errors import CorruptData
from blocks.store.base import Store
from tasks.compaction import Compacted, CompactSettings, compact_volume, require_compactable
from tasks.transfer import Progress
from tasks.verification import verify_volume


@dataclass(frozen=True)
class CompactedPoint:
    """The new point, and how each of its volumes was written."""

    point: RestorePoint
    volumes: tuple[Compacted, ...]

    def document(self) -> dict[str, Any]:
        """Say what was written, and how."""
        return {
            "group": self.point.group,
            "restore_point": self.point.id,
            "of": self.point.parent,
            "kind": str(self.point.kind),
            "bytes": self.point.size_bytes,
            "stored_bytes": self.point.stored_bytes,
            "copied_bytes": sum(volume.copied_bytes for volume in self.volumes),
            "moved_bytes": sum(volume.moved_bytes for volume in self.volumes),
            "encoded_bytes": sum(volume.encoded_bytes for volume in self.volumes),
            "keys": [key for volume in self.point.volumes for key in volume.image_keys],
        }


def compact_point(
    store: Store,
    point: RestorePoint,
    *,
    stop: threading.Event,
    progress: Progress,
    settings: CompactSettings | None = None,
    run_id: PointId | None = None,
) -> CompactedPoint:
    """Make a new restore point of the same moment, whose objects hold nothing dead.

    The old point stays; retention or `prune` may take it. Every frame of the new one is read,
    decoded and compared with the map before it is committed.

    Args:
        store: where the point is.
        point: whose volumes are written again.
        stop: set it to stop.
        progress: polled by displays.
        settings: how; labels are made here.
        run_id: of the new point, if it is known already; never used before.

    Raises:
        Refused: the point is encrypted.
        CorruptData: stored bytes are damaged; there is no new point.
        StoreError: the store did not answer; there is no new point.
    """
    for volume in point.volumes:
        require_compactable(volume, point.objects)
    how = settings or CompactSettings()
    run_id = run_id or new_id()
    intent = begin_intent(store, point.group, run_id, parent=point)
    try:
        volumes = tuple(
            _compact(store, point, index, run_id, how, stop, progress)
            for index in range(len(point.volumes))
        )
        objects = {stored.key: stored for done in volumes for stored in done.objects}
        is_full = all(done.is_full for done in volumes)
        draft = point.model_copy(
            update={
                "id": run_id,
                "kind": Kind.FULL if is_full else Kind.INCREMENTAL,
                "parent": point.id,
                "committed_at": datetime.now(UTC),
                "reading_host": gethostname(),
                "volumes": tuple(done.image for done in volumes),
                "objects": tuple(objects[key] for key in sorted(objects)),
                "codec": f"zstd-{how.level}" if point.codec == "none" else point.codec,
                "tool_version": version("flashvault"),
            }
        )
        return CompactedPoint(publish(store, draft), volumes)
    finally:
        end_intent(store, intent)


def _compact(
    store: Store,
    point: RestorePoint,
    index: int,
    run_id: PointId,
    how: CompactSettings,
    stop: threading.Event,
    progress: Progress,
) -> Compacted:
    volume = point.volumes[index]
    labels = Labels(
        point=run_id,
        group=point.group,
        cluster=point.cluster,
        storage_system=point.storage_system,
        consistency_group=point.consistency_group,
        parent=point.id,
        taken_at=point.taken_at,
        array_start_time=point.array_start_time,
        reading_host=gethostname(),
        tool_version=version("flashvault"),
        volumes=",".join(each.uid for each in point.volumes),
        name=volume.name,
        disk=volume.disk,
        pvid=volume.pvid,
        volume_group=volume.volume_group,
    )
    name = image_name(
        point.cluster, point.group, volume.volume_group or "-", volume.disk, point.taken_at
    )
    done = compact_volume(
        volume,
        point.objects,
        store,
        folder=image_folder(point.group, run_id),
        name=name,
        settings=replace(how, labels=labels.as_header()),
        stop=stop,
        progress=progress,
    )
    looked = verify_volume(
        done.image,
        done.objects,
        store,
        deep=True,
        sample=None,
        stop=stop,
        progress=progress,
    )
    if looked.damaged:
        raise CorruptData(f"what was written is damaged: {looked.damaged[0]}")
    return done
