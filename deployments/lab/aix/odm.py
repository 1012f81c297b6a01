"""What a node remembers (its ODM), and what a disk of a volume group says about itself (its label).

A label is not among the bytes of a volume: whoever writes a whole disk from outside, as tests and
restores do, would destroy it, and a disk without one could not carry the bytes somebody put there.
So it is kept beside the volume and follows FlashCopy and mirrors; `..labels` does that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

MIB = 1024 * 1024
MAX_PARTITIONS = 1016
BLANK = "none"


@dataclass
class LogicalVolume:
    """A logical volume; `mount` is empty when it holds no file system."""

    name: str
    kind: str
    partitions: int
    disks: int
    mount: str = ""


@dataclass
class Descriptor:
    """A volume group's descriptor area (VGDA), the same on each of its disks."""

    vgid: str
    pvids: list[str]
    logical_volumes: list[LogicalVolume]
    partition_mib: int
    is_concurrent: bool = False


@dataclass
class Label:
    """What one disk says about itself."""

    pvid: str
    descriptor: Descriptor | None = None


@dataclass
class Hdisk:
    """A disk as it was configured; `pvid` is what the node read then. `uid` is empty for hdisk0."""

    name: str
    uid: str
    pvid: str = ""
    is_available: bool = True
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class VolumeGroup:
    """A volume group this node knows, varied on or not."""

    name: str
    descriptor: Descriptor
    hdisks: list[str]
    major: int
    is_on: bool = False
    is_read_only: bool = False


@dataclass
class Stanza:
    """A file system of /etc/filesystems."""

    mount: str
    device: str
    volume_group: str


@dataclass
class NodeState:
    """Everything a node remembers.

    `frozen` holds when each frozen file system thaws by itself, `directories` those that were made.
    """

    name: str
    hdisks: dict[str, Hdisk] = field(default_factory=dict)
    groups: dict[str, VolumeGroup] = field(default_factory=dict)
    file_systems: dict[str, Stanza] = field(default_factory=dict)
    mounted: dict[str, str] = field(default_factory=dict)
    frozen: dict[str, float] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    is_behind_vios: bool = False
    has_python: bool = True


def fresh_id(*parts: str, digits: int = 16) -> str:
    """Return an id as AIX makes them: the machine's number first."""
    return "00f6" + hashlib.sha256(" ".join(parts).encode()).hexdigest()[: digits - 4]


def partition_mib(size_bytes: int) -> int:
    """Return the size of a physical partition for a disk: at most 1016 on each."""
    size = 1 if size_bytes < 64 * MIB else 4
    while size_bytes // (size * MIB) > MAX_PARTITIONS:
        size *= 2
    return size


def svc_udid(uid: str) -> str:
    """Return an SVC volume's UDID: length-prefixed fields, see aix-host.md §2."""
    body = f"21{'3' + uid}042145" + "03IBMfcp"
    return f"{len(body) + 2:02X}{body}"


def nested_udid(udid: str) -> str:
    """Return the UDID of a disk that a VIOS serves from the disk with this one."""
    body = f"{len(udid):02X}{udid}05VDASD03AIXvscsi"
    return f"{len(body) + 2:02X}{body}"


LOCAL_UDID = nested_udid("3E21360170E50202E5A5A0000025E50A12AB20F1746      FAStT03IBMfcp")
LOCAL_DISK_MIB = 35840
