"""Decide what a backup has to do now: nothing, a full, or an incremental on which parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from blocks.catalog import shelf
from blocks.catalog.marks import distrusted, read_damage
from blocks.catalog.point import Kind, RestorePoint, StoredObject, VolumeImage
from blocks.policy.mode import Mode, decide
from blocks.profile.model import BackupProfile, Configuration
from tasks.open import store
from tasks.owner import why_not
from tasks.steps import CONTROL_S, run_log, step


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. `kind` None means nothing, and `reason` says why."""

    kind: Kind | None
    reason: str
    parent: RestorePoint | None = None
    history: tuple[RestorePoint, ...] = ()

    @property
    def is_skip(self) -> bool:
        """Whether there is nothing to do."""
        return self.kind is None

    def parent_of(self, uid: str) -> tuple[VolumeImage, Sequence[StoredObject]] | None:
        """Return what an incremental of a volume builds on, and the objects that are in it."""
        if self.parent is None:
            return None
        for volume in self.parent.volumes:
            if volume.uid == uid:
                return volume, self.parent.objects
        return None  # the volume is new in the group: its first image is a full

    def as_full(self, reason: str) -> Decision:
        """Return the same without its parent."""
        return replace(self, kind=Kind.FULL, parent=None, reason=reason)


@step(name="decide-{profile.name}", tags={"decide"}, timeout_s=CONTROL_S)
def decide_backup(
    wanted: Configuration,
    profile: BackupProfile,
    mode: Mode,
    force: bool,
    grace_percent: float | None,
    now: datetime,
) -> Decision:
    """Decide from the profile, the catalogue, the cluster and the clock.

    A group that is not online is skipped, as IBM does: its disks may belong to another node now.
    """
    bucket = store(wanted, profile.bucket_name)
    points = shelf.points(bucket, profile.name)
    bad = distrusted(points, read_damage(bucket, profile.name))
    chosen = decide(
        profile,
        points,
        now,
        mode=mode,
        force=force,
        grace_percent=grace_percent,
        distrusted=bad,
    )
    for warning in chosen.warnings:
        run_log().warning("%s", warning)
    reason = chosen.reason
    if chosen.kind is not None and (away := why_not(wanted, profile)):
        return Decision(None, away)
    parent = next((point for point in points if point.id == chosen.parent), None)
    if chosen.kind is not None:
        run_log().info("%s backup of %s: %s", chosen.kind, profile.name, reason)
    return Decision(chosen.kind, reason, parent, tuple(points))
