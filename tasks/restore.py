"""Write volumes of a restore point onto disks, and prove that they are there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from blocks.catalog.point import PointId
from blocks.errors import CorruptData
from blocks.host.base import Host
from blocks.image.cipher import Cipher
from blocks.policy.recovery import Placement, RestorePlan
from blocks.store.base import Store
from blocks.units import format_size, slug
from tasks.journal import state_directory
from tasks.progress import published
from tasks.recovery import restore_volume
from tasks.run import Run
from tasks.steps import run_log, step
from tasks.transfer import Progress


@dataclass(frozen=True, slots=True)
class RestoredDisk:
    """One volume, back on a disk."""

    volume: str
    disk: str
    uid: str
    target: str
    target_path: str
    size_bytes: int
    read_bytes: int
    written_bytes: int
    skipped_bytes: int
    bad: tuple[tuple[int, int], ...]
    host: str = ""
    """The machine whose worker wrote it."""

    @property
    def is_proven(self) -> bool:
        """Whether the digest over the whole device equals the map's."""
        return not self.bad


@step(name="restore-{placement.volume.disk}")
def restore_disk(
    run: Run,
    plan: RestorePlan,
    placement: Placement,
    source: Store,
    writer: Host,
    allow_bad: bool,
    read_back: bool,
    cipher: Cipher | None = None,
) -> RestoredDisk:
    """Restore one volume; another try goes on where the last one stopped.

    Raises:
        CorruptData: part of the volume is damaged in the store, and `allow_bad` was not given.
    """
    run.check()
    volume, disk = placement.volume, placement.disk
    progress = Progress(label=f"restore {volume.disk}", total_bytes=volume.size_bytes)
    target = writer.open_write(disk)
    try:
        with published(progress):
            restored = restore_volume(
                volume,
                plan.point.objects,
                source,
                target,
                bookmark=progress_file(plan.point.id, volume.uid, disk.uid or disk.path),
                stop=run.stop,
                progress=progress,
                allow_bad=allow_bad,
                verify_readback=read_back,
                cipher=cipher,
            )
    finally:
        target.close()
    if restored.bad and not allow_bad:
        raise CorruptData(f"{volume.disk} is damaged at {len(restored.bad)} places in the store")
    run_log().info(
        "restored %s to %s: %s read, %s written, %s there already, %d ranges bad",
        volume.disk,
        disk.name,
        format_size(restored.read_bytes),
        format_size(restored.written_bytes),
        format_size(restored.skipped_bytes),
        len(restored.bad),
    )
    return RestoredDisk(
        volume=volume.name,
        disk=volume.disk,
        uid=volume.uid,
        target=disk.name,
        target_path=disk.path,
        size_bytes=restored.size_bytes,
        read_bytes=restored.read_bytes,
        written_bytes=restored.written_bytes,
        skipped_bytes=restored.skipped_bytes,
        bad=tuple(restored.bad),
        host=socket.gethostname(),
    )


def progress_file(point: PointId, uid: str, target: str) -> Path:
    """Return where a restore notes what is already right, for the next try after a kill."""
    return state_directory() / "restores" / f"{point}-{uid[-8:]}-{slug(target)}.progress"
