"""What lsblk, losetup, findmnt and LVM print, and everything they never print."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.host.listings import held_devices, report_rows, table_rows


def device(kname, kind="disk", mountpoint=None, *children, path=None):
    row = {"kname": kname, "path": path or f"/dev/{kname}", "type": kind, "mountpoint": mountpoint}
    return {**row, "children": list(children)} if children else row


def multipath(child):
    """Return a disk whose multipath device holds something."""
    path = device("dm-0", "mpath", None, child, path="/dev/mapper/mpatha")
    return device("sda", "disk", None, path)


def held(*devices):
    return held_devices(json.dumps({"blockdevices": devices}))


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        pytest.param([device("sda")], [], id="a free disk"),
        pytest.param([device("sda", "disk", None, device("sda1", "part"))], [], id="a partition"),
        pytest.param(
            [device("sda", "disk", None, device("sda1", "part", "/boot"), device("sda2", "part"))],
            ["/dev/sda", "/dev/sda1"],
            id="a mounted partition holds its disk",
        ),
        pytest.param([device("sda", "disk", "[SWAP]")], ["/dev/sda"], id="swap"),
        pytest.param(
            [device("sdb", "disk", None, device("dm-3", "lvm", None, path="/dev/mapper/VG1-lv"))],
            ["/dev/sdb"],
            id="LVM on the disk",
        ),
        pytest.param(
            [
                device("sda", "disk", None, device("dm-0", "mpath", path="/dev/mapper/mpatha")),
                device("sdb", "disk", None, device("dm-0", "mpath", path="/dev/mapper/mpatha")),
            ],
            [],
            id="two paths of one free LUN",
        ),
        pytest.param(
            [multipath(device("dm-1", "lvm", "/db2", path="/dev/mapper/VG1-lv"))],
            ["/dev/dm-0", "/dev/dm-1", "/dev/mapper/VG1-lv", "/dev/mapper/mpatha", "/dev/sda"],
            id="a multipath disk in use is held under the name its links lead to",
        ),
        pytest.param(
            [multipath(device("dm-4", "part", "/srv", path="/dev/mapper/mpatha1"))],
            ["/dev/dm-0", "/dev/dm-4", "/dev/mapper/mpatha", "/dev/mapper/mpatha1", "/dev/sda"],
            id="a mounted partition of a multipath disk",
        ),
        pytest.param(
            [device("md127", "raid1", None, device("dm-2", "crypt"), path="/dev/md/data")],
            ["/dev/md/data", "/dev/md127"],
            id="crypt on a raid",
        ),
    ],
)
def test_what_is_held_and_what_is_free(devices, names):
    assert sorted(held(*devices)) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"blockdevices": null}',
        '{"blockdevices": {}}',
        '{"blockdevices": [null]}',
        '{"blockdevices": ["/dev/sda"]}',
        '{"blockdevices": [{"kname": "sda", "path": "/dev/sda", "type": "disk"}]}',
        '{"blockdevices": [{"kname": 8, "path": "/dev/sda", "type": "disk", "mountpoint": null}]}',
        '{"blockdevices": [{"kname": "sda", "path": "/dev/sda", "type": "disk", "mountpoint": null',
        '{"blockdevices": [{"kname": "sda", "path": "/dev/sda", "type": "disk",'
        ' "mountpoint": null, "children": null}]}',
        "[" * 100_000,
    ],
)
def test_what_lsblk_never_prints_is_an_error_not_a_free_disk(text):
    with pytest.raises(ValueError):  # noqa: PT011 (whatever says it)
        held_devices(text)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"report": {}}', '{"report": [{}]}', '{"report": [{"pv": [{}]}]}', "[1]"]
)
def test_what_lvm_never_prints_is_an_error_not_an_empty_list(text):
    with pytest.raises(ValueError):  # noqa: PT011
        report_rows(text, "pv", ["pv_name"])
    with pytest.raises(ValueError):  # noqa: PT011
        table_rows(text, "pv", ["pv_name"])


cells = st.one_of(st.none(), st.text(max_size=12))


@given(st.lists(st.lists(st.tuples(cells, cells), max_size=4), max_size=3))
def test_a_report_printed_parses_back(parts):
    document = {
        "report": [{"pv": [{"pv_name": a, "vg_name": b} for a, b in rows]} for rows in parts],
        "log": [],
    }
    expected = [(a or "", b or "") for rows in parts for a, b in rows]
    assert report_rows(json.dumps(document), "pv", ["pv_name", "vg_name"]) == expected


keys = st.sampled_from(
    ["blockdevices", "report", "pv", "children", "kname", "path", "type", "mountpoint", "x"]
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=20,
)


@given(junk, st.integers(0, 200))
def test_odd_shapes_and_cut_ones_are_refused_by_name(document, length):
    text = json.dumps(document)
    for told in (text, text[:length]):
        with contextlib.suppress(ValueError):
            held_devices(told)
        with contextlib.suppress(ValueError):
            report_rows(told, "pv", ["path"])
        with contextlib.suppress(ValueError):
            table_rows(told, "pv", ["path"])
