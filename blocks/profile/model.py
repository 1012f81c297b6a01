"""What the operator asked for: storage systems, nodes, buckets and backup profiles.

The attributes, their spelling and defaults are those of IBM's Cloud Backup Management
(docs/reference/powerha-cbm.md §3-4) and ours beside them (docs/reference/profile.md). A field's
alias is its name on the command line and in the XML. No model holds a secret.

`base.parse` builds an object from the operator's text; `Configuration` holds all objects and says
what is wrong between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import time, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from blocks.errors import ConfigError
from blocks.profile import attributes as kinds
from blocks.profile.bandwidth import BandwidthText
from blocks.profile.base import C, Configured, Fault, did_you_mean, reason
from blocks.profile.retention import RetentionText
from blocks.units import KIB, MIB

RESERVED_GROUPS = frozenset(
    {
        *("points", "claims", "journal", "maps", "keys", "keyring", "marks", "probe", "readings"),
        "drills",
        "README.txt",
    }
)
"""Top-level names of the bucket's layout, which no resource group may have."""


class Method(StrEnum):
    """What protects a resource group."""

    CLOUD = "cloud"
    REMOTE_STORAGE = "remote_storage"


class Encryption(StrEnum):
    """Who encrypts the images: nobody, the cloud's key service, the store, or we ourselves."""

    DISABLE = "Disable"
    KMS = "KMS"
    AES = "AES"
    CLIENT = "CLIENT"


class Provider(StrEnum):
    """Whose object store a bucket is in. AWS with an ENDPOINT is any server that speaks S3."""

    IBM = "IBM"
    AWS = "AWS"


class Platform(StrEnum):
    """What a node runs, or that it is the machine the worker runs on."""

    AIX = "AIX"
    LINUX = "LINUX"
    LOCAL = "LOCAL"


class StorageSystem(Configured):
    """An SVC, as the operator registered it. Without HOST_KEY no connection is made to it."""

    element = "storage_system"

    type: Annotated[str, kinds.words(svc="SVC")] = Field(default="SVC", alias="TYPE")
    addresses: kinds.Addresses = Field(alias="ADDRESSES", min_length=1)
    user: kinds.Line = Field(alias="USER", min_length=1)
    backup_profile: kinds.Truth = Field(default=True, alias="BACKUP_PROFILE")
    port: kinds.Port = Field(default=22, alias="PORT")
    host_key: kinds.Line = Field(default="", alias="HOST_KEY")
    key_file: kinds.Line = Field(default="", alias="KEY_FILE")


class Node(Configured):
    """A machine that sees the snapshot's disks, or a member of the PowerHA cluster."""

    element = "node"

    type: Annotated[Platform, kinds.words(aix="AIX", linux="LINUX", local="LOCAL")] = Field(
        default=Platform.AIX, alias="TYPE"
    )
    addresses: kinds.Addresses = Field(default=(), alias="ADDRESSES")
    user: kinds.Line = Field(default="root", alias="USER", min_length=1)
    port: kinds.Port = Field(default=22, alias="PORT")
    host_key: kinds.Line = Field(default="", alias="HOST_KEY")
    key_file: kinds.Line = Field(default="", alias="KEY_FILE")
    device_directory: kinds.Directory = Field(default="/dev/disk/by-id", alias="DEVICE_DIRECTORY")

    @classmethod
    def rules(cls, values: Mapping[str, Any]) -> Iterator[Fault]:
        """A node that is not this machine needs an address."""
        if values.get("type") != Platform.LOCAL and values.get("addresses") == ():
            yield "ADDRESSES", "required unless TYPE=LOCAL"


