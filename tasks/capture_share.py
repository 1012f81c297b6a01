"""The other side of `tasks.capture_crew`: one volume of another worker's run, captured here.

Everything is in the order in the bucket; Prefect carries three words and a number.
"""

from __future__ import annotations

import contextlib
from functools import partial

from blocks.catalog import shelf
from blocks.catalog.orders import (
    Delivered,
    Fenced,
    Order,
    OrderedVolume,
    beat,
    deliver,
    order_key,
    read_outcome,
)
from blocks.catalog.owner import this_process
from blocks.catalog.point import Kind
from blocks.errors import ConfigError, FlashvaultError, ObjectMissing, Stopped
from blocks.host.base import Disk
from blocks.profile.model import BackupProfile, Configuration
from blocks.store.base import Store
from blocks.svc.model import Volume
from tasks.beats import beating
from tasks.capture import CapturedVolume, capture, image_prefix
from tasks.decide import Decision
from tasks.open import host
from tasks.preflight import Pair, Seen, targets_of
from tasks.protection import profile_store
from tasks.run import Run
from tasks.snapshot import Snapshot
from tasks.steps import run_log


def capture_share(
    run: Run, wanted: Configuration, profile: BackupProfile, order: Order, uid: str, take: int
) -> CapturedVolume | None:
    """Capture one volume of an order and deliver it; None if the owner did not wait for it.

    What a take stored that is not wanted any more is removed here: nobody else knows when its last
    part has arrived.

    Raises:
        ConfigError: the order has no such volume.
    """
    store = profile_store(wanted, profile)
    seen, snapshot = _as_seen_here(wanted, order)
    pair = next((each for each in seen.pairs if each.source.uid == uid), None)
    if pair is None:
        raise ConfigError(f"run {order.run_id} of {order.group} has no volume {uid}")
    decision = _decision(store, order)
    try:
        with beating(run, partial(beat, store, order, uid, take)):
            captured = capture(run, wanted, profile, decision, seen, snapshot, pair, take)
        delivered = Delivered(
            worker=this_process(),
            image=captured.image,
            objects=captured.objects,
            is_full=captured.is_full,
            warning=captured.warning,
        )
        if deliver(store, order, take, delivered):
            return captured
    except Stopped:
        if not _is_over(store, order, uid, take):
            raise  # a cancel of this run alone: the owner sees it end, and gives the take up
    prefix = image_prefix(run, wanted, profile, seen, snapshot, pair, take)
    try:
        remove_take(store, prefix)
    except FlashvaultError as error:  # a role that may not delete: prune does it
        run_log().warning("what take %d has stored stays for prune: %s", take, error)
    run_log().warning("%s take %d was given up by its owner", pair.source.name, take)
    return None


def remove_take(store: Store, prefix: str) -> None:
    """Remove what one take has stored, and nothing of any other take of the volume."""

    def is_ours(key: str) -> bool:
        return not key.startswith(f"{prefix}.take")

    for upload in [found for found in store.uploads(f"{prefix}.") if is_ours(found.key)]:
        with contextlib.suppress(ObjectMissing):
            going, _ = store.resume_upload(upload.key, upload.upload_id)
            going.abort()
    store.delete([found.key for found in store.list(f"{prefix}.") if is_ours(found.key)])


def pair_of(volume: OrderedVolume) -> Pair:
    """Return a volume of an order as the preflight had it, as far as a capture needs it."""

    def known(name: str, uid: str) -> Volume:
        return Volume("", name, uid, volume.size_bytes, "", "", "", 0)

    return Pair(
        volume.mapping,
        known(volume.name, volume.uid),
        known(volume.target_name, volume.target_uid),
    )


def _as_seen_here(wanted: Configuration, order: Order) -> tuple[Seen, Snapshot]:
    """Return the order with the targets as this machine sees them: names differ, UIDs do not."""
    sources = {
        volume.uid: Disk(
            volume.disk, "", volume.size_bytes, volume.uid, volume.pvid, volume.volume_group
        )
        for volume in order.volumes
        if volume.disk
    }
    seen = Seen(
        storage_system=order.storage_system,
        owner=order.owner,
        reader=order.reader,
        pairs=tuple(pair_of(volume) for volume in order.volumes),
        sources=sources,
        targets={disk.uid: disk for disk in host(wanted, order.reader).discover() if disk.uid},
        volume_groups=(),
    )
    snapshot = Snapshot(
        order.storage_system,
        order.consistency_group,
        order.taken_at,
        order.array_start_time,
        targets_of(seen),
    )
    return seen, snapshot


def _decision(store: Store, order: Order) -> Decision:
    if order.parent is None:
        return Decision(Kind.FULL, "as ordered")
    return Decision(
        Kind.INCREMENTAL, "as ordered", shelf.read_point(store, order.group, order.parent)
    )


def _is_over(store: Store, order: Order, uid: str, take: int) -> bool:
    try:
        store.head(order_key(order.group, order.run_id))
    except ObjectMissing:
        return True
    return isinstance(read_outcome(store, order, uid, take), Fenced)
