"""Read one volume of the snapshot into the store: what is new of it, and where everything is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.metadata import version

from blocks.catalog.labels import Labels
from blocks.catalog.point import StoredObject, VolumeImage, image_folder, image_name
from blocks.errors import ConfigError
from blocks.profile.model import BackupProfile, Configuration
from blocks.units import MIB, format_size
from tasks.decide import Decision
from tasks.open import host
from tasks.pipeline import CaptureSettings, capture_volume
from tasks.preflight import Pair, Seen
from tasks.progress import published
from tasks.protection import profile_store, writing_cipher
from tasks.run import Run
from tasks.snapshot import Snapshot
from tasks.steps import run_log, step
from tasks.target_location import staging
from tasks.transfer import Progress


@dataclass(frozen=True, slots=True)
class CapturedVolume:
    """A volume's image, every object it needs, and what was odd about it."""

    image: VolumeImage
    objects: tuple[StoredObject, ...]
    is_full: bool
    warning: str = ""


@step(name="capture-{pair.source.name}")
def capture(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    decision: Decision,
    seen: Seen,
    snapshot: Snapshot,
    pair: Pair,
    take: int = 0,
) -> CapturedVolume:
    """Capture one volume. Another try on the same snapshot goes on from the last complete part.

    `take` numbers the tries of several workers, each with image names of its own; 0 and 1 are ours.
    """
    run.check()
    disk = seen.sources.get(pair.source.uid)
    disk_name = disk.name if disk else pair.source.name
    volume_group = disk.volume_group if disk else ""
    labels = Labels(
        point=run.id,
        group=profile.name,
        cluster=wanted.cluster_name,
        storage_system=snapshot.storage_system,
        consistency_group=snapshot.consistency_group,
        parent=decision.parent.id if decision.parent else "",
        taken_at=snapshot.taken_at,
        array_start_time=snapshot.array_start_time,
        reading_host=seen.reader,
        tool_version=version("flashvault"),
        volumes=",".join(snapshot.targets),
        name=pair.source.name,
        disk=disk_name,
        pvid=disk.pvid if disk else "",
        volume_group=volume_group,
    )
    how = settings_of(wanted, profile, len(seen.pairs))
    progress = Progress(label=f"capture {disk_name}", total_bytes=pair.source.size_bytes)
    reader = host(wanted, seen.reader).open_read(snapshot.targets[pair.source.uid])
    try:
        with published(progress), staging(run, profile, pair.source.name) as place:
            captured = capture_volume(
                reader,
                profile_store(wanted, profile),
                folder=image_folder(profile.name, run.id),
                name=_image_name(wanted, profile, seen, snapshot, pair, take),
                uid=pair.source.uid,
                parent=decision.parent_of(pair.source.uid),
                settings=replace(how, labels=labels.as_header()),
                stop=run.stop,
                progress=progress,
                staging=place,
            )
    finally:
        reader.close()
    if captured.warning:
        run_log().warning("%s: %s", disk_name, captured.warning)
    run_log().info(
        "captured %s: %s read, %s zeros, %s changed, %s stored",
        disk_name,
        format_size(captured.read_bytes),
        format_size(captured.zero_bytes),
        format_size(captured.changed_bytes),
        format_size(captured.stored_bytes),
    )
    image = captured.image(
        name=pair.source.name,
        uid=pair.source.uid,
        disk=disk_name,
        pvid=disk.pvid if disk else "",
        volume_group=volume_group,
    )
    return CapturedVolume(image, captured.objects, captured.is_full, captured.warning)


def image_prefix(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    seen: Seen,
    snapshot: Snapshot,
    pair: Pair,
    take: int,
) -> str:
    """Return what the keys of all objects of one take begin with, and of no other take's."""
    return image_folder(profile.name, run.id) + _image_name(
        wanted, profile, seen, snapshot, pair, take
    )


def _image_name(
    wanted: Configuration,
    profile: BackupProfile,
    seen: Seen,
    snapshot: Snapshot,
    pair: Pair,
    take: int,
) -> str:
    disk = seen.sources.get(pair.source.uid)
    name = image_name(
        wanted.cluster_name,
        profile.name,
        (disk.volume_group if disk else "") or "-",
        disk.name if disk else pair.source.name,
        snapshot.taken_at,
    )
    return f"{name}.take{take}" if take > 1 else name


def settings_of(wanted: Configuration, profile: BackupProfile, volumes: int) -> CaptureSettings:
    """Return how a profile wants its volumes captured.

    Memory of a run is about volumes at once x part_bytes x (uploads + 2): with one volume 160 MiB,
    with four 256 MiB, and never more than that.
    """
    return CaptureSettings(
        extent_bytes=profile.extent_bytes,
        compress=profile.compression,
        part_bytes=32 * MIB if volumes == 1 else 16 * MIB,
        encoders=_encoders(),
        uploads=3 if volumes <= 2 else 2,
        cipher=writing_cipher(wanted, profile),
    )


def _encoders() -> int | None:
    """Return FLASHVAULT_ENCODERS: threads of this machine that may encode for one volume.

    Raises:
        ConfigError: it is no number of threads.
    """
    text = os.environ.get("FLASHVAULT_ENCODERS", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise ConfigError(
            f"FLASHVAULT_ENCODERS={text} is not a number of threads from 1 to 256",
            hint="Leave it out for one thread a core.",
        )
    return int(text)
