"""Look into what was restored: are there file systems, sound and mountable?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blocks.errors import FlashvaultError
from blocks.host.base import Disk, Host
from blocks.host.inside import Look
from blocks.host.linux import LinuxHost
from blocks.policy.recovery import RestorePlan
from blocks.runner import LocalRunner
from tasks.importing import Imported
from tasks.open import configuration, host
from tasks.restore import RestoredDisk
from tasks.run import Run, describe
from tasks.steps import run_log, step

LOOKING = "looking"
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Inside:
    """One file system of what was restored, or why none could be looked at."""

    node: str
    volume_group: str
    look: Look

    def row(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "node": self.node,
            "volume_group": self.volume_group,
            "device": self.look.device,
            "type": self.look.kind,
            "mount_point": self.look.mount_point,
            "fsck": str(self.look.fsck),
            "mounted": self.look.entries is not None,
            "entries": self.look.entries,
            "ok": self.look.is_good,
            "faults": list(self.look.faults),
        }


@step(name="look-inside-{plan.point.group}", retries=0)
def look_inside(
    run: Run,
    plan: RestorePlan,
    writers: Mapping[str, Host],
    disks: Sequence[RestoredDisk],
    imported: Sequence[Imported],
    *,
    fsck: bool,
    mount: bool,
) -> list[dict[str, Any]]:
    """Check and mount every file system of the restored volume groups, or right on the disks.

    Nothing is written. What cannot be looked at is a fault too: whoever asked wants to know.

    Returns:
        A row for each file system; see `Inside.row`.
    """
    if not fsck and not mount:
        return []
    run.check()
    directory = f"/tmp/flashvault-{run.id}"  # noqa: S108 - mkdir refuses one that exists
    found: list[Inside] = []
    for machine, volume_group, onto in _places(plan, writers, disks, imported):
        made = run.journal.made(LOOKING, node=machine.name, directory=directory)
        try:
            looks = machine.look_inside(volume_group, onto, directory, fsck=fsck, mount=mount)
            machine.leave(directory)
        except FlashvaultError as error:
            looks = [Look("", "", faults=(describe(error),))]
        else:
            run.journal.unmade(made)
        found += [Inside(machine.name, volume_group, look) for look in looks]
    if not found:
        group = next((i for i in imported if i.fault), None)
        why = f"volume group {group.volume_group} is not imported" if group else "none was found"
        found.append(Inside("", "", Look("", "", faults=(f"no file system to look at: {why}",))))
    rows = [inside.row() for inside in found]
    for fault in faults_of(rows):
        run_log().error("%s", fault)
    return rows


def leave_looking(facts: Mapping[str, Any]) -> None:
    """Unmount what a dead run was looking at; safe to repeat."""
    node = facts["node"]
    machine: Host = (
        LinuxHost(LOCAL, LocalRunner()) if node == LOCAL else host(configuration(), node)
    )
    machine.leave(facts["directory"])


def faults_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return everything that is wrong, in words."""
    return [
        f"{row['device']}: {fault}" if row["device"] else fault
        for row in rows
        for fault in row["faults"]
    ]


def _places(
    plan: RestorePlan,
    writers: Mapping[str, Host],
    disks: Sequence[RestoredDisk],
    imported: Sequence[Imported],
) -> list[tuple[Host, str, list[Disk]]]:
    """Return where to look: imported groups on their node, other whole disks where written."""
    proven = {disk.uid for disk in disks if disk.is_proven}
    usable = [group for group in imported if not group.fault]
    places: list[tuple[Host, str, list[Disk]]] = [
        (host(configuration(), group.node), group.name, []) for group in usable
    ]
    taken = {group.volume_group for group in usable}
    places += [
        (writers[placement.volume.uid], "", [placement.disk])
        for placement in plan.placements
        if placement.volume.uid in proven and placement.volume.volume_group not in taken
    ]
    return places
