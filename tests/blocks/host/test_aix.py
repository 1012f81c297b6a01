import pytest

from blocks.errors import DiskMissing, FreezeExpired, HostError, TargetInUse
from blocks.host.aix import AixHost
from blocks.host.base import Disk, GroupState
from blocks.host.dd import aix_read, aix_write, aix_zero
from blocks.host.inside import Fsck, Look
from blocks.runner import Completed
from blocks.units import KIB, MIB

UID = "60050764008101D3F8000000000005F6"
SVC = f"33213{UID}042145"
LSPV = f"""\
hdisk0 00f6f5d0a1b2c3d4 rootvg active 2A1135000C5004CE6C7FF0BST914685203IBMsas
hdisk7 00f6f5d0aabbccdd VG1 active {SVC}03IBMfcp 1f6ab0dd-1d3c-4bd5-4c05-0b35e5d1ed31
hdisk8 00f6f5d0aabbccdd None {SVC.replace("5F6", "5F7")}03IBMfcp
hdisk9 none None
"""
BOOTINFO = "hdisk0 10240\nhdisk7 10240\nhdisk8 10240\nhdisk9\n"
LSVG_L = """\
VG1:
LV NAME             TYPE       LPs     PPs     PVs  LV STATE      MOUNT POINT
loglv00             jfs2log    1       1       1    open/syncd    N/A
fslv00              jfs2       40      40      1    open/syncd    /db2
fslv01              jfs2       40      40      1    closed/syncd  /archive
fslv02              jfs2       40      40      1    open/syncd    /var
rawlv               jfs2       40      40      1    open/syncd    N/A
"""


@pytest.fixture
def host(runner):
    runner.say("/usr/sbin/lspv -u", LSPV)
    runner.say("do echo $disk $(/usr/sbin/bootinfo -s $disk ", BOOTINFO)
    runner.say(
        "for disk in hdisk9; do echo $disk $(/usr/bin/getconf DISK_SIZE /dev/$disk ", "hdisk9 512\n"
    )
    runner.say("lsattr -El hdisk9 -a unique_id", f"{SVC.replace('5F6', '5F8')}03IBMfcp\n")
    return AixHost("node1", runner)


def disk(**changes):
    known = {"name": "hdisk8", "path": "/dev/rhdisk8", "size_bytes": 10 << 30}
    return Disk(**{**known, "uid": UID.replace("5F6", "5F7"), **changes})


def test_a_thousand_disks_are_asked_for_their_size_in_a_few_sessions(runner):
    names = [f"hdisk{number}" for number in range(1000)]
    runner.say("lspv -u", "".join(f"{name} none None {SVC}03IBMfcp\n" for name in names))
    runner.say("bootinfo", "".join(f"{name} 16\n" for name in names))
    assert {disk.size_bytes for disk in AixHost("node1", runner).disks()} == {16 * MIB}
    assert len(runner.ran("bootinfo")) == 5


def test_disks_are_known_by_uid_size_and_volume_group(host):
    disks = {found.name: found for found in host.disks()}
    assert disks["hdisk7"] == Disk(
        name="hdisk7",
        path="/dev/rhdisk7",
        size_bytes=10240 * MIB,
        uid=UID,
        pvid="00f6f5d0aabbccdd",
        volume_group="VG1",
        is_active=True,
    )
    assert not disks["hdisk8"].is_active
    assert disks["hdisk9"].size_bytes == 512 * MIB
    assert disks["hdisk9"].uid == UID.replace("5F6", "5F8")
    assert disks["hdisk0"].uid == ""


def test_cfgmgr_may_succeed_partly(host, runner):
    runner.say("cfgmgr", status=1, stderr="0514-061 Cannot find a child device.")
    assert len(host.discover()) == 4


def test_an_unreadable_lspv_is_an_error_not_an_empty_list(host, runner):
    runner.say("/usr/sbin/lspv -u", "usage: lspv\n")
    with pytest.raises(HostError, match="no disk"):
        host.disks()
    runner.say("/usr/sbin/lspv -u", status=1, stderr="0516-1 oops")
    with pytest.raises(HostError, match="0516-1"):
        host.disks()


