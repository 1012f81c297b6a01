from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.point import RestorePoint, StoredObject, point_key
from blocks.catalog.shelf import (
    find_point,
    groups,
    points,
    publish,
    read_point,
    read_shelf,
)
from blocks.errors import (
    BrokenChain,
    ObjectChanged,
    PointMissing,
    RunFenced,
    StoreUnavailable,
)
from blocks.store.base import Buffer, ObjectInfo
from blocks.store.memory import MemoryStore

MakePoint = Callable[..., RestorePoint]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def commit(
    store: MemoryStore, point: RestorePoint, parent: RestorePoint | None = None
) -> RestorePoint:
    intent = begin_intent(store, point.group, point.id, parent=parent)
    published = publish(store, point)
    end_intent(store, intent)
    return published


def test_a_published_point_is_listed_and_read_back(make_point: MakePoint) -> None:
    store = MemoryStore()
    one, two = make_point(store), make_point(store, group="RG2", day=1)
    assert commit(store, one) == one
    commit(store, two)
    assert groups(store) == ["RG1", "RG2"]
    assert points(store) == [one, two]
    assert points(store, "RG2") == [two]
    assert read_point(store, "RG1", one.id) == one
    with pytest.raises(PointMissing):
        read_point(store, "RG1", two.id)


def test_publishing_twice_is_one_point(make_point: MakePoint) -> None:
    store = MemoryStore()
    point = make_point(store)
    commit(store, point)
    later = point.model_copy(update={"committed_at": point.committed_at + timedelta(hours=1)})
    assert publish(store, later) == point
    with pytest.raises(ObjectChanged):
        publish(store, point.model_copy(update={"cluster": "another"}))


@pytest.mark.parametrize("lost", ["own image", "own page", "parent's image"])
def test_commit_refuses_unless_every_object_answers(make_point: MakePoint, lost: str) -> None:
    store = MemoryStore()
    full = make_point(store)
    commit(store, full)
    child = make_point(store, day=1, parent=full)
    begin_intent(store, child.group, child.id, parent=full)
    key = {
        "own image": child.objects[0].key,
        "own page": child.volumes[0].pages[0].object.key,
        "parent's image": full.objects[0].key,
    }[lost]
    data = store.get(key)
    store.delete([key])
    with pytest.raises(BrokenChain, match="is missing"):
        publish(store, child)
    store.put(key, data + b"more")
    with pytest.raises(BrokenChain, match="bytes, not"):
        publish(store, child)
    store.put(key, bytes(len(data)))
    with pytest.raises(BrokenChain, match="another object"):
        publish(store, child)
    assert points(store) == [full]


def test_publish_needs_a_live_intent_that_covers_what_it_references(
    make_point: MakePoint,
) -> None:
    store = MemoryStore()
    full = make_point(store)
    with pytest.raises(RunFenced, match="no intent"):
        publish(store, full)
    commit(store, full)
    child = make_point(store, day=1, parent=full)
    begin_intent(store, child.group, child.id)
    with pytest.raises(BrokenChain, match="not claimed"):
        publish(store, child)


class Doubtful(MemoryStore):
    """Applies a conditional put, or not, and then says it does not know."""

    is_applied = True

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        if key.startswith("points/"):
            if self.is_applied:
                super().put(key, data, if_absent=if_absent)
            raise StoreUnavailable("timed out")
        return super().put(key, data, if_absent=if_absent)


def test_a_doubtful_commit_is_decided_by_reading_back(make_point: MakePoint) -> None:
    store = Doubtful()
    point = make_point(store)
    assert commit(store, point) == point


def test_a_commit_that_did_not_arrive_is_unavailable_and_can_be_repeated(
    make_point: MakePoint,
) -> None:
    store = Doubtful()
    store.is_applied = False
    point = make_point(store)
    begin_intent(store, point.group, point.id)
    with pytest.raises(StoreUnavailable):
        publish(store, point)
    assert points(store) == []
    store.is_applied = True
    assert publish(store, point) == point


def test_a_damaged_document_is_reported_and_hides_no_other(
    make_point: MakePoint, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    good, bad, swapped = (make_point(store, day=day) for day in range(3))
    for point in (good, bad, swapped):
        commit(store, point)
    key = point_key("RG1", bad.id)
    store.put(key, store.get(key).replace(b"hdisk1", b"hdisk2"))
    store.put(point_key("RG1", swapped.id), store.get(point_key("RG1", good.id)))
    assert points(store) == [good]
    assert bad.id in caplog.text
    shelf = read_shelf(store, "RG1")
    assert {lost.key for lost in shelf.unreadable} == {key, point_key("RG1", swapped.id)}


def test_points_are_ordered_by_taken_time_but_never_after_they_were_stored(
    make_point: MakePoint,
) -> None:
    """Neither a host clock a year ahead nor a copied bucket moves a point to a wrong place."""
    moment = EPOCH
    store = MemoryStore(now=lambda: moment)
    made = {}
    for name, day, stored_day in [("a", 0, 0), ("ahead", 400, 1), ("b", 2, 2), ("copied", 1.5, 9)]:
        moment = EPOCH + timedelta(days=stored_day)
        made[commit(store, make_point(store, day=day)).id] = name
    assert [made[point.id] for point in points(store)] == ["a", "ahead", "copied", "b"]


def test_find_point_by_id_by_time_and_latest(make_point: MakePoint) -> None:
    store = MemoryStore()
    shelf = [make_point(store, day=day) for day in range(3)]
    assert find_point(shelf) == shelf[2]
    assert find_point(shelf, at=EPOCH + timedelta(days=1.5)) == shelf[1]
    assert find_point(shelf, at=EPOCH) == shelf[0]
    assert find_point(shelf, point_id=shelf[1].id) == shelf[1]
    assert find_point(shelf, point_id=shelf[1].id[-8:].lower()) == shelf[1]
    for wrong in ("01", shelf[0].id[:4], "ZZZZZZ"):
        with pytest.raises(PointMissing):
            find_point(shelf, point_id=wrong)
    with pytest.raises(PointMissing):
        find_point(shelf, at=EPOCH - timedelta(seconds=1))
    with pytest.raises(PointMissing):
        find_point([])


def test_one_key_named_as_two_objects_is_refused(make_point: MakePoint) -> None:
    store = MemoryStore()
    point = make_point(store)
    twice = StoredObject(key=point.objects[0].key, size_bytes=1, etag="other")
    begin_intent(store, point.group, point.id)
    with pytest.raises(BrokenChain, match="two objects"):
        publish(store, point.model_copy(update={"objects": (*point.objects, twice)}))
