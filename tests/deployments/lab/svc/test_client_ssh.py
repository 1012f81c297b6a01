"""Our client against the lab's array over real SSH: what it promises of sessions and answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from blocks.errors import LoginRefused, SvcBusy, SvcObjectMissing, UnknownHostKey
from blocks.ssh import SshTarget
from blocks.svc.client import MAX_CHANNELS, SvcClient, connect
from blocks.svc.flashcopy import FlashCopyGroup
from blocks.svc.model import CopyState
from deployments.lab.daemon import array_shell
from deployments.lab.keys import Keys
from deployments.lab.sshd import Door, Limits, SshServer

GROUP = "sample_consistency_group"
PASSWORD = "correct-horse"
MIB = 1024 * 1024


class Array:
    """One of the lab's arrays behind a real SSH server."""

    def __init__(self, bench, keys: Keys) -> None:
        self.system = bench.near
        self.keys = keys
        self.lines: list[str] = []
        self.widest = 0
        self._now = 0
        self._lock = threading.Lock()
        answer = array_shell(bench.near)

        def execute(line, streams):
            with self._lock:
                self.lines.append(line)
                self._now += 1
                self.widest = max(self.widest, self._now)
            try:
                return answer(line, streams)
            finally:
                with self._lock:
                    self._now -= 1

        self.door = Door("admin", [keys.public("id")], PASSWORD)
        self.server = SshServer("storage1", keys.private("host"), self.door, execute, Limits())
        self.server.start()

    def client(self, **changes) -> SvcClient:
        known = {
            "addresses": ("127.0.0.1",),
            "user": "admin",
            "port": self.server.port,
            "host_key": self.keys.public("host"),
            "private_key": self.keys.key_file("id").read_text(),
            "registered_as": "storage_system storage1",
            "connect_timeout_s": 5.0,
        }
        made = connect(SshTarget(**{**known, **changes}))
        made.shell._pause = lambda seconds: None
        return made


@pytest.fixture
def array(bench, tmp_path) -> Iterator[Array]:
    made = Array(bench, Keys(tmp_path / "keys"))
    yield made
    made.server.stop()


def private_keys():
    yield "ed25519", ed25519.Ed25519PrivateKey.generate()
    yield "ecdsa", ec.generate_private_key(ec.SECP256R1())
    yield "rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(("kind", "key"), list(private_keys()), ids=lambda each: str(each)[:7])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_every_kind_of_key_opens_the_array(array, kind, key, passphrase) -> None:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    array.door.public_keys = [public.decode()]
    with array.client(private_key=text, passphrase=passphrase) as client:
        assert client.lssystem().name == "storage1"


def test_a_password_opens_the_array_and_a_wrong_one_ends_the_search(array) -> None:
    with array.client(private_key=None, password=PASSWORD) as client:
        assert client.lssystem().name == "storage1"
    refused = array.client(private_key=None, password="wrong", addresses=("127.0.0.1", "localhost"))
    with refused as client, pytest.raises(LoginRefused):
        client.lssystem()


def test_addresses_are_tried_in_order_until_one_answers(array) -> None:
    # Nobody listens there on the array's port: the server has 127.0.0.1 only.
    with array.client(addresses=("127.0.0.3", "127.0.0.2", "127.0.0.1")) as client:
        assert client.lssystem().name == "storage1"
        assert client.address.startswith("127.0.0.1")


def test_many_threads_share_one_session_and_a_few_channels(array) -> None:
    array.system.state.timings.command_s = 0.02
    with array.client() as client:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: client.lsvdisk("Node1_1").id, range(48)))
        assert array.server.sessions == 1
    assert found == ["0"] * 48
    assert 1 < array.widest <= MAX_CHANNELS


def test_a_connection_that_broke_is_replaced_and_no_command_is_sent_twice(array) -> None:
    with array.client() as client:
        client.lssystem()
        array.server.drop_connections()
        made = client.mkfcconsistgrp(name="once")
        assert client.lsfcconsistgrp("once").id == made
    assert [line.split()[0] for line in array.lines].count("mkfcconsistgrp") == 1


