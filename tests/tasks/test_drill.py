"""Disks that a drill must not write over, whatever it was given."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import captured
import pytest
from named_points import point_of, volume_named

from blocks.errors import Refused, Unreachable
from blocks.host.base import Disk
from blocks.policy.recovery import Placement, RestorePlan
from blocks.store.memory import MemoryStore
from tasks import drill
from tasks.drill import refuse_production
from tasks.importing import name_beside
from tasks.pipeline import CaptureSettings
from tasks.plan import Asked

RUN = SimpleNamespace(check=lambda: None, stop=threading.Event())
HOW = CaptureSettings(extent_bytes=4096, frame_extents=4, part_bytes=5 << 20)
SOURCE, TARGET, MASTER, FAR, FREE = (f"6005076400810000000000000000{n:04X}" for n in range(1, 6))


@pytest.fixture(scope="module")
def point():
    made = captured.back_up(MemoryStore(), bytes(8192), settings=HOW)
    volume = made.volumes[0].model_copy(update={"volume_group": "VG1"})
    return made.model_copy(update={"volumes": (volume,)})


@pytest.fixture
def array(monkeypatch):
    """An array that copies 1 to 2 by FlashCopy, and 3 to volume 5 of another array."""
    volumes = [SimpleNamespace(id=str(n), name=f"v{n}", uid=uid) for n, uid in VOLUMES.items()]
    client = SimpleNamespace(
        lssystem=lambda: SimpleNamespace(id="A"),
        lsvdisk=lambda: volumes,
        lsfcmap=lambda: [SimpleNamespace(name="map0", source_id="1", target_id="2")],
        lsrcrelationship=lambda: [
            SimpleNamespace(
                name="rel0",
                master_system_id="A",
                master_volume_id="3",
                aux_system_id="B",
                aux_volume_id="5",
            )
        ],
    )

    @contextmanager
    def connect(wanted, name):
        yield client

    wanted = SimpleNamespace(profile=lambda group: SimpleNamespace(storage_names=["svc1"]))
    monkeypatch.setattr(drill, "configured", lambda asked: wanted)
    monkeypatch.setattr(drill, "array", connect)
    return client


VOLUMES = {1: SOURCE, 2: TARGET, 3: MASTER, 4: FAR, 5: FREE}


def onto(point, disk):
    return RestorePlan(point, (Placement(point.volumes[0], disk),), ())


def disk(uid, volume_group=""):
    return Disk("hdisk30", "/dev/hdisk30", 8192, uid=uid, volume_group=volume_group)


@pytest.mark.parametrize(
    ("uid", "why"),
    [
        (SOURCE, "v1, source of FlashCopy map0"),
        (TARGET, "v2, target of FlashCopy map0"),
        (MASTER, "v3, in remote copy rel0"),
    ],
)
def test_a_volume_the_array_copies_is_refused(point, array, uid, why):
    with pytest.raises(Refused, match=why) as caught:
        refuse_production(RUN, Asked("RG1", {}), onto(point, disk(uid)))
    assert caught.value.hint


def test_the_other_arrays_volume_of_the_same_number_is_not_meant(point, array):
    refuse_production(RUN, Asked("RG1", {}), onto(point, disk(FREE)))


def test_a_volume_of_the_point_is_refused(point, array):
    with pytest.raises(Refused, match="production disk"):
        refuse_production(RUN, Asked("RG1", {}), onto(point, disk(point.volumes[0].uid)))


def test_an_array_that_does_not_answer_does_not_make_a_disk_free(point, array, monkeypatch):
    def silent():
        raise Unreachable("svc1 does not answer")

    monkeypatch.setattr("tasks.retries.FIRST_WAIT_S", 0.001)
    array.lsfcmap = silent
    with pytest.raises(Unreachable):
        refuse_production(RUN, Asked("RG1", {}), onto(point, disk(FREE)))


def test_only_a_volume_group_a_drill_made_may_be_on_the_disk(point, array):
    refuse_production(RUN, Asked("RG1", {}), onto(point, disk(FREE, name_beside("VG1"))))
    for name in ("VG1", "datavg"):
        with pytest.raises(Refused, match=f"volume group {name}, which no drill made"):
            refuse_production(RUN, Asked("RG1", {}), onto(point, disk(FREE, name)))


def test_a_path_of_a_production_disk_is_known_by_its_device(point, array, tmp_path, monkeypatch):
    link = tmp_path / "by-path"
    link.symlink_to("/dev/null")
    known = replace(disk(SOURCE), path="/dev/null")
    monkeypatch.setattr(drill.Path, "is_block_device", lambda path: True)
    monkeypatch.setattr(drill.LinuxHost, "disks", lambda host: [known])
    given = Disk(str(link), str(link), 8192, uid="")
    with pytest.raises(Refused, match="source of FlashCopy"):
        refuse_production(RUN, Asked("RG1", {}), onto(point, given))


def test_scratch_files_ask_nobody(point, array, monkeypatch, tmp_path):
    monkeypatch.setattr(drill, "array", None)
    file = tmp_path / "scratch.img"
    refuse_production(RUN, Asked("RG1", {}), onto(point, Disk(str(file), str(file), 8192, uid="")))
    file.touch()
    refuse_production(RUN, Asked("RG1", {}), onto(point, Disk(str(file), str(file), 8192, uid="")))


def test_two_disks_of_one_name_both_get_a_scratch_file(monkeypatch, tmp_path):
    found = point_of([volume_named("hdisk1", letter * 32, 4096, name=letter) for letter in "AB"])
    monkeypatch.setattr(drill, "configured", lambda asked: None)
    monkeypatch.setattr(drill, "open_source", lambda *_: MemoryStore())
    monkeypatch.setattr(drill, "find", lambda *_: found)
    run = SimpleNamespace(
        id="01R",
        check=lambda: None,
        stop=threading.Event(),
        journal=SimpleNamespace(made=lambda *_, **__: None),
    )
    to = drill.scratch_targets.function(run, Asked("RG1", {}), str(tmp_path))
    assert to == {letter * 32: f"{tmp_path}/01R/{letter}.img" for letter in "AB"}