def test_a_disk_of_a_varied_on_group_is_not_written(host):
    with pytest.raises(TargetInUse, match="VG1"):
        host.open_write(disk(name="hdisk7", path="/dev/rhdisk7", uid=UID))


def test_a_disk_that_became_another_volume_is_not_written(host):
    with pytest.raises(DiskMissing):
        host.open_write(disk(uid=UID.replace("5F6", "5FF")))
    with pytest.raises(DiskMissing):
        host.open_write(disk(name="hdisk99"))


def test_a_free_disk_is_opened_for_writing(host):
    assert host.open_write(disk()).size_bytes == 10 << 30


def test_the_group_is_online_where_this_nodes_line_says_so(host, runner):
    runner.say("clRGinfo -s RG1", "RG1:OFFLINE:node2:x:\nRG1:ONLINE:node1:x:\n")
    assert host.group_state("RG1") is GroupState.ONLINE


def test_the_node_is_found_by_its_own_name_when_it_is_registered_under_another(host, runner):
    runner.say("clRGinfo -s RG1", "RG1:OFFLINE:alpha:x:\nRG1:ONLINE:beta:x:\n")
    runner.say("/usr/bin/hostname", "alpha.example.com\n")
    assert host.group_state("RG1") is GroupState.OFFLINE


@pytest.mark.parametrize("status", [0, 1])
def test_what_clrginfo_cannot_tell_is_unknown(host, runner, status):
    runner.say("clRGinfo -s RG1", "cluster services are down\n", status=status)
    assert host.group_state("RG1") is GroupState.UNKNOWN


def test_stability_is_asked_of_the_cluster_manager(host, runner):
    assert not host.is_cluster_stable()
    runner.say("lssrc -ls clstrmgrES", "Current state: ST_STABLE\n")
    assert host.is_cluster_stable()


def test_only_mounted_file_systems_are_frozen_and_never_var(host, runner):
    runner.say("lsvg -l VG1", LSVG_L)
    runner.say("chfs")
    with host.frozen(["VG1"], 30):
        assert runner.ran("freeze=30") == ["LANG=C /usr/sbin/chfs -a freeze=30 /db2"]
    assert runner.ran("freeze=off") == ["LANG=C /usr/sbin/chfs -a freeze=off /db2"]


def test_a_thaw_that_finds_it_thawed_is_told(host, runner):
    runner.say("lsvg -l VG1", LSVG_L)
    runner.say("chfs")
    runner.say("chfs -a freeze=off", status=1, stderr="not frozen")
    with pytest.raises(FreezeExpired, match="/db2"), host.frozen(["VG1"], 30):
        pass


def test_importing_varies_on_what_comes_varied_off(host, runner):
    runner.say("importvg", "VG1\n")
    runner.say("lsvg -o", "rootvg\n")
    runner.say("varyonvg VG1")
    host.import_group("VG1", [disk()], major=55)
    assert runner.ran("importvg") == ["LANG=C /usr/sbin/importvg -V 55 -y VG1 hdisk8"]
    assert runner.ran("varyonvg")


def test_the_original_disks_put_back_are_only_varied_on(host, runner):
    runner.say("varyonvg VG1")
    host.import_group("VG1", [disk(volume_group="VG1")], major=55)
    assert runner.ran("varyonvg") == ["LANG=C /usr/sbin/varyonvg VG1"]
    assert not runner.ran("importvg")


def test_recreating_names_every_disk(host, runner):
    runner.say("recreatevg")
    host.recreate_group("vg_r", [disk(), disk(name="hdisk9")])
    assert runner.ran("recreatevg") == [
        "LANG=C /usr/sbin/recreatevg -y vg_r -Y r_ -L /vg_r hdisk8 hdisk9"
    ]


