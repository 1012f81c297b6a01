"""The SSH runner against an SSH server in this process, and the local runner."""

import base64
import contextlib
import logging
import threading
import time

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import ConfigError, LoginRefused, RemoteError, UnknownHostKey, Unreachable
from blocks.hostkeys import fingerprint, known_pins, parse_pins, read_private_key
from blocks.runner import LocalRunner, redact
from blocks.ssh import SshRunner, SshTarget
from deployments.lab.keys import Keys
from deployments.lab.sshd import Door, Limits, SshServer


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


class Machine:
    """An SSH server whose commands are methods here."""

    def __init__(self, keys, **limits):
        self.host_key = keys.public("host")
        self.private_key = keys.key_file("id").read_text()
        door = Door(user="admin", public_keys=(keys.public("id"),), password="secret-word")
        self.server = SshServer(
            "machine", keys.private("host"), door, self.execute, limits=Limits(**limits)
        )
        self.release = threading.Event()
        self.lines = []
        self.server.start()

    def execute(self, line, io):
        self.lines.append(line)
        if line == "hang":
            self.release.wait(20)
            return 0
        if line.startswith("echo "):
            io.stdout.write(line[5:].encode() + b"\n")
            return 0
        if line == "cat":
            io.stdout.write(io.stdin.read())
            return 0
        io.stderr.write(b"no such command\n")
        return 127

    def target(self, **changes):
        known = {
            "addresses": ("127.0.0.1",),
            "user": "admin",
            "port": self.server.port,
            "host_key": self.host_key,
            "private_key": self.private_key,
            "connect_timeout_s": 5.0,
        }
        return SshTarget(**{**known, **changes})


@pytest.fixture
def machine(keys):
    made = Machine(keys)
    yield made
    made.release.set()
    made.server.stop()


@pytest.fixture
def runner(machine):
    made = SshRunner(machine.target())
    yield made
    made.close()


def test_a_command_answers_with_status_and_both_outputs(runner):
    assert runner.run("echo hi").stdout == "hi\n"
    assert runner.run("nonsense").status == 127
    assert runner.run("nonsense").stderr == "no such command\n"
    assert runner.run("cat", stdin=b"x" * 300_000).stdout == "x" * 300_000


def test_an_argument_list_is_quoted(runner, machine):
    runner.run(["echo", "a b", "it's"])
    assert machine.lines == ["echo 'a b' 'it'\"'\"'s'"]


def test_all_commands_share_one_connection(runner, machine):
    for number in range(5):
        runner.run(f"echo {number}")
    assert machine.server.sessions == 1


def test_a_dropped_connection_is_made_anew_before_a_command(runner, machine):
    runner.run("echo 1")
    machine.server.drop_connections()
    time.sleep(0.1)
    assert runner.run("echo 2").stdout == "2\n"


def test_a_connection_dropped_during_a_command_is_unreachable_and_not_sent_again(runner, machine):
    threading.Timer(0.3, machine.server.drop_connections).start()
    with pytest.raises(Unreachable):
        runner.run("hang", timeout_s=10)
    assert machine.lines == ["hang"]


def test_a_goodbye_that_fails_hides_no_error_and_frees_the_channel(runner, monkeypatch):
    stream = runner.stream_out("hang")

    def break_now():
        raise EOFError

    monkeypatch.setattr(stream._channel, "close", break_now)
    stream.close()
    assert stream.link.channel_count == 0


def test_silence_ends_at_the_deadline(runner):
    started = time.monotonic()
    with pytest.raises(Unreachable, match="no answer"):
        runner.run("hang", timeout_s=0.5)
    assert time.monotonic() - started < 5


def test_addresses_are_tried_in_order(machine):
    runner = SshRunner(machine.target(addresses=("127.0.0.2", "127.0.0.1")))
    assert runner.run("echo hi").stdout == "hi\n"
    assert runner.address == "127.0.0.1"
    runner.close()


def test_when_no_address_answers_all_are_named(machine):
    machine.server.stop()
    runner = SshRunner(machine.target(addresses=("127.0.0.2", "127.0.0.1")))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.2.*127\.0\.0\.1"):
        runner.run("echo hi")


def test_a_password_opens_and_a_wrong_one_does_not(machine):
    runner = SshRunner(machine.target(private_key=None, password="secret-word"))
    assert runner.run("echo hi").status == 0
    runner.close()
    with pytest.raises(LoginRefused, match="password"):
        SshRunner(machine.target(private_key=None, password="wrong")).run("echo hi")


