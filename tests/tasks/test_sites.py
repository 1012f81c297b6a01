"""Who runs a group: what nodes say, and whether their disks still answer."""

from __future__ import annotations

import pytest

from blocks.errors import HostError, Unreachable
from blocks.host.base import Disk, GroupState
from blocks.policy.situation import Activity
from blocks.profile.base import parse
from blocks.profile.model import BackupProfile, Configuration, Node
from tasks import sites

UIDS = {"storage1": frozenset({"A"}), "storage2": frozenset({"B"})}


class Machine:
    """A node that says what it is told to say."""

    def __init__(self, name, state, disks, *, reads=True, error=None) -> None:
        self.name, self._state, self._disks = name, state, disks
        self._reads, self._error = reads, error

    def group_state(self, group: str) -> GroupState:
        if self._error:
            raise self._error
        return self._state

    def disks(self) -> list[Disk]:
        return self._disks

    def open_read(self, disk: Disk):
        if not self._reads:
            raise HostError("I/O error")
        return self

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert len(buffer) == sites.PROBE_BYTES

    def close(self) -> None:
        pass


def disk(uid: str, *, active: bool = False) -> Disk:
    return Disk(f"hdisk{uid}", f"/dev/rhdisk{uid}", 1, uid, is_active=active)


@pytest.fixture
def ask(monkeypatch):
    def asked(*machines: Machine):
        by_name = {machine.name: machine for machine in machines}
        nodes = tuple(
            parse(Node, name, {"TYPE": "AIX", "ADDRESSES": "127.0.0.1"}) for name in by_name
        )
        profile = parse(
            BackupProfile,
            "RG1",
            {
                "ENABLE_BACKUP": "yes",
                "BACKUP_METHOD": "remote_storage",
                "REPLICATED_RESOURCES": "cg",
                "STORAGE_NAME": "storage1, storage2",
            },
        )
        monkeypatch.setattr(sites, "host", lambda wanted, name: by_name[name])
        return sites.activity(Configuration(nodes=nodes), profile, UIDS)

    return asked


def test_the_node_that_has_the_group_says_where_it_runs(ask) -> None:
    found, silent = ask(
        Machine("n1", GroupState.ONLINE, [disk("A", active=True)]),
        Machine("n2", GroupState.OFFLINE, [disk("B")]),
    )
    assert found == {"storage1": Activity.RUNNING, "storage2": Activity.STOPPED}
    assert silent == ()


def test_a_group_online_on_disks_that_cannot_be_read_does_not_run(ask) -> None:
    found, notes = ask(Machine("n1", GroupState.ONLINE, [disk("A", active=True)], reads=False))
    assert found["storage1"] is Activity.STOPPED
    assert "n1 says that the group is ONLINE, but it can read none" in notes[0]


def test_disks_in_use_count_although_the_cluster_says_offline(ask) -> None:
    found, _ = ask(Machine("n2", GroupState.OFFLINE, [disk("B", active=True)]))
    assert found["storage2"] is Activity.RUNNING


@pytest.mark.parametrize("state", set(GroupState) - {GroupState.OFFLINE, GroupState.UNKNOWN})
def test_every_state_but_offline_counts_while_the_disks_answer(ask, state) -> None:
    found, _ = ask(Machine("n1", state, [disk("A")]))
    assert found["storage1"] is Activity.RUNNING


def test_a_silent_node_leaves_open_what_nobody_else_knows(ask) -> None:
    found, silent = ask(
        Machine("n1", GroupState.ONLINE, [], error=Unreachable("no route")),
        Machine("n2", GroupState.OFFLINE, [disk("B")]),
    )
    assert found == {"storage1": Activity.UNKNOWN, "storage2": Activity.UNKNOWN}
    assert "n1" in silent[0]


def test_one_that_runs_it_is_enough_though_another_is_silent(ask) -> None:
    found, _ = ask(
        Machine("n1", GroupState.ONLINE, [], error=Unreachable("no route")),
        Machine("n2", GroupState.ONLINE, [disk("B", active=True)]),
    )
    assert found["storage2"] is Activity.RUNNING


def test_a_node_that_sees_both_sites_runs_on_the_disks_in_use(ask) -> None:
    found, _ = ask(Machine("n1", GroupState.ONLINE, [disk("A"), disk("B", active=True)]))
    assert found == {"storage1": Activity.STOPPED, "storage2": Activity.RUNNING}
