"""What is wrong with the way a remote-copy group is set up, each fault with what to do.

Pure: what both arrays and the owning node told is given. A group may follow its primary perfectly
and still be of no use: a disk of the volume group is not in it, nobody sees the second site's
volumes, nobody may order a failover there. Source: docs/reference/powerha-cbm.md §10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blocks.svc.model import Relationship, RemoteState, Volume
from blocks.svc.remote_view import CONNECTED, RemoteView


@dataclass(frozen=True, slots=True)
class Half:
    """One array's half of a group: its view, its volumes by name, which are mapped to a host."""

    name: str
    view: RemoteView
    volumes: Mapping[str, Volume]
    mapped: frozenset[str]
    relationships: Sequence[Relationship] = ()
    """All of the array, in whatever group, to say where a missing volume is."""

    def uids(self) -> list[str]:
        """Return the members' vdisk UIDs, in the order of the relationships."""
        return [self.volumes[name].uid for name in self.view.volumes() if name in self.volumes]


@dataclass(frozen=True, slots=True)
class OwnDisk:
    """A disk of one of the resource group's volume groups, as the owning node sees it."""

    name: str
    uid: str
    volume_group: str


def group_faults(group: str, halves: Sequence[Half]) -> list[str]:
    """Judge the arrays' side: type, partnership, sizes, host maps, volumes.

    Args:
        group: the remote-copy group.
        halves: one or two; of an array that does not answer there is none.
    """
    faults = []
    for half in halves:
        other = next((each.name for each in halves if each is not half), "the other array")
        faults += [*_type(group, half), *_partnership(half, other)]
        for name in half.view.volumes():
            volume = half.volumes.get(name)
            if volume is None:
                faults.append(f"{name} of {group} is no volume of {half.name} (any more)")
                continue
            if name not in half.mapped:
                faults.append(
                    f"{name} on {half.name} is mapped to no host: nobody could take over"
                    f" (mkvdiskhostmap -host … {name})"
                )
            if volume.status not in {"online", ""}:
                faults.append(f"{name} on {half.name} is {volume.status}")
    return list(dict.fromkeys([*faults, *_sizes(halves)]))


def _type(group: str, half: Half) -> list[str]:
    kind = half.view.group.copy_type
    if kind in {"global", "empty_group", ""}:
        return []
    return [f"{group} is a group of copy type {kind}: BACKUP_METHOD=remote_storage is for global"]


def _partnership(half: Half, other: str) -> list[str]:
    state = half.view.partnership
    if state == CONNECTED:
        return []
    todo = "repair the link between the arrays"
    if not state:
        todo = f"create it on both arrays (mkippartnership or mkfcpartnership), also on {other}"
    elif state.startswith("partially_configured"):
        todo = f"create it on {other} too (mkippartnership or mkfcpartnership)"
    elif state == "fully_configured_stopped":
        todo = f"chpartnership -start on {half.name}"
    elif state.endswith("remote_stopped"):
        todo = f"chpartnership -start on {other}"
    return [f"the partnership with {other} is {state or 'not there'} on {half.name}: {todo}"]


def _sizes(halves: Sequence[Half]) -> list[str]:
    if len(halves) != 2:
        return []
    near, far = halves
    faults = []
    for one, two in zip(near.view.volumes(), far.view.volumes(), strict=False):
        here, there = near.volumes.get(one), far.volumes.get(two)
        if here and there and here.size_bytes != there.size_bytes:
            faults.append(
                f"{one} on {near.name} has {here.size_bytes} bytes, {two} on {far.name}"
                f" {there.size_bytes}: they must be equal"
            )
    return faults


def member_faults(
    group: str, disks: Sequence[OwnDisk], primary: Half, secondary: Half | None
) -> list[str]:
    """Judge whether the members are the volume groups' disks, all of them and only those.

    Args:
        group: the remote-copy group.
        disks: the disks of the resource group's volume groups, as its node sees them.
        primary: the half hosts write to.
        secondary: the other one, if its array answers.
    """
    members = set(primary.uids())
    far = set(secondary.uids()) if secondary else set()
    by_uid = {volume.uid: volume for volume in primary.volumes.values()}
    faults = []
    for disk in disks:
        if disk.uid in members:
            continue
        if disk.uid in far and secondary is not None:
            faults.append(
                f"{disk.name} of {disk.volume_group} is a volume of {secondary.name}, and the copy"
                f" comes from {primary.name}: the wrong direction, what is written is not copied"
            )
            continue
        volume = by_uid.get(disk.uid)
        where = _where(volume, group, primary) if volume else "it is no volume of that array"
        faults.append(
            f"{disk.name} of {disk.volume_group} ({disk.uid}) is not in {group}: the copy is of no"
            f" use without it; {where}"
        )
    own = {disk.uid for disk in disks}
    if own & members:
        faults += [
            f"{by_uid[uid].name} is in {group}, but is no disk of the resource group: a move of the"
            " group would move it too"
            for uid in primary.uids()
            if uid not in own
        ]
    return faults


def _where(volume: Volume, group: str, half: Half) -> str:
    """Say in which relationship a volume is that should be in the group."""
    for each in half.relationships:
        if volume.name not in {each.master_volume_name, each.aux_volume_name}:
            continue
        if not each.group_name:
            todo = f"chrcrelationship -consistgrp {group} {each.name}"
            return f"its relationship {each.name} stands alone ({todo})"
        return f"its relationship {each.name} is in {each.group_name}"
    return f"volume {volume.name} is in no relationship (mkrcrelationship -consistgrp {group} …)"


def direction_remark(home: str, away: str, halves: Sequence[Half]) -> str:
    """Say that production is not at home; empty if it is, or if there is no primary."""
    at_away = any(
        half.view.is_primary if half.name == away else not half.view.is_primary
        for half in halves
        if half.view.primary and half.view.state is not RemoteState.EMPTY
    )
    if not at_away:
        return ""
    return (
        f"{away} is the primary, though STORAGE_NAME names {home} first: bring it home with"
        f" `flashvault failback`, or say STORAGE_NAME={away},{home}"
    )
