"""What a simulated node answers, against docs/reference/aix-host.md."""

from __future__ import annotations

import io
import os
import re

import pytest

from deployments.lab import wiring
from deployments.lab.aix.odm import LOCAL_UDID, nested_udid, svc_udid
from deployments.lab.nodes import Nodes
from deployments.lab.shell import Io

MIB = 1024 * 1024
UID = "60050764008101D3F8000000000005F6"
GROUP = "sample_consistency_group"


class Node:
    """Short words for asking a node."""

    def __init__(self, bench, nodes, name: str) -> None:
        self.bench, self.nodes, self.machine = bench, nodes, nodes.machines[name]

    def run(self, line: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        out, err = io.BytesIO(), io.BytesIO()
        status = self.machine.run(line, Io(io.BytesIO(stdin), out, err))
        return status, out.getvalue(), err.getvalue().decode()

    def ask(self, line: str, stdin: bytes = b"") -> str:
        status, out, err = self.run(line, stdin)
        assert status == 0, err
        return out.decode()

    def complaint(self, line: str) -> str:
        status, out, err = self.run(line)
        assert status != 0
        assert out == b""
        return err


@pytest.fixture
def node(bench, tmp_path) -> Node:
    nodes = Nodes(tmp_path, bench.arrays)
    nodes.wire([wiring.Group(1)])
    return Node(bench, nodes, "node1")


@pytest.fixture
def far(node) -> Node:
    return Node(node.bench, node.nodes, "node2")


def test_udids_are_length_prefixed_as_in_the_reference() -> None:
    udid = svc_udid(UID)
    assert udid == f"33213{UID}04214503IBMfcp"
    assert len(udid) == int(udid[:2], 16) == 51
    nested = nested_udid(udid)
    assert nested.endswith("05VDASD03AIXvscsi")
    assert len(nested) == int(nested[:2], 16)
    assert nested[4 : 4 + int(nested[2:4], 16)] == udid
    # The reference's own sample of a VIOS client, byte for byte in its lengths.
    assert LOCAL_UDID[:4] == "533E"
    assert len(LOCAL_UDID) == 83


def test_lspv_lists_every_disk_without_a_header(node) -> None:
    first, *rows = node.ask("lspv -u").splitlines()
    assert first.split()[2:4] == ["rootvg", "active"]
    assert [row.split()[0] for row in rows] == [
        f"hdisk{number}" for number in (18, 19, 21, 22, 23, 24)
    ]
    assert rows[0].split()[:4] == ["hdisk18", wiring.pvid("Node1_1"), "VG1", "active"]
    assert rows[2].split()[:3] == ["hdisk21", "none", "None"]
    tail = r"33213[0-9A-F]{32}04214503IBMfcp  [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
    assert all(re.search(tail, row) for row in rows)
    assert "IBM" not in node.ask("lspv")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/usr/sbin/bootinfo -s hdisk18", "4\n"),
        ("/usr/bin/getconf DISK_SIZE /dev/hdisk18", "4\n"),
        ("lsvg", "rootvg\nVG1\n"),
        ("lsvg -o", "rootvg\nVG1\n"),
        ("lsattr -El hdisk18 -a reserve_policy -F value", "no_reserve\n"),
        (
            "lsattr -El hdisk18 -a size_in_mb,algorithm -F 'attribute value'",
            "size_in_mb 4\nalgorithm shortest_queue\n",
        ),
        ("hostname", "node1\n"),
        ("uname", "AIX\n"),
        ("LANG=C /usr/bin/which dd", "/usr/bin/dd\n"),
        ("lspv | grep -w VG1 | wc -l", "2\n"),
        ("/usr/es/sbin/cluster/utilities/get_local_nodename", "node1\n"),
        (
            "/usr/es/sbin/cluster/utilities/clRGinfo -s RG1",
            "RG1:ONLINE:node1:non-concurrent:OHN:FNPN:NFB:ignore::: : :::\n"
            "RG1:OFFLINE:node2:non-concurrent:OHN:FNPN:NFB:ignore::: : :::\n",
        ),
    ],
)
def test_questions_are_answered(node, line, said) -> None:
    assert node.ask(line) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bootinfo -s hdisk99", "0301-159"),
        ("lspv hdisk23", "0516-320"),
        ("lsvg VG9", "0516-306"),
        ("importvg -y VGx hdisk23", "0516-780"),
        ("importvg -y VGx hdisk99", "0516-776"),
        ("importvg -y VG1 hdisk21", "0516-022"),
        ("exportvg VG1", "0516-764"),
        ("varyoffvg VG1", "0516-942"),
        ("rmdev -dl hdisk18", "0514-062"),
        ("chdev -l hdisk18 -a pv=clear", "0514-062"),
        ("lsattr -El hdisk99 -a unique_id", "0514-519"),
        ("clRGinfo -s", "ksh: clRGinfo:  not found."),
        ("frobnicate", "ksh: frobnicate:  not found."),
        ("dd if=/dev/rhdisk99 bs=1m", "A file or directory in the path name does not exist."),
        ("dd if=/dev/rhdisk18 bs=1m status=progress", "0511-050"),
        ("dd if=/dev/rhdisk18 bs=1m iflag=direct", "0511-050"),
        ("dd if=/dev/zero of=/dev/rhdisk23 bs=1m conv=fsync count=1", "0511-050"),
        ("dd if=/dev/rhdisk18 bs=1000 count=1", "0511-051"),
        ("dd if=/dev/zero of=/dev/rhdisk23 bs=1m seek=4 count=1", "0511-053"),
        ("mount /rg9", "0506-333"),
        ("fsck -y /rg1", "0506-085"),
    ],
)
def test_what_is_wrong_is_complained_about(node, line, said) -> None:
    assert said in node.complaint(line)


