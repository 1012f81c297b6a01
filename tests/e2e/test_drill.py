"""A drill in the lab: onto files, onto disks nobody needs, and never onto production."""

from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from blocks.catalog.drills import read_drills
from blocks.errors import ConfigError, Refused
from blocks.policy.recovery import Placement, RestorePlan
from blocks.store.clients import open_store, parse_bucket_url
from flows.backup import backup
from flows.drill import drill
from tasks.drill import refuse_production
from tasks.journal import dead_journals, state_directory
from tasks.open import configuration, host
from tasks.plan import Asked, find
from tasks.run import run_of
from tasks.undo import UNDO

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def point(lab_site):
    for name in ("Node1_1", "Node1_2"):
        with open(lab_site.volume(name).path, "r+b") as file:
            file.write(Random(name).randbytes(4 << 20))
    return backup.fn("RG1", mode="full", force=True).report["restore_point"]


@pytest.fixture
def store(lab_site):
    found = open_store(parse_bucket_url("s3://pha-bucket"))
    yield found
    found.delete([info.key for info in found.list("drills/")])


@pytest.fixture(autouse=True)
def _nothing_left(point):
    yield
    assert list(dead_journals()) == []
    assert list((state_directory() / "runs").glob("*")) == []
    assert list((state_directory() / "drills").glob("*")) == []


@pytest.fixture
def asked(lab_site, tmp_path, monkeypatch):
    """Return a function that gives the profile of RG1 further attributes."""

    def give(**attributes):
        text = Path(lab_site.config).read_text()
        more = "".join(f"<{name}>{value}</{name}>" for name, value in attributes.items())
        name = '<backup_profile name="RG1">'
        assert name in text
        copy = tmp_path / "flashvault.xml"
        copy.write_text(text.replace(name, name + more, 1))
        monkeypatch.setenv("FLASHVAULT_CONFIG", str(copy))

    return give


@pytest.fixture
def told(tmp_path):
    """A notify method, and the file it writes to."""
    script, file = tmp_path / "tell", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$@" >> {file}\n')
    script.chmod(0o755)
    file.touch()
    return script, file


def test_a_drill_of_scratch_files_passes_and_is_kept_in_the_bucket(point, store):
    ending = drill.fn("RG1")
    assert ending.outcome == "drilled"
    assert all(row["proven"] for row in ending.report["volumes"])
    (kept,) = read_drills(store, "RG1").entries
    assert (kept.restore_point, kept.has_passed) == (point, True)
    assert kept.rto_s == ending.report["rto_s"]
    assert kept.size_bytes == ending.report["write_bytes"]


def test_the_profile_gives_disks_and_probe_and_the_disks_are_let_go(
    blank_spares, store, asked, tmp_path
):
    seen = tmp_path / "seen"
    probe = tmp_path / "probe"
    probe.write_text(f'#!/bin/sh\necho "$FLASHVAULT_VOLUME_GROUPS $FLASHVAULT_DISKS" > {seen}\n')
    probe.chmod(0o755)
    asked(
        DRILL_FREQUENCY=7,
        DRILL_TARGETS="hdisk18=hdisk23, hdisk19=hdisk24",
        DRILL_PROBE=str(probe),
        DRILL_FSCK="yes",
    )
    for _ in range(2):
        ending = drill.fn("RG1")
        assert ending.outcome == "drilled"
        (group,) = ending.report["imported"]
        assert group["name"] == "VG1r"
        assert seen.read_text().startswith("VG1r hdisk18=")
        assert ending.report["file_systems"]
    assert len(read_drills(store, "RG1").entries) == 2


def refused_before_a_byte(disks, to, match):
    names = ("Node1_1", "Node1_2", "Node1_4", "Node1_5")
    before = [disks.read(name) for name in names]
    with pytest.raises(Refused, match=match) as caught:
        drill.fn("RG1", to=to)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert [disks.read(name) for name in names] == before


def test_a_production_disk_is_refused(disks, store):
    refused_before_a_byte(disks, {"hdisk18": "hdisk19"}, "hdisk19 is in use")
    assert read_drills(store, "RG1").entries == (), "a person has read it"


def test_a_disk_the_array_copies_to_is_refused(disks):
    refused_before_a_byte(disks, {"hdisk18": "hdisk21"}, "target of FlashCopy")


def test_a_disk_in_a_volume_group_of_somebody_is_refused(blank_spares, disks):
    owner = host(configuration(), "node1")
    (spare,) = (d for d in owner.discover() if d.name == "hdisk23")
    other = replace(spare, volume_group="datavg")
    point = find(open_store(parse_bucket_url("s3://pha-bucket")), Asked("RG1", {}))
    planned = RestorePlan(point, (Placement(point.volumes[0], other),), ())
    with run_of("RG1", "drill", UNDO) as run, pytest.raises(Refused, match="datavg, which no"):
        refuse_production(run, Asked("RG1", {"hdisk18": "hdisk23"}), planned)


def test_a_scheduled_drill_onto_production_is_refused_and_told(store, asked, told, disks):
    script, file = told
    before = disks.read("Node1_1")
    asked(NOTIFY_METHOD=str(script), DRILL_FREQUENCY=30, DRILL_TARGETS="hdisk18=hdisk18")
    with pytest.raises(Refused):
        drill.fn("RG1", scheduled=True)
    assert disks.read("Node1_1") == before
    assert "drill_failed RG1 error" in file.read_text()
    assert not read_drills(store, "RG1").entries[0].has_passed


def test_scratch_without_room_is_refused_before_a_byte_is_written(monkeypatch):
    monkeypatch.setattr("tasks.drill.shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ConfigError, match="the drill needs"):
        drill.fn("RG1")
