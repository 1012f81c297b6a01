"""What the array's answers mean: volumes, mappings, groups, relationships, and their states.

Every record is read by `from_record`, from the concise or the detailed view; what only the detailed
view tells is None when read from the concise one. Source: docs/reference/svc-cli.md §4-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self, TypedDict

from blocks.errors import SvcAnswerError
from blocks.svc.parse import Record, parse_time


class CopyState(StrEnum):
    """The state of a FlashCopy mapping or consistency group."""

    EMPTY = "empty"
    IDLE_OR_COPIED = "idle_or_copied"
    PREPARING = "preparing"
    PREPARED = "prepared"
    COPYING = "copying"
    STOPPING = "stopping"
    SUSPENDED = "suspended"
    STOPPED = "stopped"


class RemoteState(StrEnum):
    """The state of a remote-copy relationship or consistency group."""

    EMPTY = "empty"
    INCONSISTENT_STOPPED = "inconsistent_stopped"
    INCONSISTENT_COPYING = "inconsistent_copying"
    CONSISTENT_STOPPED = "consistent_stopped"
    CONSISTENT_SYNCHRONIZED = "consistent_synchronized"
    CONSISTENT_COPYING = "consistent_copying"
    IDLING = "idling"
    IDLING_DISCONNECTED = "idling_disconnected"
    INCONSISTENT_DISCONNECTED = "inconsistent_disconnected"
    CONSISTENT_DISCONNECTED = "consistent_disconnected"


class Side(StrEnum):
    """Which side of a relationship is meant; the primary is blank while both are writable."""

    MASTER = "master"
    AUX = "aux"
    NONE = ""


@dataclass(frozen=True, slots=True)
class System:
    """An array as it describes itself."""

    id: str
    name: str
    code_level: str
    time_zone: str
    record: Record

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read a row of `lssystem`."""
        return cls(
            id=record.text("id"),
            name=record.text("name"),
            code_level=record.text("code_level", ""),
            time_zone=record.text("time_zone", ""),
            record=record,
        )


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume; `size_bytes` is exact when listed with `-bytes`, as the client always does."""

    id: str
    name: str
    uid: str
    size_bytes: int
    status: str
    io_group: str
    pool: str
    fc_map_count: int
    relationship: str = ""
    """The name of its remote-copy relationship."""

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read a row of `lsvdisk`."""
        return cls(
            id=record.text("id"),
            name=record.text("name"),
            uid=record.text("vdisk_UID").upper(),
            size_bytes=record.size_bytes("capacity"),
            status=record.text("status", ""),
            io_group=record.text("IO_group_name", ""),
            pool=record.text("mdisk_grp_name", ""),
            fc_map_count=record.number("fc_map_count", 0),
            relationship=record.text("RC_name", ""),
        )


@dataclass(frozen=True, slots=True)
class Mapping:
    """A FlashCopy mapping. `difference` (percent of grains) and the grain only in detail."""

    id: str
    name: str
    source_id: str
    source_name: str
    target_id: str
    target_name: str
    group_id: str
    group_name: str
    status: CopyState
    progress: int
    copy_rate: int
    is_incremental: bool
    start_time: datetime | None
    difference: int | None
    grain_kib: int | None
    is_autodelete: bool

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read `lsfcmap`, either view."""
        has_difference = bool(record.text("difference", ""))
        has_grain = bool(record.text("grain_size", ""))
        return cls(
            id=record.text("id"),
            name=record.text("name"),
            source_id=record.text("source_vdisk_id"),
            source_name=record.text("source_vdisk_name"),
            target_id=record.text("target_vdisk_id"),
            target_name=record.text("target_vdisk_name"),
            group_id=record.text("group_id", ""),
            group_name=record.text("group_name", ""),
            status=record.state("status", CopyState),
            progress=record.number("progress", 0),
            copy_rate=record.number("copy_rate", 0),
            is_incremental=record.is_yes("incremental"),
            start_time=parse_time(record.text("start_time", "")),
            difference=record.number("difference") if has_difference else None,
            grain_kib=record.number("grain_size") if has_grain else None,
            is_autodelete=record.is_yes("autodelete"),
        )


@dataclass(frozen=True, slots=True)
class ConsistencyGroup:
    """A FlashCopy consistency group; its mappings only in detail, as (id, name)."""

    id: str
    name: str
    status: CopyState
    start_time: datetime | None
    is_autodelete: bool
    mappings: tuple[tuple[str, str], ...]

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read `lsfcconsistgrp`, either view."""
        return cls(
            id=record.text("id"),
            name=record.text("name"),
            status=record.state("status", CopyState),
            start_time=parse_time(record.text("start_time", "")),
            is_autodelete=record.is_yes("autodelete"),
            mappings=_members(record, "FC_mapping_id", "FC_mapping_name"),
        )


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """What a relationship and a group of them have in common."""

    id: str
    name: str
    master_system_id: str
    master_system_name: str
    aux_system_id: str
    aux_system_name: str
    primary: Side
    state: RemoteState
    freeze_time: datetime | None
    status: str
    sync: str
    copy_type: str
    cycling_mode: str
    cycle_period_s: int


