"""Run commands on another machine over SSH: one pooled connection, many channels.

`SshRunner` keeps the promise of `blocks.runner.Runner`. Here are the choices that make SSH a data
path: cipher, window and packet size, and how a connection is kept from ever exchanging keys anew.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko

from blocks.errors import LoginRefused, RemoteError, Unreachable
from blocks.hostkeys import check_host_key, known_pins, parse_pins, read_private_key
from blocks.runner import (
    MAX_ANSWER_BYTES,
    Closing,
    Command,
    Completed,
    InStream,
    OutStream,
    command_line,
    log_answer,
    shown,
)
from blocks.runner import LocalRunner as LocalRunner
from blocks.runner import Runner as Runner
from blocks.runner import redact as redact
from blocks.units import GIB, KIB, MIB, format_size

log = logging.getLogger(__name__)
# Whatever paramiko has to say is raised here as an error of ours; it must not also print it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

# Chosen by measurement (docs/adr/0011-ssh-as-a-data-path.md): with a 64 MiB window paramiko's
# buffers grow until copying them costs more than the cipher.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
WINDOW_BYTES = 8 * MIB
PACKET_BYTES = 128 * KIB
# paramiko wants new keys after 512 MiB and then hangs: its only reading thread may itself wait for
# the exchange it must read. RFC 4344 allows 2^32 cipher blocks (64 GiB). So a connection is never
# rekeyed by us: it is replaced, between commands, long before that.
RETIRE_BYTES = 16 * GIB
WORN_OUT_BYTES = 48 * GIB
REKEY_BYTES = 60 * GIB
REKEY_PACKETS = 2**31
# OpenSSH allows 10 sessions on a connection (MaxSessions); two are left to others.
MAX_CHANNELS = 8
MAX_CONNECTIONS = 4
KEEPALIVE_S = 15


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where a machine is and how to enter it.

    `addresses` are tried in order. `host_key` holds pinned keys, lines of `ssh-ed25519 AAAA…` or
    `SHA256:…`; with it empty only `known_hosts` is believed. `registered_as` (`node node1`) names
    the object whose HOST_KEY an operator changes to accept a key.
    """

    addresses: tuple[str, ...]
    user: str
    port: int = 22
    host_key: str = ""
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    known_hosts: Path | None = None
    connect_timeout_s: float = 15.0
    registered_as: str = ""


class _Link:
    """One SSH connection and what it has carried."""

    def __init__(self, transport: paramiko.Transport, address: str) -> None:
        self.transport = transport
        self.address = address
        self.carried_bytes = 0
        self.channel_count = 0

    @property
    def is_usable(self) -> bool:
        return self.transport.is_active() and self.carried_bytes < RETIRE_BYTES


