"""Check how a remote copy is set up: looked at every hour, and by `flashvault check`.

Members are the disks of the volume groups, sizes are equal, both arrays let us in, and a node sees
all volumes of the second site: one is enough, it may be dedicated to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from blocks.catalog import shelf
from blocks.errors import FlashvaultError
from blocks.policy.mirror_setup import (
    Half,
    OwnDisk,
    direction_remark,
    group_faults,
    member_faults,
)
from blocks.profile.model import BackupProfile, Configuration, Method
from tasks.open import array, host, store
from tasks.owner import Owner, find_owner
from tasks.remote_look import Poll
from tasks.run import Run
from tasks.steps import run_log, step


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a group's set-up, and what is worth remembering of it."""

    faults: tuple[str, ...]
    volume_groups: dict[str, tuple[str, ...]]
    cloud_point: datetime | None = None
    remark: str = ""
    """What is no fault, but odd."""


@step(name="check-{profile.name}")
def check(run: Run, wanted: Configuration, profile: BackupProfile, poll: Poll) -> Checked:
    """Check a group's set-up as a step of a run: see `examine`."""
    run.check()
    found = examine(wanted, profile, poll)
    point = newest_cloud_point(wanted, profile)
    return Checked(found.faults, found.volume_groups, point, found.remark)


def examine(wanted: Configuration, profile: BackupProfile, poll: Poll) -> Checked:
    """Look whether the group holds what the resource group needs, and only that."""
    home, away = profile.storage_names
    halves = [_half(wanted, name, poll) for name in profile.storage_names if name in poll.views]
    faults = [
        # One that is only silent is told by the poll itself, and may be back in a minute.
        f"{name} answers and tells nothing, so nobody could order a failover there: {why}"
        for name, why in poll.problems.items()
        if name not in poll.silent
    ]
    faults += group_faults(profile.replicated_resources, halves)
    pairs = _pairs(halves)
    volume_groups = _check_members(wanted, profile, halves, pairs, faults)
    faults += _unseen(wanted, profile, halves)
    return Checked(tuple(faults), volume_groups, remark=direction_remark(home, away, halves))


def _half(wanted: Configuration, name: str, poll: Poll) -> Half:
    with array(wanted, name) as client:
        return Half(
            name,
            poll.views[name],
            {volume.name: volume for volume in client.lsvdisk()},
            frozenset(shown.volume_name for shown in client.lshostvdiskmap()),
            client.lsrcrelationship(),
        )


def _pairs(halves: Sequence[Half]) -> list[tuple[str, str]]:
    """Return (UID at home, UID away) of every relationship, as far as both arrays answer."""
    if len(halves) != 2:
        return []
    near, far = (half.uids() for half in halves)
    return list(zip(near, far, strict=False))


def _check_members(
    wanted: Configuration,
    profile: BackupProfile,
    halves: Sequence[Half],
    pairs: list[tuple[str, str]],
    faults: list[str],
) -> dict[str, tuple[str, ...]]:
    """Compare the group's members with the disks of the volume groups on the owning node."""
    try:
        owner = find_owner(wanted, profile.name)
        every = tuple(owner.machine.volume_groups(profile.name))
    except FlashvaultError as error:
        run_log().info("members of %s not compared with the disks: %s", profile.name, error)
        return _assumed(profile.volume_groups, pairs)
    names = profile.volume_groups or every
    disks = _disks_of(owner, {*names, *every})
    primary = next((half for half in halves if half.view.is_primary), None)
    if primary is not None:
        secondary = next((half for half in halves if half is not primary), None)
        in_group = set(primary.uids())
        # Volume groups the profile leaves out may be in the group or not.
        seen = [disk for disk in disks if disk.volume_group in names or disk.uid in in_group]
        faults += member_faults(profile.replicated_resources, seen, primary, secondary)
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        own = {disk.uid for disk in disks if disk.volume_group == name}
        both = [uid for pair in pairs for uid in pair if own & set(pair)]
        if both:
            found[name] = tuple(both)
    return found or _assumed(names, pairs)


def _disks_of(owner: Owner, names: set[str]) -> list[OwnDisk]:
    return [
        OwnDisk(disk.name, disk.uid, disk.volume_group)
        for disk in owner.disks
        if disk.volume_group in names and disk.uid
    ]


def _assumed(names: tuple[str, ...], pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """With one volume group, all members are its own."""
    if len(names) == 1 and pairs:
        return {names[0]: tuple(uid for pair in pairs for uid in pair)}
    return {}


def _unseen(wanted: Configuration, profile: BackupProfile, halves: Sequence[Half]) -> list[str]:
    """Say that no node sees all volumes of the second site; nothing if a node cannot be asked."""
    secondary = [half for half in halves if half.view.primary and not half.view.is_primary]
    if not secondary or not all(
        name in secondary[0].mapped for name in secondary[0].view.volumes()
    ):
        return []  # that they are not mapped is told already
    half = secondary[0]
    needed, best = set(half.uids()), ("", set[str]())
    for node in wanted.nodes:
        try:
            seen = needed & {disk.uid for disk in host(wanted, node.name).disks()}
        except FlashvaultError as error:
            run_log().info("%s not asked for its disks: %s", node.name, error)
            return []
        if seen == needed:
            return []
        best = max(best, (node.name, seen), key=lambda each: len(each[1]))
    return [_lacking(half, needed - best[1], best[0] if best[1] else "")]


def _lacking(half: Half, missing: set[str], nearest: str) -> str:
    names = sorted(volume.name for volume in half.volumes.values() if volume.uid in missing)
    where = f"{nearest} lacks" if nearest else "none sees"
    return (
        f"no node sees all volumes of {half.name}, so none could take over: {where}"
        f" {', '.join(names)} (is its host mapped, has cfgmgr been run?)"
    )


def newest_cloud_point(wanted: Configuration, profile: BackupProfile) -> datetime | None:
    """Return when the group's newest restore point was taken, if it has a cloud profile too."""
    cloud = [p for p in wanted.profiles if p.name == profile.name and p.method is Method.CLOUD]
    if not cloud:
        return None
    try:
        found = shelf.points(store(wanted, cloud[0].bucket_name), profile.name)
    except FlashvaultError as error:
        run_log().warning("restore points of %s not read: %s", profile.name, error)
        return None
    return max((point.taken_at for point in found), default=None)
