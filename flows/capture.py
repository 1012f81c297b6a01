"""Capture one volume for a backup that another worker owns: one share of its order.

    open the order → capture → deliver

Started by `flows.backup` where the profile has CAPTURE_WORKERS. It makes no restore point and holds
no place in line: the run that owns the group does both.
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from blocks.catalog.orders import read_order
from blocks.catalog.point import PointId
from blocks.errors import ObjectMissing
from flows.endings import Ending, ended, skipped
from tasks.capture_share import capture_share
from tasks.open import configuration as load_configuration
from tasks.protection import profile_store
from tasks.run import part_of
from tasks.steps import side_by_side


@flow(
    name="capture-part",
    flow_run_name="capture-{group}-{uid}-{take}",
    task_runner=side_by_side(),
    persist_result=False,
)
def capture_part(group: str, run_id: str, uid: str, take: int) -> Any:
    """Capture one volume of a run that another worker owns.

    Args:
        group: the resource group.
        run_id: the run that owns it; its order is in the bucket.
        uid: the volume's UID.
        take: which try this is.
    """
    wanted = load_configuration()
    asked = wanted.profile(group, method="cloud")
    try:
        order = read_order(profile_store(wanted, asked), group, run_id)
    except ObjectMissing:
        return ended(skipped(group, f"run {run_id} is over"))
    with part_of(PointId(run_id), group, "capture", f"{uid}.{take}") as run:
        captured = capture_share(run, wanted, asked, order, uid, take)
    if captured is None:
        return ended(skipped(group, f"run {run_id} did not wait for this try"))
    image = captured.image
    return ended(
        Ending(
            outcome="captured",
            summary=f"captured {image.name} of {group} for run {run_id}",
            report={"group": group, "volume": image.name, "stored_bytes": image.stored_bytes},
        )
    )
