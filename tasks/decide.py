"""Decide what a backup has to do now: nothing, a full, or an incremental on which parent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from blocks.catalog import shelf
from blocks.catalog.marks import distrusted, read_damage
from blocks.catalog.point import Kind, RestorePoint, StoredObject, VolumeImage
from blocks.policy.mode import Mode, decide, unfit
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
    distrusted: frozenset[str] = frozenset()
    """Ids of points in the history that nothing may build on."""

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

    def on_volumes(self, profile: BackupProfile, uids: Collection[str]) -> Decision:
        """Return the same for the volumes the snapshot is of, which may be another site's.

        A group that moved to its second site has other volumes than its last restore point. It
        builds on the newest point of these volumes, and where there is none begins with a full,
        and says so: a full in an incremental's clothes would be a lie in every report.
        """
        if self.parent is None or any(self.parent_of(uid) for uid in uids):
            return self
        last = self.parent
        where = f"restore point {last.id} is of other volumes (of {last.storage_system})"
        fitting = [
            point
            for point in self.history
            if point.id not in self.distrusted
            and _age(point) <= _age(last)
            and set(uids) <= {volume.uid for volume in point.volumes}
            and not unfit(point, profile)
        ]
        if not fitting:
            return self.as_full(f"a full instead of an incremental: {where}")
        parent = max(fitting, key=_age)
        return replace(self, parent=parent, reason=f"{self.reason}; builds on {parent.id}: {where}")

    def as_full(self, reason: str) -> Decision:
        """Return the same without its parent."""
        return replace(self, kind=Kind.FULL, parent=None, reason=reason)


@step(name="decide-{profile.name}", timeout_s=CONTROL_S)
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
    return Decision(chosen.kind, reason, parent, tuple(points), frozenset(bad))


def _age(point: RestorePoint) -> tuple[datetime, str]:
    return point.taken_at, str(point.id)
