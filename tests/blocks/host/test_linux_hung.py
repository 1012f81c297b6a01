"""A node whose tools hang: one clear error that says what to do, and no stall."""

import time

import pytest

from blocks.errors import HostError
from blocks.host.base import Disk
from blocks.host.linux import LinuxHost
from blocks.runner import LocalRunner


@pytest.fixture
def hung(tmp_path, monkeypatch):
    """Return a function that lets a tool wait for ever, as behind LVM's lock."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr("blocks.host.linux.LOOK_TIMEOUT_S", 0.5)

    def hang(name):
        (tools / name).write_text("#!/bin/sh\nexec sleep 600\n")
        (tools / name).chmod(0o755)

    return hang


@pytest.mark.parametrize("tool", ["lsblk", "losetup"])
def test_a_target_is_not_free_because_the_node_does_not_answer(hung, tmp_path, tool):
    hung(tool)
    host = LinuxHost("node1", LocalRunner())
    target = tmp_path / "target.img"
    began = time.monotonic()
    with pytest.raises(HostError, match=f"{tool} on node1 gave no answer") as caught:
        host.open_write(Disk("target", str(target), 4096, uid=""))
    assert time.monotonic() - began < 20
    assert f"Run `{tool}` there by hand" in caught.value.hint
    assert not target.exists()


def test_a_locked_lvm_is_told_as_such(hung):
    hung("vgs")
    with pytest.raises(HostError, match="vgs on node1 gave no answer") as caught:
        LinuxHost("node1", LocalRunner()).has_group("VG1")
    assert "lock" in caught.value.hint
