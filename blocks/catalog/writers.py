"""Which worker writes which disk of a restore that several do together.

The run that owns the restore writes an *order*. For each volume one key decides who writes its
target: it holds the process that has *begun*, or that the owner *keeps* the volume. A second key
says that a writer is *closed*: it will never write again.

A disk has no second name, as an image has (`blocks.catalog.orders`). So nothing is begun anew
before the last writer is closed, no restore is done while one is open, and none is begun on its
disk. Only the process itself, its own machine once it is gone, or an operator says that it is
closed: no silence does (docs/adr/0022).

All of it lies in `journal/<group>/<run>/`. An order is removed with its run; what was decided about
a disk stays for a day, so that an order that is written late, or twice, lets nobody begin.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from blake3 import blake3
from pydantic import BaseModel, ConfigDict
from ulid import ULID

from blocks.catalog.document import each, read_sealed, seal, unseal, write_once
from blocks.catalog.orders import Beat, order_folder
from blocks.catalog.owner import Owner, is_alive, this_process
from blocks.catalog.point import PointId
from blocks.errors import CorruptData, ObjectMissing
from blocks.store.base import Store

FOLDER = "journal/"
KEPT = timedelta(days=1)
"""For how long what was decided stays. A store refuses a request a quarter of an hour after it was
signed, so that nothing of the restore can arrive after that."""
_ORDER = "/restore.json"
_WRITER = ".writer.json"
_CLOSED = ".closed.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1


class OrderedTarget(_Record):
    """A volume of the restore point, and the disk it goes to."""

    uid: str
    """The volume's, not the target's."""
    disk: str
    """What the volume is called in the restore point."""
    target: str
    target_uid: str


class RestoreOrder(_Record):
    """A restore that is going on."""

    proof: str = ""
    """That its owner wrote it (`proven`)."""

    group: str
    run_id: PointId
    point: PointId
    writer: str
    """The configured host that writes: each worker reaches it its own way."""
    owner: Owner
    machine: str = ""
    allow_bad: bool = False
    read_back: bool = False
    targets: tuple[OrderedTarget, ...]

    @property
    def folder(self) -> str:
        """Where everything about it is."""
        return order_folder(self.group, self.run_id)

    def target(self, uid: str) -> OrderedTarget | None:
        """Return where a volume goes; None if it is not in the order."""
        return next((target for target in self.targets if target.uid == uid), None)


class Writer(_Record):
    """Who writes the target of one volume."""

    group: str
    run_id: PointId
    uid: str
    disk: str
    target: str
    target_uid: str
    worker: Owner
    machine: str = ""
    """Its machine's id: that a host of the same name has booted since proves nothing else."""
    kept: bool = False
    """The owner itself writes it, or takes it back from somebody who has not begun."""

    @property
    def holder(self) -> Holder:
        """Who writes what, for whom."""
        return Holder(self.group, self.run_id, self.worker, self.target)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that may still write a disk, and the restore it does so for."""

    group: str
    run_id: str
    process: Owner
    target: str

    def __str__(self) -> str:
        return f"{self.process}, for restore {self.run_id} of {self.group}"


class Closed(_Record):
    """A writer that will never write again: what it restored, or why it did not."""

    proof: str = ""
    """That a worker of this restore says what it restored. An error needs none: reconcile and an
    operator may say that a writer is gone, and the disk is written anew."""
    restored: Mapping[str, Any] | None = None
    error: str = ""


Provable = TypeVar("Provable", RestoreOrder, Closed)


def restore_order_key(group: str, run_id: str) -> str:
    """Return the key of a restore's order."""
    return order_folder(group, run_id).rstrip("/") + _ORDER


def writer_key(group: str, run_id: str, uid: str) -> str:
    """Return the key that decides who writes a volume."""
    return f"{order_folder(group, run_id)}{uid}{_WRITER}"