def test_releasing_varies_off_and_exports(host, runner):
    runner.say("varyoffvg")
    runner.say("exportvg")
    host.release_group("vg_r")
    assert [line.split("/")[-1] for line in runner.lines] == ["varyoffvg vg_r", "exportvg vg_r"]


def test_commands_are_spelled_for_aix_dd():
    path = "/dev/rhdisk8"
    dd = "LANG=C /usr/bin/dd"
    assert aix_read(path, 3 * MIB, 64 * MIB) == f"{dd} if={path} bs={MIB} skip=3 count=64"
    assert aix_read(path, 256 * KIB, 512 * KIB) == (f"{dd} if={path} bs={256 * KIB} skip=1 count=2")
    told = f"'{path}: No such file or directory, or not to be written'"
    guard = f"[ -w {path} ] || {{ echo {told} >&2; exit 1; }};"
    assert aix_write(path, 0) == (f"{guard} {dd} of={path} ibs=65536 obs={MIB} seek=0 conv=notrunc")
    assert aix_zero(path, MIB, MIB) == (
        f"{guard} {dd} if=/dev/zero of={path} bs={MIB} seek=1 count=1 conv=notrunc"
    )
    with pytest.raises(HostError, match="sectors"):
        aix_read(path, 100, MIB)


LISTED = """VG1r:
LV NAME             TYPE       LPs     PPs     PVs  LV STATE      MOUNT POINT
r_loglv00           jfs2log    1       1       1    closed/syncd  N/A
r_fslv00            jfs2       60      60      2    closed/syncd  /VG1r/data
r_rawlv             raw        4       4       1    closed/syncd  N/A
"""


def looked(host, runner, **wanted):
    runner.say("lsvg -l VG1r", LISTED)
    for part in ("fsck -n", "mount -r", "mkdir", "rmdir", "umount"):
        runner.answers.setdefault(part, Completed(0, "", ""))
    runner.say("ls -A", "lost+found\nledger\n")
    return host.look_inside("VG1r", [], "/tmp/here", **wanted)


def test_jfs2_file_systems_are_checked_and_mounted_without_writing(host, runner):
    (look,) = looked(host, runner, fsck=True, mount=True)
    assert look == Look("/dev/r_fslv00", "jfs2", "/VG1r/data", Fsck.CLEAN, entries=2)
    assert runner.lines[1:] == [
        "LANG=C /usr/sbin/fsck -n /dev/r_fslv00",
        "LANG=C mkdir /tmp/here",
        "LANG=C /usr/sbin/mount -r /dev/r_fslv00 /tmp/here",
        "LANG=C ls -A /tmp/here",
        "LANG=C /usr/sbin/umount /tmp/here",
        "LANG=C rmdir /tmp/here",
    ]


def test_a_damaged_jfs2_is_told_with_what_fsck_said(host, runner):
    runner.say("fsck -n", "The superblock is corrupt\n", status=8)
    (look,) = looked(host, runner, fsck=True, mount=False)
    assert look.fsck is Fsck.DAMAGED
    assert "status 8: The superblock is corrupt" in look.faults[0]
    assert not runner.ran("mount")


def test_what_cannot_be_mounted_is_told_and_its_directory_removed(host, runner):
    runner.say("mount -r", "", status=1, stderr="mount: 0506-324 Cannot mount\n")
    (look,) = looked(host, runner, fsck=False, mount=True)
    assert "0506-324" in look.faults[0]
    assert look.entries is None
    assert not runner.ran("/usr/sbin/umount")
    assert runner.ran("rmdir")


def test_a_disk_without_a_volume_group_holds_no_file_system_on_aix(host):
    assert host.look_inside("", [disk()], "/tmp/here", fsck=True, mount=True) == []


def test_leaving_unmounts_what_is_there_and_nothing_else(host, runner):
    host.leave("/tmp/here")
    assert not runner.ran("umount")
    for part in ("ls -d", "umount", "rmdir"):
        runner.say(part)
    host.leave("/tmp/here")
    assert runner.ran("umount /tmp/here")
    assert runner.ran("rmdir /tmp/here")
