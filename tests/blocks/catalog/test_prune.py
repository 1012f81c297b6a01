from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from blocks.catalog.chain import keys_of, objects_of, sidecar_key
from blocks.catalog.claims import (
    begin_intent,
    clear_intent,
    end_intent,
    read_tombstones,
    write_tombstone,
)
from blocks.catalog.marks import (
    Damage,
    distrusted,
    mark_damaged,
    read_damage,
    read_marks,
    trash_key,
)
from blocks.catalog.point import PointId, RestorePoint, new_id, point_key
from blocks.catalog.prune import hold, plan_prune, release, sweep, undelete
from blocks.catalog.shelf import points, publish, read_point, read_shelf
from blocks.catalog.view import look
from blocks.errors import BrokenChain, GroupBusy, PointMissing, Refused, StoreUnavailable
from blocks.store.base import ObjectInfo
from blocks.store.memory import MemoryStore

MakePoint = Callable[..., RestorePoint]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Aging(MemoryStore):
    """A store whose clock the test moves."""

    def __init__(self) -> None:
        self.day = 0.0
        super().__init__(now=lambda: EPOCH + timedelta(days=self.day), part_min_bytes=0)


def commit(store: MemoryStore, point: RestorePoint, parent: RestorePoint | None = None) -> None:
    intent = begin_intent(store, point.group, point.id, parent=parent)
    publish(store, point)
    end_intent(store, intent)


def chain(store: Aging, make_point: MakePoint, count: int) -> list[RestorePoint]:
    made: list[RestorePoint] = []
    for day in range(count):
        store.day = day
        made.append(make_point(store, day=day, parent=made[-1] if made else None))
        commit(store, made[-1], made[-2] if day else None)
    return made


def give_up(*given: RestorePoint) -> dict[PointId, str]:
    return {point.id: "no rule keeps it" for point in given}


def damage(point: RestorePoint, key: str) -> Damage:
    return Damage(
        group="RG1",
        point_id=point.id,
        run_id=new_id(),
        key=key,
        ranges=((0, 9),),
        found_at=EPOCH,
    )


def there(store: MemoryStore) -> set[str]:
    return {info.key for info in store.list("RG1/")}


def test_a_point_given_up_goes_to_the_trash_and_after_the_window_for_good(
    make_point: MakePoint,
) -> None:
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    report = sweep(store, "RG1", give_up(child), minimum=1)
    assert (report.trashed, report.deleted_objects) == ([child.id], 0)
    assert points(store) == [full, last]
    assert read_point(store, "RG1", child.id) == child  # it can still be restored by its id
    store.day += 6.9
    assert sweep(store, "RG1", give_up(child), minimum=1).purged == []
    store.day += 0.2
    report = sweep(store, "RG1", give_up(child), minimum=1)
    assert report.purged == [child.id]
    with pytest.raises(PointMissing):
        read_point(store, "RG1", child.id)
    # Its image is shared with `last`; its page, and the copy of its document, are not.
    assert there(store) == keys_of([full, last])
    assert report.deleted_objects == 2
    assert read_marks(store, "RG1").trashed_at == {}
    assert list(read_tombstones(store, "RG1")) == []


def test_undelete_brings_a_point_back_and_retention_no_longer_takes_it(
    make_point: MakePoint,
) -> None:
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    sweep(store, "RG1", give_up(full, child), minimum=1)
    assert points(store) == [last]
    assert undelete(store, "RG1", full.id, reason="audit") == full
    store.day += 30
    sweep(store, "RG1", give_up(full, child), minimum=1)
    assert points(store) == [full, last]
    release(store, "RG1", full.id)
    sweep(store, "RG1", give_up(full, child), minimum=1)
    assert points(store) == [last]
    with pytest.raises(PointMissing):
        undelete(store, "RG1", child.id, reason="too late")


def test_undelete_refuses_a_point_that_is_condemned(make_point: MakePoint) -> None:
    store = Aging()
    full, _last = chain(store, make_point, 2)
    sweep(store, "RG1", give_up(full), minimum=1)
    write_tombstone(store, "RG1", "01T", [point_key("RG1", full.id)], EPOCH + 9 * DAY)
    with pytest.raises(BrokenChain, match="being deleted"):
        undelete(store, "RG1", full.id, reason="audit")
    with pytest.raises(BrokenChain, match="being deleted"):
        hold(store, "RG1", full.id, reason="audit")
    assert read_marks(store, "RG1").held == frozenset()


