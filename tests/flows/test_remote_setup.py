"""Every way a remote copy can be set up wrongly: an error of its own, in a poll and in `check`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocks.errors import ConfigError
from blocks.host.base import Disk
from blocks.profile.model import Configuration
from deployments import checks
from tasks import remote_setup
from tasks.owner import Owner
from tasks.remote_memory import recall

GROUP = "sample_remote_cg"
COPY_S = 1.0


@pytest.fixture
def setup(bench, monkeypatch):
    """A group in sync, with node1 owning VG1; what `check` and the next poll find wrong."""
    bench.synchronize()
    machine = bench.machines["node1"]
    machine.volume_groups = lambda group: ["VG1"]
    machine.disk_list = [replace(disk, volume_group="VG1") for disk in machine.disk_list]
    monkeypatch.setattr(
        remote_setup, "find_owner", lambda *_: Owner(machine, tuple(machine.disk_list))
    )

    def found() -> str:
        """Return what `check` says; the poll must say each of it too."""
        finding = checks._look(("profile", lambda: checks._remote(bench.wanted, profile())))
        seen = bench.poll()
        bench.status = finding.status
        bench.said = finding.message
        bench.notes = " | ".join(seen["notes"])
        bench.condition = seen["condition"]
        return finding.message

    def profile():
        return bench.wanted.profiles[0]

    bench.found = found
    bench.forget = lambda: [file.unlink() for file in bench.state.glob("remote/*")]
    bench.forget()
    return bench


def is_wrong(setup, *words: str) -> None:
    said = setup.found()
    assert setup.status == "wrong", said
    for word in words:
        assert word in said
        assert word in setup.notes
    assert setup.condition != "in sync"


def test_a_group_that_is_as_it_must_be_has_no_fault(setup) -> None:
    said = setup.found()
    assert (setup.status, setup.notes, setup.condition) == ("ok", "", "in sync"), said


def test_a_fault_that_is_mended_is_gone_with_the_next_poll(setup) -> None:
    # The hour's look falls into the minute in which the link is cut.
    setup.arrays.link(is_up=False)
    assert setup.poll()["told"] == ["degraded"]
    assert recall("RG1").faults
    setup.arrays.link(is_up=True)
    seen = setup.poll()
    assert (seen["condition"], seen["notes"]) == ("in sync", [])
    assert not recall("RG1").faults


def test_a_disk_without_any_relationship_is_named(setup) -> None:
    setup.ask(f"mkvdisk -name Node1_9 -mdiskgrp 0 -iogrp 0 -size {1024 * 1024} -unit b")
    uid = setup.arrays.systems["storage1"].volume("Node1_9").uid
    setup.machines["node1"].disk_list.append(
        Disk("hdisk9", "", 1024 * 1024, uid, volume_group="VG1")
    )
    is_wrong(setup, "hdisk9 of VG1", f"is not in {GROUP}", "volume Node1_9 is in no relationship")


def test_a_relationship_that_stands_alone_is_named(setup) -> None:
    setup.ask("chrcrelationship -noconsistgrp rcrel1")
    is_wrong(setup, "hdisk1 of VG1", "rcrel1 stands alone", f"-consistgrp {GROUP} rcrel1")


def test_a_disk_of_another_group_is_named(setup) -> None:
    setup.ask("chrcrelationship -noconsistgrp rcrel1")
    setup.ask("mkrcconsistgrp -name other_cg -cluster storage2")
    setup.ask("chrcrelationship -consistgrp other_cg rcrel1")
    is_wrong(setup, "hdisk1 of VG1", "its relationship rcrel1 is in other_cg")


def test_a_member_that_is_no_disk_of_the_resource_group_is_named(setup) -> None:
    setup.machines["node1"].disk_list.pop()
    is_wrong(setup, "Node1_2 is in", "no disk of the resource group")


def test_a_copy_that_goes_the_wrong_way_is_named(setup) -> None:
    setup.ask(f"switchrcconsistgrp -primary aux {GROUP}")
    is_wrong(setup, "hdisk0 of VG1 is a volume of storage1", "comes from storage2", "direction")


def test_production_at_the_second_site_is_only_remarked(setup, monkeypatch) -> None:
    setup.ask(f"switchrcconsistgrp -primary aux {GROUP}")
    other = setup.machines["node2"]
    other.volume_groups = lambda group: ["VG1"]
    disks = tuple(replace(disk, volume_group="VG1") for disk in other.disk_list)
    monkeypatch.setattr(remote_setup, "find_owner", lambda *_: Owner(other, disks))
    said = setup.found()
    assert setup.status == "warning"
    assert "storage2 is the primary, though STORAGE_NAME names storage1 first" in said
    assert "flashvault failback" in said
    assert (setup.notes, setup.condition) == ("", "in sync")


def test_sizes_that_differ_are_named(setup) -> None:
    # The array keeps members from being resized; should one be all the same, it is seen.
    setup.arrays.systems["storage2"].volume("Node2_2").capacity += 512
    is_wrong(setup, "Node1_2 on storage1", "Node2_2 on storage2", "must be equal")


def test_a_volume_mapped_to_no_host_is_named(setup) -> None:
    for host in ("node2", "backuphost"):
        setup.ask(f"rmvdiskhostmap -host {host} Node2_1", "storage2")
    is_wrong(setup, "Node2_1 on storage2 is mapped to no host", "mkvdiskhostmap")


def test_volumes_no_node_sees_are_named(setup) -> None:
    setup.machines["node2"].disk_list.pop()
    is_wrong(setup, "no node sees all volumes of storage2", "node2 lacks Node2_2", "cfgmgr")


def test_a_node_that_cannot_be_asked_is_no_proof_that_nobody_sees_them(setup) -> None:
    setup.machines["node2"].disk_list.pop()

    def away():
        raise remote_setup.FlashvaultError("no route")

    setup.machines["node2"].disks = away
    setup.found()
    assert (setup.notes, setup.condition) == ("", "in sync")


@pytest.mark.parametrize(
    ("where", "todo"),
    [
        ("storage1", "chpartnership -start on storage1"),
        ("storage2", "chpartnership -start on storage2"),
    ],
)
def test_a_stopped_partnership_is_named_with_the_side_to_start_it_on(setup, where, todo) -> None:
    other = "storage2" if where == "storage1" else "storage1"
    setup.ask(f"chpartnership -stop {other}", where)
    is_wrong(setup, "the partnership with", todo)


def test_a_partnership_that_one_side_does_not_have_is_named(setup) -> None:
    del setup.arrays.systems["storage2"].state.partners["storage1"]
    is_wrong(setup, "partially_configured_local on storage1", "create it on storage2 too")


@pytest.mark.parametrize("kind", ["metro", "activeactive"])
def test_a_group_of_another_copy_type_is_named(setup, kind) -> None:
    for system in setup.arrays.systems.values():
        for each in system.state.remote_groups.values():
            each.copy_type = kind
    is_wrong(setup, f"is a group of copy type {kind}")


def test_a_login_the_second_array_refuses_is_named(setup) -> None:
    setup.refuses.add("storage2")
    is_wrong(setup, "storage2 answers and tells nothing", "nobody could order a failover")


def test_an_array_that_is_silent_for_a_moment_is_not_a_fault_of_the_set_up(setup) -> None:
    setup.arrays.power("storage2", is_on=False)
    setup.found()
    assert "nobody could order" not in setup.said + setup.notes


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fc_cg", "fc_cg is a FlashCopy consistency group"),
        ("rcrel1", "rcrel1 is a relationship that stands alone"),
        ("nothing", "CMMVC5754E"),
    ],
)
def test_a_name_of_something_else_is_explained(setup, name, said) -> None:
    setup.ask("mkfcconsistgrp -name fc_cg")
    profile = setup.wanted.profiles[0].model_copy(update={"replicated_resources": name})
    setup.wanted = Configuration(nodes=setup.wanted.nodes, profiles=(profile,))
    assert said in setup.found()
    assert (setup.status, setup.condition) == ("wrong", "unseen")
    assert said in setup.notes


def test_both_names_of_one_array_are_refused_in_check_too(setup) -> None:
    setup.alias["storage2"] = "storage1"
    with pytest.raises(ConfigError, match="the same side"):
        setup.poll()
    finding = checks._look(
        ("profile", lambda: checks._remote(setup.wanted, setup.wanted.profiles[0]))
    )
    assert (finding.status, "STORAGE_NAME needs the two" in finding.hint) == ("wrong", True)
