"""What workers of one group tell each other: an end is decided once."""

from datetime import UTC, datetime

import pytest

from blocks.catalog.orders import (
    Beat,
    Delivered,
    Fenced,
    Order,
    OrderedVolume,
    beat,
    deliver,
    fence,
    order_folder,
    read_order,
    read_outcome,
    remove_order,
    write_order,
)
from blocks.catalog.owner import this_process
from blocks.catalog.view import look
from blocks.errors import ObjectMissing
from blocks.store.memory import MemoryStore

UID = "60050768" + "0" * 24


@pytest.fixture
def order(make_point):
    point = make_point(MemoryStore())
    return Order(
        group="RG1",
        run_id=point.id,
        storage_system="storage1",
        consistency_group="cg",
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        array_start_time="260101000000",
        owner="node1",
        reader="backup1",
        volumes=(
            OrderedVolume(
                mapping="m", name="v", uid=UID, target_name="t", target_uid=UID, size_bytes=1 << 20
            ),
        ),
    )


@pytest.fixture
def delivered(make_point):
    point = make_point(MemoryStore())
    (volume,) = point.volumes
    return Delivered(worker=this_process(), image=volume, objects=point.objects, is_full=True)


def test_an_order_reads_as_it_was_written(order):
    store = MemoryStore()
    write_order(store, order)
    write_order(store, order)
    assert read_order(store, "RG1", order.run_id) == order


def test_what_is_delivered_first_cannot_be_fenced_any_more(order, delivered):
    store = MemoryStore()
    write_order(store, order)
    assert read_outcome(store, order, UID, 1) is None
    assert deliver(store, order, 1, delivered)
    assert fence(store, order, UID, 1, "silent") == delivered
    assert read_outcome(store, order, UID, 1) == delivered


def test_what_is_fenced_first_is_never_delivered_and_the_next_take_is_free(order, delivered):
    store = MemoryStore()
    write_order(store, order)
    assert fence(store, order, UID, 1, "silent") is None
    assert not deliver(store, order, 1, delivered)
    assert isinstance(read_outcome(store, order, UID, 1), Fenced)
    assert deliver(store, order, 2, delivered)


def test_a_beat_says_whether_anybody_still_waits(order):
    store = MemoryStore()
    said = Beat(worker=this_process())
    assert not beat(store, order, UID, 1, 1, said), "there is no such order"
    write_order(store, order)
    assert beat(store, order, UID, 1, 1, said)
    fence(store, order, UID, 1, "silent")
    assert not beat(store, order, UID, 1, 2, said)
    assert beat(store, order, UID, 2, 1, said)


def test_nothing_is_delivered_to_a_run_that_is_over(order, delivered):
    store = MemoryStore()
    write_order(store, order)
    beat(store, order, UID, 1, 1, Beat(worker=this_process()))
    remove_order(store, "RG1", order.run_id)
    assert not deliver(store, order, 1, delivered)
    assert list(store.list(order_folder("RG1", order.run_id))) == []
    with pytest.raises(ObjectMissing):
        read_order(store, "RG1", order.run_id)


def test_an_order_is_no_part_of_what_a_prune_looks_at(order, make_point):
    store = MemoryStore()
    before = look(store, "RG1")
    write_order(store, order)
    after = look(store, "RG1")
    assert (after.intents, dict(after.objects)) == (before.intents, dict(before.objects))
