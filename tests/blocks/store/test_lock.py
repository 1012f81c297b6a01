"""Every object is locked, or it is said which is not."""

import threading
from datetime import UTC, datetime

import pytest

from blocks.errors import StoreError, StoreUnavailable
from blocks.store.lock import lock_objects

UNTIL = datetime(2026, 12, 23, tzinfo=UTC)


class Answered(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Client:
    def __init__(self, fault=None):
        self.fault = fault
        self.locked = {}
        self.mutex = threading.Lock()

    def put_object_retention(self, Bucket, Key, Retention):  # noqa: N803
        if Key == "b" and self.fault:
            raise self.fault
        with self.mutex:
            self.locked[Key] = (Bucket, Retention)


def test_every_object_is_locked_until_the_day():
    client = Client()
    assert lock_objects(client, "bucket", ["a", "b", "c"], until=UNTIL) == 3
    expected = ("bucket", {"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL})
    assert client.locked == dict.fromkeys("abc", expected)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Answered("AccessDenied"), StoreError),
        (Answered("InternalError"), StoreUnavailable),
        (OSError("reset"), StoreUnavailable),
    ],
)
def test_one_refusal_is_told_and_the_others_are_locked_all_the_same(fault, error):
    client = Client(fault)
    with pytest.raises(error, match="b could not be locked"):
        lock_objects(client, "bucket", ["a", "b", "c"], until=UNTIL)
    assert set(client.locked) == {"a", "c"}
