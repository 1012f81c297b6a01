"""What is particular to the store in memory; its promises are tests/contract's subject."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ObjectChanged, ObjectMissing, StoreError, StoreUnavailable
from blocks.store.base import Store
from blocks.store.memory import PAGE_KEYS, MemoryStore

KEYS = st.lists(st.text("ab/0.", min_size=1, max_size=6), unique=True, max_size=30)


def test_it_is_a_store() -> None:
    store: Store = MemoryStore()
    assert store.url == "memory://memory"


@given(keys=KEYS, prefix=st.text("ab/", max_size=2), after=st.text("ab/", max_size=3))
def test_a_listing_is_sorted_and_complete(keys: list[str], prefix: str, after: str) -> None:
    store = MemoryStore()
    for key in keys:
        store.put(key, b"")
    wanted = sorted(key for key in keys if key.startswith(prefix) and key > after)
    assert [info.key for info in store.list(prefix, after=after)] == wanted


@given(keys=KEYS, folder=st.sampled_from(["", "a/", "b/", "a/a/"]))
def test_prefixes_are_the_folders_directly_below(keys: list[str], folder: str) -> None:
    store = MemoryStore()
    for key in keys:
        store.put(key, b"")
    below = [key[len(folder) :] for key in keys if key.startswith(folder)]
    wanted = sorted({f"{folder}{key.split('/')[0]}/" for key in below if "/" in key})
    assert sorted(store.prefixes(folder)) == wanted


def test_a_listing_goes_on_over_its_pages_and_sees_what_comes_later() -> None:
    store = MemoryStore()
    for number in range(PAGE_KEYS + 5):
        store.put(f"k{number:06d}", b"")
    listing = store.list("k")
    first = next(listing)
    store.put("k999999", b"")
    store.delete(["k000001"])  # on the page already answered: still listed, as on S3
    keys = [first.key, *(info.key for info in listing)]
    assert "k999999" in keys
    assert "k000001" in keys
    assert len(keys) == PAGE_KEYS + 6


def test_a_conditional_put_never_overwrites() -> None:
    store = MemoryStore()
    store.put("k", b"1", if_absent=True)
    with pytest.raises(ObjectChanged):
        store.put("k", b"2", if_absent=True)
    assert store.get("k") == b"1"


def test_a_pinned_read_refuses_another_object() -> None:
    store = MemoryStore()
    old = store.put("k", b"old")
    store.put("k", b"new")
    with pytest.raises(ObjectChanged):
        store.get("k", etag=old.etag)
    with pytest.raises(ObjectChanged):
        store.get_range("k", 0, 1, etag=old.etag)


def test_a_range_past_the_end_is_no_short_answer() -> None:
    store = MemoryStore()
    store.put("k", b"abc")
    assert bytes(store.get_range("k", 1, 2)) == b"bc"
    with pytest.raises(StoreUnavailable):
        store.get_range("k", 1, 3)


def test_a_missing_object_is_missing_and_deleting_it_is_fine() -> None:
    store = MemoryStore()
    store.delete(["nothing"])
    for ask in (store.get, store.head):
        with pytest.raises(ObjectMissing):
            ask("nothing")


def test_an_upload_is_invisible_until_complete_and_can_be_resumed() -> None:
    store = MemoryStore(part_min_bytes=2)
    first = store.begin_upload("big").put_part(1, [b"a", b"b"])
    (info,) = store.uploads("b")
    assert list(store.list()) == []
    upload, parts = store.resume_upload(info.key, info.upload_id)
    assert list(parts) == [first]
    last = upload.put_part(2, b"c")
    done = upload.complete([first, last])
    assert (store.get("big"), done.size_bytes, list(store.uploads())) == (b"abc", 3, [])
    upload.abort()
    assert store.get("big") == b"abc"
    with pytest.raises(ObjectMissing):
        store.resume_upload(info.key, info.upload_id)


def test_complete_refuses_small_parts_wrong_parts_and_an_existing_key() -> None:
    store = MemoryStore(part_min_bytes=2)
    upload = store.begin_upload("big")
    parts = [upload.put_part(1, b"a"), upload.put_part(2, b"b")]
    with pytest.raises(StoreError, match="too small"):
        upload.complete(parts)
    stale, _ = parts[0], upload.put_part(1, b"aaa")
    with pytest.raises(StoreError, match="not the one"):
        upload.complete([stale])
    store.put("big", b"x")
    with pytest.raises(ObjectChanged):
        upload.complete([upload.put_part(1, b"aaa")])


def test_a_part_can_be_copied_from_another_object() -> None:
    store = MemoryStore()
    source = store.put("source", b"0123456789")
    upload = store.begin_upload("copy")
    part = store.copy_parts(upload, 1, "source", 2, 3, etag=source.etag)
    upload.complete([part])
    assert store.get("copy") == b"234"


def test_a_versioned_delete_hides_and_each_write_has_its_own_version() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    store = MemoryStore(versioned=True, now=lambda: moment)
    first, second = store.put("k", b"1"), store.put("k", b"2")
    assert first.version_id != second.version_id
    assert store.head("k").stored_at == moment
    store.delete(["k"])
    assert list(store.list()) == []
    with pytest.raises(ObjectMissing):
        store.get("k")
