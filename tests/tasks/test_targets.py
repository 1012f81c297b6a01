from types import SimpleNamespace

import pytest

from blocks.errors import ConfigError
from tasks.targets import Places, spelled_out

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
