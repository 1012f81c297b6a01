from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from blocks.catalog.chain import sidecar_key
from blocks.catalog.claims import (
    Intent,
    begin_intent,
    clear_intent,
    end_intent,
    intent_key,
    read_fate,
    read_intents,
    read_tombstones,
    write_tombstone,
)
from blocks.catalog.document import seal
from blocks.catalog.marks import put_trash
from blocks.catalog.owner import Owner, this_process
from blocks.catalog.point import RestorePoint, point_key
from blocks.catalog.shelf import points, publish, read_shelf
from blocks.errors import (
    BrokenChain,
    ConfigError,
    CorruptData,
    GroupBusy,
    ObjectChanged,
    RunFenced,
    StoreUnavailable,
)
from blocks.store.base import Buffer, ObjectInfo
from blocks.store.memory import MemoryStore

MakePoint = Callable[..., RestorePoint]
ELSEWHERE = Owner(host="elsewhere", boot_id="b", pid_namespace="pid:[1]", pid=1, started_ticks=1)
STORES = [
    pytest.param(True, id="conditional"),
    pytest.param(False, id="unconditional"),
]


def begin(store: MemoryStore, point: RestorePoint, parent: RestorePoint | None = None) -> Intent:
    return begin_intent(store, point.group, point.id, parent=parent)


def commit(store: MemoryStore, point: RestorePoint, parent: RestorePoint | None = None) -> Intent:
    intent = begin(store, point, parent)
    publish(store, point)
    return intent


def test_an_intent_protects_what_the_parent_references(make_point: MakePoint) -> None:
    store = MemoryStore()
    full = make_point(store)
    assert end_intent(store, commit(store, full)) is True
    child = make_point(store, day=1, parent=full)
    intent = begin(store, child, full)
    page = full.volumes[0].pages[0].object
    assert set(intent.references) == {full.objects[0].key, page.key}
    assert list(read_intents(store, "RG1")) == [intent]


def test_a_parent_pruned_meanwhile_is_refused_and_the_run_may_go_on_in_full(
    make_point: MakePoint,
) -> None:
    store = MemoryStore()
    full = make_point(store)
    end_intent(store, commit(store, full))
    store.delete([point_key("RG1", full.id)])
    child = make_point(store, day=1, parent=full)
    with pytest.raises(BrokenChain, match="pruned meanwhile"):
        begin(store, child, full)
    (left,) = read_intents(store, "RG1")
    assert left.references == ()
    whole = make_point(store, day=1, point_id=child.id)
    assert begin(store, whole) == left
    assert publish(store, whole) == whole


def test_a_condemned_object_is_refused(make_point: MakePoint) -> None:
    store = MemoryStore()
    full = make_point(store)
    end_intent(store, commit(store, full))
    tombstone = write_tombstone(store, "RG1", "01T", [full.objects[0].key], full.taken_at)
    assert list(read_tombstones(store, "RG1")) == [tombstone]
    child = make_point(store, day=1, parent=full)
    with pytest.raises(BrokenChain, match="being deleted"):
        begin(store, child, full)


def test_a_group_may_not_be_named_like_a_folder_of_the_tool() -> None:
    for name in ("", "points", "claims", "a/b"):
        with pytest.raises(ConfigError):
            begin_intent(MemoryStore(), name, "01A")


@pytest.mark.parametrize("conditional", STORES)
def test_an_ended_run_can_never_commit(make_point: MakePoint, conditional: bool) -> None:
    store = MemoryStore(conditional_put=conditional)
    point = make_point(store)
    intent = begin(store, point)
    assert end_intent(store, intent) is False
    assert end_intent(store, intent) is False  # safe to repeat
    with pytest.raises(RunFenced):
        publish(store, point)
    assert points(store) == []
    assert read_shelf(store, "RG1").voids == {point.id}


@pytest.mark.parametrize("conditional", STORES)
def test_a_commit_in_flight_loses_against_the_void(
    make_point: MakePoint, conditional: bool
) -> None:
    """The process was declared dead; its PUT arrives only now, after every check it made."""
    store = MemoryStore(conditional_put=conditional)
    point = make_point(store)
    document = seal(point)
    clear_intent(store, begin(store, point), force=True)
    if conditional:
        with pytest.raises(ObjectChanged):
            store.put(point_key(point.group, point.id), document, if_absent=True)
    else:
        store.put(point_key(point.group, point.id), document)
    assert points(store) == []
    assert read_fate(store, point.group, point.id).is_void


def test_a_conflict_in_which_nobody_won_decides_nothing(make_point: MakePoint) -> None:
    """S3 answers 409 when two conditional writes of one key meet; then neither may be there."""

    class Conflicting(MemoryStore):
        def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
            if key.startswith("points/"):
                raise ObjectChanged("ConditionalRequestConflict")
            return super().put(key, data, if_absent=if_absent)

    store = Conflicting()
    point = make_point(store)
    intent = begin(store, point)
    with pytest.raises(StoreUnavailable):
        clear_intent(store, intent, force=True)
    assert list(read_intents(store, "RG1")) == [intent]
    with pytest.raises(StoreUnavailable):
        publish(store, point)