class SshRunner:
    """Runs commands over a pooled SSH connection, each on a channel of its own.

    The connection is made by the first command, another one only when all its channels are taken. A
    broken or worn-out one is replaced before a command, never during one: a command that was sent
    is never sent twice.
    """

    def __init__(
        self,
        target: SshTarget,
        *,
        max_channels: int = MAX_CHANNELS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            target: the machine.
            max_channels: commands at a time on one connection.
            max_connections: a second one is made when all channels of the first are taken.
        """
        self._target = target
        self.secrets = tuple(filter(None, (target.password, target.passphrase)))
        self._max_channels = max_channels
        self._max_connections = max_connections
        self._lock = threading.Condition()
        self._links: list[_Link] = []

    @property
    def address(self) -> str:
        """The address in use, or the first one."""
        links = self._links
        return links[0].address if links else self._target.addresses[0]

    def run(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> Completed:
        """Run a command to its end (see `Runner.run`)."""
        line = command_line(command)
        with self._start(line, timeout_s) as stream:
            stream.deadline = time.monotonic() + timeout_s
            if stdin is not None:
                stream.write(stdin)
            stream.end_input()
            return stream.collect()

    def stream_out(
        self, command: Command, *, timeout_s: float = 60.0, stdin: bytes | None = None
    ) -> OutStream:
        """Start a command and read its output (see `Runner.stream_out`)."""
        stream = self._start(command_line(command), timeout_s)
        try:
            if stdin is not None:
                stream.write(stdin)
            stream.end_input()
        except BaseException:
            stream.close()
            raise
        return stream

    def stream_in(self, command: Command, *, timeout_s: float = 60.0) -> InStream:
        """Start a command and write its input (see `Runner.stream_in`)."""
        return self._start(command_line(command), timeout_s)

    def close(self) -> None:
        """Close the connection; commands that still run on it fail."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.transport.close()

    def _start(self, line: str, timeout_s: float) -> _SshStream:
        link, channel = self._open_channel(timeout_s)
        stream = _SshStream(self, link, channel, line, timeout_s)
        try:
            log.debug("%s$ %s", link.address, shown(line, self.secrets))
            channel.settimeout(timeout_s)
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError) as error:
            # Some servers end a quick command before they confirm it: its status is the proof.
            if channel.exit_status < 0:
                stream.close()
                raise Unreachable(f"{link.address}: command not accepted: {error}") from error
        except BaseException:
            stream.close()
            raise
        return stream

    def _open_channel(self, timeout_s: float) -> tuple[_Link, paramiko.Channel]:
        has_reconnected = False
        while True:
            link = self._borrow_link(timeout_s)
            try:
                channel = link.transport.open_session(
                    window_size=WINDOW_BYTES, max_packet_size=PACKET_BYTES, timeout=timeout_s
                )
            except (paramiko.SSHException, OSError, EOFError) as error:
                if _is_refusal(error) and link.transport.is_active():
                    if self._is_refused_alone(link):
                        raise self._no_session(link, error) from error
                    continue
                # A connection that died while idle is noticed only now; nothing was sent yet.
                link.transport.close()
                self.give_back(link)
                if has_reconnected:
                    raise self._no_session(link, error) from error
                has_reconnected = True
            else:
                return link, channel

    def _borrow_link(self, timeout_s: float) -> _Link:
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while True:
                self._forget_idle()
                usable = [link for link in self._links if link.is_usable]
                free = [link for link in usable if link.channel_count < self._max_channels]
                if not free and len(usable) < self._max_connections:
                    free = [self._connect()]
                    self._links += free
                if free:
                    free[0].channel_count += 1
                    return free[0]
                if not self._lock.wait(deadline - time.monotonic()):
                    raise Unreachable(f"{self.address}: no free session within {timeout_s:.0f} s")

    def _is_refused_alone(self, link: _Link) -> bool:
        """Learn that the machine allows fewer sessions on a connection than we thought."""
        with self._lock:
            others = link.channel_count - 1
            self._max_channels = max(1, min(self._max_channels, others))
        self.give_back(link)
        return others == 0

    def _no_session(self, link: _Link, error: BaseException) -> Unreachable:
        return Unreachable(
            f"{link.address}: no session: {error or 'connection closed'}",
            hint="The machine limits its sessions (an SVC to 32, counting those of other "
            "software): close unused ones. The run is retried.",
        )

    def give_back(self, link: _Link) -> None:
        """Take a stream's channel back (called by the stream, once)."""
        with self._lock:
            link.channel_count -= 1
            self._forget_idle()
            self._lock.notify()

    def _forget_idle(self) -> None:
        """Close what carries nothing and is worn out or one more than needed."""
        idle = [link for link in self._links if link.channel_count == 0]
        needed = [link for link in self._links if link.is_usable][:1]
        for link in idle:
            if link not in needed:
                self._links.remove(link)
                link.transport.close()

    def _connect(self) -> _Link:
        """Connect to the first address that answers.

        A refused login or key ends the search: the next address is the same machine.
        """
        failures = []
        for address in self._target.addresses:
            try:
                transport = _open_transport(self._target, address)
            except Unreachable as error:
                failures.append(str(error))
            else:
                return _Link(transport, address)
        raise Unreachable("; ".join(failures) or "no address is given")


def _is_refusal(error: BaseException) -> bool:
    # paramiko keeps one last error for all threads: the second of two refused at once is told only
    # that its channel could not be opened.
    return isinstance(error, paramiko.ChannelException) or "Unable to open" in str(error)


