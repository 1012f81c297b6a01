"""Make restored disks a volume group again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocks.errors import HostError
from blocks.host.base import Disk, Host
from blocks.policy.recovery import RestorePlan
from tasks.open import configuration, host
from tasks.owner import find_owner
from tasks.plan import Asked
from tasks.restore import RestoredDisk
from tasks.run import Run, describe
from tasks.steps import run_log, step


@dataclass(frozen=True, slots=True)
class Imported:
    """A volume group that is usable again, and under which name."""

    volume_group: str
    name: str
    node: str
    how: str
    """`import` (importvg) or `recreate` (recreatevg: new identities beside the original)."""
    fault: str = ""
    """Why the node would not; the bytes are on the disks and proven all the same."""


def name_beside(volume_group: str) -> str:
    """Return the name of a copy of a volume group beside its original; AIX allows 15 characters."""
    return f"{volume_group[:14]}r"


@step(name="import-{asked.group}")
def import_restored(
    run: Run,
    asked: Asked,
    plan: RestorePlan,
    disks: Sequence[RestoredDisk],
    importing: str,
    before: Callable[[Host, str], None] = lambda node, name: None,
) -> tuple[Imported, ...]:
    """Import every volume group of which all restored disks are whole.

    A copy carries its original's PVIDs and names: beside the original only `recreatevg` can take
    it, under another name. So `auto` imports where no disk of the original is left, and recreates
    where one is (docs/reference/aix-host.md §5). What `auto` cannot import is reported: the disks
    are whole, and a person can go on by hand. Asked for by name, it is an error. `before` is told
    the node and the name to be.
    """
    run.check()
    if importing == "no" or all("/" in target for target in asked.to.values()):
        return ()
    wanted = configuration()
    node = host(wanted, asked.node) if asked.node else find_owner(wanted, asked.group).machine
    proven = {disk.uid for disk in disks if disk.is_proven}
    done = []
    for volume_group, members in _groups(plan, proven).items():
        seen = {disk.uid: disk for disk in node.discover()}
        onto = [seen[uid] for uid in members if uid in seen]
        originals = {p.volume.uid for p in plan.placements if p.volume.volume_group == volume_group}
        done.append(_tried(node, volume_group, onto, originals, seen, importing, plan, before))
    return tuple(done)


def _tried(
    node: Host,
    name: str,
    onto: list[Disk],
    originals: set[str],
    seen: dict[str, Disk],
    importing: str,
    plan: RestorePlan,
    before: Callable[[Host, str], None] = lambda node, name: None,
) -> Imported:
    try:
        return _import(node, name, onto, originals, seen, importing, plan, before)
    except HostError as error:
        if importing != "auto":
            raise
        run_log().warning("volume group %s is restored, but not imported: %s", name, error)
        return Imported(name, "", node.name, "none", describe(error))


def _groups(plan: RestorePlan, proven: set[str]) -> dict[str, list[str]]:
    """Return the targets' UIDs by volume group, of those groups that are whole."""
    members: dict[str, list[str]] = defaultdict(list)
    broken = set()
    for placement in plan.placements:
        volume_group = placement.volume.volume_group
        if not volume_group or not placement.disk.uid:
            continue
        members[volume_group].append(placement.disk.uid)
        if placement.volume.uid not in proven:
            broken.add(volume_group)
    restored = {placement.volume.uid for placement in plan.placements}
    for volume in plan.point.volumes:
        if volume.uid not in restored:
            broken.add(volume.volume_group)
    return {name: uids for name, uids in members.items() if name not in broken}


def _import(
    node: Host,
    name: str,
    onto: list[Disk],
    originals: set[str],
    seen: dict[str, Disk],
    importing: str,
    plan: RestorePlan,
    before: Callable[[Host, str], None] = lambda node, name: None,
) -> Imported:
    targets = {disk.uid for disk in onto}
    beside = [
        disk
        for uid, disk in seen.items()
        if (uid in originals or disk.volume_group == name) and uid not in targets
    ]
    how = importing
    if importing == "auto":
        how = "recreate" if beside else "import"
    if how == "recreate":
        new_name = name_beside(name)
        before(node, new_name)
        node.recreate_group(new_name, onto)
    else:
        new_name = name
        before(node, new_name)
        majors = {v.major_number for v in plan.point.volumes if v.volume_group == name}
        node.import_group(name, onto, major=majors.pop() if len(majors) == 1 else None)
    run_log().info("imported volume group %s as %s on %s", name, new_name, node.name)
    return Imported(name, new_name, node.name, how)
