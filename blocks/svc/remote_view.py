"""A remote-copy group as one array sees it: what `observe` reads, and what follows from that.

Two arrays hold a half of the group each, and while they cannot see one another the halves differ:
so a view always says whose it is. `blocks.policy.takeover` decides upon views, and
`blocks.svc.replication` moves the group.
Source: docs/reference/svc-cli.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from blocks.errors import SvcObjectMissing
from blocks.svc.client import SvcClient
from blocks.svc.model import Relationship, RemoteConsistencyGroup, RemoteState, Side
from blocks.svc.replication import RemoteGroup

CONNECTED = "fully_configured"
"""The partnership in which two systems replicate; in every other they do not."""

CLOCK_SLACK_S = 5.0

_HEALTHY = {RemoteState.CONSISTENT_SYNCHRONIZED, RemoteState.INCONSISTENT_COPYING}


@dataclass(frozen=True, slots=True)
class RemoteView:
    """A remote-copy group as one array sees it. Times are UTC.

    `partnership` is with the other system of the group, empty when there is none. `sizes` are the
    bytes of this array's volumes, in the order of `relationships`.
    """

    system_id: str
    side: Side
    group: RemoteConsistencyGroup
    relationships: tuple[Relationship, ...]
    partnership: str
    frozen_at: datetime | None
    sizes: tuple[int, ...] = ()

    @property
    def state(self) -> RemoteState:
        """The group's state."""
        return self.group.state

    @property
    def primary(self) -> Side:
        """The side hosts write to; none while both are writable."""
        return self.group.primary

    @property
    def is_primary(self) -> bool:
        """Say whether this array has the primary volumes."""
        return self.primary is self.side

    @property
    def is_connected(self) -> bool:
        """Say whether the two arrays see one another."""
        return self.partnership == CONNECTED and not self.state.endswith("_disconnected")

    @property
    def is_cycling(self) -> bool:
        """Say whether it is Global Mirror with change volumes."""
        return self.group.cycling_mode == "multi"

    @property
    def progress(self) -> float | None:
        """Percent of the bytes copied, None when no copy is under way."""
        if self.state is not RemoteState.INCONSISTENT_COPYING or not self.relationships:
            return None
        sizes = self.sizes or (1,) * len(self.relationships)
        done = sum(
            size * (100 if relationship.progress is None else relationship.progress)
            for relationship, size in zip(self.relationships, sizes, strict=True)
        )
        return done / sum(sizes)

    def volumes(self) -> tuple[str, ...]:
        """Return the names of this array's volumes, in the order of the relationships."""
        return tuple(volume_of(relationship, self.side) for relationship in self.relationships)


def volume_of(relationship: Relationship, side: Side) -> str:
    """Return the name of a relationship's volume on one side."""
    if side is Side.MASTER:
        return relationship.master_volume_name
    return relationship.aux_volume_name


def observe(client: SvcClient, name: str, now: datetime) -> RemoteView:
    """Read a group with its relationships: a handful of short commands, however many members.

    Args:
        client: one of the two arrays.
        name: the group.
        now: aware; the array's clock is compared with it to read the freeze time.

    Raises:
        SvcObjectMissing: the array has no such group, or has no part in it.
    """
    system = client.lssystem()
    try:
        group = client.lsrcconsistgrp(name)
    except SvcObjectMissing as error:
        raise _something_else(client, name, error) from error
    if system.id == group.master_system_id:
        side, partner = Side.MASTER, group.aux_system_id
    elif system.id == group.aux_system_id:
        side, partner = Side.AUX, group.master_system_id
    else:
        raise SvcObjectMissing(f"group {name} is not between {system.name} and another system")
    relationships = client.lsrcrelationship(filtervalue={"consistency_group_name": group.name})
    if group.state not in _HEALTHY:
        # `status` and `sync` of each are in the detailed view only.
        relationships = [client.lsrcrelationship(each.name) for each in relationships]
    relationships.sort(key=lambda each: each.name)
    known = {each.id: each.state for each in client.lspartnership()}
    sizes: tuple[int, ...] = ()
    if group.state is RemoteState.INCONSISTENT_COPYING:
        by_name = {volume.name: volume.size_bytes for volume in client.lsvdisk()}
        sizes = tuple(by_name[volume_of(each, side)] for each in relationships)
    return RemoteView(
        system_id=system.id,
        side=side,
        group=group,
        relationships=tuple(relationships),
        # A group inside one system needs no partner.
        partnership=CONNECTED if partner == system.id else known.get(partner, ""),
        frozen_at=_in_utc(client, group, now),
        sizes=sizes,
    )


def _something_else(client: SvcClient, name: str, error: SvcObjectMissing) -> SvcObjectMissing:
    """Say what a name is that is no remote-copy group, as far as the array knows it at all."""
    if any(each.name == name for each in client.lsfcconsistgrp()):
        what, hint = "a FlashCopy consistency group", "See lsrcconsistgrp for those there are."
    elif any(each.name == name for each in client.lsrcrelationship()):
        what = "a relationship that stands alone"
        hint = f"Make a group (mkrcconsistgrp), and chrcrelationship -consistgrp … {name}."
    else:
        return error
    return SvcObjectMissing(
        f"{name} is {what}, not a remote-copy consistency group", code=error.code, hint=hint
    )


def _in_utc(client: SvcClient, group: RemoteConsistencyGroup, now: datetime) -> datetime | None:
    """Return the freeze time by our clock: the array tells it by its own, in its own zone."""
    if group.freeze_time is None:
        return None
    ahead = RemoteGroup(client, group.name).array_now(now) - now.replace(tzinfo=None)
    # A query takes a moment: differences of less than a few seconds are no difference.
    ahead = timedelta(seconds=round(ahead.total_seconds() / CLOCK_SLACK_S) * CLOCK_SLACK_S)
    frozen = (group.freeze_time - ahead).replace(tzinfo=UTC)
    # At the turn of a minute that would be a moment to come: what was lost would be nothing.
    return min(frozen, now - timedelta(seconds=CLOCK_SLACK_S / 2))
