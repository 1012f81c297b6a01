"""Claim a run's place in the bucket before anything is stored, and commit it at the end.

Twins: `claim` announces the run and protects what it builds on; `publish` makes the restore point
exist. What lies between is nothing yet, and `withdraw` removes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from blocks.catalog import shelf
from blocks.catalog.claims import begin_intent, end_intent, read_intents
from blocks.catalog.leftovers import remove_uncommitted
from blocks.catalog.point import Kind, RestorePoint, StoredObject, image_folder
from blocks.catalog.signature import check_point, sign_point
from blocks.errors import BrokenChain, CorruptData
from blocks.image.digest import maps_digest
from blocks.profile.model import BackupProfile, Configuration
from blocks.units import format_size
from tasks.capture import CapturedVolume, settings_of
from tasks.decide import Decision
from tasks.open import configuration, store
from tasks.preflight import Seen
from tasks.protection import profile_store, writing_cipher
from tasks.run import Run
from tasks.snapshot import Snapshot
from tasks.steps import CONTROL_S, run_log, step

CLAIMED = "claimed"


@step(name="claim-{profile.name}", timeout_s=CONTROL_S)
def claim(run: Run, wanted: Configuration, profile: BackupProfile, decision: Decision) -> Decision:
    """Announce the run in the bucket; a parent that is being pruned is let go of.

    Returns:
        The decision, turned into a full if its parent cannot be built on any more.
    """
    run.check()
    bucket = profile_store(wanted, profile)
    decision = _trusted(wanted, profile, decision)
    run.journal.made(CLAIMED, bucket=profile.bucket_name, group=profile.name, run=run.id)
    try:
        begin_intent(bucket, profile.name, run.id, parent=decision.parent)
    except BrokenChain as error:
        run_log().warning("no incremental on %s: %s", decision.parent and decision.parent.id, error)
        decision = decision.as_full(str(error))
        begin_intent(bucket, profile.name, run.id)
    return decision


def _trusted(wanted: Configuration, profile: BackupProfile, decision: Decision) -> Decision:
    """Let go of a parent that is not as a holder of the key has written it."""
    cipher = writing_cipher(wanted, profile)
    if cipher is None or decision.parent is None or not decision.parent.key_ids:
        return decision
    try:
        check_point(cipher, decision.parent)
    except CorruptData as error:
        run_log().warning("no incremental: %s", error)
        return decision.as_full(str(error))
    return decision


@step(name="publish-{profile.name}", timeout_s=CONTROL_S)
def publish(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    decision: Decision,
    seen: Seen,
    snapshot: Snapshot,
    captured: Sequence[CapturedVolume],
) -> RestorePoint:
    """Check that every object is there, then write the restore point: the commit.

    The claim is ended with the run: until then the point's objects are protected twice.
    """
    run.check()
    how = settings_of(wanted, profile, len(captured))
    point = RestorePoint(
        id=run.id,
        group=profile.name,
        cluster=wanted.cluster_name,
        storage_system=snapshot.storage_system,
        consistency_group=snapshot.consistency_group,
        kind=Kind.FULL if all(volume.is_full for volume in captured) else Kind.INCREMENTAL,
        parent=decision.parent.id if decision.parent else None,
        taken_at=snapshot.taken_at,
        committed_at=datetime.now(UTC),
        array_start_time=snapshot.array_start_time,
        reading_host=seen.reader,
        volumes=tuple(volume.image for volume in captured),
        objects=_distinct(captured),
        maps_digest=maps_digest([volume.image.map_digest for volume in captured]),
        codec=how.codec,
        digest_algorithm=how.digester.algorithm,
        key_ids=how.cipher.key_ids if how.cipher else (),
        tool_version=version("flashvault"),
    )
    if how.cipher is not None:
        point = sign_point(how.cipher, point)
    bucket = profile_store(wanted, profile)
    committed = shelf.publish(bucket, point)
    run_log().info(
        "published %s restore point %s: %d volumes of %s, %s stored",
        committed.kind,
        committed.id,
        len(committed.volumes),
        format_size(committed.size_bytes),
        format_size(committed.stored_bytes),
    )
    return committed


def withdraw(facts: dict[str, Any]) -> None:
    """End a run's claim: what it stored stays if it has committed, and is removed if not."""
    bucket = store(configuration(), facts["bucket"])
    group, run_id = facts["group"], facts["run"]
    folder = image_folder(group, run_id)
    for intent in read_intents(bucket, group):
        if intent.run_id == run_id and not end_intent(bucket, intent):
            remove_uncommitted(bucket, folder)


def _distinct(captured: Sequence[CapturedVolume]) -> tuple[StoredObject, ...]:
    """Return every object once, in order of their keys."""
    found = {item.key: item for volume in captured for item in volume.objects}
    return tuple(found[key] for key in sorted(found))
