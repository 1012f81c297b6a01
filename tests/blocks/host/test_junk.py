"""Whatever a node's programs print: a result or an error by name, never a traceback."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.errors import FlashvaultError
from blocks.host.aix import AixHost
from blocks.host.base import Disk
from blocks.host.linux import LinuxHost
from blocks.runner import Completed

UID = "60050764008101D3F8000000000005F6"
DISK = Disk(name="hdisk7", path="/dev/rhdisk7", size_bytes=1 << 20, uid=UID)

PIECES = f"""hdisk7 hdisk8 none None VG1 active concurrent 00f6f5d0aabbccdd
33213{UID}04214503IBMfcp 1f6ab0dd-1d3c-4bd5-4c05-0b35e5d1ed31 RG1:ONLINE:node1: RG1:OFFLINE::
VOLUME_GROUP="VG1 VOLUME_GROUP="" Current state: ST_STABLE jfs2 jfs2log 40 1 open/syncd /db2 N/A
l f wwn-0x{UID.lower()} ../../sda scsi-3{UID.lower()} 10240 -1 ² 99999999999999999999 /dev/sda
{{ }} [ ] " : , null "report" "pv" "vg" "lv" "pv_name" "vg_name" "lv_dm_path" "blockdevices"
"kname" "path" "type" "mountpoint" "children" "filesystems" "source" "target" "loopdevices"
"back-file" ext4 xfs LVM2_member 0516-306""".split()
SAMPLES = [
    '{"report": [{"pv": [{"pv_name": "/dev/sda", "vg_name": null}]}]}',
    '{"report": [{"lv": [{"vg_name": "VG1", "lv_dm_path": "/dev/mapper/VG1-lv"}]}]}',
    '{"filesystems": [{"source": "/dev/mapper/VG1-lv", "target": "/db2"}]}',
    '{"blockdevices": []}',
    '{"report": null}',
    '{"report": [{"pv": [3]}]}',
    f"hdisk7 none VG1 active 33213{UID}04214503IBMfcp",
    f"l\twwn-0x{UID.lower()}\t../../sda",
    "fslv00 jfs2 40 40 1 open/syncd /db2",
]
texts = st.one_of(
    st.sampled_from(SAMPLES),
    st.lists(st.sampled_from([*PIECES, " ", "\n", "\t"]), max_size=25).map(" ".join),
    st.text(max_size=60),
)
answers = st.builds(Completed, st.sampled_from([0, 0, 0, 1, 5, 32, 127, -1]), texts, texts)


class Babbler:
    """Answers each command with the next of a few answers."""

    address = "node"

    def __init__(self, said):
        self._said = said
        self._asked = 0

    def run(self, command, *, timeout_s=60.0, stdin=None):
        self._asked += 1
        return self._said[self._asked % len(self._said)]

    def close(self):
        pass


def look(host):
    return host.look_inside("VG1", [DISK], "/mnt/x", fsck=True, mount=True)


def freeze(host):
    with host.frozen(["VG1"], 30):
        pass


DEEDS = {
    "disks": lambda host: host.disks(),
    "discover": lambda host: host.discover(),
    "group_state": lambda host: host.group_state("RG1"),
    "is_cluster_stable": lambda host: host.is_cluster_stable(),
    "volume_groups": lambda host: host.volume_groups("RG1"),
    "frozen": freeze,
    "thaw": lambda host: host.thaw(["VG1"]),
    "has_group": lambda host: host.has_group("VG1"),
    "import_group": lambda host: host.import_group("VG1", [DISK], major=50),
    "recreate_group": lambda host: host.recreate_group("VG1", [DISK]),
    "release_group": lambda host: host.release_group("VG1"),
    "look_inside": look,
    "leave": lambda host: host.leave("/mnt/x"),
    "open_write": lambda host: host.open_write(DISK).close(),
}


@pytest.mark.parametrize("kind", [AixHost, LinuxHost])
@pytest.mark.parametrize("deed", DEEDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(answers, min_size=1, max_size=4))
def test_a_node_that_babbles_is_no_traceback(kind, deed, said):
    with contextlib.suppress(FlashvaultError):
        DEEDS[deed](kind("node1", Babbler(said)))


def test_every_deed_of_a_host_is_tried():
    for kind in (AixHost, LinuxHost):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public - {"name", "open_read"} == set(DEEDS)
