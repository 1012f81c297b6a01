"""A signed restore point is as its writer left it."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.catalog.document import seal, unseal
from blocks.catalog.point import Kind, PageRef, RestorePoint, StoredObject, VolumeImage
from blocks.catalog.signature import check_point, sign_point
from blocks.errors import CorruptData
from blocks.image import envelope, keys
from blocks.image.cipher import Cipher
from blocks.image.keyring import Role

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
PAGE = StoredObject(key="RG1/p/page", size_bytes=10, etag="e", digest="1" * 64)
IMAGE = StoredObject(key="RG1/p/image", size_bytes=99, etag="f")


def cipher(seed):
    reader = keys.PublicKeyRecipient("r", Role.READER, envelope.public_key_of(bytes([seed] * 32)))
    return Cipher(keys.create_keyring([reader], now=NOW)[1])


OURS, THEIRS = cipher(1), cipher(2)


@pytest.fixture
def point():
    volume = VolumeImage(
        name="v",
        uid="A" * 32,
        size_bytes=1 << 20,
        disk="hdisk1",
        extent_bytes=262144,
        map_digest="2" * 64,
        pages=(PageRef(object=PAGE, first_extent=0, extent_count=4),),
        read_bytes=1 << 20,
        zero_bytes=0,
        changed_bytes=1,
        stored_bytes=1,
        image_keys=("RG1/p/image",),
    )
    unsigned = RestorePoint(
        id="01JDCZ0000000000000000000A",
        group="RG1",
        cluster="c",
        storage_system="s",
        consistency_group="g",
        kind=Kind.FULL,
        taken_at=NOW,
        committed_at=NOW,
        reading_host="h",
        volumes=(volume,),
        objects=(IMAGE,),
        maps_digest="3" * 64,
        codec="zstd-1+aes-256-gcm",
        digest_algorithm="blake3-keyed",
        key_ids=OURS.key_ids,
        tool_version="0.1.0",
    )
    return sign_point(OURS, unsigned)


def test_a_point_stored_and_read_again_is_still_signed(point):
    check_point(OURS, unseal(seal(point), RestorePoint, where="p"))


def test_a_commit_that_is_repeated_later_is_the_same_point(point):
    check_point(OURS, point.model_copy(update={"committed_at": NOW + timedelta(hours=1)}))


@pytest.mark.parametrize(
    "change",
    [
        {"group": "RG2"},
        {"id": "01JDCZ0000000000000000000B"},
        {"taken_at": NOW + timedelta(days=1)},
        {"maps_digest": "4" * 64},
        {"objects": (IMAGE.model_copy(update={"etag": "other"}),)},
        {"signature": "0" * 64},
        {"signature": None},
        {"parent": "01JDCZ00000000000000000009"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_altered_point_is_refused_though_its_seal_fits(point, change):
    altered = unseal(seal(point.model_copy(update=change)), RestorePoint, where="p")
    with pytest.raises(CorruptData):
        check_point(OURS, altered)


def test_another_page_under_the_same_point_is_refused(point):
    page = PageRef(
        object=PAGE.model_copy(update={"digest": "9" * 64}), first_extent=0, extent_count=4
    )
    volume = point.volumes[0].model_copy(update={"pages": (page,)})
    with pytest.raises(CorruptData):
        check_point(OURS, point.model_copy(update={"volumes": (volume,)}))


def test_a_point_signed_by_a_stranger_is_refused(point):
    forged = sign_point(THEIRS, point.model_copy(update={"key_ids": OURS.key_ids}))
    with pytest.raises(CorruptData):
        check_point(OURS, forged)