def _open_transport(target: SshTarget, address: str) -> paramiko.Transport:
    where = f"{address}:{target.port}"
    pins = parse_pins(target.host_key) or known_pins(target.known_hosts, address, target.port)
    try:
        sock = socket.create_connection((address, target.port), timeout=target.connect_timeout_s)
    except OSError as error:
        raise Unreachable(f"cannot connect to {where}: {error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    transport: paramiko.Transport | None = None
    try:
        transport = paramiko.Transport(
            sock, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES
        )
        transport.banner_timeout = transport.handshake_timeout = target.connect_timeout_s
        transport.auth_timeout = target.connect_timeout_s
        transport.packetizer.REKEY_BYTES = REKEY_BYTES
        transport.packetizer.REKEY_PACKETS = REKEY_PACKETS
        options = transport.get_security_options()
        options.ciphers = CIPHERS
        # Ask for the type that is pinned: a machine has several keys and shows one.
        pinned = {kind.replace("ssh-rsa", "rsa-sha2-512") for kind, _ in pins}
        options.key_types = sorted(options.key_types, key=lambda kind: kind not in pinned)
        transport.start_client(timeout=target.connect_timeout_s)
        check_host_key(
            transport.get_remote_server_key(),
            pins,
            address=address,
            port=target.port,
            registered_as=target.registered_as,
        )
        _log_in(transport, target, where)
        transport.set_keepalive(KEEPALIVE_S)
    except (paramiko.SSHException, OSError, EOFError) as error:
        _drop(transport, sock)
        raise Unreachable(f"no SSH with {where}: {error or 'connection closed'}") from error
    except BaseException:
        _drop(transport, sock)
        raise
    return transport


def _drop(transport: paramiko.Transport | None, sock: socket.socket) -> None:
    if transport is not None:
        transport.close()
    sock.close()


def _log_in(transport: paramiko.Transport, target: SshTarget, where: str) -> None:
    refusals = []
    keys = [read_private_key(target.private_key, target.passphrase)] if target.private_key else []
    if not keys and target.password is None:
        keys = list(paramiko.Agent().get_keys())
    for key in keys:
        try:
            transport.auth_publickey(target.user, key)
        except paramiko.AuthenticationException as error:
            refusals.append(f"{key.get_name()} key: {error}")
        else:
            return
    if target.password is not None:
        try:
            transport.auth_password(target.user, target.password)
        except paramiko.AuthenticationException as error:
            refusals.append(f"password: {error}")
        else:
            return
    reason = "; ".join(refusals) or "no key or password is configured and no agent offers one"
    raise LoginRefused(f"{target.user}@{where} is not let in: {reason}")


class _SshStream(Closing):
    """A running command on its own channel: its input, output and end."""

    def __init__(
        self,
        runner: SshRunner,
        link: _Link,
        channel: paramiko.Channel,
        line: str,
        timeout_s: float,
    ) -> None:
        self.link = link
        self.deadline: float | None = None
        self._runner = runner
        self._channel = channel
        self._line = line
        self._timeout_s = timeout_s
        self._is_open = True

    def read_into(self, buffer: memoryview) -> int:
        self._set_timeout()
        with self._named_errors():
            piece = self._channel.recv(len(buffer))
        buffer[: len(piece)] = piece
        self._count(len(piece))
        return len(piece)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        while len(view):
            self._set_timeout()
            try:
                with self._named_errors():
                    sent = self._channel.send(view[:MIB])  # type: ignore[arg-type]
            except Unreachable as error:
                raise self._ended_early() from error
            if sent == 0:
                raise self._ended_early()
            self._count(sent)
            view = view[sent:]

    def end_input(self) -> None:
        with self._named_errors():
            self._channel.shutdown_write()

    def finish(self) -> Completed:
        self.end_input()
        return self.collect()

    def collect(self) -> Completed:
        """Read what is left of both outputs, then the status."""
        stdout = self._drain(self._channel.recv)
        stderr = self._drain(self._channel.recv_stderr)
        if not self._channel.status_event.wait(self._time_left()):
            raise self._broken(f"no end within {self._timeout_s:.0f} s")
        status = self._channel.exit_status
        if status < 0 and not self.link.transport.is_active():
            raise self._broken("the connection broke")
        done = Completed(status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))
        log_answer(self.link.address, done, self._runner.secrets)
        return done

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            # On a connection that just broke even the goodbye fails; it must not hide why.
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
                self._channel.close()
            self._runner.give_back(self.link)

    def _drain(self, receive: Callable[[int], bytes]) -> bytes:
        pieces = bytearray()
        while True:
            self._set_timeout()
            with self._named_errors():
                piece = receive(256 * KIB)
            if not piece:
                return bytes(pieces)
            pieces += piece
            if len(pieces) > MAX_ANSWER_BYTES:
                raise self._broken("its answer does not end")

    @property
    def _shown_line(self) -> str:
        return shown(self._line, self._runner.secrets)[:120]

    def _count(self, size_bytes: int) -> None:
        # Threads may lose an increment to each other: the limits are far enough apart for that.
        self.link.carried_bytes += size_bytes
        if self.link.carried_bytes > WORN_OUT_BYTES:
            raise self._broken(f"one command moved more than {format_size(WORN_OUT_BYTES)}")

    def _ended_early(self) -> RemoteError:
        """Say why a command no longer reads its input: it mostly left a message."""
        if not self.link.transport.is_active():
            return self._broken("the connection broke")
        try:
            done = self.collect()
        except Unreachable as error:
            return error
        reason = done.stderr.strip() or f"status {done.status}"
        return RemoteError(f"{self.link.address}: '{self._shown_line}' ended: {reason}")

    def _time_left(self) -> float:
        if self.deadline is None:
            return self._timeout_s
        return max(0.001, min(self._timeout_s, self.deadline - time.monotonic()))

    def _set_timeout(self) -> None:
        self._channel.settimeout(self._time_left())

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise self._broken(f"no answer within {self._timeout_s:.0f} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._broken(str(error) or "the connection broke") from error

    def _broken(self, reason: str) -> Unreachable:
        return Unreachable(f"{self.link.address}: '{self._shown_line}': {reason}")
