"""What a failover loses, as closely as can be told while the old primary is out of reach.

Lost is what hosts wrote between the moment the second site stopped following and the moment they
stopped writing. Neither is told by anybody. The first lies between `recovery_point` and
`parted_by`; the second not after the failover, and if the old primary's array died when it fell
silent, not after `silent_by`. Pure. Why so: docs/adr/0016-measured-loss.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from blocks.units import format_duration


class Begun(BaseModel):
    """A move as it was when its order was about to be sent.

    Kept, for afterwards nobody can tell again what a failover loses, nor that hosts are still to
    take over after roles were swapped by a run that died.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    move: str
    """`failover`, `failback` or `switch`."""
    at: datetime
    """When the order was about to be sent; at the latest then the old primary was given up."""
    to: str
    """The storage system that takes over."""
    is_done: bool = False
    """The hosts have taken over too."""
    recovery_point: datetime | None = None
    """Up to here the copy surely reaches."""
    parted_by: datetime | None = None
    """Nothing written after this can be in it."""
    silent_by: datetime | None = None
    """The first look that found the old primary's array silent, which it was at every look since;
    None while it answers."""

    @property
    def at_most(self) -> timedelta | None:
        """How much is lost if hosts went on writing at the old primary until `at`."""
        return self._until(self.at)

    @property
    def if_stopped(self) -> timedelta | None:
        """How much is lost if the old primary stopped when it fell silent."""
        return None if self.silent_by is None else self._until(self.silent_by)

    def _until(self, end: datetime) -> timedelta | None:
        if self.recovery_point is None:
            return None
        return max(end - self.recovery_point, timedelta(0))


def fallen_silent(
    before: Mapping[str, datetime], silent: Collection[str], at: datetime
) -> dict[str, datetime]:
    """Return since which look each array that does not answer has not answered.

    Args:
        before: the same, after the look before.
        silent: the arrays that did not answer this one. One that refuses a login is not silent.
        at: when this look began.
    """
    return {name: before.get(name, at) for name in silent}


def newest_of_both(to: str, copy: datetime | None, cloud: datetime | None) -> tuple[str, ...]:
    """Say which of a group's two methods brings back more, if it has both.

    Args:
        to: the storage system that would take over.
        copy: up to when its copy surely reaches.
        cloud: when the newest restore point in the cloud was taken.
    """
    if cloud is None:
        return ()
    if copy is None:
        said = f"how new {to}'s copy is, nobody can tell"
        return (f"{said}; the newest restore point in the cloud is of {in_utc(cloud)}",)
    apart = format_duration(abs(cloud - copy).total_seconds())
    if cloud > copy:
        return (
            f"newest of both is the cloud's restore point of {in_utc(cloud)}, {apart} newer than"
            f" what {to} surely holds: `flashvault restore` may lose less",
        )
    return (
        f"newest of both is {to}'s copy; the newest restore point in the cloud is of"
        f" {in_utc(cloud)}, {apart} older",
    )


def in_utc(at: datetime) -> str:
    """Return a moment as a person reads it in a plan."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
