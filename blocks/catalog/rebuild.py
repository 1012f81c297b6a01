"""Recreate restore points whose documents, or even maps, were deleted.

What a run stored says of itself what it is. Beside its images lies a copy of its point's document
(`point.json`), written once every object of the point had answered; and every image's header holds
labels that describe point and volume. So the search needs nothing but the group's own folder:

1. A run with the copy: its point is complete by proof. Missing map pages are made again from the
   frames, and count only if the map's digest is the recorded one.
2. A run with images alone: a full counts if its frames cover the volume; an incremental if all its
   volumes have an image and nothing can be missing (one segment a volume, a parent that counts).
   What cannot be proven complete is reported, not restored from by accident.

A rebuilt point has a new id: no key is ever used twice, so nothing that exists is written over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from blake3 import blake3

from blocks.catalog.chain import folder_of, objects_of, sidecar_key
from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.document import WORKERS, each, read_sealed
from blocks.catalog.labels import read_labels
from blocks.catalog.marks import put_hold
from blocks.catalog.point import (
    Kind,
    PageRef,
    PointId,
    RestorePoint,
    StoredObject,
    VolumeImage,
    image_folder,
    new_id,
)
from blocks.catalog.remap import Layer, is_whole, map_digest, remap
from blocks.catalog.shelf import publish
from blocks.catalog.signature import check_point, sign_point
from blocks.catalog.view import View, look
from blocks.errors import (
    BrokenChain,
    CatalogError,
    CorruptData,
    ImageError,
    ObjectMissing,
    StoreUnavailable,
    UnknownFormat,
    WrongKey,
)
from blocks.image.cipher import Cipher
from blocks.image.digest import Digester
from blocks.image.extents import Geometry
from blocks.image.scan import ScannedImage, scan_object
from blocks.store.base import ObjectInfo, Store

SUFFIXES = (".img.zst", ".incr.zst", ".img.zst.aead", ".incr.zst.aead")
"""Objects that say what they are. A raw `.img` is nothing but the volume's bytes."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One point that can be restored again."""

    point: RestorePoint
    from_run: str
    remade_pages: int


@dataclass(slots=True)
class RebuildReport:
    """What was found. `left` says of each other run why it is no restore point."""

    rebuilt: list[Rebuilt] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def rebuild(
    store: Store,
    group: str,
    *,
    now: datetime,
    cipher: Cipher | None = None,
    dry_run: bool = False,
    workers: int = WORKERS,
) -> RebuildReport:
    """Recreate the points of a group that are not listed any more.

    Args:
        store: where the group is.
        group: the resource group.
        now: the moment of the commit that the rebuilt points tell.
        cipher: needed to make maps of sealed images again, and to sign their points again.
        dry_run: tell, and write nothing.
        workers: requests in flight.

    Raises:
        StoreUnavailable: the store did not answer; what was rebuilt so far stays, repeat.
    """
    view = look(store, group, workers=workers)
    search = _Search(store, view, cipher)
    report = RebuildReport(left=dict(search.skipped))

    def attempt(run: str) -> tuple[str, Rebuilt | str]:
        try:
            draft = search.draft(run)
            if dry_run:
                return run, draft
            return run, _commit(store, draft, now, cipher, is_held=run in view.marks.held)
        except StoreUnavailable:
            raise
        except (CatalogError, ImageError, ObjectMissing) as error:
            return run, str(error)

    for run, found in each(attempt, search.runs, workers=workers):
        if isinstance(found, Rebuilt):
            report.rebuilt.append(found)
        else:
            report.left[run] = found
    return report


