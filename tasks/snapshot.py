"""Take a consistent snapshot of a profile's consistency group, and let it go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from blocks.host.base import Disk
from blocks.host.quiesce import hooked
from blocks.profile.model import BackupProfile, Configuration
from blocks.svc.flashcopy import FlashCopyGroup
from tasks.open import array, configuration, host, host_and_runner
from tasks.preflight import Seen, targets_of
from tasks.run import Run
from tasks.steps import run_log, step

PREPARE_S = 600.0
"""How long the array may take to flush its cache before the snapshot is given up."""

FREEZE_S = 60.0
"""How long the file systems may stand still."""

PREPARED = "prepared"
"""Journalled while a group may be preparing or prepared."""

FROZEN = "frozen"
"""Journalled while file systems may stand still, or an application keep still."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A started consistency group: one instant of all its volumes."""

    storage_system: str
    consistency_group: str
    taken_at: datetime
    """By our clock, just before the start was asked for: the state is at least that new."""
    array_start_time: str
    targets: dict[str, Disk]
    """By the source's UID, the disk to read it from."""


@step(name="snapshot-{profile.replicated_resources}", timeout_s=2 * PREPARE_S)
def take_snapshot(run: Run, wanted: Configuration, profile: BackupProfile, seen: Seen) -> Snapshot:
    """Prepare the group, quiesce, start it, and thaw at once.

    Preparing comes first because it takes long and the file systems must not stand still that long;
    while it lasts the sources are written through and the targets cannot be read. Whatever fails:
    thaw first, and never leave a group prepared.
    """
    run.check()
    name = profile.replicated_resources
    with array(wanted, seen.storage_system) as client:
        group = FlashCopyGroup(client, name)
        made = run.journal.made(PREPARED, array=seen.storage_system, consistency_group=name)
        group.prepare(deadline_s=PREPARE_S, stop=run.stop)
        try:
            owner, runner = host_and_runner(wanted, seen.owner)
            frozen = run.journal.made(
                FROZEN,
                host=seen.owner,
                volume_groups=list(seen.volume_groups),
                post_thaw=profile.post_thaw or "",
            )
            with (
                hooked(runner, profile.pre_freeze or "", profile.post_thaw or ""),
                owner.frozen(seen.volume_groups, FREEZE_S),
            ):
                taken_at = datetime.now(UTC)
                started = group.start()
            run.journal.unmade(frozen)
        except BaseException:
            group.abandon()
            raise
        finally:
            run.journal.unmade(made)
    run_log().info("started %s on %s", name, seen.storage_system)
    targets = targets_of(_looked_again(wanted, seen))
    return Snapshot(seen.storage_system, name, taken_at, started.array_start_time, targets)


def _looked_again(wanted: Configuration, seen: Seen) -> Seen:
    """Discover the reader's disks again: a target that was prepared is back only now."""
    disks = host(wanted, seen.reader).discover()
    return replace(seen, targets={disk.uid: disk for disk in disks if disk.uid})


def thaw(facts: dict[str, Any]) -> None:
    """Let file systems and applications go that a dead run left waiting."""
    owner, runner = host_and_runner(configuration(), facts["host"])
    owner.thaw(facts["volume_groups"])
    if facts["post_thaw"]:
        with hooked(runner, "", facts["post_thaw"]):
            pass


def unprepare(facts: dict[str, Any]) -> None:
    """Lead a group that a dead run left prepared back to a state that harms nobody."""
    with array(configuration(), facts["array"]) as client:
        FlashCopyGroup(client, facts["consistency_group"]).abandon()


@step(name="release-{profile.replicated_resources}")
def release(wanted: Configuration, profile: BackupProfile, seen: Seen) -> None:
    """Let the array go on as it was.

    A mapping with a background copy ends by itself. One without would stay dependent on its source
    for ever, and every first write to a grain would be held up by a copy nobody reads: it is
    stopped.
    """
    with array(wanted, seen.storage_system) as client:
        group = FlashCopyGroup(client, profile.replicated_resources)
        if all(mapping.copy_rate == 0 for mapping in group.mappings()):
            group.stop()
