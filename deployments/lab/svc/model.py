"""The array's objects, as they are kept between commands and written to the state file."""

from __future__ import annotations

import time
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


@dataclass
class Volume:
    """A volume (vdisk)."""

    id: int
    name: str
    uid: str
    capacity: int
    pool: str = "Pool0"
    is_offline: bool = False


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
class Timings:
    """How long the array takes, in seconds; `speed` multiplies every copy rate."""

    flush_s: float = 0.1
    stop_s: float = 0.05
    speed: float = 1.0
    command_s: float = 0.0


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
    next_uid: int = 0x5F0
    timings: Timings = field(default_factory=Timings)
