"""Write a group's newest restore point anew, without what is dead in its objects: look → compact.

The new point is of the same moment. Nothing is written over; retention takes the old one.
"""

from __future__ import annotations

from typing import Any

from prefect import flow

from blocks.errors import ConfigError
from flows.endings import Ending, ended, skipped
from tasks.compact_newest import (
    compact_newest,
    compacted_markdown,
    newest_point,
    report_compaction,
)
from tasks.limits import places
from tasks.open import configuration
from tasks.run import run_of
from tasks.undo import UNDO


@flow(name="compact", flow_run_name="compact-{group}", persist_result=False)
def compact(group: str, dead_percent: int | None = None) -> Any:
    """Compact the newest restore point of a resource group.

    Args:
        group: the resource group.
        dead_percent: write segments anew of which more than so many percent are dead; 0 makes a
            full, which stock tools restore. By default what COMPACTION of the profile says.
    """
    wanted = configuration()
    profile = wanted.profile(group, method="cloud")
    percent = profile.compaction if dead_percent is None else dead_percent
    if percent is None:
        raise ConfigError(
            f"{profile.title} has COMPACTION=no",
            hint="Say how much may be dead: --dead 50, or --dead 0 for a full.",
        )
    with run_of(group, "compact", UNDO) as run, places(run, bucket=profile.bucket_name):
        point, reason = newest_point(wanted, profile, percent)
        if reason:
            return ended(skipped(group, reason))
        document = compact_newest(run, wanted, profile, point, percent).document()
    report_compaction(document)
    return ended(
        Ending(
            outcome="compacted",
            summary=f"restore point {document['of']} of {group} written anew"
            f" as {document['restore_point']} ({document['kind']})",
            report=document,
            markdown=compacted_markdown(document),
        )
    )
