"""The array's objects, as they are kept between commands and written to the state file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from deployments.lab.svc.states import IDLE


class Clock(Protocol):
    """Where the array's time comes from; tests bring their own."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class WallClock:
    """The real time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


class Shelf(Protocol):
    """Where volumes' bytes are. Every method names volumes as (array, volume)."""

    def create(self, volume: tuple[str, str], size_bytes: int) -> None:
        """Make an all-zero volume."""

    def remove(self, volume: tuple[str, str]) -> None:
        """Remove a volume and its bytes."""

    def rename(self, volume: tuple[str, str], new_name: str) -> None:
        """Give a volume another name."""

    def snapshot(self, pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> None:
        """Make every target the point-in-time copy of its source, all at one instant."""

    def difference(self, source: tuple[str, str], target: tuple[str, str], grain: int) -> float:
        """Say how much of the two differs, in percent of grains."""

    def version(self, volume: tuple[str, str]) -> int:
        """Return a number that grows with every write."""

    def copy_range(
        self, source: tuple[str, str], target: tuple[str, str], begin: int, end: int
    ) -> None:
        """Copy a range of bytes, whatever is written to the source meanwhile."""

    def follow(self, pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> list[int] | None:
        """Bring targets up with their sources as these were at one instant between two writes.

        Returns the sources' versions at that instant, None if there was none to be found.
        """

    @property
    def mirrored(self) -> Callable[[list[tuple[tuple[str, str], tuple[str, str]]]], None]:
        """To be called when targets have become the same as their sources."""


@dataclass
class Volume:
    """A volume (vdisk)."""

    id: int
    name: str
    uid: str
    capacity: int
    pool: str = "Pool0"
    is_offline: bool = False
    copies: list[int] = field(default_factory=lambda: [0])
    """The ids of its copies, the primary one first."""
    is_thin: bool = True
    is_compressed: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    """What `chvdisk` changed, by the name of the attribute that shows it."""


@dataclass
class Host:
    """A host object: where volumes are mapped to."""

    id: int
    name: str
    ports: list[str] = field(default_factory=list)


@dataclass
class HostMap:
    """A volume shown to a host."""

    volume: int
    host: int
    scsi_id: int


@dataclass
class Mapping:
    """A FlashCopy mapping.

    `progress` is a percentage, true at `at`; `until` ends a passing state (preparing, stopping).
    `starts_when_prepared` is `start -prep` under way. `copied_once` says that source and target
    have been the same, so that an incremental copy records differences.
    """

    id: int
    name: str
    source: int
    target: int
    group: int | None = None
    status: str = IDLE
    progress: float = 0.0
    at: float = 0.0
    until: float = 0.0
    share: float = 1.0
    starts_when_prepared: bool = False
    is_restoring: bool = False
    copy_rate: int = 50
    clean_rate: int = 50
    grain_kib: int = 256
    is_incremental: bool = False
    deletes_itself: bool = False
    keeps_target: bool = False
    copied_once: bool = False
    start_time: str = ""


@dataclass
class MappingGroup:
    """A FlashCopy consistency group; its members know it."""

    id: int
    name: str
    deletes_itself: bool = False
    start_time: str = ""


@dataclass
class Partner:
    """Another system this one has made a partnership with."""

    id: str
    name: str
    is_started: bool = True
    link_mbits: int = 1000
    copy_rate: int = 50


@dataclass
class Mirror:
    """This array's half of the state of a remote-copy group, or of a stand-alone relationship.

    `before` is the state in which the link was lost; `frozen_at` when the secondary was frozen.
    """

    primary: str = "master"
    state: str = "inconsistent_stopped"
    before: str = ""
    frozen_at: float | None = None
    at: float = 0.0


@dataclass
class Relationship:
    """A remote-copy relationship; both arrays hold it under the same id.

    `copied` counts the bytes the background copy has been over; `share` is the part of them it must
    send. `version` is the source's when the secondary last held all of it.
    """

    id: int
    name: str
    master: str
    master_volume: str
    aux: str
    aux_volume: str
    group: int | None = None
    copy_type: str = "global"
    copied: float = 0.0
    share: float = 1.0
    version: int = -1
    cycling_mode: str = "none"
    cycle_s: int = 300
    change_volumes: dict[str, str] = field(default_factory=dict)
    mirror: Mirror = field(default_factory=Mirror)


@dataclass
class RemoteGroup:
    """A remote-copy consistency group; both arrays hold it under the same id."""

    id: int
    name: str
    master: str
    aux: str
    copy_type: str = "empty_group"
    cycling_mode: str = ""
    cycle_s: int = 300
    mirror: Mirror = field(default_factory=lambda: Mirror(primary="", state="empty"))


@dataclass
class Timings:
    """How long the array takes, in seconds; `speed` multiplies every copy rate."""

    flush_s: float = 0.1
    stop_s: float = 0.05
    speed: float = 1.0
    command_s: float = 0.0
    link_bytes_per_s: float = 25.0 * 1024 * 1024
    """`relationship_bandwidth_limit`: what a background copy gets of the link."""


@dataclass
class Event:
    """A line of the event log."""

    at: str
    kind: str
    object: str
    name: str
    event_id: str
    error_code: str
    text: str


@dataclass
class ArrayState:
    """Everything an array remembers."""

    name: str
    id: str
    uid_prefix: str
    volumes: dict[int, Volume] = field(default_factory=dict)
    hosts: dict[int, Host] = field(default_factory=dict)
    host_maps: list[HostMap] = field(default_factory=list)
    mappings: dict[int, Mapping] = field(default_factory=dict)
    mapping_groups: dict[int, MappingGroup] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    partners: dict[str, Partner] = field(default_factory=dict)
    relationships: dict[int, Relationship] = field(default_factory=dict)
    remote_groups: dict[int, RemoteGroup] = field(default_factory=dict)
    next_uid: int = 0x5F0
    timings: Timings = field(default_factory=Timings)