def _commit(
    store: Store, draft: _Draft, now: datetime, cipher: Cipher | None, *, is_held: bool
) -> Rebuilt:
    """Publish a point under its new id, as any run does: claim, store, commit, end."""
    run_id = new_id()
    group = draft.point.group
    folder = image_folder(group, run_id)
    foreign = [key for key in objects_of(draft.point) if key not in draft.pages]
    intent = begin_intent(store, group, run_id, references=foreign)
    try:
        stored: dict[str, StoredObject] = {}
        for old_key, plain in draft.pages.items():
            key = folder + old_key.rsplit("/", 1)[-1]
            data = plain if cipher is None else cipher.seal_document(key, plain)
            info = store.put(key, data, if_absent=True)
            stored[old_key] = _stored(info, blake3(data).hexdigest())
        volumes = tuple(
            volume.model_copy(
                update={
                    "pages": tuple(
                        page.model_copy(update={"object": stored.get(page.object.key, page.object)})
                        for page in volume.pages
                    )
                }
            )
            for volume in draft.point.volumes
        )
        point = draft.point.model_copy(
            update={"id": run_id, "volumes": volumes, "committed_at": now, "signature": None}
        )
        if cipher is not None and draft.is_vouched_for:
            point = sign_point(cipher, point)
        if is_held:  # before the point is there: retention may look at any moment
            put_hold(store, group, run_id, f"{draft.from_run} was held")
        return Rebuilt(publish(store, point, workers=1), draft.point.id, len(draft.pages))
    finally:
        end_intent(store, intent)


@dataclass(frozen=True, slots=True)
class _Draft(Rebuilt):
    """A point in the making; pages that must be stored first, by the key the point names."""

    pages: Mapping[str, bytes]
    is_vouched_for: bool = False
    """Its copy was signed, and the signature is right: the rebuilt point may be signed again."""