@dataclass(frozen=True, slots=True)
class Relationship(RemoteCopy):
    """A remote-copy relationship. `progress` is None once it is synchronized."""

    master_volume_id: str
    master_volume_name: str
    aux_volume_id: str
    aux_volume_name: str
    group_id: str
    group_name: str
    progress: int | None

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read `lsrcrelationship`, either view."""
        has_progress = bool(record.text("progress", ""))
        return cls(
            **_remote_copy(record),
            master_volume_id=record.text("master_vdisk_id"),
            master_volume_name=record.text("master_vdisk_name"),
            aux_volume_id=record.text("aux_vdisk_id"),
            aux_volume_name=record.text("aux_vdisk_name"),
            group_id=record.text("consistency_group_id", ""),
            group_name=record.text("consistency_group_name", ""),
            progress=record.number("progress") if has_progress else None,
        )


@dataclass(frozen=True, slots=True)
class RemoteConsistencyGroup(RemoteCopy):
    """A remote-copy consistency group; its relationships only in detail, as (id, name)."""

    relationship_count: int
    relationships: tuple[tuple[str, str], ...]

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read `lsrcconsistgrp`, either view."""
        return cls(
            **_remote_copy(record),
            relationship_count=record.number("relationship_count", 0),
            relationships=_members(record, "RC_rel_id", "RC_rel_name"),
        )


@dataclass(frozen=True, slots=True)
class HostMap:
    """A volume shown to a host."""

    host_id: str
    host_name: str
    scsi_id: int
    volume_id: str
    volume_name: str
    volume_uid: str

    @classmethod
    def from_host_view(cls, record: Record) -> Self:
        """Read a row of `lshostvdiskmap`."""
        return cls(
            host_id=record.text("id"),
            host_name=record.text("name"),
            scsi_id=record.number("SCSI_id", 0),
            volume_id=record.text("vdisk_id"),
            volume_name=record.text("vdisk_name"),
            volume_uid=record.text("vdisk_UID").upper(),
        )

    @classmethod
    def from_volume_view(cls, record: Record) -> Self:
        """Read a row of `lsvdiskhostmap`."""
        return cls(
            host_id=record.text("host_id"),
            host_name=record.text("host_name"),
            scsi_id=record.number("SCSI_id", 0),
            volume_id=record.text("id"),
            volume_name=record.text("name"),
            volume_uid=record.text("vdisk_UID").upper(),
        )


@dataclass(frozen=True, slots=True)
class Partnership:
    """A system this one knows; the first of the list is itself, with an empty state."""

    id: str
    name: str
    location: str
    state: str

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read a row of `lspartnership`."""
        return cls(
            id=record.text("id"),
            name=record.text("name"),
            location=record.text("location", ""),
            state=record.text("partnership", ""),
        )


@dataclass(frozen=True, slots=True)
class ArrayHost:
    """A host as the array knows it."""

    id: str
    name: str
    status: str

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read a row of `lshost`."""
        return cls(id=record.text("id"), name=record.text("name"), status=record.text("status", ""))


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the array's event log."""

    sequence_number: str
    status: str
    error_code: str
    description: str
    object_type: str
    object_name: str

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Read a row of `lseventlog`."""
        return cls(
            sequence_number=record.text("sequence_number"),
            status=record.text("status", ""),
            error_code=record.text("error_code", ""),
            description=record.text("description", ""),
            object_type=record.text("object_type", ""),
            object_name=record.text("object_name", ""),
        )


def _members(record: Record, id_key: str, name_key: str) -> tuple[tuple[str, str], ...]:
    ids, names = record.all(id_key), record.all(name_key)
    if len(ids) != len(names):
        raise SvcAnswerError(f"{len(ids)} times {id_key}, but {len(names)} times {name_key}")
    return tuple(zip(ids, names, strict=True))


class _Common(TypedDict):
    id: str
    name: str
    master_system_id: str
    master_system_name: str
    aux_system_id: str
    aux_system_name: str
    primary: Side
    state: RemoteState
    freeze_time: datetime | None
    status: str
    sync: str
    copy_type: str
    cycling_mode: str
    cycle_period_s: int


def _remote_copy(record: Record) -> _Common:
    primary = record.text("primary", "")
    if primary not in {"", "n/a", *Side}:
        raise SvcAnswerError(f"'primary' is '{primary[:40]}', not master, aux or blank")
    return {
        "id": record.text("id"),
        "name": record.text("name"),
        "master_system_id": record.text("master_cluster_id"),
        "master_system_name": record.text("master_cluster_name"),
        "aux_system_id": record.text("aux_cluster_id"),
        "aux_system_name": record.text("aux_cluster_name"),
        "primary": Side(primary) if primary in {*Side} else Side.NONE,
        "state": record.state("state", RemoteState),
        "freeze_time": parse_time(record.text("freeze_time", "")),
        "status": record.text("status", ""),
        "sync": record.text("sync", ""),
        "copy_type": record.text("copy_type", ""),
        "cycling_mode": record.text("cycling_mode", ""),
        "cycle_period_s": record.number("cycle_period_seconds", 0),
    }
