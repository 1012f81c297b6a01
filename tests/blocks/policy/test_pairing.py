import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ConfigError, DiskMissing
from blocks.host.base import Disk
from blocks.policy.pairing import Source, find_sources, pair_volumes
from blocks.svc.model import Volume
from blocks.units import MIB


def volume(number, size=16 * MIB):
    return Volume(str(number), f"v{number}", f"{number:032X}", size, "online", "io", "p", 0)


def disk(number, group="VG1", size=16 * MIB):
    return Disk(f"hdisk{number}", f"/dev/rhdisk{number}", size, f"{number:032X}", "", group, True)


def source(number, size=16 * MIB):
    return Source(disk(number, size=size), volume(number, size))


def test_disks_of_the_volume_groups_are_matched_by_uid():
    disks = [disk(1), disk(2, "VG2"), disk(3, "rootvg")]
    found = find_sources(disks, ["VG1", "VG2"], [volume(2), volume(1), volume(9)])
    assert [one.volume.name for one in found] == ["v1", "v2"]


def test_a_disk_that_is_no_volume_of_the_array_is_told():
    with pytest.raises(DiskMissing, match="hdisk2"):
        find_sources([disk(1), disk(2)], ["VG1"], [volume(1)])


def test_a_volume_group_without_a_disk_here_is_told():
    with pytest.raises(ConfigError, match="VG2"):
        find_sources([disk(1)], ["VG1", "VG2"], [volume(1)])
    with pytest.raises(ConfigError):
        find_sources([disk(1)], [], [volume(1)])


def test_aix_may_tell_a_size_down_to_the_mib_and_no_less():
    odd = 16 * MIB + 512
    assert find_sources([disk(1)], ["VG1"], [volume(1, odd)])
    with pytest.raises(ConfigError, match="hdisk1"):
        find_sources([disk(1)], ["VG1"], [volume(1, 17 * MIB)])


def test_as_many_fitting_volumes_as_sources_are_certain():
    pairs = pair_volumes([source(1), source(2)], [volume(4), volume(5)], mapped={}, chosen={})
    assert [pair.target.name for pair in pairs] == ["v4", "v5"]
    assert all(pair.is_certain for pair in pairs)


def test_one_volume_more_makes_it_a_guess():
    free = [volume(4), volume(5), volume(6)]
    pairs = pair_volumes([source(1), source(2)], free, mapped={}, chosen={})
    assert not any(pair.is_certain for pair in pairs)
    assert pairs[0].choices == ("v4", "v5", "v6")


def test_what_is_named_is_certain_and_leaves_the_rest_certain():
    free = [volume(4), volume(5)]
    pairs = pair_volumes([source(1), source(2)], free, mapped={}, chosen={"hdisk1": "v5"})
    assert [(pair.target.name, pair.is_certain) for pair in pairs] == [("v5", True), ("v4", True)]


def test_what_is_mapped_stays():
    pairs = pair_volumes([source(1)], [volume(4)], mapped={"v1": volume(9)}, chosen={})
    assert pairs[0].is_mapped
    assert pairs[0].target.name == "v9"


def test_the_same_choice_twice_is_the_same_map():
    pairs = pair_volumes([source(1)], [], mapped={"v1": volume(9)}, chosen={"hdisk1": "v9"})
    assert [(pair.target.name, pair.is_mapped) for pair in pairs] == [("v9", True)]


def test_another_choice_for_what_is_mapped_is_refused_not_ignored():
    with pytest.raises(ConfigError, match="mapped to v9 already, not to v4"):
        pair_volumes([source(1)], [volume(4)], mapped={"v1": volume(9)}, chosen={"hdisk1": "v4"})


def test_a_size_without_a_free_volume_has_no_target():
    pairs = pair_volumes([source(1, 32 * MIB)], [volume(4)], mapped={}, chosen={})
    assert pairs[0].target is None


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"hdisk9": "v4"}, "no disk of the resource group"),
        ({"hdisk1": "v8"}, "not free"),
        ({"hdisk1": "v6"}, "bytes"),
        ({"hdisk1": "v4", "v2": "v4"}, "two disks"),
    ],
)
def test_a_wrong_choice_is_refused_by_name(chosen, told):
    free = [volume(4), volume(5), volume(6, 32 * MIB)]
    with pytest.raises(ConfigError, match=told):
        pair_volumes([source(1), source(2)], free, mapped={}, chosen=chosen)


sizes = st.sampled_from([16 * MIB, 32 * MIB])


@given(st.lists(sizes, min_size=1, max_size=5), st.lists(sizes, max_size=6))
def test_no_target_is_used_twice_and_sizes_are_always_equal(source_sizes, free_sizes):
    sources = [source(number, size) for number, size in enumerate(source_sizes)]
    free = [volume(100 + number, size) for number, size in enumerate(free_sizes)]
    pairs = pair_volumes(sources, free, mapped={}, chosen={})
    targets = [pair.target.name for pair in pairs if pair.target]
    assert len(set(targets)) == len(targets)
    for pair in pairs:
        if pair.target:
            assert pair.target.size_bytes == pair.source.volume.size_bytes
