"""What workers that capture one group together tell each other, through the bucket.

The run that owns the group writes an *order*: which volumes, of which snapshot. Each volume that
another worker takes is a *share*, and each try of it a *take*, numbered from 1. A take writes beats
while it works and one record when it is done. The record's key decides how a take ended: it holds
what was delivered, or that the owner has given the take up (*fenced*). Each take has image names of
its own, so one that is taken for dead and is not can spoil nothing (docs/adr/0017).

All of it lies in `journal/<group>/<run>/` and is removed with the run: no restore reads it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from blocks.catalog.document import read_sealed, seal, unseal, write_once
from blocks.catalog.owner import Owner
from blocks.catalog.point import PointId, StoredObject, VolumeImage
from blocks.errors import ObjectMissing
from blocks.store.base import Store


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1


class OrderedVolume(_Record):
    """One volume of the snapshot: its mapping, and who it is on the array and on the owner."""

    mapping: str
    name: str
    uid: str
    target_name: str
    target_uid: str
    size_bytes: int
    disk: str = ""
    pvid: str = ""
    volume_group: str = ""


class Order(_Record):
    """A snapshot that is being captured."""

    group: str
    run_id: PointId
    parent: PointId | None = None
    storage_system: str
    consistency_group: str
    taken_at: AwareDatetime
    array_start_time: str
    owner: str
    reader: str
    volumes: tuple[OrderedVolume, ...]

    @property
    def folder(self) -> str:
        """Where everything about it is."""
        return order_folder(self.group, self.run_id)


class Beat(_Record):
    """A take is alive."""

    worker: Owner
    done_bytes: int = 0


class Delivered(_Record):
    """A take is done: the volume's image, and every object it needs."""

    worker: Owner
    image: VolumeImage
    objects: tuple[StoredObject, ...]
    is_full: bool
    warning: str = ""
    fenced: Literal[False] = False


class Fenced(_Record):
    """The run's owner has given a take up: nothing it stores will ever be referred to."""

    reason: str
    fenced: Literal[True] = True


class _Outcome(BaseModel):
    fenced: bool


def order_folder(group: str, run_id: str) -> str:
    """Return the folder of a run's order."""
    return f"journal/{group}/{run_id}/"


def order_key(group: str, run_id: str) -> str:
    """Return the key of a run's order."""
    return f"{order_folder(group, run_id)}order.json"


def outcome_key(group: str, run_id: str, uid: str, take: int) -> str:
    """Return the key that decides how a take ended."""
    return f"{order_folder(group, run_id)}{uid}.{take}.json"


def beat_prefix(group: str, run_id: str, uid: str, take: int) -> str:
    """Return what the keys of a take's beats begin with."""
    return f"{order_folder(group, run_id)}{uid}.{take}.beat."


def write_order(store: Store, order: Order) -> None:
    """Write an order; one that is there already, from a try whose answer was lost, is fine."""
    write_once(store, order_key(order.group, order.run_id), seal(order))


def read_order(store: Store, group: str, run_id: str) -> Order:
    """Read an order.

    Raises:
        ObjectMissing: the run is over.
    """
    return read_sealed(store, order_key(group, run_id), Order)


def beat(store: Store, order: Order, uid: str, take: int, number: int, said: Beat) -> bool:
    """Say that a take is alive; False when it need not go on: fenced, or its run is over.

    Every beat has a key of its own: no key is ever written twice.
    """
    try:
        store.head(order_key(order.group, order.run_id))
    except ObjectMissing:
        return False
    prefix = beat_prefix(order.group, order.run_id, uid, take)
    store.put(f"{prefix}{number:06}", seal(said))
    return not isinstance(read_outcome(store, order, uid, take), Fenced)


def deliver(store: Store, order: Order, take: int, delivered: Delivered) -> bool:
    """Record what a take has stored; False if the take was fenced, or its run is over."""
    try:
        store.head(order_key(order.group, order.run_id))
    except ObjectMissing:
        return False
    uid = delivered.image.uid
    return isinstance(_decide(store, order, uid, take, delivered), Delivered)


def fence(store: Store, order: Order, uid: str, take: int, reason: str) -> Delivered | None:
    """Give a take up; return what it has delivered if it came first."""
    decided = _decide(store, order, uid, take, Fenced(reason=reason))
    return decided if isinstance(decided, Delivered) else None


def read_outcome(store: Store, order: Order, uid: str, take: int) -> Delivered | Fenced | None:
    """Read how a take ended; None while it has not."""
    key = outcome_key(order.group, order.run_id, uid, take)
    try:
        data = store.get(key)
    except ObjectMissing:
        return None
    return _parse(data, key)


def remove_order(store: Store, group: str, run_id: str) -> None:
    """Remove an order and all about it, itself first: who looks for it then stops."""
    store.delete([order_key(group, run_id)])
    store.delete([found.key for found in store.list(order_folder(group, run_id))])


def _decide(
    store: Store, order: Order, uid: str, take: int, wanted: Delivered | Fenced
) -> Delivered | Fenced:
    key = outcome_key(order.group, order.run_id, uid, take)
    return _parse(write_once(store, key, seal(wanted)), key)


def _parse(data: bytes, key: str) -> Delivered | Fenced:
    if unseal(data, _Outcome, where=key).fenced:
        return unseal(data, Fenced, where=key)
    return unseal(data, Delivered, where=key)
