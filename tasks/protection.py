"""What protects a backup: encryption, a store that does what it is asked, alarms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from blocks.catalog.chain import keys_of
from blocks.catalog.keyring import check_keyrings, open_cipher
from blocks.catalog.point import PointId, RestorePoint, point_key
from blocks.catalog.signature import check_point
from blocks.errors import StoreError, WrongKey
from blocks.image.cipher import Cipher
from blocks.policy.anomaly import assess
from blocks.profile.model import BackupProfile, Configuration
from blocks.profile.model import Encryption as Wanted
from blocks.store.base import Store
from blocks.store.clients import BucketSettings, encryption_of, open_store, s3_client
from blocks.store.encryption import Mode
from blocks.store.fingerprint import (
    compare,
    recorded_fingerprint,
    save_fingerprint,
    take_fingerprint,
)
from blocks.store.kms import AwsKms, open_kms
from blocks.store.lock import lock_objects
from blocks.store.probe import Report, latest_report, probe, require, save_report
from blocks.store.throttle import Pace
from tasks import reports
from tasks.decide import Decision
from tasks.journal import state_directory
from tasks.notify import notify
from tasks.open import bucket
from tasks.plan import Asked, configured
from tasks.steps import run_log

ALARM_LOCK_FACTOR = 4
"""After an alarm the points before it are locked for so many times OBJECT_LOCK_DAYS."""

ALARM_POINTS = 30
"""So many of the newest points before the alarm, which bounds the requests."""


def profile_store(wanted: Configuration, profile: BackupProfile) -> Store:
    """Open a profile's bucket for writing: encrypted as it asks, minding what the probe found."""
    settings = _settings(wanted, profile)
    report = _report(settings)
    if report is not None:
        settings = replace(
            settings,
            conditional_put=settings.conditional_put and report.conditional_put,
            part_checksum=settings.part_checksum and report.part_checksum,
        )
    return open_store(settings)


def check_store(wanted: Configuration, profile: BackupProfile) -> None:
    """Refuse a store that cannot do what the profile asks; probe it the first time.

    Raises:
        Refused: with every reason.
    """
    settings = _settings(wanted, profile)
    if settings.provider == "FILE":
        return
    asked = encryption_of(settings)
    if asked.mode is Mode.CLIENT and not profile.key_id:
        run_log().warning("%s has no KEY_ID: another keyring would not be noticed", profile.name)
    report = _report(settings)
    if report is None or report.encryption is not asked.mode:
        opened = open_store(settings)
        run_log().info("probing %s for the first time with encryption %s", opened.url, asked.mode)
        report = probe(
            s3_client(settings),
            settings.bucket,
            settings.prefix,
            encryption=asked,
            now=datetime.now(UTC),
            url=opened.url,
        )
        require(report, object_lock=profile.object_lock_days > 0)
        save_report(opened, report)
        _report.cache_clear()
    require(report, object_lock=profile.object_lock_days > 0)


def writing_cipher(wanted: Configuration, profile: BackupProfile) -> Cipher | None:
    """Return what seals a profile's images; None if the profile does not ask for CLIENT.

    Raises:
        WrongKey: this host's key does not open the bucket's keyring, or it is not the pinned one.
    """
    if profile.encryption is not Wanted.CLIENT:
        return None
    block = bucket(wanted, profile.bucket_name)
    # A writer's key is enough, and preferred: what the host does not have, nobody takes from it.
    private_key = block.private_key.get_secret_value() or os.environ.get(_PRIVATE_KEY, "")
    passphrase = block.passphrase.get_secret_value() or os.environ.get(_PASSPHRASE, "")
    return open_cipher(
        block.get_store(),
        private_key=private_key,
        passphrase="" if private_key else passphrase,
        kms=_kms(),
        pinned_key_id=profile.key_id,
    )


def reading_cipher(asked: Asked, source: Store, point: RestorePoint) -> Cipher | None:
    """Return what opens a restore point's images; None if they are not encrypted by us.

    Raises:
        WrongKey: as `reading_ciphers`.
    """
    return reading_ciphers(asked, source, [point])[point.id]


def reading_ciphers(
    asked: Asked, source: Store, points: Sequence[RestorePoint], *, metadata_only: bool = False
) -> dict[PointId, Cipher | None]:
    """Return what opens the images of each point; None where they are not encrypted by us.

    The secrets are FLASHVAULT_PASSPHRASE and FLASHVAULT_PRIVATE_KEY, else the bucket's own in
    Prefect: a restore on a bare machine needs no server.

    Args:
        asked: what a person asked for; names the bucket.
        source: the bucket.
        points: what is to be read.
        metadata_only: maps are enough, which a writer's key opens as well.

    Raises:
        WrongKey: nothing at hand opens the keyring, or only a writer's key does: said before
            anything is written.
        CorruptData: a point was altered, or not written by a holder of the key.
    """
    if not any(point.key_ids for point in points):
        return {point.id: None for point in points}
    passphrase, private_key = _reading_secrets(asked)
    cipher = open_cipher(source, passphrase=passphrase, private_key=private_key, kms=_kms())
    if not (cipher.can_read or metadata_only):
        raise WrongKey(
            f"the restore points of {asked.group} are encrypted, this host's key can only write",
            hint=f"Set {_PASSPHRASE} or {_PRIVATE_KEY} to a reader's, for this run only.",
        )
    for point in points:
        if point.key_ids and not os.environ.get(_ACCEPT_UNSIGNED):
            check_point(cipher, point)
    return {
        point.id: cipher.for_key(point.key_ids[0]) if point.key_ids else None for point in points
    }


