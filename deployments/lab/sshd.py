"""An SSH server in front of a simulated machine.

Real SSH (paramiko's server side) on loopback: public key and password logins, exec channels, many
of them on one connection. What a command answers is the machine's business: it gives a function
from (command line, streams) to an exit status.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, cast

import paramiko
from paramiko import common

from deployments.lab import session
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

Execute = Callable[[str, Io], int]

SEND_BYTES = 256 * 1024
WINDOW_BYTES = 16 * 1024 * 1024
PACKET_BYTES = 256 * 1024
LOGIN_LIMIT_S = 60.0
NEVER = 1 << 60


@dataclass
class Limits:
    """What an array allows. docs/reference/svc-cli.md §1.

    `sessions`: past it a connection is closed right after login. `unauthenticated`: logins under
    way at a time. `per_s` and `burst`: new connections; later ones wait for their turn, as they do
    when a real array drops the first SYN.
    """

    sessions: int = 32
    unauthenticated: int = 3
    per_s: float = 15.0
    burst: int = 3


@dataclass
class Door:
    """Who may enter: one user, by key or password."""

    user: str
    public_keys: list[str]
    password: str | None = None

    def knows_key(self, user: str, key: paramiko.PKey) -> bool:
        """Say whether this key may log in (`ssh-ed25519 AAAA…` lines)."""
        return user == self.user and f"{key.get_name()} {key.get_base64()}" in self.public_keys

    def knows_password(self, user: str, password: str) -> bool:
        """Say whether this password may log in."""
        return (
            self.password is not None
            and user == self.user
            and hmac.compare_digest(self.password.encode(), password.encode())
        )


@dataclass
class SshServer:
    """Listens on a loopback port and answers every exec request with `execute`."""

    name: str
    host_key: paramiko.PKey
    door: Door
    execute: Execute
    limits: Limits = field(default_factory=Limits)
    port: int = 0
    banner: str = "SSH-2.0-OpenSSH_8.0"

    def __post_init__(self) -> None:
        """Prepare, without listening yet."""
        self._listener: socket.socket | None = None
        self._transports: set[paramiko.Transport] = set()
        self._admitted: set[paramiko.Transport] = set()
        self._lock = threading.Lock()
        self._logins = threading.BoundedSemaphore(self.limits.unauthenticated)
        self._allowance, self._refilled_at = float(self.limits.burst), time.monotonic()

    def start(self) -> int:
        """Listen; return the port."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self.port

    def stop(self) -> None:
        """Stop listening, and drop every connection."""
        listener, self._listener = self._listener, None
        if listener:
            # shutdown wakes the thread in accept(); close alone would leave it there.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.drop_connections()

    def drop_connections(self) -> int:
        """Break all connections under way; return how many there were."""
        with self._lock:
            dropped = list(self._transports)
        for transport in dropped:
            transport.close()
        return len(dropped)

    @property
    def sessions(self) -> int:
        """How many connections are logged in."""
        with self._lock:
            return sum(transport.is_authenticated() for transport in self._transports)

    def admit(self, transport: paramiko.Transport) -> bool:
        """Give a connection that is logged in its session; say whether there was one left."""
        with self._lock:
            if transport in self._admitted:
                return True
            if len(self._admitted) >= self.limits.sessions:
                return False
            self._admitted.add(transport)
            return True

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._wait_for_turn()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _wait_for_turn(self) -> None:
        """Hold new connections to the array's rate."""
        now = time.monotonic()
        gained = (now - self._refilled_at) * self.limits.per_s
        self._allowance = min(float(self.limits.burst), self._allowance + gained)
        self._refilled_at = now
        if self._allowance < 1:
            time.sleep((1 - self._allowance) / self.limits.per_s)
            self._allowance, self._refilled_at = 1.0, time.monotonic()
        self._allowance -= 1

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = _Transport(
            connection, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES
        )
        transport.local_version = self.banner
        # The client decides when to exchange keys anew. paramiko's own server would ask after
        # 512 MiB, and give up on a client that is slow to read.
        transport.packetizer.REKEY_BYTES = transport.packetizer.REKEY_PACKETS = NEVER
        transport.add_server_key(self.host_key)
        with self._lock:
            self._transports.add(transport)
        try:
            with self._logins:
                transport.start_server(server=_Session(self, transport), event=None)
                self._await_login(transport)
            while transport.is_active():
                transport.join(1.0)
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.debug("%s: connection ended: %s", self.name, error)
        finally:
            transport.close()
            with self._lock:
                self._transports.discard(transport)
                self._admitted.discard(transport)

    def _await_login(self, transport: paramiko.Transport) -> None:
        deadline = time.monotonic() + LOGIN_LIMIT_S
        while transport.is_active() and not transport.is_authenticated():
            if time.monotonic() > deadline:
                transport.close()
                return
            time.sleep(0.01)
        if transport.is_authenticated() and not self.admit(transport):
            log.info("%s: more than %d sessions: closed", self.name, self.limits.sessions)
            transport.close()

    def run(self, channel: paramiko.Channel, line: str) -> None:
        """Answer one exec request on its channel."""
        try:
            stdin = cast(BinaryIO, io.BufferedReader(_In(channel), SEND_BYTES))
            streams = Io(stdin, _Out(channel.sendall), _Out(channel.sendall_stderr))
            status = self.execute(line, streams)
            channel.send_exit_status(status)
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.debug("%s: the client went away during %r: %s", self.name, line, error)
        finally:
            channel.close()


