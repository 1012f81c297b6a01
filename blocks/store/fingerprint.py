"""What keeps a bucket's objects safe, and an alarm when somebody changed it.

Whoever steals the credentials of a bucket first turns off what protects it: locks, versions,
encryption, or sets a rule that expires everything. The settings are recorded once and compared
before each backup. What cannot be read for lack of a permission is recorded as such: losing the
permission is a change as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from blocks.errors import CorruptData, StoreUnavailable
from blocks.store.base import Store
from blocks.store.s3_errors import error_code

FOLDER = "probe/settings/"

UNREADABLE = "not permitted to read"
NONE = "none"

_ABSENT = {
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ReplicationConfigurationNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration",
}
_UNKNOWN = {"NotImplemented", "501", "MethodNotAllowed", "405", "404", "NoSuchKey"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}


class Fingerprint(BaseModel):
    """The protective settings of a bucket at one time, each as a short text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["flashvault-bucket-settings"] = "flashvault-bucket-settings"
    format_version: Literal[1] = 1
    taken_at: AwareDatetime
    versioning: str
    object_lock: str
    encryption: str
    lifecycle: str
    policy: str
    public_access: str


class Change(BaseModel):
    """One setting that is not what it was."""

    model_config = ConfigDict(frozen=True)

    setting: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.setting} was {self.before}, is {self.after}"


_SETTINGS = ("versioning", "object_lock", "encryption", "lifecycle", "policy", "public_access")


def take_fingerprint(client: Any, bucket: str, *, now: datetime) -> Fingerprint:
    """Read the settings of a bucket.

    Args:
        client: a boto3 or ibm_boto3 S3 client.
        bucket: its name.
        now: aware UTC.

    Raises:
        StoreUnavailable: the store did not answer; that says nothing about the settings.
    """

    def ask(call: str, read: Callable[[Mapping[str, Any]], str]) -> str:
        try:
            return read(getattr(client, call)(Bucket=bucket))
        except Exception as error:
            code = error_code(error)
            if code in _ABSENT or code in _UNKNOWN:
                return NONE
            if code in _DENIED:
                return UNREADABLE
            raise StoreUnavailable(f"{bucket}: {call}: {error}") from error

    return Fingerprint(
        taken_at=now,
        versioning=ask("get_bucket_versioning", _versioning),
        object_lock=ask("get_object_lock_configuration", _object_lock),
        encryption=ask("get_bucket_encryption", _encryption),
        lifecycle=ask("get_bucket_lifecycle_configuration", _lifecycle),
        policy=ask("get_bucket_policy", lambda answer: _short(answer.get("Policy"))),
        public_access=ask(
            "get_public_access_block",
            lambda answer: _short(answer.get("PublicAccessBlockConfiguration")),
        ),
    )


def compare(recorded: Fingerprint, found: Fingerprint) -> list[Change]:
    """Return every setting that differs, safer or not: somebody changed it, and people should know.

    Nothing differs between a fingerprint and itself; a permission lost is a change.
    """
    return [
        Change(setting=setting, before=before, after=after)
        for setting in _SETTINGS
        if (before := getattr(recorded, setting)) != (after := getattr(found, setting))
    ]


def save_fingerprint(store: Store, fingerprint: Fingerprint) -> str:
    """Record a fingerprint, under a key of its own; return the key."""
    key = f"{FOLDER}{fingerprint.taken_at.strftime('%Y%m%dT%H%M%S.%fZ')}.json"
    store.put(key, fingerprint.model_dump_json(indent=2).encode() + b"\n")
    return key


def recorded_fingerprint(store: Store) -> Fingerprint | None:
    """Return the newest recorded fingerprint; None if none was ever recorded.

    Raises:
        CorruptData: there is one, and it cannot be read.
    """
    keys = [info.key for info in store.list(FOLDER) if info.key.endswith(".json")]
    if not keys:
        return None
    try:
        return Fingerprint.model_validate_json(store.get(max(keys)))
    except ValidationError as error:
        raise CorruptData(f"{max(keys)} is no record of a bucket's settings") from error


def _versioning(answer: Mapping[str, Any]) -> str:
    delete = f", MFA delete {answer['MFADelete']}" if answer.get("MFADelete") else ""
    return f"{answer.get('Status', 'off').lower()}{delete}"


def _object_lock(answer: Mapping[str, Any]) -> str:
    lock = answer.get("ObjectLockConfiguration", {})
    if lock.get("ObjectLockEnabled") != "Enabled":
        return NONE
    rule = lock.get("Rule", {}).get("DefaultRetention", {})
    if not rule:
        return "enabled, no default retention"
    span = f"{rule['Days']} days" if "Days" in rule else f"{rule.get('Years')} years"
    return f"enabled, {rule.get('Mode', '').lower()} for {span} by default"


def _encryption(answer: Mapping[str, Any]) -> str:
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    shown = [
        " ".join(filter(None, (rule.get("SSEAlgorithm"), rule.get("KMSMasterKeyID"))))
        for rule in defaults
    ]
    return ", ".join(filter(None, shown)) or NONE


def _lifecycle(answer: Mapping[str, Any]) -> str:
    rules = [rule for rule in answer.get("Rules", []) if rule.get("Status") == "Enabled"]
    return _short(rules) if rules else NONE


def _short(setting: Any) -> str:
    """Return a short text that changes whenever the setting does, whatever its field order."""
    if not setting:
        return NONE
    if isinstance(setting, str):
        try:
            setting = json.loads(setting)
        except ValueError:
            return "an answer that makes no sense"  # a store that knows no such request
    text = json.dumps(setting, sort_keys=True, default=str)
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
