from datetime import UTC, datetime

import pytest
from named_points import point_of, volume_named

from blocks.errors import ConfigError, TargetInUse, TargetNotEmpty, TargetTooSmall
from blocks.host.base import Disk
from blocks.policy.recovery import Candidate, chosen_volumes, plan_restore

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SIZE = 1 << 20
ONE, TWO = "A" * 32, "B" * 32


def volume(disk, name, uid):
    read = {"read_bytes": SIZE, "zero_bytes": SIZE // 4, "changed_bytes": SIZE, "stored_bytes": 5}
    return volume_named(disk, uid, SIZE, name=name, **read)


POINT = point_of([volume("hdisk18", "Node1_1", ONE), volume("hdisk19", "Node1_2", TWO)])


def disk(name="hdisk23", *, size=SIZE, uid="C" * 32, active=False, vg=""):
    return Disk(name, f"/dev/{name}", size, uid, volume_group=vg, is_active=active)


def blank(**facts):
    return Candidate(disk(**facts), is_blank=True)


def test_a_plan_says_how_much_is_written():
    plan = plan_restore(POINT, {ONE: blank()})
    assert plan.write_bytes == SIZE
    assert plan.data_bytes == SIZE * 3 // 4
    assert plan.notes == ("not restored: hdisk19",)


def test_a_target_too_small_is_refused_even_by_a_byte():
    with pytest.raises(TargetTooSmall, match="hdisk23 holds 1048575"):
        plan_restore(POINT, {ONE: blank(size=SIZE - 1)})


def test_a_larger_target_keeps_its_rest_and_says_so():
    plan = plan_restore(POINT, {ONE: blank(size=SIZE * 2)})
    assert "its last 1.0 MiB stay" in plan.notes[0]


def test_a_target_in_use_is_refused_even_when_forced():
    with pytest.raises(TargetInUse, match="volume group VG1"):
        plan_restore(POINT, {ONE: blank(active=True, vg="VG1")}, force=True)


def test_a_target_with_data_needs_force():
    used = {ONE: Candidate(disk(), is_blank=False)}
    with pytest.raises(TargetNotEmpty):
        plan_restore(POINT, used)
    assert "written over" in plan_restore(POINT, used, force=True).notes[0]


def test_one_disk_is_no_target_for_two_volumes():
    with pytest.raises(ConfigError, match="both hdisk18 and hdisk19"):
        plan_restore(POINT, {ONE: blank(), TWO: blank()})


def test_two_paths_without_uid_are_two_targets():
    targets = {
        ONE: Candidate(disk("a.img", uid=""), is_blank=True),
        TWO: Candidate(disk("b.img", uid=""), is_blank=True),
    }
    assert len(plan_restore(POINT, targets).placements) == 2


def test_writing_over_production_is_noted():
    plan = plan_restore(POINT, {ONE: blank(uid=ONE), TWO: blank(uid=TWO, name="x")}, sources=[ONE])
    assert plan.notes == ("hdisk23 is a production volume of RG1",)


def test_nothing_to_restore_is_an_error():
    with pytest.raises(ConfigError, match="no volume"):
        plan_restore(POINT, {})


def test_volumes_go_by_disk_volume_or_uid():
    assert chosen_volumes(POINT, ["hdisk19"]) == chosen_volumes(POINT, ["Node1_2"])
    assert chosen_volumes(POINT, ["b" * 32])[0].disk == "hdisk19"
    assert chosen_volumes(POINT, []) == POINT.volumes
    with pytest.raises(ConfigError, match=r"'hdisk1' is no volume") as error:
        chosen_volumes(POINT, ["hdisk1"])
    assert "hdisk18 (Node1_1)" in error.value.hint
