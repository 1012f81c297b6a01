"""Restore one volume for a restore that another worker owns: one share of its order.

    look for dead processes of this machine → open the order → write and prove → say so

Started by `flows.restore` where a person asked for several workers. It imports nothing and reports
nothing: the run that owns the restore does both.
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from blocks.catalog.point import PointId
from blocks.catalog.writers import (
    close_gone,
    open_writers,
    read_restore_order,
    require_proven,
    restore_order_key,
)
from blocks.errors import ObjectMissing
from flows.endings import Ending, ended, skipped
from tasks.open import configuration as load_configuration
from tasks.open import store
from tasks.reconcile import clear_dead_runs
from tasks.restore_share import restore_share
from tasks.run import part_of
from tasks.steps import side_by_side


@flow(
    name="restore-part",
    flow_run_name="restore-{group}-{uid}-{take}",
    task_runner=side_by_side(),
    persist_result=False,
)
def restore_part(group: str, run_id: str, uid: str, take: int, secret: str) -> Any:
    """Restore one volume of a restore that another worker owns.

    Args:
        group: the resource group.
        run_id: the run that owns the restore; its order is in the bucket.
        uid: the volume's UID.
        take: 1 to write it; more, to find out whether who began it is gone.
        secret: what the workers of this restore share. It comes through Prefect and never lies in
            the bucket: who can only write there can neither have another disk written nor say that
            one is restored.
    """
    wanted = load_configuration()
    source = store(wanted, wanted.profile(group, method="cloud").bucket_name)
    clear_dead_runs()
    close_gone(source, open_writers(source))
    try:
        read = read_restore_order(source, group, run_id)
    except ObjectMissing:
        return ended(skipped(group, f"restore {run_id} is over"))
    require_proven(read, restore_order_key(group, run_id), secret)
    if take > 1:
        return ended(skipped(group, "looked for dead processes of this machine"))
    with part_of(PointId(run_id), group, "restore", f"{uid}.{take}") as run:
        restored = restore_share(run, wanted, source, read, uid, secret)
    if restored is None:
        return ended(skipped(group, f"restore {run_id} did not wait for this"))
    return ended(
        Ending(
            outcome="restored",
            summary=f"restored {restored.disk} of {group} for restore {run_id}",
            report={"group": group, "volume": restored.volume, "target": restored.target},
        )
    )