def test_a_live_run_and_what_it_references_are_not_touched(make_point: MakePoint) -> None:
    store = Aging()
    full, last = chain(store, make_point, 2)
    sweep(store, "RG1", give_up(full), minimum=1)
    running = make_point(store, day=3, parent=full)
    intent = begin_intent(store, "RG1", running.id, parent=full)
    upload = store.begin_upload(f"{intent.folder}hdisk2.img.zst")
    store.day += 30
    report = sweep(store, "RG1", give_up(full), minimum=1)
    assert report.purged == [full.id]
    assert (report.deleted_objects, report.aborted_uploads) == (1, 0)  # the copy of its document
    assert publish(store, running) == running
    upload.complete([upload.put_part(1, b"x")])
    end_intent(store, intent)
    sweep(store, "RG1", {}, minimum=1)
    assert there(store) == keys_of([last, running])


def test_what_a_dead_run_left_is_swept_once_its_intent_is_cleared(make_point: MakePoint) -> None:
    store = Aging()
    (full,) = chain(store, make_point, 1)
    debris = make_point(store, day=1, parent=full)
    intent = begin_intent(store, "RG1", debris.id, parent=full)
    store.begin_upload(f"{intent.folder}hdisk2.img.zst").put_part(1, b"x")
    sweep(store, "RG1", {}, minimum=1)
    assert set(objects_of(debris)) <= there(store)
    clear_intent(store, intent, force=True)
    report = sweep(store, "RG1", {}, minimum=1)
    assert (report.deleted_objects, report.aborted_uploads) == (2, 1)
    assert there(store) == keys_of([full])
    assert list(store.uploads()) == []


def test_an_unreadable_point_stops_every_deletion(make_point: MakePoint) -> None:
    store = Aging()
    full, _last = chain(store, make_point, 2)
    make_point(store, day=5)  # an orphan
    key = point_key("RG1", full.id)
    store.put(key, store.get(key)[:-9])
    before = {info.key for info in store.list()}
    with pytest.raises(Refused, match="cannot be read"):
        sweep(store, "RG1", give_up(full), minimum=1)
    with pytest.raises(Refused):
        plan_prune(look(store, "RG1"), {}, now=EPOCH, window=DAY)
    assert {info.key for info in store.list()} == before