def closed_key(group: str, run_id: str, uid: str) -> str:
    """Return the key that says that a volume's writer is closed."""
    return f"{order_folder(group, run_id)}{uid}{_CLOSED}"


def sign_prefix(group: str, run_id: str, uid: str) -> str:
    """Return what the keys of a writer's signs of life begin with."""
    return f"{order_folder(group, run_id)}{uid}.beat."


def write_restore_order(store: Store, order: RestoreOrder) -> None:
    """Write an order; one that is there already, from a try whose answer was lost, is fine."""
    write_once(store, restore_order_key(order.group, order.run_id), seal(order))


def read_restore_order(store: Store, group: str, run_id: str) -> RestoreOrder:
    """Read an order.

    Raises:
        ObjectMissing: the restore is over.
    """
    return read_sealed(store, restore_order_key(group, run_id), RestoreOrder)


def new_secret() -> str:
    """Return what the workers of one restore share, 64 hex digits. It never lies in the bucket."""
    return secrets.token_hex(32)


def proven(document: Provable, key: str, secret: str) -> Provable:
    """Return a document with a proof that somebody who knows the secret wrote it for this key.

    The proof is BLAKE3 of the key and the document, keyed with the secret.
    """
    bare = document.model_copy(update={"proof": ""})
    said = b"\n".join([key.encode(), seal(bare)])
    return bare.model_copy(update={"proof": blake3(said, key=bytes.fromhex(secret)).hexdigest()})


def require_proven(document: Provable, key: str, secret: str) -> None:
    """Refuse a document that nobody wrote who knows the secret.

    Raises:
        CorruptData: it was made or replaced by somebody who can write into the bucket only.
    """
    if not hmac.compare_digest(document.proof, proven(document, key, secret).proof):
        raise CorruptData(f"{key} was not written by this restore")


def keep(store: Store, order: RestoreOrder, target: OrderedTarget) -> bool:
    """Keep a volume for the order's owner; False if another worker has begun it."""
    return _decide(store, _writer(order, target, kept=True)).kept


def begin(store: Store, order: RestoreOrder, target: OrderedTarget) -> Writer | None:
    """Become the one that writes a volume; None if somebody else is, or the owner keeps it.

    Needs a store with conditional writes. Nothing may be written before this has answered.
    """
    wanted = _writer(order, target)
    return wanted if _decide(store, wanted) == wanted else None


def sign(store: Store, writer: Writer, number: int, said: Beat) -> bool:
    """Say that a writer is alive; False when it need not go on: its restore is over."""
    try:
        store.head(restore_order_key(writer.group, writer.run_id))
    except ObjectMissing:
        return False
    prefix = sign_prefix(writer.group, writer.run_id, writer.uid)
    store.put(f"{prefix}{number:06}", seal(said))
    return True


def close(store: Store, writer: Writer, closed: Closed) -> None:
    """Record that a writer will never write again; what is said first stays."""
    write_once(store, closed_key(writer.group, writer.run_id, writer.uid), seal(closed))


def read_closed(store: Store, order: RestoreOrder, uid: str) -> Closed:
    """Read how a writer ended.

    Raises:
        ObjectMissing: it has not.
    """
    return read_sealed(store, closed_key(order.group, order.run_id, uid), Closed)


def is_gone(process: Owner, machine: str) -> bool:
    """Say whether a process is gone for certain; only its own machine can."""
    return machine == machine_id() and is_alive(process) is False


def open_writers(store: Store, group: str = "", run_id: str = "") -> Sequence[Writer]:
    """Return every writer that may still write: of one restore, of a group's, or of a bucket's."""
    prefix = order_folder(group, run_id) if run_id else f"{FOLDER}{group}/" if group else FOLDER
    keys = {found.key for found in store.list(prefix)}
    stems = [key.removesuffix(_WRITER) for key in sorted(keys) if key.endswith(_WRITER)]

    def read(stem: str) -> Writer | None:
        try:
            return read_sealed(store, stem + _WRITER, Writer)
        except ObjectMissing:  # removed with its order between the listing and now
            return None

    found = each(read, [stem for stem in stems if stem + _CLOSED not in keys])
    return [writer for writer in found if writer is not None and not writer.kept]


