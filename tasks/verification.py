"""Look whether a volume image can be restored, without writing anything: structure, or every frame.

No Prefect here; the steps are in `tasks.verify` (whole images) and `tasks.rolling` (what is due).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from blocks.catalog.point import PageRef, StoredObject, VolumeImage
from blocks.errors import CorruptData, ObjectChanged, ObjectMissing, Stopped
from blocks.image.cipher import Cipher
from blocks.image.extents import Geometry
from blocks.image.map import Page
from blocks.image.memory import keep_freed_memory
from blocks.image.restore import Fetch, FrameReader, plan_fetches
from blocks.store.base import Store
from tasks.pool import bounded_pool, wait_all, workers_for
from tasks.proven_reads import digester_of, proven
from tasks.transfer import Pins, Progress, load_page


@dataclass(frozen=True, slots=True)
class Damaged:
    """Stored bytes that are not those written, seen twice, or an object that is gone."""

    key: str
    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        return f"{self.key} at {self.offset}+{self.length}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and what is wrong."""

    checked_objects: int
    checked_extents: int
    damaged: tuple[Damaged, ...]


def verify_volume(
    image: VolumeImage,
    objects: Sequence[StoredObject],
    store: Store,
    *,
    deep: bool,
    sample: float | None,
    stop: threading.Event,
    progress: Progress,
    cipher: Cipher | None = None,
    workers: int | None = None,
) -> Verified:
    """Look whether an image can be restored, without writing anything.

    Structure: every object answers with the size and ETag recorded, every page of the map is whole,
    and all of them together are the map. Deep: every frame is read, decoded and compared. An error
    of the store is an error, never damage; a mismatch is read twice.

    Args:
        image: what to look at.
        objects: of its restore point.
        store: where it is.
        deep: read the frames too.
        sample: with `deep`, only about so many percent of the reads, chosen by chance.
        stop: set it to stop between two reads.
        progress: polled by displays.
        cipher: opens an encrypted image.
        workers: threads; None fits the machine.
    """
    keep_freed_memory()
    progress.begin(progress.label or image.disk, image.size_bytes)
    with bounded_pool(workers_for(workers)) as pool:
        looker = Looker(image, objects, store, stop, progress, cipher)
        looker.look_at_pages(pool, deep=deep, sample=sample)
    return Verified(looker.checked_objects, looker.checked_extents, tuple(looker.damaged))


class Looker:
    """Verifies one volume, page by page."""

    def __init__(
        self,
        image: VolumeImage,
        objects: Sequence[StoredObject],
        store: Store,
        stop: threading.Event,
        progress: Progress,
        cipher: Cipher | None,
    ) -> None:
        self._image = image
        self._objects = {item.key: item for item in objects}
        self._pins = Pins(store, objects)
        self._store = store
        self._stop = stop
        self._progress = progress
        self._cipher = cipher
        self._geometry = Geometry(image.size_bytes, image.extent_bytes)
        self._digester = digester_of(cipher)
        self._reader = FrameReader(self._geometry, self._digester, volume=image.uid, cipher=cipher)
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self.checked_objects = 0
        self.checked_extents = 0
        self.damaged: list[Damaged] = []

    def look_at_pages(self, pool: ThreadPoolExecutor, *, deep: bool, sample: float | None) -> None:
        """Look at the whole volume."""
        dice = random.Random()  # noqa: S311 - which frames a sample reads need not be secret
        whole = self._digester.new()
        is_complete = True
        for index, ref in enumerate(self._image.pages):
            if self._stop.is_set():
                raise Stopped("stopped as asked")
            page = self.page(ref)
            if page is None:
                is_complete = False
                continue
            whole.update(np.ascontiguousarray(page.digests).reshape(-1).data)
            first, _ = self._geometry.page(index)
            futures = [pool.submit(self.head, key) for key in set(page.objects) - self._asked]
            self._asked.update(page.objects)
            fetches = plan_fetches(page, first) if deep else []
            if sample is not None:
                fetches = [fetch for fetch in fetches if dice.random() * 100 < sample]
            futures += [pool.submit(self.read, fetch, page, first) for fetch in fetches]
            wait_all(futures, self._stop)
            if not deep:
                self._progress.add(self._geometry.plain_bytes(first, page.extent_count))
        # An image of which no extent is needed, as where a disk has become all zeros.
        unread = [key for key in self._image.image_keys if key not in self._asked]
        wait_all([pool.submit(self.head, key) for key in unread], self._stop)
        if is_complete and whole.digest().hex() != self._image.map_digest:
            self._note("map", 0, 0, "the pages together are not the map of the restore point")

    def first_extent(self, index: int) -> int:
        """Return the first extent of a page."""
        return self._geometry.page(index)[0]

    def page(self, ref: PageRef) -> Page | None:
        """Read a page of the map, or note that it is damaged."""
        try:
            page = load_page(self._store, ref, self._cipher)
        except (CorruptData, ObjectMissing, ObjectChanged) as error:
            self._note(ref.object.key, 0, ref.object.size_bytes, str(error))
            return None
        self.checked_objects += 1
        return page

    def head(self, key: str) -> None:
        """Ask for an object: is it the one that was stored?"""
        recorded = self._objects.get(key)
        if recorded is None:
            self._note(key, 0, 0, "the restore point does not list it")
            return
        try:
            found = self._store.head(key)
        except ObjectMissing:
            self._note(key, 0, recorded.size_bytes, "it is gone")
            return
        if (found.size_bytes, found.etag) != (recorded.size_bytes, recorded.etag):
            self._note(key, 0, recorded.size_bytes, "it is another object than was stored")
            return
        with self._lock:
            self.checked_objects += 1

    def read(self, fetch: Fetch, page: Page, page_first: int) -> None:
        """Read some frames and compare them with the map."""
        if self._stop.is_set():
            raise Stopped("stopped as asked")
        for piece in fetch.pieces:
            single = Fetch(fetch.key, piece.offset, piece.length, (piece,))
            count = sum(extents for _, extents in piece.wanted)
            try:
                for _ in proven(self._reader, self._pins, single, page, page_first):
                    pass
            except (CorruptData, ObjectMissing, ObjectChanged) as error:
                self._note(fetch.key, piece.offset, piece.length, str(error))
            with self._lock:
                self.checked_extents += count
            for first, extents in piece.wanted:
                self._progress.add(self._geometry.plain_bytes(first, extents))

    def _note(self, key: str, offset: int, length: int, reason: str) -> None:
        with self._lock:
            self.damaged.append(Damaged(key, offset, length, reason))
