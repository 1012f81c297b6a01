"""A Linux host whose disks are files, as in the lab, for somebody who is not root."""

from __future__ import annotations

import os

import pytest

from blocks.errors import HostError
from blocks.host.linux import LinuxHost
from blocks.runner import LocalRunner
from blocks.units import MIB

UID = "600507680C8082D5A80000000000000A"


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A device directory, on a machine whose pvs says what it says to anyone but root."""
    tools = tmp_path / "tools"
    tools.mkdir()
    pvs = tools / "pvs"
    pvs.write_text("#!/bin/sh\necho '/run/lock/lvm/P_global: Permission denied' >&2\nexit 5\n")
    pvs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    devices = tmp_path / "by-id"
    devices.mkdir()
    return devices


def disks(devices):
    return LinuxHost("backuphost", LocalRunner(), device_directory=str(devices)).disks()


def test_files_are_listed_where_pvs_refuses(devices):
    (devices / f"wwn-0x{UID.lower()}").write_bytes(bytes(MIB))
    assert [(disk.uid, disk.size_bytes) for disk in disks(devices)] == [(UID, MIB)]


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/dev/loop0"), reason="needs the block device /dev/loop0")
def test_a_block_device_whose_volume_group_cannot_be_asked_for_is_an_error(devices):
    (devices / f"wwn-0x{UID.lower()}").symlink_to("/dev/loop0")
    with pytest.raises(HostError, match="pvs on backuphost failed"):
        disks(devices)


def test_thousands_of_volumes_are_listed_whatever_a_command_line_may_hold(tmp_path):
    """2,400 paths of this length are more than one argument may have."""
    directory = tmp_path / ("d" * 60)
    directory.mkdir()
    for number in range(2400):
        (directory / f"wwn-0x60050764{number:024x}").write_bytes(b"12")
    disks = LinuxHost("here", LocalRunner(), device_directory=str(directory)).disks()
    assert len(disks) == 2400
    assert {disk.size_bytes for disk in disks} == {2}