def close_gone(store: Store, writers: Sequence[Writer]) -> list[Writer]:
    """Close those whose process, on this machine, is gone for certain; return them."""
    gone = [writer for writer in writers if is_gone(writer.worker, writer.machine)]
    for writer in gone:
        close(store, writer, Closed(error=f"{writer.worker} died"))
    return gone


def end_restore_order(store: Store, group: str, run_id: str) -> Sequence[Writer]:
    """End an order; safe to repeat. Its workers find out at their next sign of life, and stop.

    What nobody has begun is kept first: then nobody can begin it any more, whatever he has read.

    Returns:
        Writers that are still open.
    """
    try:
        order = read_restore_order(store, group, run_id)
    except ObjectMissing:
        pass
    else:
        for target in order.targets:
            keep(store, order, target)
        store.delete([restore_order_key(group, run_id)])
    return open_writers(store, group, run_id)


def read_orders(store: Store, group: str = "") -> Sequence[RestoreOrder]:
    """Return the restores that are going on, or whose owner has died: of a group, or all."""
    prefix = f"{FOLDER}{group}/" if group else FOLDER
    keys = [found.key for found in store.list(prefix) if found.key.endswith(_ORDER)]

    def read(key: str) -> RestoreOrder | None:
        try:
            return read_sealed(store, key, RestoreOrder)
        except ObjectMissing:
            return None

    return [order for order in each(read, keys) if order is not None]


def holders(store: Store, target_uids: Collection[str]) -> Sequence[Holder]:
    """Return who may still write any of these disks, for an earlier restore.

    An order counts as long as it is there: its shares may yet begin. That of an owner that is gone
    for certain is ended here.
    """
    held = []
    for order in read_orders(store):
        wanted = [target for target in order.targets if target.target_uid in target_uids]
        if wanted and is_gone(order.owner, order.machine):
            end_restore_order(store, order.group, order.run_id)
        elif wanted:
            held.append(Holder(order.group, order.run_id, order.owner, wanted[0].target))
    held += [
        writer.holder
        for writer in open_writers(store)
        if writer.target_uid in target_uids and not is_gone(writer.worker, writer.machine)
    ]
    return held


def sweep(store: Store, now: datetime) -> None:
    """Remove what was decided for restores that ended long ago."""
    folders: dict[tuple[str, str], list[str]] = {}
    for found in store.list(FOLDER):
        _, group, run_id, *rest = found.key.split("/")
        if rest:
            folders.setdefault((group, run_id), []).append(found.key)
    for (group, run_id), keys in folders.items():
        has_decided = any(key.endswith(_WRITER) for key in keys)
        if not has_decided or restore_order_key(group, run_id) in keys:
            continue
        if now - ULID.from_str(run_id).datetime < KEPT:
            continue
        if not open_writers(store, group, run_id):
            # First who began, then that it is closed: killed in between, nobody seems open.
            store.delete([key for key in keys if key.endswith(_WRITER)])
            store.delete([key for key in keys if not key.endswith(_WRITER)])


def machine_id() -> str:
    """Return this machine's id, empty where it has none: machine-id(5)."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def _writer(order: RestoreOrder, target: OrderedTarget, *, kept: bool = False) -> Writer:
    return Writer(
        group=order.group,
        run_id=order.run_id,
        uid=target.uid,
        disk=target.disk,
        target=target.target,
        target_uid=target.target_uid,
        worker=this_process(),
        machine=machine_id(),
        kept=kept,
    )


def _decide(store: Store, wanted: Writer) -> Writer:
    key = writer_key(wanted.group, wanted.run_id, wanted.uid)
    return unseal(write_once(store, key, seal(wanted)), Writer, where=key)
