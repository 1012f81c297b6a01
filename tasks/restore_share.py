"""The other side of `tasks.restore_crew`: one volume of another worker's restore, written here."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial

from blocks.catalog import shelf
from blocks.catalog.writers import (
    Closed,
    RestoreOrder,
    Writer,
    begin,
    close,
    closed_key,
    proven,
    sign,
)
from blocks.errors import ConfigError, DiskMissing
from blocks.host.base import Host
from blocks.policy.recovery import Candidate, RestorePlan, plan_restore
from blocks.profile.model import Configuration
from blocks.store.base import Store
from tasks.beats import beating
from tasks.open import host
from tasks.plan import Asked
from tasks.protection import reading_cipher
from tasks.restore import RestoredDisk, restore_disk
from tasks.retries import RETRIES, with_retries
from tasks.run import Run, describe
from tasks.steps import run_log


def restore_share(
    run: Run, wanted: Configuration, source: Store, order: RestoreOrder, uid: str, secret: str
) -> RestoredDisk | None:
    """Write one volume of an order, and record that nobody here writes it any more.

    Everything that can fail without a byte written comes before the volume is begun: its owner
    then sees a run that ended and began nothing.

    Returns:
        What was restored; None if the owner keeps the volume, or its restore is over.

    Raises:
        ConfigError: the order has no such volume.
        DiskMissing: this machine does not see the disk.
        CorruptData: part of the volume is damaged in the store, and `allow_bad` was not given.
    """
    target = order.target(uid)
    if target is None:
        raise ConfigError(f"restore {order.run_id} of {order.group} has no volume {uid}")
    machine = host(wanted, order.writer)
    plan = _plan(source, order, uid, machine)
    cipher = reading_cipher(Asked(order.group, {}), source, plan.point)
    writer = begin(source, order, target)
    if writer is None:
        return None
    closed = Closed(error=f"the run on {writer.worker.host} was ended")
    try:
        with beating(run, partial(sign, source, writer)):
            restored = restore_disk(
                run,
                plan,
                plan.placements[0],
                source,
                machine,
                order.allow_bad,
                order.read_back,
                cipher,
            )
        key = closed_key(writer.group, writer.run_id, writer.uid)
        closed = proven(Closed(restored=asdict(restored)), key, secret)
    except Exception as error:
        closed = Closed(error=describe(error))
        raise
    finally:
        _close(source, writer, closed)
    return restored


def _plan(source: Store, order: RestoreOrder, uid: str, machine: Host) -> RestorePlan:
    """Find the disk as this machine sees it; whether it may be written over was decided before.

    Raises:
        DiskMissing: it does not see it.
        TargetInUse: it is in use here.
    """
    target = order.target(uid)
    assert target is not None
    seen = next((disk for disk in machine.discover() if disk.uid == target.target_uid), None)
    if seen is None:
        raise DiskMissing(f"{machine.name} does not see {target.target} ({target.target_uid})")
    point = shelf.read_point(source, order.group, order.point)
    return plan_restore(point, {uid: Candidate(seen, is_blank=False)}, force=True)


def _close(source: Store, writer: Writer, closed: Closed) -> None:
    """Say so for certain; if it cannot be said, this machine's reconcile does when we are gone."""
    with_retries(
        lambda: close(source, writer, closed),
        retries=RETRIES,
        wait=time.sleep,
        note=run_log().warning,
    )