class BucketConfig(Configured):
    """Where images go. Its keys are in the Prefect block of the same name, never here."""

    element = "bucket"

    provider: Annotated[Provider, kinds.words(ibm="IBM", aws="AWS")] = Field(
        default=Provider.AWS, alias="CLOUD_SERVICE"
    )
    bucket: kinds.BucketName | None = Field(default=None, alias="BUCKET")
    endpoint: kinds.Url | None = Field(default=None, alias="ENDPOINT")
    region: kinds.Line = Field(default="", alias="REGION")
    prefix: kinds.Prefix = Field(default="", alias="PREFIX")
    aws_profile: kinds.Line = Field(default="", alias="AWS_PROFILE")
    role_arn: kinds.Line = Field(default="", alias="ROLE_ARN")
    service_instance_id: kinds.Line = Field(default="", alias="SERVICE_INSTANCE_ID")
    iam_endpoint: kinds.Url | None = Field(default=None, alias="IAM_ENDPOINT")
    ca_file: kinds.Directory | None = Field(default=None, alias="CA_FILE")

    @property
    def bucket_name(self) -> str:
        """The bucket's name in the store: BUCKET, or the object's own name."""
        return self.bucket or self.name

    @classmethod
    def rules(cls, values: Mapping[str, Any]) -> Iterator[Fault]:
        """Endpoints and credentials that belong to one provider are refused with another."""
        provider = values.get("provider")
        if provider == Provider.IBM and values.get("endpoint", "") is None:
            yield "ENDPOINT", "required with CLOUD_SERVICE=IBM"
        if values.get("bucket", "") is None and "name" in values:
            try:
                TypeAdapter(kinds.BucketName).validate_python(values["name"])
            except ValidationError as error:
                yield "BUCKET", f"required, since {reason(error)}"
        if provider == Provider.AWS:
            for label, field in (
                ("SERVICE_INSTANCE_ID", "service_instance_id"),
                ("IAM_ENDPOINT", "iam_endpoint"),
            ):
                if values.get(field):
                    yield label, "only with CLOUD_SERVICE=IBM"
        if provider == Provider.IBM:
            for label, field in (("AWS_PROFILE", "aws_profile"), ("ROLE_ARN", "role_arn")):
                if values.get(field):
                    yield label, "only with CLOUD_SERVICE=AWS"


