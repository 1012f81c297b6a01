"""Bucket settings: read once, compared ever after."""

from datetime import UTC, datetime

import pytest

from blocks.errors import CorruptData, StoreUnavailable
from blocks.store.fingerprint import (
    FOLDER,
    compare,
    recorded_fingerprint,
    save_fingerprint,
    take_fingerprint,
)
from blocks.store.memory import MemoryStore

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


class Answered(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Bucket:
    """A client whose answers are given; an exception given is raised."""

    def __init__(self, **answers):
        self.answers = {
            "get_bucket_versioning": {"Status": "Enabled"},
            "get_object_lock_configuration": {
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}},
                }
            },
            "get_bucket_encryption": {
                "ServerSideEncryptionConfiguration": {
                    "Rules": [
                        {
                            "ApplyServerSideEncryptionByDefault": {
                                "SSEAlgorithm": "aws:kms",
                                "KMSMasterKeyID": "k1",
                            }
                        }
                    ]
                }
            },
            "get_bucket_lifecycle_configuration": Answered("NoSuchLifecycleConfiguration"),
            "get_bucket_policy": {"Policy": '{"b": 1, "a": 2}'},
            "get_public_access_block": Answered("NotImplemented"),
            **answers,
        }

    def __getattr__(self, call):
        def answer(Bucket):  # noqa: N803
            if isinstance(self.answers[call], Exception):
                raise self.answers[call]
            return self.answers[call]

        return answer


def take(**answers):
    return take_fingerprint(Bucket(**answers), "bucket", now=NOW)


def test_settings_are_told_in_words():
    found = take()
    assert found.versioning == "enabled"
    assert found.object_lock == "enabled, governance for 30 days by default"
    assert found.encryption == "aws:kms k1"
    assert found.lifecycle == found.public_access == "none"


def test_nothing_changed_is_no_change_whatever_the_order_of_a_policy():
    assert compare(take(), take()) == []
    assert compare(take(), take(get_bucket_policy={"Policy": '{"a": 2, "b": 1}'})) == []


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("versioning", {"get_bucket_versioning": {"Status": "Suspended"}}),
        ("object_lock", {"get_object_lock_configuration": {}}),
        (
            "encryption",
            {"get_bucket_encryption": Answered("ServerSideEncryptionConfigurationNotFoundError")},
        ),
        (
            "lifecycle",
            {
                "get_bucket_lifecycle_configuration": {
                    "Rules": [{"Status": "Enabled", "Expiration": {"Days": 1}}]
                }
            },
        ),
        ("policy", {"get_bucket_policy": Answered("AccessDenied")}),
    ],
)
def test_each_change_is_named(setting, answers):
    changes = compare(take(), take(**answers))
    assert [change.setting for change in changes] == [setting]
    assert str(changes[0]).startswith(f"{setting} was ")


def test_a_store_that_answers_nonsense_is_not_a_change_each_time():
    nonsense = take(get_bucket_policy={"Policy": "<xml 1>"})
    assert compare(nonsense, take(get_bucket_policy={"Policy": "<xml 2>"})) == []


def test_a_store_that_does_not_answer_has_not_changed():
    for error in (Answered("InternalError"), Answered("SlowDown"), OSError("reset")):
        with pytest.raises(StoreUnavailable):
            take(get_bucket_versioning=error)


def test_the_newest_record_is_compared_with():
    store = MemoryStore()
    assert recorded_fingerprint(store) is None
    save_fingerprint(store, take())
    later = take(get_bucket_versioning={}).model_copy(update={"taken_at": NOW.replace(hour=9)})
    save_fingerprint(store, later)
    assert recorded_fingerprint(store) == later
    store.put(FOLDER + "9.json", b"[]")
    with pytest.raises(CorruptData):
        recorded_fingerprint(store)