def test_an_unpinned_key_is_refused_with_fingerprint_and_the_command_that_accepts_it(machine):
    target = machine.target(host_key="", registered_as="storage_system storage1")
    with pytest.raises(UnknownHostKey) as caught:
        SshRunner(target).run("echo hi")
    kind, _, encoded = machine.host_key.partition(" ")
    assert "SHA256:" in str(caught.value)
    accept = f"flashvault modify storage_system storage1 HOST_KEY='{kind} {encoded.split()[0]}'"
    assert accept in caught.value.hint
    assert machine.lines == []


def test_another_key_than_the_pinned_one_is_refused(machine, keys):
    with pytest.raises(UnknownHostKey, match="but pinned is"):
        SshRunner(machine.target(host_key=keys.public("other"))).run("echo hi")


def test_known_hosts_are_believed(machine, tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{machine.server.port} {machine.host_key}\n")
    runner = SshRunner(machine.target(host_key="", known_hosts=known))
    assert runner.run("echo hi").status == 0
    runner.close()


def test_a_pinned_fingerprint_is_enough(machine):
    (_, pin), *_ = parse_pins(machine.host_key)
    runner = SshRunner(machine.target(host_key=pin))
    assert runner.run("echo hi").status == 0
    runner.close()


def test_a_machine_with_no_session_left_is_unreachable_for_now(keys):
    full = Machine(keys, sessions=0)
    runner = SshRunner(full.target())
    with pytest.raises(Unreachable) as caught:
        runner.run("hang", timeout_s=10)
    assert caught.value.transient
    full.release.set()
    full.server.stop()


def test_secrets_are_in_no_representation_and_no_log(machine, caplog):
    target = machine.target(password="secret-word", passphrase="other-word")
    assert "secret-word" not in repr(target)
    assert "PRIVATE KEY" not in repr(target)
    runner = SshRunner(target)
    with caplog.at_level(logging.DEBUG, logger="blocks"):
        runner.run("echo secret-word and -password 'my word' -chapsecret=abc")
    runner.close()
    assert "$ echo" in caplog.text
    for secret in ("secret-word", "my word", "abc"):
        assert secret not in caplog.text


@given(st.text(max_size=60), st.text("abcdef0123456789", min_size=4, max_size=20))
def test_a_secret_never_survives_redaction(text, secret):
    assert secret not in redact(f"{text}{secret}{text}", [secret]).replace("***", "")
    assert secret not in redact(f"mkuser -password {secret} -name x")


def test_a_key_that_is_none_is_refused_by_name():
    with pytest.raises(LoginRefused, match="cannot be read"):
        read_private_key("-----BEGIN NONSENSE-----\n")


@given(st.text(max_size=80))
def test_junk_for_a_pin_is_refused_by_name(text):
    with contextlib.suppress(ConfigError):
        parse_pins(text)


def test_a_pin_is_read_with_or_without_a_comment(keys):
    line = keys.public("host")
    kind, encoded = line.split()[:2]
    key = paramiko.Ed25519Key(data=base64.b64decode(encoded))
    expected = [(kind, fingerprint(key.asbytes()))]
    assert parse_pins(f"# a comment\n{kind} {encoded} root@machine\n") == expected


def test_a_missing_known_hosts_file_knows_nobody(tmp_path):
    assert known_pins(tmp_path / "nothing", "127.0.0.1", 22) == []
    assert known_pins(None, "127.0.0.1", 22) == []


def test_the_local_runner_keeps_the_same_promises():
    runner = LocalRunner()
    done = runner.run("cat; echo oops >&2; exit 7", stdin=b"in")
    assert (done.status, done.stdout, done.stderr) == (7, "in", "oops\n")
    with pytest.raises(RemoteError, match="no answer"):
        runner.run("sleep 20", timeout_s=0.2)
    with pytest.raises(RemoteError, match="cannot run"):
        runner.run(["flashvault-nonsense"])


def test_a_local_command_that_ends_early_says_why():
    with LocalRunner().stream_in("echo full >&2; exit 3") as stream:
        time.sleep(0.2)
        with pytest.raises(RemoteError, match="full"):
            stream.write(bytes(1 << 20))