class _Search:
    """What lies in a group's folder, by run."""

    def __init__(self, store: Store, view: View, cipher: Cipher | None) -> None:
        self._store = store
        self._view = view
        self._cipher = cipher
        self._objects: dict[str, list[ObjectInfo]] = {}
        for info in view.objects.values():
            self._objects.setdefault(folder_of(info.key).split("/")[1], []).append(info)
        self.skipped: dict[str, str] = {}
        self.runs = [run for run in sorted(self._objects) if self._is_lost(run)]
        self._images: dict[str, Sequence[ScannedImage]] = {}

    def draft(self, run: str) -> _Draft:
        """Describe a run's point from what is there.

        Raises:
            CatalogError, ImageError: it cannot be proven complete; the message says why.
        """
        try:
            key = sidecar_key(self._view.group, run)
            copy = read_sealed(self._store, key, RestorePoint)
        except (ObjectMissing, CorruptData):
            return self._from_images(run)
        return self._from_copy(copy)

    def _is_lost(self, run: str) -> bool:
        """Say whether a folder belongs to no point, no live run and no run that gave up."""
        shelf = self._view.shelf
        folder = image_folder(self._view.group, run)
        if run in shelf.voids:
            self.skipped[run] = "the run gave up or was declared dead"
            return False
        if any(intent.run_id == run for intent in self._view.intents):
            self.skipped[run] = "the run has not ended"
            return False
        return not any(
            entry.point.id == run
            or any(
                key.startswith(folder)
                for volume in entry.point.volumes
                for key in volume.image_keys
            )
            for entry in shelf.points
        )

    def _from_copy(self, copy: RestorePoint) -> _Draft:
        self._require_new(copy)
        is_vouched_for = self._cipher is not None and copy.signature is not None
        if self._cipher is not None and copy.signature is not None:
            check_point(self._cipher, copy)
        objects = tuple(self._found(named) for named in copy.objects)
        pages: dict[str, bytes] = {}
        volumes = []
        for volume in copy.volumes:
            refs = volume.pages
            if any(page.object.key not in self._view.objects for page in refs):
                pages |= self._remade(copy, volume)
            refs = tuple(
                page
                if page.object.key in pages
                else page.model_copy(update={"object": self._found(page.object)})
                for page in refs
            )
            volumes.append(volume.model_copy(update={"pages": refs}))
        update = {"objects": objects, "volumes": tuple(volumes), "parent": None}
        point = copy.model_copy(update=update)
        return _Draft(point, copy.id, len(pages), pages, is_vouched_for)

    def _require_new(self, point: RestorePoint) -> None:
        for entry in self._view.shelf.points:
            listed = entry.point
            if (listed.taken_at, listed.maps_digest) == (point.taken_at, point.maps_digest):
                raise CatalogError(f"it is listed already, as {listed.id}")

    def _found(self, named: StoredObject) -> StoredObject:
        """Return an object as it is in the bucket now, which may be a copy of the first one."""
        info = self._view.objects.get(named.key)
        if info is None:
            raise BrokenChain(f"{named.key} is missing")
        if info.size_bytes != named.size_bytes:
            raise BrokenChain(f"{named.key} has {info.size_bytes} bytes, not {named.size_bytes}")
        return _stored(info, named.digest)

    def _remade(self, copy: RestorePoint, volume: VolumeImage) -> dict[str, bytes]:
        """Make a volume's pages again; they are right if the map's digest is the recorded one."""
        digester = self._digester(copy.digest_algorithm)
        layers = self._layers(copy.id, volume.uid)
        made = list(remap(Geometry(volume.size_bytes, volume.extent_bytes), layers, digester))
        if map_digest(made, digester) != volume.map_digest:
            raise BrokenChain(
                f"the images of {volume.name} do not add up to its map: some were pruned"
            )
        refs = zip(volume.pages, made, strict=True)
        return {ref.object.key: page.pack() for ref, page in refs}

    def _from_images(self, run: str) -> _Draft:
        """Describe a point by the labels in its images' headers, and prove it complete."""
        images = self.images(run)
        if not images:
            raise UnknownFormat("no image here says what it is")
        labels = read_labels(images[0].key, images[0].document)
        pages: dict[str, bytes] = {}
        volumes: list[VolumeImage] = []
        used: set[str] = set()
        for uid in labels.volumes.split(","):
            self._require_complete(run, uid)
            volume, made, keys = self._volume(run, uid)
            pages |= made
            volumes.append(volume)
            used |= keys
        document = images[0].document
        is_full = all(image.document["kind"] == "full" for image in images)
        digests = b"".join(bytes.fromhex(volume.map_digest) for volume in volumes)
        point = RestorePoint(
            id=PointId(run),
            group=self._view.group,
            cluster=labels.cluster,
            storage_system=labels.storage_system,
            consistency_group=labels.consistency_group,
            kind=Kind.FULL if is_full else Kind.INCREMENTAL,
            taken_at=labels.taken_at,
            committed_at=labels.taken_at,
            array_start_time=labels.array_start_time,
            reading_host=labels.reading_host,
            volumes=tuple(volumes),
            objects=tuple(_stored(self._view.objects[key], None) for key in sorted(used)),
            maps_digest=Digester().of(digests).hex(),
            codec=str(document["codec"]),
            digest_algorithm=document["digest"],
            tool_version=labels.tool_version,
        )
        self._require_new(point)
        return _Draft(point, run, len(pages), pages)

    def _volume(self, run: str, uid: str) -> tuple[VolumeImage, dict[str, bytes], set[str]]:
        """Describe one volume by its images: itself, its packed pages, the keys they name."""
        mine = [image for image in self.images(run) if image.document["volume"] == uid]
        document, labels = mine[0].document, read_labels(mine[0].key, mine[0].document)
        geometry = Geometry(int(document["size_bytes"]), int(document["extent_bytes"]))
        digester = self._digester(str(document["digest"]))
        made = list(remap(geometry, self._layers(run, uid), digester))
        pages: dict[str, bytes] = {}
        refs = []
        for index, page in enumerate(made):
            first, count = geometry.page(index)
            plain = page.pack()
            name = blake3(plain).hexdigest(length=16)
            key = f"{document['folder']}{document['name']}.{name}.map"
            pages[key] = plain
            unstored = StoredObject(key=key, size_bytes=len(plain), etag="")
            refs.append(PageRef(object=unstored, first_extent=first, extent_count=count))
        stored_bytes = sum(self._view.objects[image.key].size_bytes for image in mine)
        volume = VolumeImage(
            name=labels.name,
            uid=uid,
            size_bytes=geometry.size_bytes,
            disk=labels.disk,
            pvid=labels.pvid,
            volume_group=labels.volume_group,
            extent_bytes=geometry.extent_bytes,
            map_digest=map_digest(made, digester),
            pages=tuple(refs),
            read_bytes=0,
            zero_bytes=0,
            changed_bytes=0,
            stored_bytes=stored_bytes,
            image_keys=tuple(image.key for image in mine),
        )
        return volume, pages, {key for page in made for key in page.objects}

    def _require_complete(self, run: str, uid: str) -> None:
        """Refuse what may lack an object; follows the parents back to a full.

        Raises:
            BrokenChain: it may.
        """
        layer = self._layer(run, uid)
        if not layer.images:
            raise BrokenChain(f"run {run} has no image of volume {uid}: it may be missing")
        document = layer.images[0].document
        geometry = Geometry(int(document["size_bytes"]), int(document["extent_bytes"]))
        if layer.is_full:
            if not is_whole(geometry, layer):
                raise BrokenChain(f"run {run} lacks images of volume {uid}")
            return
        if geometry.size_bytes > int(document["segment_bytes"]):
            raise BrokenChain(f"run {run} may lack images of volume {uid}: it has segments")
        parent = read_labels(layer.images[0].key, document).parent
        self._require_complete(parent, uid)

    def _layers(self, run: str, uid: str) -> list[Layer]:
        """Return a run's images of a volume and those it builds on, back to the full."""
        layers: list[Layer] = []
        while run:
            layer = self._layer(run, uid)
            layers.append(layer)
            if layer.is_full:
                break
            run = self._parent_of(run)
        return layers[::-1]

    def _layer(self, run: str, uid: str) -> Layer:
        images = [image for image in self.images(run) if image.document["volume"] == uid]
        images.sort(key=lambda image: int(image.document["segment"]))
        is_full = bool(images) and images[0].document["kind"] == "full"
        return Layer(run, is_full, tuple(images))

    def _parent_of(self, run: str) -> str:
        """Return the run another builds on; empty if that is not known."""
        for image in self.images(run):
            return read_labels(image.key, image.document).parent
        try:  # nothing had changed: no image, but perhaps the copy
            key = sidecar_key(self._view.group, run)
            return read_sealed(self._store, key, RestorePoint).parent or ""
        except ObjectMissing:
            return ""

    def images(self, run: str) -> Sequence[ScannedImage]:
        """Scan a run's images, once."""
        if run not in self._images:
            found = [info for info in self._objects.get(run, ()) if info.key.endswith(SUFFIXES)]
            self._images[run] = [self._scan(info) for info in found]
        return self._images[run]

    def _scan(self, info: ObjectInfo) -> ScannedImage:
        def get_range(offset: int, length: int) -> bytes:
            return bytes(self._store.get_range(info.key, offset, length, etag=info.etag))

        try:
            return scan_object(info.key, info.size_bytes, get_range)
        except CorruptData:
            return scan_object(info.key, info.size_bytes, get_range)  # damage is read twice

    def _digester(self, algorithm: str) -> Digester:
        if algorithm == "blake3-keyed":
            if self._cipher is None:
                raise WrongKey("the images are sealed: a key is needed to make their maps again")
            return Digester("blake3-keyed", self._cipher.digest_key)
        return Digester("sha256" if algorithm == "sha256" else "blake3")


def _stored(info: ObjectInfo, digest: str | None) -> StoredObject:
    return StoredObject(
        key=info.key,
        size_bytes=info.size_bytes,
        etag=info.etag,
        version_id=info.version_id,
        digest=digest,
    )