def test_an_unknown_host_key_is_refused_with_the_command_that_accepts_it(array, tmp_path) -> None:
    nobody = tmp_path / "known_hosts"
    nobody.write_text("")
    with (
        array.client(host_key="", known_hosts=nobody) as client,
        pytest.raises(UnknownHostKey, match="SHA256:") as caught,
    ):
        client.lssystem()
    assert "flashvault modify storage_system storage1 HOST_KEY=" in caught.value.hint
    assert array.lines == []
    nobody.write_text(f"[127.0.0.1]:{array.server.port} {array.keys.public('host')}\n")
    with array.client(host_key="", known_hosts=nobody) as client:
        assert client.lssystem().name == "storage1"


def test_a_refused_session_told_on_stdout_is_a_refused_login(array) -> None:
    array.system.faults.login_refused = 1
    with array.client() as client:
        with pytest.raises(LoginRefused, match="CMMVC7017E"):
            client.lsvdisk()
        assert client.lsvdisk("Node1_1").size_bytes == 4 * MIB


def test_busy_is_asked_three_times_then_told_as_passing(array) -> None:
    with array.client() as client:
        array.system.faults.busy = 2
        assert client.lssystem().name == "storage1"
        array.system.faults.busy = 3
        with pytest.raises(SvcBusy) as caught:
            client.lssystem()
        assert caught.value.transient
    assert len(array.lines) == 6


def test_a_warning_is_logged_and_the_volume_is_there(array, caplog) -> None:
    array.system.faults.warn_next = "CMMVC6372W"
    with array.client() as client, caplog.at_level(logging.WARNING):
        made = client.mkvdisk(name="late", mdiskgrp="Pool0", size_bytes=MIB)
        assert client.lsvdisk("late").id == made
    assert "CMMVC6372W" in caplog.text


def test_more_than_32_sessions_are_told_as_passing_and_leave_the_others_alone(array) -> None:
    array.server.limits.sessions = 1
    with array.client() as first:
        first.lssystem()
        with array.client() as second, pytest.raises(Exception) as caught:  # noqa: PT011
            second.lssystem()
        assert getattr(caught.value, "transient", False), caught.value
        assert first.lssystem().name == "storage1"


def test_every_command_and_answer_is_logged_and_no_secret_is(array, caplog) -> None:
    key = array.keys.key_file("id").read_text()
    with array.client(password=PASSWORD) as client, caplog.at_level(logging.DEBUG, "blocks"):
        client.lsfcconsistgrp(GROUP)
        with pytest.raises(SvcObjectMissing):
            client.lsvdisk("nowhere")
    assert f"lsfcconsistgrp -delim '!' {GROUP}" in caplog.text
    assert "FC_mapping_name!fcmap1" in caplog.text
    assert "CMMVC5754E" in caplog.text
    assert PASSWORD not in caplog.text
    assert all(line not in caplog.text for line in key.splitlines() if line)


def test_repeated_keys_appended_columns_and_names_with_blanks_are_read(array) -> None:
    with array.client() as client:
        client.mkvdisk(name="a b", mdiskgrp="Pool0", size_bytes=3 * 512)
        assert client.lsvdisk("a b").size_bytes == 1536
        assert [one.name for one in client.lsvdisk(filtervalue={"name": "a*"})] == ["a b"]
        assert [name for _, name in client.lsfcconsistgrp(GROUP).mappings] == ["fcmap0", "fcmap1"]
        array.system.volume("a b").copies.append(1)  # its sections repeat `status`
        assert client.lsvdisk("a b").status == "online"


def test_a_snapshot_is_taken_over_ssh_and_led_back(array, bench, monkeypatch) -> None:
    monkeypatch.setattr("blocks.svc.flashcopy.POLL_S", 0.001)
    with array.client() as client:
        group = FlashCopyGroup(client, GROUP, clock=bench.clock.now)
        asked = client.lsfcconsistgrp

        def ask_a_little_later(name):
            bench.clock.sleep(0.05)
            return asked(name)

        monkeypatch.setattr(client, "lsfcconsistgrp", ask_a_little_later)
        group.prepare(60)
        assert group.start().status is CopyState.COPYING
        assert group.stop(60) is CopyState.STOPPED


def test_a_foreign_connection_is_what_the_test_thinks_it_is(array) -> None:
    """Guards the fixture: its server really refuses what it does not know."""
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    with pytest.raises(paramiko.AuthenticationException):
        ssh.connect("127.0.0.1", array.server.port, "admin", password="nope", look_for_keys=False)
    ssh.close()
