"""Where strangers meet: a disk, the image engine and a store, each in one expression.

No Prefect here, so that the plumbing commands, the tests and a worst day without a server use the
very code the flows use. Threads are bounded by the settings; memory is about
`part_bytes * (uploads + 2) + frame * (2 * encoders + 6)`, whatever the size of the disk.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from blocks.catalog.point import PageRef, StoredObject, VolumeImage
from blocks.errors import (
    FlashvaultError,
    HostError,
)
from blocks.host.base import ComparingReader, Reader
from blocks.image.capture import Capture, CapturePlan, MapPage
from blocks.image.cipher import Cipher
from blocks.image.compare import NodeCompare
from blocks.image.digest import Algorithm, Digester
from blocks.image.extents import Geometry
from blocks.image.memory import keep_freed_memory
from blocks.image.segments import Part, segment_bytes_of
from blocks.store.base import Store
from blocks.units import KIB, MIB
from tasks.parent import PageReader, Parent, why_unusable
from tasks.staging import Staging
from tasks.transfer import Progress, Uploader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptureSettings:
    """How to cut, encode and upload a volume."""

    extent_bytes: int = 256 * KIB
    frame_extents: int = 16
    level: int = 1
    compress: bool = True
    part_bytes: int = 32 * MIB
    encoders: int | None = None
    """Threads that encode; None means one a core."""
    uploads: int = 3
    segment_bytes: int | None = None
    """How much of a volume goes into one object; None leaves it to the size of an extent."""
    cipher: Cipher | None = None
    digest: Algorithm = "blake3"
    labels: Mapping[str, str] = field(default_factory=dict)
    """Written into the header of every object, for a catalogue rebuilt from images alone."""

    @property
    def digester(self) -> Digester:
        """What makes the digests of extents."""
        if self.cipher is not None:
            return Digester("blake3-keyed", self.cipher.digest_key)
        return Digester(self.digest)

    @property
    def codec(self) -> str:
        """As a restore point names it."""
        packed = f"zstd-{self.level}" if self.compress else "none"
        return packed if self.cipher is None else f"{packed}+aes-256-gcm"


@dataclass(frozen=True)
class Captured:
    """What one capture has stored: everything a `VolumeImage` needs to know of its bytes."""

    is_full: bool
    warning: str
    """Why a full was made although a parent was given; empty otherwise."""
    size_bytes: int
    extent_bytes: int
    map_digest: str
    pages: tuple[PageRef, ...]
    read_bytes: int
    zero_bytes: int
    changed_bytes: int
    stored_bytes: int
    image_keys: tuple[str, ...]
    objects: tuple[StoredObject, ...]
    """Every image object the map refers to, own and earlier."""
    kept_bytes: int = 0
    """Of an earlier, interrupted try."""

    def image(
        self, *, name: str, uid: str, disk: str, pvid: str = "", volume_group: str = ""
    ) -> VolumeImage:
        """Return the record of the volume: who it is, and what was stored of it."""
        return VolumeImage(
            name=name,
            uid=uid,
            size_bytes=self.size_bytes,
            disk=disk,
            pvid=pvid,
            volume_group=volume_group,
            extent_bytes=self.extent_bytes,
            map_digest=self.map_digest,
            pages=self.pages,
            read_bytes=self.read_bytes,
            zero_bytes=self.zero_bytes,
            changed_bytes=self.changed_bytes,
            stored_bytes=self.stored_bytes,
            image_keys=self.image_keys,
        )


def capture_volume(
    reader: Reader,
    store: Store,
    *,
    folder: str,
    name: str,
    uid: str,
    parent: Parent | None,
    settings: CaptureSettings,
    stop: threading.Event,
    progress: Progress,
    staging: Staging | None = None,
) -> Captured:
    """Store a volume: in full, or what differs from the parent.

    Called again with the same folder and name on the same snapshot it goes on where an interrupted
    try has stopped: parts already stored are compared with their checksums and kept.

    Args:
        reader: the snapshot's disk.
        store: where to.
        folder: of the restore point in the making; ends in `/` and is never used by another.
        name: of the image, without suffix.
        uid: vdisk UID of the volume.
        parent: the volume in the parent point, and that point's objects; None makes a full.
        settings: how.
        stop: set it to stop between two batches.
        progress: polled by displays.
        staging: where the image waits until it is whole; None uploads while reading.

    Raises:
        Stopped: as asked; what is uploaded stays for another try.
        HostError: the disk cannot be read whole.
        StoreError: the store did not take it.
    """
    keep_freed_memory()
    if not reader.size_bytes:
        raise HostError("the disk has no bytes", hint="Is it mapped to this host, and open?")
    geometry = Geometry(reader.size_bytes, settings.extent_bytes)
    warning = ""
    if parent is not None:
        warning = why_unusable(parent, geometry, uid, store, settings.digester, settings.cipher)
        if warning:
            log.warning("captured in full volume=%s because %s", uid, warning)
            parent = None
    subject = {
        "folder": folder,
        "asked": name,
        "volume": uid,
        "size_bytes": geometry.size_bytes,
        "parent": parent[0].map_digest if parent else None,
    }
    staged = staging.name_of(subject) if staging else ""
    if staged:
        name = staged
    elif settings.cipher is not None:
        name = _unused_name(store, folder, name)
    progress.begin(progress.label or name, geometry.size_bytes)
    plan = _plan(geometry, folder, name, uid, parent is None, settings)
    node = None
    if not staged and isinstance(reader, ComparingReader) and reader.can_compare():
        node = NodeCompare(reader, geometry, plan.frame_extents)
        plan = replace(plan, notes_node=True)
    parent_pages = PageReader(parent[0].pages, store, settings.cipher) if parent else None
    capture = Capture(
        reader,
        plan,
        parent=parent_pages,
        stop=stop,
        node=node,
        on_read=progress.add,
    )
    outputs = staging.outputs(capture, {**subject, "name": name}) if staging else capture.outputs()
    # Parts are for objects that are new; encrypted ones never repeat, so they are not compared.
    with Uploader(
        store,
        folder=f"{folder}{name}",
        uploads=settings.uploads,
        give_back=capture.buffers.give_back,
        progress=progress,
        can_resume=settings.cipher is None or staging is not None,
    ) as uploader:
        map_pages = _MapPages(parent[0].pages if parent else (), uploader, plan, settings.cipher)
        for output in outputs:
            if isinstance(output, Part):
                uploader.put(output)
            else:
                map_pages.add(output)
        own = uploader.finish()
        pages, page_bytes, keys = map_pages.finish()
        kept = uploader.kept_bytes
    counts = capture.counts
    log.info(
        "captured volume=%s read=%d zero=%d changed=%d stored=%d",
        uid,
        counts.read_bytes,
        counts.zero_bytes,
        counts.changed_bytes,
        counts.stored_bytes + page_bytes,
    )
    return Captured(
        is_full=plan.is_full,
        warning=warning,
        size_bytes=geometry.size_bytes,
        extent_bytes=geometry.extent_bytes,
        map_digest=counts.map_digest,
        pages=pages,
        read_bytes=counts.read_bytes,
        zero_bytes=counts.zero_bytes,
        changed_bytes=counts.changed_bytes,
        stored_bytes=counts.stored_bytes + page_bytes,
        image_keys=tuple(counts.object_keys),
        objects=_objects(own, parent[1] if parent else (), keys),
        kept_bytes=kept,
    )


def _plan(
    geometry: Geometry,
    folder: str,
    name: str,
    uid: str,
    is_full: bool,
    settings: CaptureSettings,
) -> CapturePlan:
    segment_bytes = settings.segment_bytes or segment_bytes_of(geometry.extent_bytes)
    document: dict[str, Any] = {
        "volume": uid,
        "name": name,
        "folder": folder,
        "size_bytes": geometry.size_bytes,
        "extent_bytes": geometry.extent_bytes,
        "segment_bytes": segment_bytes,
        "kind": "full" if is_full else "incremental",
        "digest": settings.digester.algorithm,
        "codec": settings.codec,
        "labels": dict(settings.labels),
    }
    return CapturePlan(
        geometry=geometry,
        name=f"{folder}{name}",
        volume_uid=uid,
        document=document,
        is_full=is_full,
        frame_extents=settings.frame_extents,
        level=settings.level,
        compress=settings.compress,
        part_bytes=settings.part_bytes,
        part_buffers=settings.uploads + 2,
        segment_bytes=segment_bytes,
        encoders=settings.encoders or os.cpu_count() or 1,
        cipher=settings.cipher,
        digester=settings.digester,
    )


class _MapPages:
    """Collects the pages of a capture: new ones uploaded, unchanged ones referred to."""

    def __init__(
        self,
        parent: Sequence[PageRef],
        uploader: Uploader,
        plan: CapturePlan,
        cipher: Cipher | None,
    ) -> None:
        self._parent = parent
        self._uploader = uploader
        self._plan = plan
        self._cipher = cipher
        self._stored: dict[str, Future[StoredObject]] = {}
        self._pages: list[PageRef | tuple[str, int, int]] = []
        self._keys: set[str] = set()

    def add(self, output: MapPage) -> None:
        if output.page is None:
            self._pages.append(self._parent[output.index])
            self._keys.update(output.objects)
            return
        self._keys.update(output.page.objects)
        plain = output.page.pack()
        key = f"{self._plan.name}.{Digester().of(plain).hex()[:32]}.map"
        if key not in self._stored:
            data = plain if self._cipher is None else self._cipher.seal_document(key, plain)
            self._stored[key] = self._uploader.put_page(key, data)
        first, count = self._plan.geometry.page(output.index)
        self._pages.append((key, first, count))

    def finish(self) -> tuple[tuple[PageRef, ...], int, set[str]]:
        """Return the pages, the bytes of new ones, and the keys they refer to."""
        stored = {key: future.result() for key, future in self._stored.items()}
        pages = tuple(
            page
            if isinstance(page, PageRef)
            else PageRef(object=stored[page[0]], first_extent=page[1], extent_count=page[2])
            for page in self._pages
        )
        return pages, sum(page.size_bytes for page in stored.values()), self._keys


def _objects(
    own: Sequence[StoredObject], earlier: Sequence[StoredObject], keys: set[str]
) -> tuple[StoredObject, ...]:
    known = {stored.key: stored for stored in [*earlier, *own]}
    # An object of ours may hold records of zeros only, which no map refers to.
    wanted = keys | {stored.key for stored in own}
    return tuple(known[key] for key in sorted(wanted))


def _unused_name(store: Store, folder: str, name: str) -> str:
    """Return the name, or a variant if an earlier try has completed objects under it.

    A sealed object cannot be compared with what would be sealed now, and no key is written twice.
    """
    taken = {found.key for found in store.list(f"{folder}{name}.")}
    candidates = [name, *(f"{name}.try{number}" for number in range(2, 100))]
    for candidate in candidates:
        if not any(key.startswith(f"{folder}{candidate}.") for key in taken):
            return candidate
    raise FlashvaultError(f"{folder}{name} was tried too often")
