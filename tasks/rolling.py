"""Read a slice of a group's image objects: every frame that any restore point needs of them, once.

A frame is shared by many points. It is read for the oldest that needs it; the pages of a map, which
are shared too, are looked at once. What is damaged is told of every point that needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from blocks.catalog.marks import Damage, read_damage
from blocks.catalog.point import PointId, RestorePoint, VolumeImage
from blocks.catalog.readings import Readings, proven_since, read_readings, write_readings
from blocks.image.cipher import Cipher
from blocks.image.restore import Fetch, Piece, plan_fetches
from blocks.policy.rolling import Coverage, coverage, due_objects
from blocks.store.base import Store
from tasks.pool import bounded_pool, wait_all, workers_for
from tasks.progress import published
from tasks.run import Run
from tasks.steps import run_log, step
from tasks.transfer import Progress
from tasks.verification import Damaged, Looker, Verified
from tasks.verify import VerifiedVolume

Images = Sequence[tuple[RestorePoint, VolumeImage]]
Ciphers = Mapping[PointId, Cipher | None]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one run is to read, and what is known before it."""

    readings: Readings
    since: Mapping[str, datetime]
    marks: tuple[Damage, ...]
    """What is known to be damaged already: read again by a deep verify of a point, not here."""

    due: frozenset[str]


@dataclass(frozen=True, slots=True)
class VolumeSlice:
    """One volume's share of a slice, read."""

    met: frozenset[str]
    """Objects of which every frame was read that the pages which could be read speak of."""

    unread: frozenset[PointId]
    """Points of which a page could not be read."""

    looked: tuple[VerifiedVolume, ...]

    @property
    def bad(self) -> frozenset[str]:
        """Return the objects in which something is damaged."""
        return frozenset(damage.key for row in self.looked for damage in row.found.damaged)

    def whole(self, pruned: Collection[PointId] = ()) -> frozenset[str]:
        """Return the objects of which every frame that lives is right.

        Behind a page that could not be read there may be frames nobody compared, unless the point
        it is of has been pruned since.
        """
        return self.met - self.bad if self.unread <= set(pruned) else frozenset()


def slice_of(
    source: Store, group: str, points: Sequence[RestorePoint], now: datetime, within_days: int
) -> Slice:
    """Choose what is to be read now."""
    known = read_readings(source, group)
    since = proven_since(points, known, now)
    marks = tuple(read_damage(source, group))
    damaged = {mark.key for mark in marks}
    sound = {key: at for key, at in since.items() if key not in damaged}
    return Slice(known, since, marks, due_objects(sound, now, within_days))


def images_by_volume(points: Sequence[RestorePoint]) -> dict[str, Images]:
    """Gather the images of each volume, oldest first."""
    found: dict[str, list[tuple[RestorePoint, VolumeImage]]] = {}
    for point in points:
        for volume in point.volumes:
            found.setdefault(volume.uid, []).append((point, volume))
    return dict(found)


@step(name="read-{uid}")
def read_slice(
    run: Run, uid: str, images: Images, due: frozenset[str], source: Store, ciphers: Ciphers
) -> VolumeSlice:
    """Read a volume's objects that are due; a difference is read twice before it is damage."""
    run.check()
    progress = Progress(label=f"verify {images[-1][1].disk}")
    with published(progress), bounded_pool(workers_for(None)) as pool:
        reader = _SliceReader(run, due, source, progress)
        for point, volume in images:
            reader.look(pool, point, volume, ciphers[point.id])
    newest, volume = images[-1]
    rows = [
        VerifiedVolume(
            point.id, image.disk, image.size_bytes, Verified(0, 0, tuple(reader.damage[point.id]))
        )
        for point, image in images
        if reader.damage.get(point.id)
    ]
    for row in rows:
        run_log().error("%s of restore point %s is damaged: %s", row.disk, row.point, row.found)
    counts = Verified(len(reader.met), reader.checked_extents, ())
    rows.append(VerifiedVolume(newest.id, volume.disk, volume.size_bytes, counts))
    return VolumeSlice(frozenset(reader.met), frozenset(reader.unread), tuple(rows))