def test_dd_counts_its_records(node) -> None:
    node.bench.path("Node1_1").write_bytes(os.urandom(4 * MIB))
    status, out, err = node.run("dd if=/dev/rhdisk18 bs=1m skip=1 count=2")
    assert (status, err) == (0, "2+0 records in.\n2+0 records out.\n")
    assert out == node.bench.path("Node1_1").read_bytes()[MIB : 3 * MIB]
    status, _, err = node.run("dd if=/dev/rhdisk18 of=/dev/null bs=3m")
    assert (status, err) == (0, "1+1 records in.\n1+1 records out.\n")


def test_dd_gathers_short_blocks_and_seeks(node) -> None:
    data = os.urandom(100 * 1024)
    line = "dd of=/dev/rhdisk23 ibs=1024 obs=65536 seek=1 conv=notrunc"
    status, _, err = node.run(line, data)
    assert (status, err) == (0, "100+0 records in.\n1+1 records out.\n")
    assert node.bench.path("Node1_6").read_bytes()[65536 : 65536 + len(data)] == data


def test_a_target_that_is_taken_away_fails_in_the_middle(node) -> None:
    node.bench.ask(f"startfcconsistgrp -prep {GROUP}")
    assert node.run("dd if=/dev/rhdisk21 bs=1m of=/dev/null")[0] == 0
    node.bench.ask(f"stopfcconsistgrp {GROUP}")
    node.bench.clock.sleep(1)
    status, out, err = node.run("dd if=/dev/rhdisk21 bs=1m")
    assert (status, out) == (2, b"")
    assert "0511-051 The read failed.\n: There is an input or output error." in err


def test_a_new_lun_is_found_by_cfgmgr_and_a_lost_one_stays_known(node) -> None:
    node.bench.ask("mkvdisk -mdiskgrp Pool0 -size 4 -name fresh")
    node.bench.ask("mkvdiskhostmap -host node1 fresh")
    assert "hdisk1 " not in node.ask("lspv")
    node.ask("cfgmgr")
    assert node.ask("bootinfo -s hdisk1") == "4\n"
    node.bench.ask("rmvdiskhostmap -host node1 fresh")
    node.ask("cfgmgr")
    assert "hdisk1 " in node.ask("lspv")
    assert "0301-159" in node.complaint("bootinfo -s hdisk1")
    assert node.ask("lspath -l hdisk1").startswith("Failed")
    assert node.ask("rmdev -dl hdisk1") == "hdisk1 deleted\n"


def test_a_copy_of_a_varied_on_group_cannot_be_configured(node) -> None:
    node.ask("rmdev -dl hdisk21")
    node.bench.ask(f"startfcconsistgrp -prep {GROUP}")
    assert wiring.pvid("Node1_1") in node.complaint("cfgmgr")
    assert "hdisk21" not in node.ask("lspv")
    node.machine.state.mounted.clear()
    node.ask("varyoffvg VG1 && cfgmgr")
    # The lowest free number: hdisk1.
    assert wiring.pvid("Node1_1") in node.ask("lspv | grep -w hdisk1")


def test_a_configured_targets_pvid_is_learnt_when_it_is_asked_for(node) -> None:
    node.bench.ask(f"startfcconsistgrp -prep {GROUP}")
    assert "none" in node.ask("lspv | grep hdisk21")
    node.ask("chdev -l hdisk21 -a pv=yes")
    assert wiring.pvid("Node1_1") in node.ask("lspv | grep hdisk21")


def test_a_group_without_its_disks_is_not_varied_on(node) -> None:
    node.machine.state.mounted.clear()
    node.ask("varyoffvg VG1")
    assert "0516-010" in node.complaint("lsvg -l VG1")
    volumes = node.bench.near.state.volumes
    next(v for v in volumes.values() if v.name == "Node1_2").is_offline = True
    assert "0516-052" in node.complaint("varyonvg VG1")
    next(v for v in volumes.values() if v.name == "Node1_1").is_offline = True
    assert "0516-013" in node.complaint("varyonvg VG1")


