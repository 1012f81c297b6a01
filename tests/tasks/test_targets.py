from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from blocks.errors import ConfigError, DiskMissing, PointMissing
from blocks.host.base import Disk
from blocks.store.memory import MemoryStore
from tasks.plan import Asked, find, refuse_idle_names
from tasks.targets import Places, candidates, spelled_out

A, B = "A" * 32, "B" * 32


def point(*disks):
    volumes = [
        SimpleNamespace(disk=disk, name=f"v{number}", uid=uid)
        for number, (disk, uid) in enumerate(zip(disks, (A, B), strict=False))
    ]
    return SimpleNamespace(volumes=volumes, id="01P")


def test_what_is_named_stays_as_it_is():
    to = {"hdisk18": "hdisk30"}
    assert spelled_out(point("hdisk18", "hdisk19"), to) == to


def test_a_path_alone_is_for_the_only_volume():
    assert spelled_out(point("hdisk18"), {"": "/dev/sdx"}) == {A: "/dev/sdx"}


def test_a_directory_is_for_all_volumes_that_are_not_named(tmp_path):
    one, two = f"{tmp_path}/hdisk18.img", f"{tmp_path}/hdisk19.img"
    both = point("hdisk18", "hdisk19")
    assert spelled_out(both, {"": str(tmp_path)}) == {A: one, B: two}
    assert spelled_out(both, {"": str(tmp_path), "hdisk18": "x"}) == {"hdisk18": "x", B: two}
    same = point("hdisk1", "hdisk1")
    assert spelled_out(same, {"": str(tmp_path)}) == {
        A: f"{tmp_path}/v0.img",
        B: f"{tmp_path}/v1.img",
    }


def test_one_path_is_not_for_two_volumes():
    with pytest.raises(ConfigError, match="2 volumes"):
        spelled_out(point("hdisk18", "hdisk19"), {"": "/dev/sdx"})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/tmp", "is a directory"),
        ("/dev/null", "neither a disk nor a file"),
        ("/no/such/place/x.img", "there is no directory"),
    ],
)
def test_a_path_that_can_be_no_target_is_refused_with_a_hint(path, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Places(None, group="RG1").target(path, point("hdisk18").volumes[0])
    assert caught.value.hint


class Node:
    """A node that sees these disks."""

    def __init__(self, name, *disks):
        self.name = name
        self._disks = disks

    def discover(self):
        return list(self._disks)


def places(writer_sees):
    there = Places(None, group="RG1")
    disk = Disk("hdisk30", "/dev/hdisk30", 4096, uid=A)
    there.node, there.writer = Node("node1", disk), Node("backuphost")
    there._named = {"hdisk30": disk}
    there._seen = {A: disk} if writer_sees else {}
    return there


def test_a_disk_the_writing_host_does_not_see_is_refused():
    with pytest.raises(DiskMissing, match="backuphost does not see hdisk30") as caught:
        places(writer_sees=False).target("hdisk30", point("hdisk18").volumes[0])
    assert caught.value.hint


def test_a_disk_the_node_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(ConfigError, match="node1 has no disk 'hdisk31'") as caught:
        places(writer_sees=True).target("hdisk31", point("hdisk18").volumes[0])
    assert "hdisk30" in caught.value.hint


def test_one_volume_is_not_restored_onto_two_disks():
    with pytest.raises(ConfigError, match="two targets"):
        candidates(places(writer_sees=True), point("hdisk18"), {"hdisk18": "x", "v0": "y"})


def test_a_point_and_a_time_together_are_refused():
    asked = Asked("RG1", {}, point="01P", at=datetime(2026, 11, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="both restore point 01P and the time"):
        find(MemoryStore(), asked)


def sized_point(*disks):
    found = point(*disks)
    for volume in found.volumes:
        volume.size_bytes = 4096
    return found


@pytest.mark.parametrize("is_there", [False, True])
def test_one_file_under_two_names_is_not_the_target_of_two_volumes(tmp_path, is_there):
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    if is_there:
        (tmp_path / "real" / "x.img").touch()
    to = {"hdisk18": f"{tmp_path}/real/x.img", "hdisk19": f"{tmp_path}/alias/x.img"}
    with pytest.raises(ConfigError, match="are one file") as caught:
        candidates(Places(None, group="RG1"), sized_point("hdisk18", "hdisk19"), to)
    assert caught.value.hint


def test_a_file_with_nothing_in_it_is_a_blank_target(tmp_path):
    (tmp_path / "x.img").touch()
    found = candidates(
        Places(None, group="RG1"), sized_point("hdisk18"), {"hdisk18": f"{tmp_path}/x.img"}
    )
    machine, candidate = found[A]
    assert candidate.is_blank
    target = machine.open_write(candidate.disk)
    target.write(4000, bytes(96))
    target.close()
    assert (tmp_path / "x.img").stat().st_size == 4096


@pytest.mark.parametrize("named", [{"host": "node1"}, {"node": "node1"}])
def test_a_host_is_not_named_for_paths_of_this_machine(named):
    with pytest.raises(ConfigError, match="not of node1") as caught:
        refuse_idle_names(Asked("RG1", {"hdisk18": "/dev/rhdisk30"}, **named))
    assert caught.value.hint
    refuse_idle_names(Asked("RG1", {"hdisk18": "hdisk30"}, **named))


def test_a_bucket_without_points_of_the_group_says_whose_it_has():
    store = MemoryStore()
    with pytest.raises(PointMissing, match=r"memory:.* no restore point of RG9") as caught:
        find(store, Asked("RG9", {}))
    assert "catalog rebuild" in caught.value.hint
    store.put("points/RG1/01P.json", b"{}")
    with pytest.raises(PointMissing) as caught:
        find(store, Asked("RG9", {}))
    assert caught.value.hint == "It has those of RG1."