def remember(
    source: Store,
    run: Run,
    chosen: Slice,
    points: Sequence[RestorePoint],
    volumes: Sequence[VolumeSlice],
    pruned: Collection[PointId],
    now: datetime,
    within_days: int,
) -> Coverage:
    """Write down what was read of the points that are still there; return how far everything is."""
    live = {item.key for point in points if point.id not in pruned for item in point.objects}
    whole = {key for volume in volumes for key in volume.whole(pruned)} & live
    write_readings(source, run.group, run.id, chosen.readings, whole, live, now)
    bad = {mark.key for mark in chosen.marks}.union(*(volume.bad for volume in volumes))
    since = {key: at for key, at in chosen.since.items() if key in live}
    since |= dict.fromkeys(whole, now)
    return coverage(since, bad & since.keys(), datetime.now(UTC), within_days)


def remember_all(
    source: Store,
    run: Run,
    points: Sequence[RestorePoint],
    looked: Sequence[VerifiedVolume],
    now: datetime,
) -> None:
    """Write down that every frame of all points was read, if nothing stood in the way."""
    bad = {damage.key for row in looked for damage in row.found.damaged}
    live = {item.key for point in points for item in point.objects}
    if not bad - live:  # behind a damaged page there may be frames nobody compared
        known = read_readings(source, run.group)
        write_readings(source, run.group, run.id, known, live - bad, live, now)


class _SliceReader:
    """Reads one volume's share, point by point, oldest first."""

    def __init__(self, run: Run, due: frozenset[str], source: Store, progress: Progress) -> None:
        self._run = run
        self._due = due
        self._source = source
        self._progress = progress
        self._pages: dict[str, tuple[Damaged, ...]] = {}
        self._lost_pages: set[str] = set()
        self._read: dict[tuple[str, int], int] = {}
        """By object and offset of a frame, its extents that were compared, as a mask."""
        self._bad: dict[tuple[str, int], Damaged] = {}
        self.met: set[str] = set()
        self.checked_extents = 0
        self.unread: set[PointId] = set()
        self.damage: dict[PointId, list[Damaged]] = {}

    def look(
        self, pool: ThreadPoolExecutor, point: RestorePoint, image: VolumeImage, key: Cipher | None
    ) -> None:
        """Read what is due of one image and was not read for an older point."""
        if not any(item.key in self._due for item in point.objects):
            return
        looker = Looker(image, point.objects, self._source, self._run.stop, Progress(), key)
        noted = self.damage.setdefault(point.id, [])
        for index, ref in enumerate(image.pages):
            self._run.check()
            if ref.object.key in self._pages:
                noted += self._pages[ref.object.key]
                continue
            before = len(looker.damaged)
            known = self._look_at_page(pool, looker, index, image)
            found = (*known, *looker.damaged[before:])
            self._pages[ref.object.key] = found
            noted += found
        self.checked_extents += looker.checked_extents
        if any(ref.object.key in self._lost_pages for ref in image.pages):
            self.unread.add(point.id)

    def _look_at_page(
        self, pool: ThreadPoolExecutor, looker: Looker, index: int, image: VolumeImage
    ) -> list[Damaged]:
        """Read what is new in a page; return the damage in it that is known already."""
        page = looker.page(image.pages[index])
        if page is None:
            self._lost_pages.add(image.pages[index].object.key)
            return []
        first = looker.first_extent(index)
        futures = [
            pool.submit(looker.head, key) for key in self._due & set(page.objects) - self.met
        ]
        self.met |= self._due & set(page.objects)
        known, fresh = [], []
        for fetch in plan_fetches(page, first):
            if fetch.key not in self._due:
                continue
            for piece in fetch.pieces:
                if (fetch.key, piece.offset) in self._bad:
                    known.append(self._bad[fetch.key, piece.offset])
                elif self._is_new(fetch.key, piece):
                    fresh.append((fetch.key, piece))

        def read(key: str, piece: Piece) -> None:
            looker.read(Fetch(key, piece.offset, piece.length, (piece,)), page, first)
            self._progress.add(piece.length, stored_bytes=piece.length)

        before = len(looker.damaged)
        self._progress.total_bytes += sum(piece.length for _, piece in fresh)
        wait_all([*futures, *(pool.submit(read, *each) for each in fresh)], self._run.stop)
        for damage in looker.damaged[before:]:
            self._bad[damage.key, damage.offset] = damage
        return known

    def _is_new(self, key: str, piece: Piece) -> bool:
        """Say whether extents of a frame are wanted that nobody compared yet, and note them."""
        wanted = 0
        for first, count in piece.wanted:
            wanted |= ((1 << count) - 1) << (first - piece.first_extent)
        done = self._read.get((key, piece.offset), 0)
        self._read[key, piece.offset] = done | wanted
        return bool(wanted & ~done)
