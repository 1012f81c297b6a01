"""A snapshot that could not be used is refused before anything is touched."""

import pytest

from blocks.errors import ConfigError, DiskMissing
from blocks.host.base import Disk
from blocks.profile.model import BackupProfile
from blocks.svc.model import Volume
from tasks.preflight import Pair, Seen, check_pairs, targets_of

MIB = 1 << 20
PROFILE = BackupProfile(
    name="RG1",
    enabled=True,
    method="cloud",
    replicated_resources="group",
    storage_names=("storage1",),
    volume_groups=("VG1",),
    bucket_name="b",
)


def volume(name, uid, size=MIB):
    return Volume(name, name, uid * 32, size, "online", "io_grp0", "Pool0", 1)


def disk(name, uid, vg="", size=MIB):
    return Disk(name, f"/dev/{name}", size, uid * 32, volume_group=vg)


def seen(pairs, sources, targets=()):
    return Seen(
        "storage1",
        "node1",
        "backuphost",
        tuple(pairs),
        {d.uid: d for d in sources},
        {d.uid: d for d in targets},
        ("VG1",),
    )


ONE = Pair("map0", volume("Node1_1", "A"), volume("Node1_4", "C"))
TWO = Pair("map1", volume("Node1_2", "B"), volume("Node1_5", "D"))
BOTH = [disk("hdisk18", "A", "VG1"), disk("hdisk19", "B", "VG1")]


def test_every_disk_mapped_once_is_fine():
    check_pairs(PROFILE, seen([ONE, TWO], BOTH))


def test_a_group_without_mappings_is_refused():
    with pytest.raises(ConfigError, match="has no mappings"):
        check_pairs(PROFILE, seen([], BOTH))


def test_a_disk_of_the_volume_group_without_a_mapping_is_refused():
    with pytest.raises(ConfigError, match=r"hdisk19 of VG1 .* has no mapping"):
        check_pairs(PROFILE, seen([ONE], BOTH))


def test_a_disk_of_another_volume_group_needs_none():
    check_pairs(PROFILE, seen([ONE], [BOTH[0], disk("hdisk7", "B", "rootvg")]))


def test_two_targets_for_one_source_are_refused():
    again = Pair("map2", ONE.source, TWO.target)
    with pytest.raises(ConfigError, match="two mappings"):
        check_pairs(PROFILE, seen([ONE, again], BOTH[:1]))


def test_unequal_sizes_are_refused_to_the_byte():
    grown = Pair("map0", ONE.source, volume("Node1_4", "C", MIB + 512))
    with pytest.raises(ConfigError, match="Node1_1 has 1048576 bytes, Node1_4 has 1049088"):
        check_pairs(PROFILE, seen([grown], BOTH[:1]))


def test_a_target_the_reader_does_not_see_is_refused():
    with pytest.raises(DiskMissing, match="Node1_4"):
        targets_of(seen([ONE], BOTH))


def test_a_target_of_another_size_than_the_arrays_is_refused():
    with pytest.raises(ConfigError, match="the array says 1048576"):
        targets_of(seen([ONE], BOTH, [disk("x", "C", size=2 * MIB)]))


def test_targets_are_found_by_uid_whatever_their_names():
    found = targets_of(seen([ONE, TWO], BOTH, [disk("x", "D"), disk("y", "C")]))
    assert {uid[0]: d.name for uid, d in found.items()} == {"A": "y", "B": "x"}
