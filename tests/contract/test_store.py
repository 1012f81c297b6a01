"""What every store promises (blocks/store/base.py): one suite for all of them."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from blocks.errors import BucketMissing, ObjectChanged, ObjectMissing, StoreUnavailable
from blocks.store.base import PART_MIN_BYTES, crc32_of
from blocks.store.clients import BucketSettings, open_store
from blocks.store.directory import DirectoryStore
from blocks.store.memory import MemoryStore


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    """Start a lab with nothing but its object store in use."""
    from deployments.lab.site import load_site

    place = tmp_path_factory.mktemp("contract") / "lab"
    command = [sys.executable, "-m", "deployments.cli", "lab"]
    up = [*command, "up", "--dir", str(place), "--size", "1M", "--no-prefect", "--empty"]
    subprocess.run(up, check=True, stdout=subprocess.DEVNULL)
    yield load_site(place).s3
    subprocess.run([*command, "down", "--dir", str(place)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(
    params=[
        "memory",
        "directory",
        pytest.param("boto3", marks=pytest.mark.server),
        pytest.param("ibm_boto3", marks=pytest.mark.server),
    ]
)
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return DirectoryStore(tmp_path / "bucket")
    server = request.getfixturevalue("seaweed")
    return open_store(
        BucketSettings(
            bucket=server.bucket,
            provider="IBM" if request.param == "ibm_boto3" else "AWS",
            prefix=f"{os.urandom(4).hex()}/",
            endpoint=server.endpoint,
            region=server.region,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
    )


def test_what_was_put_is_got_whole_and_in_ranges(store):
    put = store.put("a/b.txt", b"0123456789")
    assert put.size_bytes == 10
    assert bytes(store.get("a/b.txt")) == b"0123456789"
    assert bytes(store.get_range("a/b.txt", 3, 4, etag=put.etag)) == b"3456"
    head = store.head("a/b.txt")
    assert (head.key, head.size_bytes, head.etag) == ("a/b.txt", 10, put.etag)


def test_what_is_not_there_is_missing_and_nothing_else(store):
    with pytest.raises(ObjectMissing):
        store.get("nothing")
    with pytest.raises(ObjectMissing):
        store.head("nothing")
    with pytest.raises(ObjectMissing):
        store.get_range("nothing", 0, 1)


def test_a_range_past_the_end_is_no_short_answer(store):
    store.put("short", b"12345")
    with pytest.raises(StoreUnavailable):
        store.get_range("short", 3, 10)


def test_a_pin_refuses_another_object(store):
    first = store.put("pinned", b"one")
    store.delete(["pinned"])
    store.put("pinned", b"two")
    with pytest.raises(ObjectChanged):
        store.get("pinned", etag=first.etag)
    with pytest.raises(ObjectChanged):
        store.get_range("pinned", 0, 1, etag=first.etag)


def test_if_absent_never_writes_over(store):
    store.put("once", b"first", if_absent=True)
    with pytest.raises(ObjectChanged):
        store.put("once", b"second", if_absent=True)
    assert bytes(store.get("once")) == b"first"


def test_listings_are_whole_sorted_and_can_begin_anywhere(store):
    keys = [f"l/{number:03}" for number in range(25)] + ["l/sub/x", "m/1"]
    for key in keys:
        store.put(key, b"x")
    assert [info.key for info in store.list("l/")] == sorted(keys[:-1])
    assert [info.key for info in store.list("l/", after="l/022")] == ["l/023", "l/024", "l/sub/x"]
    assert list(store.prefixes("")) == ["l/", "m/"]
    assert list(store.list("nowhere/")) == []


def test_deleting_twice_is_fine(store):
    store.put("gone", b"x")
    store.delete(["gone", "never"])
    store.delete(["gone"])
    with pytest.raises(ObjectMissing):
        store.head("gone")


def test_an_upload_is_invisible_until_it_is_complete(store):
    upload = store.begin_upload("big")
    one = upload.put_part(1, b"a" * PART_MIN_BYTES)
    two = upload.put_part(2, b"b" * 100)
    with pytest.raises(ObjectMissing):
        store.head("big")
    assert [info.key for info in store.uploads()] == ["big"]
    info = upload.complete([one, two])
    assert info.size_bytes == PART_MIN_BYTES + 100
    assert bytes(store.get_range("big", PART_MIN_BYTES - 1, 2)) == b"ab"
    assert list(store.uploads()) == []


def test_parts_go_up_in_any_order_and_from_several_threads(store):
    upload = store.begin_upload("threads")
    bodies = {number: bytes([number]) * PART_MIN_BYTES for number in range(1, 4)}
    done = {}

    def put(number):
        done[number] = upload.put_part(number, bodies[number])

    threads = [threading.Thread(target=put, args=(number,)) for number in (3, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upload.complete([done[number] for number in (1, 2, 3)])
    assert bytes(store.get("threads")) == b"".join(bodies.values())


def test_another_process_goes_on_with_an_upload(store):
    begun = store.begin_upload("resumed")
    begun.put_part(1, b"a" * PART_MIN_BYTES)
    upload, parts = store.resume_upload("resumed", begun.upload_id)
    assert [(part.number, part.size_bytes) for part in parts] == [(1, PART_MIN_BYTES)]
    first = replace(parts[0], checksum=crc32_of(b"a" * PART_MIN_BYTES))
    info = upload.complete([first, upload.put_part(2, b"end")])
    assert info.size_bytes == PART_MIN_BYTES + 3


def test_an_abort_leaves_nothing_and_may_be_repeated(store):
    upload = store.begin_upload("aborted")
    upload.put_part(1, b"a" * PART_MIN_BYTES)
    upload.abort()
    upload.abort()
    assert list(store.uploads()) == []
    with pytest.raises(ObjectMissing):
        store.head("aborted")
    with pytest.raises(ObjectMissing):
        store.resume_upload("aborted", upload.upload_id)


def test_a_range_is_copied_inside_the_store(store):
    source = store.put("source", b"x" * PART_MIN_BYTES + b"middle" + b"y" * 10)
    upload = store.begin_upload("copy")
    one = store.copy_parts(upload, 1, "source", 0, PART_MIN_BYTES, etag=source.etag)
    two = store.copy_parts(upload, 2, "source", PART_MIN_BYTES, 6, etag=source.etag)
    upload.complete([one, two])
    assert bytes(store.get("copy"))[-6:] == b"middle"


@pytest.mark.server
def test_a_bucket_that_is_not_there_is_not_an_empty_one(seaweed):
    gone = open_store(
        BucketSettings(
            bucket="no-such-bucket",
            endpoint=seaweed.endpoint,
            region=seaweed.region,
            access_key=seaweed.access_key,
            secret_key=seaweed.secret_key,
        )
    )
    with pytest.raises(BucketMissing):
        list(gone.list())