class _In(io.RawIOBase):
    """What the client sends on a channel.

    All that has come is taken at once: taking the front of a full window piece by piece, paramiko
    would move the rest of it each time.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._kept = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if not self._kept:
            self._kept = memoryview(self._channel.recv(WINDOW_BYTES))
        piece, self._kept = self._kept[: len(view)], self._kept[len(view) :]
        view[: len(piece)] = piece
        return len(piece)


class _Transport(paramiko.Transport):
    """Tells when a request was answered: a client takes a channel that ends before for refused."""

    def __init__(self, connection: socket.socket, **settings: int) -> None:
        super().__init__(connection, **settings)  # type: ignore[arg-type]
        self._replies: dict[int, threading.Event] = {}

    def expect_reply(self, channel: paramiko.Channel) -> threading.Event:
        """Return an event that is set once the request under way on this channel is answered."""
        reply = threading.Event()
        self._replies[channel.remote_chanid] = reply
        return reply

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        raw = data.asbytes()
        if raw[0] == common.MSG_CHANNEL_SUCCESS:
            reply = self._replies.pop(int.from_bytes(raw[1:5], "big"), None)
            if reply is not None:
                reply.set()


@dataclass
class _Out:
    """Sends everything written, in pieces the channel likes."""

    send: Callable[[bytes], object]

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), SEND_BYTES):
            self.send(view[start : start + SEND_BYTES].tobytes())


class _Session(paramiko.ServerInterface):
    """One connection's answers to paramiko's questions."""

    def __init__(self, server: SshServer, transport: _Transport) -> None:
        self._server = server
        self._transport = transport
        self._terminals: set[int] = set()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password" if self._server.door.password else "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = self._server.door.knows_key(username, key)
        return common.AUTH_SUCCESSFUL if known else common.AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        known = self._server.door.knows_password(username, password)
        return common.AUTH_SUCCESSFUL if known else common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        # Asked here too: a quick client's command is here before anybody looked at the login.
        if not self._server.admit(self._transport):
            return common.OPEN_FAILED_RESOURCE_SHORTAGE
        if kind == "session":
            return common.OPEN_SUCCEEDED
        return common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_env_request(
        self, channel: paramiko.Channel, name: bytes, value: bytes
    ) -> bool:
        return True

    def check_channel_pty_request(self, channel: paramiko.Channel, *size: object) -> bool:
        self._terminals.add(channel.chanid)
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        accepted = self._transport.expect_reply(channel)

        def run() -> None:
            accepted.wait(LOGIN_LIMIT_S)
            self._shell(channel)

        threading.Thread(target=run, daemon=True).start()
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        line = command.decode(errors="replace")
        accepted = self._transport.expect_reply(channel)

        def run() -> None:
            accepted.wait(LOGIN_LIMIT_S)
            try:
                self._server.run(channel, line)
            except (EOFError, OSError, paramiko.SSHException) as error:
                log.debug("%s: the client left: %s", self._server.name, error)

        threading.Thread(target=run, daemon=True).start()
        return True

    def _shell(self, channel: paramiko.Channel) -> None:
        """Answer a session that asked for no command."""
        execute = self._server.execute
        try:
            if channel.chanid in self._terminals:
                screen = session.Terminal(channel)
                prompt = f"IBM_{self._server.name}:{self._server.door.user}>"
                status = session.serve(screen.lines(), execute, screen, screen, prompt)
            else:
                out, err = _Out(channel.sendall), _Out(channel.sendall_stderr)
                status = session.serve(session.piped_lines(channel), execute, out, err, "")
            channel.send_exit_status(status)
        except (paramiko.SSHException, OSError, EOFError) as error:
            log.debug("%s: shell ended: %s", self._server.name, error)
        finally:
            channel.close()
