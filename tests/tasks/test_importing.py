"""Which way a restored volume group is made usable again."""

from datetime import UTC, datetime

import pytest
from named_points import point_of, volume_named

from blocks.errors import HostError
from blocks.host.base import Disk
from blocks.policy.recovery import Candidate, plan_restore
from tasks.importing import _groups, _import, _tried, name_beside

SIZE = 1 << 20
NOON = datetime(2026, 11, 1, tzinfo=UTC)


def volume(disk, uid):
    return volume_named(disk, uid, SIZE, volume_group="VG1", major_number=40)


POINT = point_of([volume("hdisk18", "A" * 32), volume("hdisk19", "B" * 32)])


def disk(name, uid, vg=""):
    return Disk(name, f"/dev/{name}", SIZE, uid, volume_group=vg)


def plan(*uids):
    targets = {"A" * 32: disk("hdisk23", "C" * 32), "B" * 32: disk("hdisk24", "D" * 32)}
    return plan_restore(POINT, {uid: Candidate(targets[uid], is_blank=True) for uid in uids})


class FakeHost:
    name = "node1"

    def __init__(self):
        self.did = []

    def import_group(self, name, disks, *, major=None):
        self.did.append(("import", name, [d.name for d in disks], major))

    def recreate_group(self, name, disks):
        self.did.append(("recreate", name, [d.name for d in disks]))


def imported(seen, importing="auto"):
    host = FakeHost()
    whole = plan("A" * 32, "B" * 32)
    onto = [p.disk for p in whole.placements]
    everything = {d.uid: d for d in [*onto, *seen]}
    _import(host, "VG1", onto, {"A" * 32, "B" * 32}, everything, importing, whole)
    return host.did


def test_with_the_originals_gone_the_group_keeps_name_and_major_number():
    assert imported([]) == [("import", "VG1", ["hdisk23", "hdisk24"], 40)]


def test_beside_its_original_a_group_gets_new_identities():
    beside = [disk("hdisk18", "A" * 32, "VG1")]
    assert imported(beside) == [("recreate", "VG1r", ["hdisk23", "hdisk24"])]


def test_a_person_may_know_better():
    beside = [disk("hdisk18", "A" * 32, "VG1")]
    assert imported(beside, "import")[0][0] == "import"


@pytest.mark.parametrize(
    ("restored", "proven", "groups"),
    [
        (["A", "B"], ["A", "B"], {"VG1": ["C" * 32, "D" * 32]}),
        (["A", "B"], ["A"], {}),
        (["A"], ["A"], {}),
    ],
)
def test_only_a_whole_group_is_imported(restored, proven, groups):
    found = _groups(plan(*(uid * 32 for uid in restored)), {uid * 32 for uid in proven})
    assert found == groups


class Refusing(FakeHost):
    def recreate_group(self, name, disks):
        raise HostError("0516-1391 no volume group descriptor area")


def tried(importing):
    whole = plan("A" * 32, "B" * 32)
    onto = [p.disk for p in whole.placements]
    seen = {d.uid: d for d in [*onto, disk("hdisk18", "A" * 32, "VG1")]}
    return _tried(Refusing(), "VG1", onto, {"A" * 32, "B" * 32}, seen, importing, whole)


def test_what_the_node_will_not_import_is_reported_and_the_restore_stands():
    assert "0516-1391" in tried("auto").fault


def test_an_import_asked_for_by_name_must_succeed():
    with pytest.raises(HostError):
        tried("recreate")


@pytest.mark.parametrize("name", ["VG1", "vg_of_12345678", "vg_of_123456789"])
def test_beside_its_original_a_group_never_gets_the_originals_name(name):
    assert name_beside(name) != name
    assert len(name_beside(name)) <= 15
