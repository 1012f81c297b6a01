"""A restore point: one moment of a whole consistency group, all volumes or none.

The document defined here is stored as JSON under `points/<group>/<id>.json`, written last: until it
exists there is no restore point (docs/reference/format.md §6, docs/adr/0003-commit-last.md).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NewType

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from ulid import ULID

from blocks.errors import ConfigError

FORMAT_VERSION: Literal[1] = 1

PointId = NewType("PointId", str)
"""A ULID: sorts by the time it was made, never reused."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""32 bytes in lower-case hex."""


class Kind(StrEnum):
    """Whether the images of a point stand alone or build on a parent's."""

    FULL = "full"
    INCREMENTAL = "incremental"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredObject(_Document):
    """One object a point needs, its own or an earlier point's.

    `etag` (and `version_id` where the bucket has versions) pins reads; `digest` is BLAKE3 over the
    stored bytes, for whoever reads the object whole.
    """

    key: str
    size_bytes: int = Field(ge=0)
    etag: str
    version_id: str | None = None
    digest: Digest | None = None


class PageRef(_Document):
    """One page of a volume's map: the fates of up to 65,536 extents from `first_extent` on."""

    object: StoredObject
    first_extent: int = Field(ge=0)
    extent_count: int = Field(gt=0)


class VolumeImage(_Document):
    """One volume at the moment of the point: who it is, and where its bytes are."""

    name: str = Field(description="the volume's name on the array")
    uid: str = Field(description="vdisk UID: 32 upper-case hex digits")
    size_bytes: int = Field(gt=0)
    disk: str = Field(description="the source disk's name on the node that owned the group")
    pvid: str = ""
    volume_group: str = ""
    major_number: int | None = None
    extent_bytes: int = Field(gt=0)
    map_digest: Digest = Field(description="over the digests of all extents, in order")
    pages: tuple[PageRef, ...]
    read_bytes: int = Field(ge=0)
    zero_bytes: int = Field(ge=0)
    changed_bytes: int = Field(ge=0, description="plain bytes of extents stored by this point")
    stored_bytes: int = Field(ge=0, description="bytes this point added to the store")
    image_keys: tuple[str, ...] = Field(description="image objects this point wrote, in disk order")


class RestorePoint(_Document):
    """The record whose existence is the commit."""

    format_version: Literal[1] = FORMAT_VERSION
    id: PointId
    group: str = Field(description="the resource group, which is the profile's name")
    cluster: str
    storage_system: str
    consistency_group: str
    kind: Kind
    parent: PointId | None = None
    taken_at: AwareDatetime = Field(description="when the FlashCopy group was started")
    committed_at: AwareDatetime
    array_start_time: str = Field(default="", description="as the array prints it: YYMMDDhhmmss")
    reading_host: str
    volumes: tuple[VolumeImage, ...] = Field(min_length=1)
    objects: tuple[StoredObject, ...] = Field(description="every image object a restore needs")
    maps_digest: Digest = Field(description="over all volumes' map digests, in order")
    codec: str = Field(description="compression and encryption, e.g. zstd-1 or zstd-1+aes-256-gcm")
    digest_algorithm: Literal["blake3", "blake3-keyed", "sha256"] = "blake3"
    key_ids: tuple[str, ...] = ()
    tool_version: str
    signature: Digest | None = Field(
        default=None, description="with ENCRYPTION=CLIENT: by a holder of the key (`signature`)"
    )

    @property
    def size_bytes(self) -> int:
        """The sum of the volumes' sizes."""
        return sum(volume.size_bytes for volume in self.volumes)

    @property
    def stored_bytes(self) -> int:
        """Bytes this point added to the store."""
        return sum(volume.stored_bytes for volume in self.volumes)


CONTROL_FOLDERS = frozenset(
    {"points", "claims", "marks", "keys", "keyring", "probe", "readings", "drills"}
)
"""First folders of a bucket that hold the tool's own records, so no group can have such a name."""


def require_group_name(group: str) -> str:
    """Return the name of a group, if images can be kept under it.

    Raises:
        ConfigError: it is empty, holds `/`, or is one of the tool's own folders.
    """
    if not group or "/" in group or group in CONTROL_FOLDERS:
        raise ConfigError(
            f"'{group}' cannot be a name in a bucket",
            hint=f"Not empty, without /, and none of {', '.join(sorted(CONTROL_FOLDERS))}.",
        )
    return group


def new_id() -> PointId:
    """Make an id for a new run, which is its point's if it commits."""
    return PointId(str(ULID()))


def point_key(group: str, point_id: str) -> str:
    """Return the key of a restore point's document."""
    return f"points/{group}/{point_id}.json"


def run_of(key: str) -> PointId:
    """Return the id in the key of a point's document, or of another record named after a run."""
    return PointId(key.rsplit("/", 1)[-1].removesuffix(".json"))


def image_folder(group: str, point_id: str) -> str:
    """Return the folder that holds every object a point writes, but its own document.

    A folder belongs to one run for ever: the id is new for each, so no key is ever used twice,
    whatever the clock does.
    """
    return f"{group}/{point_id}/"


def image_name(cluster: str, group: str, volume_group: str, disk: str, taken_at: datetime) -> str:
    """Return IBM's name of a disk's image, without its suffix.

    `<cluster>_<RG>_<VG>_<hdisk>.<YYYY-MM-DD>_<HH:MM:SS.ffffff>` (docs/reference/powerha-cbm.md §6).
    It cannot be parsed back, since the fields may hold `_`: the point has the fields.
    """
    stamp = taken_at.strftime("%Y-%m-%d_%H:%M:%S.%f")
    return f"{cluster}_{group}_{volume_group}_{disk}.{stamp}"