def _reading_secrets(asked: Asked) -> tuple[str, str]:
    passphrase, private_key = os.environ.get(_PASSPHRASE, ""), os.environ.get(_PRIVATE_KEY, "")
    wanted = configured(asked)
    name = asked.bucket or (wanted.profile(asked.group).bucket_name if wanted else "")
    if wanted is None or "://" in name:
        return passphrase, private_key
    block = bucket(wanted, name)
    return (
        passphrase or block.passphrase.get_secret_value(),
        private_key or block.private_key.get_secret_value(),
    )


def _kms() -> AwsKms | None:
    """Return AWS KMS where this host is told to use it; its credentials are the AWS chain's."""
    region = os.environ.get(_KMS_REGION, "")
    return open_kms(region) if region else None


def watch(
    wanted: Configuration, profile: BackupProfile, decision: Decision, point: RestorePoint
) -> list[str]:
    """Look for signs of an attack after a backup; tell people, and never fail the backup.

    Returns:
        What is unusual, for the report.
    """
    said = []
    alarm = assess(decision.history, point)
    if alarm is not None:
        said.append(f"this backup is unlike those before it: {alarm.text}")
        reports.event("backup.suspicious", profile.name, restore_point=point.id, why=alarm.text)
        notify(
            profile,
            "backup_suspicious",
            "error" if alarm.is_severe else "warning",
            alarm.text,
            job_id=point.id,
        )
        # Whoever is at work may come back for what is older: it stays out of reach for longer.
        longer = profile.object_lock_days * ALARM_LOCK_FACTOR
        said += _lock(wanted, profile, decision.history[-ALARM_POINTS:], days=longer)
    said += _changed_settings(wanted, profile)
    said += lock_point(wanted, profile, point)
    for warning in said:
        run_log().warning("%s", warning)
    return said


def lock_point(wanted: Configuration, profile: BackupProfile, point: RestorePoint) -> list[str]:
    """Lock all that a point needs for OBJECT_LOCK_DAYS; say what could not be locked."""
    return _lock(wanted, profile, [point], days=profile.object_lock_days)


_PASSPHRASE = "FLASHVAULT_PASSPHRASE"  # noqa: S105 - the name of a variable
_PRIVATE_KEY = "FLASHVAULT_PRIVATE_KEY"
_KMS_REGION = "FLASHVAULT_KMS_REGION"
_ACCEPT_UNSIGNED = "FLASHVAULT_ACCEPT_UNSIGNED"
"""Set it to read points that nobody signed, such as those rebuilt from images alone."""


def _changed_settings(wanted: Configuration, profile: BackupProfile) -> list[str]:
    """Compare the bucket's protective settings with those recorded, and record them once."""
    settings = _settings(wanted, profile)
    if settings.provider == "FILE":
        return []
    try:
        opened = open_store(settings)
        now = datetime.now(UTC)
        found = take_fingerprint(s3_client(settings), settings.bucket, now=now)
        recorded = recorded_fingerprint(opened)
        if recorded is None:
            save_fingerprint(opened, found)
            return []
    except StoreError as error:
        # The restore point exists; what could not be looked at is looked at next time.
        return [f"the settings of {profile.bucket_name} could not be compared: {error}"]
    changes = [f"{profile.bucket_name}: {change}" for change in compare(recorded, found)]
    if changes:
        reports.event("bucket.changed", profile.name, changes=changes)
        notify(profile, "bucket_changed", "error", "; ".join(changes))
    return changes


def _lock(
    wanted: Configuration, profile: BackupProfile, points: Sequence[RestorePoint], *, days: int
) -> list[str]:
    """Lock everything a restore of the points needs, also older images; locks are only extended."""
    if not days or not points:
        return []
    settings = _settings(wanted, profile)
    until = datetime.now(UTC) + timedelta(days=days)
    keys = {*(point_key(point.group, point.id) for point in points), *keys_of(points)}
    newest = points[-1].id
    try:
        if any(point.key_ids for point in points):
            keys |= {copy.key for copy in check_keyrings(open_store(settings)) if not copy.fault}
        everything = sorted(settings.prefix + key for key in keys)
        count = lock_objects(s3_client(settings), settings.bucket, everything, until=until)
    except StoreError as error:
        notify(profile, "lock_failed", "error", str(error), job_id=newest)
        reports.event("lock.failed", profile.name, restore_point=newest, why=str(error))
        return [f"restore point {newest} is NOT wholly locked: {error}"]
    run_log().info("locked %d objects until %s", count, until.isoformat(timespec="seconds"))
    return []


def _settings(wanted: Configuration, profile: BackupProfile) -> BucketSettings:
    mode = Mode(profile.encryption.value.upper())
    settings = bucket(wanted, profile.bucket_name).get_settings()
    return replace(
        settings,
        encryption=mode.value,
        kms_key_id=profile.key_id if mode is Mode.KMS else "",
        customer_key=settings.customer_key if mode is Mode.AES else "",
        pace=_pace(profile),
    )


def _pace(profile: BackupProfile) -> Pace | None:
    limit = profile.bandwidth_limit
    if limit is None:
        return None
    hours = tuple(
        (_minute(rule.begin), _minute(rule.end), rule.bytes_per_s) for rule in limit.hours
    )
    return Pace(limit.otherwise, hours, profile.timezone, str(state_directory() / "pace"))


def _minute(at: time) -> int:
    return at.hour * 60 + at.minute


@lru_cache(maxsize=32)
def _report(settings: BucketSettings) -> Report | None:
    """Return the bucket's last probe; read once in a process, since it changes with the store."""
    return None if settings.provider == "FILE" else latest_report(open_store(settings))
