"""The way back of `tasks.pipeline`: a volume image onto a disk, proven.

No Prefect here, for the same reasons. The twins are `capture_volume` and `restore_volume`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blocks.catalog.point import StoredObject, VolumeImage
from blocks.errors import CorruptData, ObjectMissing, TargetTooSmall
from blocks.host.base import Writer
from blocks.image.cipher import Cipher
from blocks.image.extents import Geometry
from blocks.image.memory import keep_freed_memory
from blocks.image.restore import FrameReader
from blocks.store.base import Store
from tasks.pool import bounded_pool, wait_all, workers_for
from tasks.proven_reads import digester_of
from tasks.restoring import Bookmark, Restorer
from tasks.transfer import Pins, Progress, load_page

READ_BACK_EXTENTS = 64
"""What was asked to be read back at the end is, in runs of this many."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What one restore has written. `bad` are ranges left as zeros, as (offset, length)."""

    size_bytes: int
    read_bytes: int
    """Fetched from the store."""
    written_bytes: int
    skipped_bytes: int
    """Already right on the disk, from an earlier try."""
    bad: tuple[tuple[int, int], ...]


def restore_volume(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    writer: Writer,
    *,
    bookmark: Path | None,
    stop: threading.Event,
    progress: Progress,
    allow_bad: bool = False,
    verify_readback: bool = False,
    cipher: Cipher | None = None,
    workers: int | None = None,
) -> Restored:
    """Write a volume onto a disk, and prove it: the digest over all extents must be the map's.

    Args:
        image: what to restore.
        objects: of its restore point; they pin what is read.
        store: where from.
        writer: the disk, at least as large.
        bookmark: a file that remembers what is done, so that another try after a kill goes on; what
            it claims is read back and compared, never believed. Removed after success.
        stop: set it to stop between two reads.
        progress: polled by displays.
        allow_bad: leave zeros where the store's bytes are damaged, and list the ranges.
        verify_readback: read everything back from the disk afterwards.
        cipher: opens an encrypted image.
        workers: threads; None fits the machine.

    Raises:
        TargetTooSmall: the disk is smaller than the volume.
        CorruptData: stored bytes are damaged, or the disk reads back others than were written.
        StoreError: the store did not answer.
        Stopped: as asked.
    """
    keep_freed_memory()
    geometry = Geometry(image.size_bytes, image.extent_bytes)
    if writer.size_bytes < image.size_bytes:
        raise TargetTooSmall(
            f"the target holds {writer.size_bytes} bytes, the volume {image.size_bytes}"
        )
    digester = digester_of(cipher)
    progress.begin(progress.label or image.disk, geometry.size_bytes)
    done = Bookmark(bookmark, map_digest=image.map_digest, extent_count=geometry.extent_count)
    work = Restorer(
        FrameReader(geometry, digester, volume=image.uid, cipher=cipher),
        writer,
        pins=Pins(store, objects),
        bookmark=done,
        stop=stop,
        progress=progress,
        allow_bad=allow_bad,
    )
    whole = digester.new()
    lost: set[int] = set()
    try:
        with bounded_pool(workers_for(workers)) as pool:
            for index, ref in enumerate(image.pages):
                first, count = geometry.page(index)
                try:
                    page = load_page(store, ref, cipher)
                except (CorruptData, ObjectMissing) as error:
                    if not allow_bad:
                        raise
                    wait_all(work.give_up(pool, first, count, error), stop)
                    lost.add(index)
                    continue
                wanted = np.ones(page.extent_count, dtype=np.bool_)
                digests, futures = work.restore_page(pool, page, first, wanted)
                wait_all(futures, stop)
                whole.update(np.ascontiguousarray(digests).reshape(-1).data)
            writer.flush()
            if verify_readback:
                _read_back(pool, work, image, store, cipher, lost)
    finally:
        done.close()
    if not work.bad and whole.digest().hex() != image.map_digest:
        raise CorruptData(f"{image.disk}: the digest over the whole device is not the map's")
    if bookmark is not None and not work.bad:
        bookmark.unlink(missing_ok=True)
    return Restored(
        image.size_bytes,
        work.read_bytes,
        work.written_bytes,
        work.skipped_bytes,
        joined(work.bad),
    )


def _read_back(
    pool: ThreadPoolExecutor,
    work: Restorer,
    image: VolumeImage,
    store: Store,
    cipher: Cipher | None,
    lost: Collection[int],
) -> None:
    geometry = Geometry(image.size_bytes, image.extent_bytes)
    for index, ref in enumerate(image.pages):
        if index in lost:
            continue
        page = load_page(store, ref, cipher)
        first, count = geometry.page(index)
        starts = range(0, count, READ_BACK_EXTENTS)
        answers = [
            pool.submit(work.read_back, page, first, at, min(READ_BACK_EXTENTS, count - at))
            for at in starts
        ]
        for at, answer in zip(starts, answers, strict=True):
            offset = (first + at) * geometry.extent_bytes
            if not answer.result() and not _is_known_bad(work, offset, geometry):
                raise CorruptData(f"{image.disk} reads back other bytes at {offset}")


def _is_known_bad(work: Restorer, offset: int, geometry: Geometry) -> bool:
    end = offset + READ_BACK_EXTENTS * geometry.extent_bytes
    return any(start < end and offset < start + length for start, length in work.bad)


def joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return (offset, length) in order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if found and found[-1][0] + found[-1][1] == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return tuple(found)
