from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from blocks.catalog.chain import sidecar_key
from blocks.catalog.claims import begin_intent, end_intent
from blocks.catalog.findings import Findings, write_down
from blocks.catalog.marks import read_damage
from blocks.catalog.point import RestorePoint, new_id, point_key
from blocks.catalog.shelf import publish, read_shelf
from blocks.errors import AccessDenied
from blocks.store.memory import MemoryStore

MakePoint = Callable[..., RestorePoint]
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(part_min_bytes=0)


@pytest.fixture
def chain(store: MemoryStore, make_point: MakePoint) -> list[RestorePoint]:
    """A full, and an incremental that shares its image."""
    made: list[RestorePoint] = []
    for day in range(2):
        point = make_point(store, day=day, parent=made[-1] if made else None)
        intent = begin_intent(store, "RG1", point.id, parent=made[-1] if made else None)
        publish(store, point)
        end_intent(store, intent)
        made.append(point)
    return made


def purge(store: MemoryStore, point: RestorePoint, *, also: str = "") -> None:
    store.delete([sidecar_key("RG1", point.id), point_key("RG1", point.id), *([also] * bool(also))])


def write(store, points, found, *, known=None, run_id=None, **more) -> Findings:
    known = read_damage(store, "RG1") if known is None else known
    read = [point.id for point in points]
    return write_down(store, "RG1", run_id or new_id(), known, read, found, NOW, **more)


def marked(store: MemoryStore) -> set[tuple[str, str]]:
    return {(mark.point_id, mark.key) for mark in read_damage(store, "RG1")}


def test_what_was_pruned_while_it_was_read_is_not_damage(store, chain) -> None:
    full, _child = chain
    page = full.volumes[0].pages[0].object.key
    purge(store, full, also=page)
    found = write(store, chain, {(full.id, page): [(0, 10)]})
    assert (found.damaged, found.pruned) == ({}, {full.id})
    assert marked(store) == set()


def test_damage_found_in_a_point_pruned_since_is_told_of_those_that_share_the_object(
    store, chain
) -> None:
    full, child = chain
    image = full.objects[0].key
    purge(store, full)
    found = write(store, chain, {(full.id, image): [(3, 4)]})
    assert found.damaged == {(child.id, image): {(3, 4)}}
    assert marked(store) == {(child.id, image)}


def test_a_point_only_robbed_of_its_document_is_still_marked(store, chain) -> None:
    full, _child = chain
    image = full.objects[0].key
    store.delete([point_key("RG1", full.id)])
    assert write(store, [full], {(full.id, image): [(0, 1)]}).pruned == set()
    assert marked(store) == {(full.id, image)}


def test_two_verifies_at_once_overwrite_nothing_of_each_other(store, chain) -> None:
    full, _child = chain
    image = full.objects[0].key
    write(store, [full], {(full.id, image): [(0, 1)]})
    before = read_damage(store, "RG1")
    write(store, [full], {(full.id, image): [(5, 1)]}, known=before)
    write(store, [full], {(full.id, image): [(9, 1)]}, known=before)
    ranges = {place for mark in read_damage(store, "RG1") for place in mark.ranges}
    assert ranges == {(0, 1), (5, 1), (9, 1)}
    assert len(read_damage(store, "RG1")) == 2, "what is carried on is taken away"


def test_who_found_all_right_does_not_take_away_what_was_found_meanwhile(store, chain) -> None:
    full, _child = chain
    image = full.objects[0].key
    write(store, [full], {(full.id, image): [(0, 1)]})
    before = read_damage(store, "RG1")
    write(store, [full], {(full.id, image): [(0, 1)]}, known=before)  # it rots again
    found = write(store, [full], {}, known=before, read_whole=[full.id])
    assert len(read_damage(store, "RG1")) == 1
    assert read_shelf(store, "RG1").points[0].is_damaged
    assert found.damaged == {}


def test_marks_stay_where_a_page_could_not_be_read(store, chain) -> None:
    full, _child = chain
    image, page = full.objects[0].key, full.volumes[0].pages[0].object.key
    write(store, [full], {(full.id, image): [(0, 1)]})
    found = write(store, [full], {(full.id, page): [(0, 9)]}, read_whole=[full.id])
    assert found.healed == set()
    assert marked(store) == {(full.id, image), (full.id, page)}


def test_an_older_mark_that_may_not_be_deleted_keeps_no_new_one_from_being_written(
    store, chain, monkeypatch
) -> None:
    full, _child = chain
    image = full.objects[0].key
    write(store, [full], {(full.id, image): [(0, 1)]})

    def refuse(_keys: object) -> None:
        raise AccessDenied("a role without delete")

    monkeypatch.setattr(store, "delete", refuse)
    write(store, [full], {(full.id, image): [(5, 1)]})
    assert {place for mark in read_damage(store, "RG1") for place in mark.ranges} == {
        (0, 1),
        (5, 1),
    }
