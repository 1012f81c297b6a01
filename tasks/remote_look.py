"""Look at a remote copy: both arrays' halves at every poll, and what changes seldom every hour."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from blocks.catalog import shelf
from blocks.errors import ConfigError, FlashvaultError, Unreachable
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.svc.client import SvcClient
from blocks.svc.remote_view import RemoteView, observe
from tasks.open import array, store
from tasks.owner import find_owner
from tasks.run import Run, describe
from tasks.steps import run_log, step


@dataclass(frozen=True, slots=True)
class Poll:
    """What both arrays answered at one moment; one that did not is in `problems`."""

    at: datetime
    views: Mapping[str, RemoteView]
    problems: Mapping[str, str]
    silent: frozenset[str] = frozenset()
    """Those of `problems` that gave no sign of life. The others answered, but nothing of use."""


@step(name="look-{profile.name}")
def look(run: Run, wanted: Configuration, profile: BackupProfile) -> Poll:
    """Ask both arrays for the group, side by side.

    Raises:
        ConfigError: the group is not between the two storage systems of the profile.
    """
    run.check()
    at = datetime.now(UTC)

    def ask(name: str) -> RemoteView:
        with array(wanted, name) as client:
            return observe(client, profile.replicated_resources, at)

    views: dict[str, RemoteView] = {}
    problems: dict[str, str] = {}
    silent: set[str] = set()
    with ThreadPoolExecutor(2, thread_name_prefix="look") as pool:
        asked = {name: pool.submit(ask, name) for name in profile.storage_names}
        for name, answer in asked.items():
            try:
                views[name] = answer.result()
            except FlashvaultError as error:
                problems[name] = describe(error)
                if isinstance(error, Unreachable):
                    silent.add(name)
    sides = [view.side for view in views.values()]
    if len(sides) == 2 and sides[0] is sides[1]:
        raise ConfigError(
            f"{' and '.join(profile.storage_names)} are the same side of"
            f" {profile.replicated_resources}",
            hint="STORAGE_NAME needs the two arrays of the group, the primary site's first.",
        )
    return Poll(at, views, problems, frozenset(silent))


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a group's set-up, and what is worth remembering of it."""

    faults: tuple[str, ...]
    volume_groups: dict[str, tuple[str, ...]]
    cloud_point: datetime | None


@step(name="check-{profile.name}")
def check(run: Run, wanted: Configuration, profile: BackupProfile, poll: Poll) -> Checked:
    """Look whether the group holds what the resource group needs, and only that.

    Members are the disks of the volume groups, sizes are equal, and every auxiliary volume is
    mapped to a host: one node is enough, it may be dedicated to it.
    """
    run.check()
    faults: list[str] = []
    uids: dict[str, dict[str, str]] = {}
    for name, view in poll.views.items():
        with array(wanted, name) as client:
            uids[name] = _check_array(client, name, view, faults)
    pairs = _pairs(profile, poll, uids)
    volume_groups = _check_members(wanted, profile, poll, uids, pairs, faults)
    return Checked(tuple(faults), volume_groups, newest_cloud_point(wanted, profile))


def _check_array(
    client: SvcClient, name: str, view: RemoteView, faults: list[str]
) -> dict[str, str]:
    """Check one array's volumes; return their UIDs by name."""
    known = {volume.name: volume for volume in client.lsvdisk()}
    mapped = {shown.volume_name for shown in client.lshostvdiskmap()}
    uids = {}
    for volume in view.volumes():
        uids[volume] = known[volume].uid
        if volume not in mapped:
            faults.append(f"{volume} on {name} is mapped to no host: nobody could take over")
        if known[volume].status not in {"online", ""}:
            faults.append(f"{volume} on {name} is {known[volume].status}")
    return uids


def _pairs(
    profile: BackupProfile, poll: Poll, uids: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    """Return (UID at home, UID away) of every relationship, as far as both arrays answer."""
    home, away = profile.storage_names
    if home not in poll.views or away not in poll.views:
        return []
    near, far = poll.views[home].volumes(), poll.views[away].volumes()
    return [
        (uids[home][first], uids[away][second]) for first, second in zip(near, far, strict=False)
    ]


def _check_members(
    wanted: Configuration,
    profile: BackupProfile,
    poll: Poll,
    uids: Mapping[str, Mapping[str, str]],
    pairs: list[tuple[str, str]],
    faults: list[str],
) -> dict[str, tuple[str, ...]]:
    """Compare the group's members with the disks of the volume groups on the owning node."""
    try:
        owner = find_owner(wanted, profile.name)
        names = profile.volume_groups or tuple(owner.machine.volume_groups(profile.name))
    except FlashvaultError as error:
        run_log().info("members of %s not compared with the disks: %s", profile.name, error)
        return _assumed(profile.volume_groups, pairs)
    site = next((n for n, v in poll.views.items() if v.is_primary), profile.storage_names[0])
    members = set(uids.get(site, {}).values())
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        disks = [disk for disk in owner.disks if disk.volume_group == name and disk.uid]
        faults += [
            f"{disk.name} of {name} ({disk.uid}) is not in {profile.replicated_resources}:"
            " the copy is of no use without it"
            for disk in disks
            if members and disk.uid not in members
        ]
        own = {disk.uid for disk in disks}
        both = [uid for pair in pairs for uid in pair if own & set(pair)]
        if both:
            found[name] = tuple(both)
    return found or _assumed(names, pairs)


def _assumed(names: tuple[str, ...], pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """With one volume group, all members are its own."""
    if len(names) == 1 and pairs:
        return {names[0]: tuple(uid for pair in pairs for uid in pair)}
    return {}


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
