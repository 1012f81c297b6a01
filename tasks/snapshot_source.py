"""Which array a cloud backup takes its snapshot on, when the group is mirrored to a second one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from blocks.errors import FlashvaultError, Refused
from blocks.policy.situation import Situation, snapshot_system
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.svc.model import Volume
from blocks.svc.remote_view import RemoteView, observe
from tasks.open import array
from tasks.sites import activity
from tasks.steps import run_log


def snapshot_source(wanted: Configuration, profile: BackupProfile) -> str:
    """Return the storage system on which a cloud profile's consistency group is started.

    With one STORAGE_NAME there is no choice. With two, and a remote profile beside the cloud one,
    it is the array whose volumes hosts write to now, or the only one that is left.

    Raises:
        Refused: on none of the profile's arrays a snapshot would be of the present data.
    """
    names = profile.storage_names
    mirrored = [
        other
        for other in wanted.profiles
        if other.name == profile.name and other.method is Method.REMOTE_STORAGE
    ]
    if len(names) == 1 or not mirrored:
        return names[0]
    seen = _situation(wanted, mirrored[0])
    chosen = snapshot_system(seen, names)
    if not chosen:
        raise Refused(
            f"no array of {', '.join(names)} holds what hosts write to {profile.name} now",
            hint=f"See flashvault sync {profile.name}.",
        )
    if chosen != names[0]:
        run_log().warning("%s: the snapshot is taken on %s", profile.name, chosen)
    return chosen


def _situation(wanted: Configuration, mirrored: BackupProfile) -> Situation:
    now = datetime.now(UTC)
    home, away = mirrored.storage_names
    views: dict[str, RemoteView] = {}
    uids: dict[str, frozenset[str]] = {}
    for name in (home, away):
        try:
            with array(wanted, name) as client:
                views[name] = observe(client, mirrored.replicated_resources, now)
                uids[name] = _uids(client.lsvdisk(), views[name].volumes())
        except FlashvaultError as error:
            run_log().warning("%s does not say what it mirrors: %s", name, error)
    found, _ = activity(wanted, mirrored, uids)
    return Situation(home, away, views, found, None, now)


def _uids(volumes: Sequence[Volume], names: Sequence[str]) -> frozenset[str]:
    return frozenset(volume.uid for volume in volumes if volume.name in set(names))