class Failing(Aging):
    """Fails listings of one folder, at once or after some keys."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = "nothing"

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        for count, info in enumerate(super().list(prefix, after=after)):
            if prefix.startswith(self.fails) and count == 1:
                raise StoreUnavailable("503 in the middle of a listing")
            yield info


@pytest.mark.parametrize("folder", ["points/", "RG1/", "claims/", "marks/"])
def test_a_listing_that_fails_half_way_stops_every_deletion(
    make_point: MakePoint, folder: str
) -> None:
    store = Failing()
    full, middle, _last = chain(store, make_point, 3)
    sweep(store, "RG1", give_up(full, middle), minimum=1)
    make_point(store, day=5)  # an orphan
    for run in ("01A", "01B"):
        begin_intent(store, "RG1", run)
    store.day += 30
    before = {info.key for info in store.list()}
    store.fails = folder
    with pytest.raises(StoreUnavailable):
        sweep(store, "RG1", give_up(full, middle), minimum=1)
    store.fails = "nothing"
    assert {info.key for info in store.list()} == before


def test_the_floor_of_restorable_points_holds(make_point: MakePoint) -> None:
    store = Aging()
    made = chain(store, make_point, 4)
    with pytest.raises(Refused, match="would be left"):
        sweep(store, "RG1", give_up(*made[:2]), minimum=3)
    mark_damaged(store, damage(made[3], made[3].objects[0].key))
    with pytest.raises(Refused, match="would be left"):
        sweep(store, "RG1", give_up(made[0]), minimum=3)
    assert points(store) == made
    assert read_shelf(store, "RG1").points[3].is_damaged


def test_damage_found_in_one_point_is_damage_of_all_that_share_the_object(
    make_point: MakePoint,
) -> None:
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    mark_damaged(store, damage(full, child.objects[0].key))
    whole = make_point(store, day=4)
    commit(store, whole)
    damaged = {entry.point.id for entry in read_shelf(store, "RG1").points if entry.is_damaged}
    # Found while reading `full`, so it is marked; `child` stored the object, and `last` shares it.
    assert damaged == {full.id, child.id, last.id}
    assert distrusted([full, child, last, whole], read_damage(store, "RG1")) == {child.id, last.id}
    assert look(store, "RG1").shelf == read_shelf(store, "RG1")


def test_the_plan_says_what_the_sweep_then_does(make_point: MakePoint) -> None:
    store = Aging()
    full, child, _last = chain(store, make_point, 3)
    sweep(store, "RG1", give_up(full), minimum=1)
    make_point(store, day=5)
    store.day += 30
    given = give_up(full, child)
    now = EPOCH + timedelta(days=store.day)
    plan = plan_prune(look(store, "RG1"), given, now=now, window=7 * DAY)
    report = sweep(store, "RG1", given, minimum=1)
    assert plan.trash == tuple(report.trashed) == (child.id,)
    assert plan.purge == tuple(report.purged) == (full.id,)
    assert plan.freed_bytes == report.freed_bytes > 0
    assert len(plan.orphan_keys) == 2


def test_a_point_whose_document_vanished_keeps_all_it_needs(make_point: MakePoint) -> None:
    """Somebody, or something, emptied `points/`: a prune must not finish the work."""
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    store.delete([point_key("RG1", point.id) for point in (full, child)])
    make_point(store, day=5)  # an orphan
    store.day += 30
    report = sweep(store, "RG1", {}, minimum=1)
    assert set(report.lost) == {full.id, child.id}
    assert there(store) == keys_of([full, child, last])
    assert sidecar_key("RG1", child.id) in there(store)


class DyingOnDelete(Aging):
    """Kills the prune before or after its nth delete."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().delete([key])


@pytest.mark.parametrize("deletes", range(12))
def test_a_prune_killed_at_any_delete_leaves_whole_points_and_is_finished_by_the_next(
    make_point: MakePoint, deletes: int
) -> None:
    store = DyingOnDelete()
    made = chain(store, make_point, 5)
    given = give_up(*made[:3])
    sweep(store, "RG1", given, minimum=1)
    store.day += 30
    store.left = deletes
    with contextlib.suppress(KeyboardInterrupt):
        sweep(store, "RG1", given, minimum=1)
    store.left = 10**9
    listed = read_shelf(store, "RG1").points
    assert {key for entry in listed for key in objects_of(entry.point)} <= there(store)
    sweep(store, "RG1", given, minimum=1)
    assert points(store) == made[3:]
    assert there(store) == keys_of(made[3:])
    assert list(read_tombstones(store, "RG1")) == []
    assert trash_key("RG1", made[0].id) not in {info.key for info in store.list("marks/")}


class Watched(Aging):
    """Lets somebody act between two requests of a prune."""

    def __init__(self) -> None:
        super().__init__()
        self.after_list: dict[str, list[Callable[[], None]]] = {}

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        yield from list(super().list(prefix, after=after))
        if waiting := self.after_list.get(prefix):
            waiting.pop(0)()


def test_a_purge_is_finished_though_somebody_deleted_the_document(make_point: MakePoint) -> None:
    store = Watched()
    full, _child, last = chain(store, make_point, 3)
    sweep(store, "RG1", give_up(full), minimum=1)
    store.day += 8
    document = point_key("RG1", full.id)
    store.after_list["claims/RG1/"] = [
        lambda: None,
        lambda: None,
        lambda: store.delete([document]),  # the tombstone is written by now
    ]
    report = sweep(store, "RG1", give_up(full), minimum=1)
    assert report.lost == []
    assert sidecar_key("RG1", full.id) not in there(store)
    assert last in points(store)
    sweep(store, "RG1", {}, minimum=1)
    assert list(read_tombstones(store, "RG1")) == []
    assert read_marks(store, "RG1").trashed_at == {}