def test_recreatevg_renames_and_renumbers(node) -> None:
    node.bench.path("Node1_1").write_bytes(b"a" * 4 * MIB)
    node.bench.ask(f"startfcconsistgrp -prep {GROUP}")
    assert node.ask("recreatevg -y VG1c -Y c_ -L /copy hdisk21 hdisk22") == "VG1c\n"
    listed = node.ask("lsvg -l VG1c")
    assert "c_fslv00 " in listed
    assert "/copy/rg1" in listed
    node.ask("mount /copy/rg1 && df /copy/rg1")
    assert "0516-012" in node.complaint("varyoffvg VG1c")
    node.ask("umount /copy/rg1; fsck -y -o nologredo /copy/rg1; varyoffvg VG1c; exportvg VG1c")
    assert "VG1c" not in node.ask("lsvg")


def test_freezing_has_an_end_and_a_state(node) -> None:
    assert node.run("chfs -a freeze=off /rg1")[0] == 1
    node.ask("chfs -a freeze=10 /rg1")
    assert "already frozen" in node.complaint("chfs -a freeze=10 /rg1")
    node.ask("chfs -a refreeze=30 /rg1")
    node.bench.clock.sleep(20)
    node.nodes.tick()
    node.ask("chfs -a freeze=off /rg1")
    node.ask("chfs -a freeze=10 /rg1")
    node.bench.clock.sleep(11)
    assert "not frozen" in node.complaint("chfs -a freeze=off /rg1")


def test_the_second_site_imports_what_was_mirrored_to_it(node, far) -> None:
    bench = node.bench
    bench.path("Node1_1").write_bytes(b"data".ljust(4 * MIB, b"."))
    bench.ask("mkrcconsistgrp -name rg -cluster storage2")
    for master, aux in (("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")):
        pair = f"-master {master} -aux {aux} -cluster storage2"
        bench.ask(f"mkrcrelationship {pair} -consistgrp rg -global")
    assert "0516-780" in far.complaint("importvg -y VG1 hdisk4")
    bench.ask("startrcconsistgrp rg")
    for _ in range(3):
        bench.clock.sleep(10)
        bench.arrays.tick()
    assert far.run("dd if=/dev/zero of=/dev/rhdisk4 bs=1m count=1")[0] == 2
    bench.ask("stoprcconsistgrp -access rg")
    assert far.ask("importvg -V 54 -y VG1 hdisk4") == "VG1\n"
    assert far.run("dd if=/dev/rhdisk4 bs=4 count=1")[0] == 2  # raw: whole sectors
    assert far.run("dd if=/dev/hdisk4 bs=4 count=1")[1] == b"data"


def test_a_resource_group_moves_with_its_volume_group(node, far) -> None:
    clmgr = "/usr/es/sbin/cluster/utilities/clmgr"
    assert 'VOLUME_GROUP="VG1"' in node.ask(f"{clmgr} query resource_group RG1")
    node.ask(f"{clmgr} offline resource_group RG1")
    assert "/rg1" not in node.ask("mount")
    assert "VG1" not in node.ask("lsvg -o")
    node.ask(f"{clmgr} online resource_group RG1 NODES=node1")
    assert "/rg1" in node.ask("mount")
    assert "does not exist" in node.complaint(f"{clmgr} query resource_group RG9")
    # node2 has never seen VG1
    assert "0516-306" in node.complaint(f"{clmgr} move resource_group RG1 NODE=node2")


def test_an_unstable_cluster_says_so(node) -> None:
    assert "Current state: ST_STABLE\n" in node.ask("lssrc -ls clstrmgrES")
    node.nodes.cluster.state.manager = "ST_RP_RUNNING"
    assert "Current state: ST_RP_RUNNING\n" in node.ask("lssrc -ls clstrmgrES")


PROGRAM = """
import hashlib, sys
with open(sys.argv[1], "rb") as disk:
    print(hashlib.sha256(disk.read()).hexdigest(), sys.stdin.readline().strip())
"""


def test_python_runs_with_the_nodes_disks(node) -> None:
    import hashlib
    import shlex

    data = os.urandom(4 * MIB)
    node.bench.path("Node1_1").write_bytes(data)
    line = f"/usr/bin/python3 -c {shlex.quote(PROGRAM)} /dev/rhdisk18"
    digest = hashlib.sha256(data).hexdigest()
    assert node.ask(line, b"hello\n") == f"{digest} hello\n"
    status, _, err = node.run("python3 -c 'import sys; sys.exit(\"no\")'")
    assert (status, err) == (1, "no\n")


def test_a_node_without_python_has_none(node) -> None:
    node.machine.state.has_python = False
    status, _, err = node.run("/usr/bin/python3 -c 1")
    assert (status, err) == (127, "ksh: /usr/bin/python3:  not found.\n")
    assert node.run("which python3")[0] == 1