class BackupProfile(Configured):
    """How one resource group is protected; named after it. Shown as a page of attributes.

    A group may have one profile of each method: images to the cloud, and Global Mirror watched to
    a second site.
    """

    element = "backup_profile"

    enabled: kinds.Flag = Field(alias="ENABLE_BACKUP")
    method: Annotated[Method, kinds.words(cloud="cloud", remote_storage="remote_storage")] = Field(
        alias="BACKUP_METHOD"
    )
    replicated_resources: kinds.Line = Field(alias="REPLICATED_RESOURCES", min_length=1)
    storage_names: kinds.Names = Field(alias="STORAGE_NAME", min_length=1)
    volume_groups: kinds.Names = Field(default=(), alias="VOLUME_GROUP")
    bucket_name: kinds.NameIfAny = Field(default="", alias="BUCKET_NAME")
    target_location: kinds.Directory | None = Field(default=None, alias="TARGET_LOCATION")
    staging: kinds.Flag = Field(default=False, alias="STAGING")
    schedule: kinds.Clock = Field(default=time(0, 42), alias="BACKUP_SCHEDULE")
    timezone: kinds.Zone = Field(default="UTC", alias="TIMEZONE")
    backup_frequency: kinds.Days | None = Field(default=timedelta(days=1), alias="BACKUP_FREQUENCY")
    incremental_frequency: kinds.Hours | None = Field(
        default=None, alias="INCREMENTAL_BACKUP_FREQUENCY"
    )
    grace_percent: kinds.Percent = Field(default=10.0, alias="GRACE_PERCENT")
    cloud_service: Annotated[Provider, kinds.words(ibm="IBM", aws="AWS")] | None = Field(
        default=None, alias="CLOUD_SERVICE"
    )
    compression: kinds.Switch = Field(default=False, alias="COMPRESSION")
    encryption: Annotated[
        Encryption, kinds.words(disable="Disable", kms="KMS", aes="AES", client="CLIENT")
    ] = Field(default=Encryption.DISABLE, alias="ENCRYPTION")
    key_id: kinds.Line = Field(default="", alias="KEY_ID")
    extent_bytes: kinds.Size = Field(default=256 * KIB, alias="EXTENT_SIZE")
    retention: RetentionText | None = Field(default=None, alias="RETENTION")
    object_lock_days: kinds.DayCount = Field(default=0, alias="OBJECT_LOCK_DAYS")
    compaction: kinds.Compaction = Field(default=None, alias="COMPACTION")
    verify_days: kinds.DayCount = Field(default=30, alias="VERIFY_DAYS")
    drill_frequency: kinds.Days | None = Field(default=None, alias="DRILL_FREQUENCY")
    drill_targets: kinds.Targets = Field(default=(), alias="DRILL_TARGETS")
    drill_directory: kinds.Directory | None = Field(default=None, alias="DRILL_DIRECTORY")
    drill_probe: kinds.Command | None = Field(default=None, alias="DRILL_PROBE")
    drill_fsck: kinds.Flag = Field(default=False, alias="DRILL_FSCK")
    drill_mount: kinds.Flag = Field(default=False, alias="DRILL_MOUNT")
    bandwidth_limit: BandwidthText | None = Field(default=None, alias="BANDWIDTH_LIMIT")
    rpo: kinds.Duration | None = Field(default=None, alias="RPO")
    pre_freeze: kinds.Command | None = Field(default=None, alias="PRE_FREEZE")
    post_thaw: kinds.Command | None = Field(default=None, alias="POST_THAW")
    host: kinds.NameIfAny = Field(default="", alias="HOST")
    site: kinds.NameIfAny = Field(default="", alias="SITE")
    capture_workers: kinds.WorkerCount = Field(default=1, alias="CAPTURE_WORKERS")
    notify_method: kinds.Command | None = Field(default=None, alias="NOTIFY_METHOD")

    @classmethod
    def foreign(cls, values: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the attributes of the other method."""
        match values.get("method"):
            case Method.CLOUD:
                return dict.fromkeys(_REMOTE_ONLY, "BACKUP_METHOD=remote_storage")
            case Method.REMOTE_STORAGE:
                return dict.fromkeys(_CLOUD_ONLY, "BACKUP_METHOD=cloud")
            case _:
                return {}

    @property
    def title(self) -> str:
        """Its class, name and method, for messages."""
        return f"backup_profile {self.name} ({self.method})"

    @classmethod
    def rules(cls, values: Mapping[str, Any]) -> Iterator[Fault]:
        """Say what powerha-cbm.md §4 and docs/reference/profile.md forbid."""
        if values.get("name") in RESERVED_GROUPS:
            yield "name", f"'{values['name']}' is a folder of the bucket's own layout"
        if "," in values.get("replicated_resources", ""):
            # Two groups are started at two instants: what they hold would not belong together.
            yield "REPLICATED_RESOURCES", "one consistency group: one moment for all volumes"
        method = values.get("method")
        if method == Method.REMOTE_STORAGE:
            names = values.get("storage_names")
            if names is not None and len(names) != 2:
                yield (
                    "STORAGE_NAME",
                    "two storage systems are needed with BACKUP_METHOD=remote_storage, "
                    f"the primary first; {len(names)} given",
                )
        elif method == Method.CLOUD:
            yield from _cloud_rules(values)


def _cloud_rules(values: Mapping[str, Any]) -> Iterator[Fault]:
    if values.get("bucket_name") == "":
        yield "BUCKET_NAME", "required with BACKUP_METHOD=cloud"
    full, incremental = values.get("backup_frequency"), values.get("incremental_frequency")
    if "backup_frequency" in values and full is None:
        yield "BACKUP_FREQUENCY", "required with BACKUP_METHOD=cloud"
    if full is not None and incremental is not None and incremental >= full:
        yield (
            "INCREMENTAL_BACKUP_FREQUENCY",
            "must be shorter than BACKUP_FREQUENCY, which is a full backup's",
        )
    if values.get("staging") and values.get("target_location", "") is None:
        yield "TARGET_LOCATION", "required with STAGING=yes"
    encryption, service = values.get("encryption"), values.get("cloud_service")
    if encryption == Encryption.AES and service == Provider.AWS:
        yield "ENCRYPTION", "AES is IBM's: use it with CLOUD_SERVICE=IBM, or choose KMS or CLIENT"
    if encryption == Encryption.CLIENT and values.get("compaction") is not None:
        yield "COMPACTION", "sealed frames stay where they are: not with ENCRYPTION=CLIENT"
    extent = values.get("extent_bytes")
    if extent is not None and (not 64 * KIB <= extent <= 4 * MIB or extent & (extent - 1)):
        yield "EXTENT_SIZE", "must be a power of two from 64KiB to 4MiB"
    yield from _drill_rules(values)
    if values.get("post_thaw") and values.get("pre_freeze", "") is None:
        yield "POST_THAW", "undoes PRE_FREEZE, which is not given"


def _drill_rules(values: Mapping[str, Any]) -> Iterator[Fault]:
    drilled = values.get("drill_frequency")
    if drilled is not None and drilled % timedelta(days=1):
        yield "DRILL_FREQUENCY", "must be whole days"
    if values.get("drill_targets") and values.get("drill_directory") is not None:
        yield "DRILL_DIRECTORY", "is for scratch files, and DRILL_TARGETS names disks"


_CLOUD_ONLY = (
    "BUCKET_NAME",
    "TARGET_LOCATION",
    "STAGING",
    "BACKUP_SCHEDULE",
    "TIMEZONE",
    "BACKUP_FREQUENCY",
    "INCREMENTAL_BACKUP_FREQUENCY",
    "GRACE_PERCENT",
    "CLOUD_SERVICE",
    "COMPRESSION",
    "ENCRYPTION",
    "KEY_ID",
    "EXTENT_SIZE",
    "RETENTION",
    "OBJECT_LOCK_DAYS",
    "COMPACTION",
    "VERIFY_DAYS",
    "DRILL_FREQUENCY",
    "DRILL_TARGETS",
    "DRILL_DIRECTORY",
    "DRILL_PROBE",
    "DRILL_FSCK",
    "DRILL_MOUNT",
    "BANDWIDTH_LIMIT",
    "CAPTURE_WORKERS",
    "PRE_FREEZE",
    "POST_THAW",
)
_REMOTE_ONLY = ("RPO",)


class Configuration(BaseModel):
    """Everything the operator asked for: the content of the XML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str = ""
    storage_systems: tuple[StorageSystem, ...] = ()
    nodes: tuple[Node, ...] = ()
    buckets: tuple[BucketConfig, ...] = ()
    profiles: tuple[BackupProfile, ...] = ()

    @property
    def cluster_name(self) -> str:
        """The PowerHA cluster's name; its default is IBM's, `<first node>_cluster`."""
        if self.cluster:
            return self.cluster
        members = [node for node in self.nodes if node.type == Platform.AIX] or list(self.nodes)
        return f"{members[0].name}_cluster" if members else "cluster"

    def objects(self) -> tuple[Configured, ...]:
        """Return every object, in the order of the file."""
        return (*self.storage_systems, *self.nodes, *self.buckets, *self.profiles)

    def storage_system(self, name: str) -> StorageSystem:
        """Return a storage system by its name."""
        return _find(self.storage_systems, StorageSystem, name)

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return _find(self.nodes, Node, name)

    def bucket(self, name: str) -> BucketConfig:
        """Return a bucket by its name."""
        return _find(self.buckets, BucketConfig, name)

    def profile(self, name: str, method: str = Method.CLOUD) -> BackupProfile:
        """Return a resource group's profile of a method.

        Raises:
            ConfigError: there is none; the message says which there are.
        """
        same_name = [profile for profile in self.profiles if profile.name == name]
        for profile in same_name:
            if profile.method == method:
                return profile
        if same_name:
            raise ConfigError(
                f"resource group {name} has no {method} profile, only {same_name[0].method}",
                hint=f"Add one: flashvault add backup_profile {name} BACKUP_METHOD={method} …",
            )
        return _find((), BackupProfile, name, [profile.name for profile in self.profiles])

    def reading_node(self, profile: BackupProfile) -> Node:
        """Return the node that reads a profile's snapshot: HOST, or the only one there is.

        Raises:
            ConfigError: HOST is not given and there is no node, or more than one.
        """
        if profile.host:
            return self.node(profile.host)
        if len(self.nodes) == 1:
            return self.nodes[0]
        raise ConfigError(
            f"{profile.title}: {'no' if not self.nodes else 'more than one'} node is registered "
            "and HOST does not say which reads the snapshot",
            hint=f"flashvault modify backup_profile {profile.name} HOST=<node>",
        )

    def faults(self) -> list[tuple[Configured, str]]:
        """Return what is wrong between objects, as (object, `ATTRIBUTE: what`)."""
        found: list[tuple[Configured, str]] = []
        seen: set[tuple[str, str, str]] = set()
        for item in self.objects():
            key = (item.element, item.name, getattr(item, "method", ""))
            if key in seen:
                found.append((item, "name: there is another of this name"))
            seen.add(key)
        nodes = {node.name for node in self.nodes}
        buckets = {bucket.name: bucket for bucket in self.buckets}
        for profile in self.profiles:
            if profile.host and profile.host not in nodes:
                hint = did_you_mean(profile.host, nodes)
                found.append((profile, f"HOST: there is no node '{profile.host}'{hint}"))
            bucket = buckets.get(profile.bucket_name)
            if bucket is not None:
                found.extend((profile, fault) for fault in _bucket_faults(profile, bucket))
        return found

    def loose_ends(self) -> list[tuple[BackupProfile, str]]:
        """Return what profiles refer to and nobody has registered (yet).

        Not a fault of the file: IBM's own example names a second storage system before it is
        added. Nothing can run until it is there.
        """
        systems = [system.name for system in self.storage_systems]
        buckets = [bucket.name for bucket in self.buckets]
        found = []
        for profile in self.profiles:
            for name in profile.storage_names:
                if name not in systems:
                    hint = did_you_mean(name, systems)
                    found.append(
                        (profile, f"STORAGE_NAME: storage system '{name}' is not registered{hint}")
                    )
            if profile.bucket_name and profile.bucket_name not in buckets:
                hint = did_you_mean(profile.bucket_name, buckets)
                found.append(
                    (
                        profile,
                        f"BUCKET_NAME: bucket '{profile.bucket_name}' is not registered{hint}",
                    )
                )
        return found


def _bucket_faults(profile: BackupProfile, bucket: BucketConfig) -> Iterator[str]:
    if profile.cloud_service and profile.cloud_service != bucket.provider:
        named = f"bucket {bucket.name} is {bucket.provider}"
        yield f"CLOUD_SERVICE: {profile.cloud_service}, but {named}"
    if profile.encryption == Encryption.AES and bucket.provider != Provider.IBM:
        yield f"ENCRYPTION: AES is IBM's, and bucket {bucket.name} is {bucket.provider}"


def _find(objects: Iterable[C], model: type[C], name: str, known: Iterable[str] | None = None) -> C:
    by_name = {item.name: item for item in objects}
    if name in by_name:
        return by_name[name]
    names = list(by_name) if known is None else list(known)
    hint = f"Registered: {', '.join(sorted(set(names)))}." if names else f"No {model.element} yet."
    raise ConfigError(f"there is no {model.element} '{name}'{did_you_mean(name, names)}", hint=hint)


CLASSES: dict[str, type[Configured]] = {
    model.element: model for model in (StorageSystem, Node, BucketConfig, BackupProfile)
}
"""The classes of objects, by their name on the command line."""