def test_a_stale_tombstone_does_not_take_the_copy_of_a_point_that_was_brought_back(
    make_point: MakePoint,
) -> None:
    """Condemned, saved in the last moment, then robbed of its document: lost, not over."""
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    hold(store, "RG1", child.id, reason="audit")
    keys = [point_key("RG1", child.id), sidecar_key("RG1", child.id)]
    write_tombstone(store, "RG1", "01T", keys, EPOCH + 30 * DAY)
    store.delete([point_key("RG1", child.id)])
    store.day += 30
    report = sweep(store, "RG1", {}, minimum=1)
    assert report.lost == [child.id]
    assert there(store) == keys_of([full, child, last])
    assert read_marks(store, "RG1").held == {child.id}


def test_an_undelete_that_has_begun_keeps_the_copy_with_the_document(
    make_point: MakePoint,
) -> None:
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    sweep(store, "RG1", give_up(child), minimum=1)
    store.day += 8
    document = point_key("RG1", child.id)
    begin_intent(store, "RG1", "01UNDELETE", parent=child, references=[document])
    assert sweep(store, "RG1", give_up(child), minimum=1).purged == []
    assert there(store) == keys_of([full, child, last])


def test_a_point_committed_and_robbed_while_prune_lists_keeps_what_it_shares(
    make_point: MakePoint,
) -> None:
    """Its parent is purged meanwhile, so only its copy tells that the parent's image is needed."""
    store = Watched()
    full = chain(store, make_point, 1)[0]
    child = make_point(store, day=1, parent=full)
    intent = begin_intent(store, "RG1", child.id, parent=full)
    store.delete([point_key("RG1", full.id), sidecar_key("RG1", full.id)])  # as a purge does

    def commit_and_rob() -> None:
        publish(store, child)
        end_intent(store, intent)
        store.delete([point_key("RG1", child.id)])

    # A look lists the objects first and last; this is the first of the second look.
    store.after_list["RG1/"] = [lambda: None, lambda: None, commit_and_rob]
    report = sweep(store, "RG1", {}, minimum=1)
    assert report.lost == [child.id]
    assert there(store) >= keys_of([child])


def test_what_an_old_tombstone_names_stays_for_a_point_that_lost_its_document_since(
    make_point: MakePoint,
) -> None:
    store = Watched()
    full, child = chain(store, make_point, 2)
    shared = sorted(set(objects_of(full)) & set(objects_of(child)))
    write_tombstone(store, "RG1", "01T", shared, EPOCH)
    documents = [point_key("RG1", point.id) for point in (full, child)]
    # Seen by the first look, and gone when the tombstone is looked at.
    store.after_list["RG1/"] = [lambda: None, lambda: store.delete(documents)]
    sweep(store, "RG1", {}, minimum=1)
    assert there(store) == keys_of([full, child])


def test_a_damaged_object_stays_marked_while_another_point_shares_it(
    make_point: MakePoint,
) -> None:
    store = Aging()
    full, child, last = chain(store, make_point, 3)
    image = full.objects[0].key
    mark_damaged(store, damage(full, image))
    store.delete([point_key("RG1", full.id), sidecar_key("RG1", full.id)])  # as a purge does
    sweep(store, "RG1", {}, minimum=0)
    assert [mark.key for mark in read_damage(store, "RG1")] == [image]
    assert distrusted([child, last], read_damage(store, "RG1")) == {child.id, last.id}
    store.delete(point_key("RG1", point.id) for point in (child, last))
    store.delete(sidecar_key("RG1", point.id) for point in (child, last))
    sweep(store, "RG1", {}, minimum=0)
    sweep(store, "RG1", {}, minimum=0)
    assert list(read_damage(store, "RG1")) == []


def test_an_undelete_whose_claim_was_cleared_meanwhile_does_not_report_success(
    make_point: MakePoint,
) -> None:
    store = Watched()
    full, _last = chain(store, make_point, 2)
    sweep(store, "RG1", give_up(full), minimum=1)

    def clear() -> None:
        store.delete(info.key for info in Aging.list(store, "claims/RG1/intents/"))

    store.after_list["claims/RG1/tombstones/"] = [clear]
    with pytest.raises(GroupBusy, match="cleared meanwhile"):
        undelete(store, "RG1", full.id, reason="audit")
