"""One volume captured, restored, made into a restore point: by the product, without its flows."""

import threading
from datetime import UTC, datetime

from memory_disk import MemoryDisk

from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.point import Kind, RestorePoint, image_folder, new_id
from blocks.catalog.shelf import publish
from blocks.image.digest import maps_digest
from tasks.pipeline import capture_volume
from tasks.recovery import restore_volume
from tasks.transfer import Progress

UID = "6005076400810000000000000000000A"


def capture(
    reader,
    store,
    folder,
    *,
    settings,
    parent=None,
    name="c_RG_VG_hdisk1.x",
    volume="v",
    uid=UID,
    disk="hdisk1",
    staging=None,
):
    """Capture a disk; return the image with its objects (what a parent is), and what was told."""
    captured = capture_volume(
        reader,
        store,
        folder=folder,
        name=name,
        uid=uid,
        parent=parent,
        settings=settings,
        stop=threading.Event(),
        progress=Progress(),
        staging=staging,
    )
    return (captured.image(name=volume, uid=uid, disk=disk), captured.objects), captured


def restore(taken, store, target=None, *, bookmark=None, **how):
    """Restore an image, onto a dirty disk if no other is given; return the disk's bytes."""
    image, objects = taken
    target = target or MemoryDisk(b"\xaa" * image.size_bytes)
    restore_volume(
        image,
        objects,
        store,
        target,
        bookmark=bookmark,
        stop=threading.Event(),
        progress=Progress(),
        **how,
    )
    return bytes(target.data)


def back_up(store, data, parent=None, *, settings):
    """Make a restore point of one disk, as a run does."""
    run, taken_at = new_id(), datetime.now(UTC)
    intent = begin_intent(store, "RG", run, parent=parent)
    earlier = (parent.volumes[0], parent.objects) if parent else None
    (image, objects), captured = capture(
        MemoryDisk(data), store, image_folder("RG", run), settings=settings, parent=earlier
    )
    point = RestorePoint(
        id=run,
        group="RG",
        cluster="c",
        storage_system="s",
        consistency_group="g",
        kind=Kind.FULL if captured.is_full else Kind.INCREMENTAL,
        parent=parent.id if parent else None,
        taken_at=taken_at,
        committed_at=taken_at,
        reading_host="h",
        volumes=(image,),
        objects=objects,
        maps_digest=maps_digest([image.map_digest]),
        codec="zstd-1" if settings.compress else "none",
        tool_version="0",
    )
    published = publish(store, point)
    end_intent(store, intent)
    return published
