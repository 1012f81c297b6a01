"""What the role of a backup host must be allowed to do: docs/how-to/write-only-role.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.point import RestorePoint
from blocks.catalog.shelf import points, publish
from blocks.errors import AccessDenied, RunFenced
from blocks.store.base import Buffer, ObjectInfo
from blocks.store.memory import MemoryStore

MakePoint = Callable[..., RestorePoint]


class WriteOnly(MemoryStore):
    """Refuses what the role of a backup host is refused."""

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        if key.startswith("points/") and not if_absent:
            raise AccessDenied(f"{key} may only be written if absent")
        return super().put(key, data, if_absent=if_absent)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            if not key.startswith(("claims/", "journal/", "probe/")):
                raise AccessDenied(f"{key} may not be deleted")
            super().delete([key])


def test_a_backup_needs_no_delete_outside_its_claims(make_point: MakePoint) -> None:
    store = WriteOnly()
    full = make_point(store)
    intent = begin_intent(store, "RG1", full.id)
    publish(store, full)
    end_intent(store, intent)
    child = make_point(store, day=1, parent=full)
    intent = begin_intent(store, "RG1", child.id, parent=full)
    publish(store, child)
    end_intent(store, intent)
    assert points(store) == [full, child]


def test_a_run_that_gives_up_needs_none_either(make_point: MakePoint) -> None:
    store = WriteOnly()
    point = make_point(store)
    end_intent(store, begin_intent(store, "RG1", point.id))
    try:
        publish(store, point)
    except RunFenced:
        return
    raise AssertionError("a void run committed")