def test_a_claim_whose_answer_was_lost_can_be_repeated(make_point: MakePoint) -> None:
    store = MemoryStore()
    point = make_point(store)
    assert begin(store, point) == begin(store, point)
    with pytest.raises(ObjectChanged):
        begin_intent(store, "RG1", point.id, owner=ELSEWHERE)


def test_only_the_own_machine_declares_a_process_dead(make_point: MakePoint) -> None:
    store = MemoryStore()
    point = make_point(store)
    intent = begin_intent(store, "RG1", point.id, owner=ELSEWHERE)
    with pytest.raises(GroupBusy, match="may be alive"):
        clear_intent(store, intent)
    with pytest.raises(GroupBusy, match="is alive"):
        clear_intent(store, intent.model_copy(update={"owner": this_process()}))
    assert list(read_intents(store, "RG1")) == [intent]
    dead = this_process().model_copy(update={"started_ticks": 1})
    assert clear_intent(store, intent.model_copy(update={"owner": dead})) is False
    assert list(read_intents(store, "RG1")) == []


def test_a_dead_run_that_had_committed_stays_committed(make_point: MakePoint) -> None:
    store = MemoryStore()
    point = make_point(store)
    intent = commit(store, point)
    assert clear_intent(store, intent, alive=lambda _: False) is True
    assert points(store) == [point]


def test_an_intent_that_cannot_be_read_is_no_absent_intent(make_point: MakePoint) -> None:
    store = MemoryStore()
    intent = begin(store, make_point(store))
    key = intent_key("RG1", intent.run_id)
    store.put(key, store.get(key).replace(b"RG1", b"RG2"))
    with pytest.raises(CorruptData):
        read_intents(store, "RG1")


@pytest.mark.parametrize("conditional", STORES)
def test_a_run_killed_just_before_its_last_write_is_committed_when_it_is_cleared(
    make_point: MakePoint, conditional: bool
) -> None:
    store = MemoryStore(conditional_put=conditional)
    point = make_point(store)
    intent = begin(store, point)
    store.put(sidecar_key("RG1", point.id), seal(point))
    assert clear_intent(store, intent, alive=lambda _: False) is True
    assert points(store) == [point]
    assert list(read_intents(store, "RG1")) == []


@pytest.mark.parametrize("conditional", STORES)
def test_a_document_deleted_before_the_run_has_ended_is_written_again(
    make_point: MakePoint, conditional: bool
) -> None:
    store = MemoryStore(conditional_put=conditional)
    point = make_point(store)
    intent = commit(store, point)
    store.delete([point_key("RG1", point.id)])
    assert end_intent(store, intent) is True
    assert points(store) == [point]


@pytest.mark.parametrize("conditional", STORES)
@pytest.mark.parametrize("lack", ["object", "copy", "condemned"])
def test_a_run_is_void_if_its_copy_proves_no_complete_point(
    make_point: MakePoint, conditional: bool, lack: str
) -> None:
    store = MemoryStore(conditional_put=conditional)
    point = make_point(store)
    intent = begin(store, point)
    copy = seal(point)
    store.put(sidecar_key("RG1", point.id), copy[:-9] if lack == "copy" else copy)
    if lack == "object":
        store.delete([point.objects[0].key])
    if lack == "condemned":
        put_trash(store, "RG1", point.id, "no rule keeps it")
        later = datetime.now(UTC) + timedelta(days=1)
        write_tombstone(store, "RG1", "01T", [point_key("RG1", point.id)], later)
    assert clear_intent(store, intent, alive=lambda _: False) is False
    assert points(store) == []
    assert read_shelf(store, "RG1").voids == {point.id}


def test_a_run_that_may_be_alive_is_never_committed_by_others(make_point: MakePoint) -> None:
    """It could wake up after the point was pruned, and write its document once more."""
    store = MemoryStore()
    point = make_point(store)
    intent = begin(store, point)
    store.put(sidecar_key("RG1", point.id), seal(point))
    assert clear_intent(store, intent, force=True, alive=lambda _: None) is False
    with pytest.raises(RunFenced):
        publish(store, point)


def test_by_force_without_conditional_writes_the_last_write_is_made_good(
    make_point: MakePoint,
) -> None:
    """There an operator who forces must know that the process is dead."""
    store = MemoryStore(conditional_put=False)
    point = make_point(store)
    intent = begin(store, point)
    store.put(sidecar_key("RG1", point.id), seal(point))
    assert clear_intent(store, intent, force=True, alive=lambda _: None) is True
    assert points(store) == [point]
