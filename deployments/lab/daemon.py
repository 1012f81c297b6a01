"""The lab's process: arrays and nodes behind their SSH servers, and the door for `lab fault`.

Run as `python -m deployments.lab.daemon DIRECTORY`. Writes `<lab>/run/daemon.json` when it answers.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.lab import faults, wiring
from deployments.lab.arrays import Arrays
from deployments.lab.filters import FILTERS
from deployments.lab.keys import Keys
from deployments.lab.nodes import Nodes
from deployments.lab.shell import Io, Program, run_line
from deployments.lab.sshd import Door, Limits, SshServer
from deployments.lab.svc.beyond import BEYOND
from deployments.lab.svc.commands import COMMANDS
from deployments.lab.svc.refusals import TEXTS
from deployments.lab.svc.system import PREFIXES, System

log = logging.getLogger(__name__)

TICK_S = 0.25
USER = "admin"
NODE_LIMITS = Limits(sessions=1000, unauthenticated=10, per_s=1000.0, burst=100)
"""A host's sshd refuses nobody for being too quick."""
SVC_PROGRAMS = PREFIXES | BEYOND | set(COMMANDS)


def array_shell(system: System) -> Callable[[str, Io], int]:
    """Return what answers a command line sent to an array."""

    def command(words: list[str], streams: Io) -> int:
        output = system.run(words)
        streams.say(output.stdout)
        streams.complain(output.stderr)
        return output.status

    def lookup(name: str) -> Program | None:
        if name.rpartition("/")[2] in SVC_PROGRAMS:
            return command
        return FILTERS.get(name)

    def execute(line: str, streams: Io) -> int:
        if system.faults.login_refused > 0:
            system.faults.login_refused -= 1
            streams.say(f"CMMVC7017E {TEXTS['CMMVC7017E']}\n")
            return 1
        time.sleep(system.state.timings.command_s)
        return run_line(line, lookup, streams)

    return execute


@dataclass
class Daemon:
    """Everything one lab simulates."""

    directory: Path
    servers: dict[str, SshServer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up the lab's state, or wire it for the first time."""
        self.keys = Keys(self.directory / "keys")
        self.plan = json.loads((self.directory / "lab.json").read_text())
        self.groups = wiring.groups_of(self.plan)
        self.arrays = Arrays(self.directory)
        if not self.arrays.systems:
            self.arrays.wire(self.groups, self.plan["size_bytes"])
        self.nodes = Nodes(self.directory, self.arrays)
        if not self.nodes.machines:
            self.nodes.wire(self.groups)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Open every SSH server and the control door."""
        public = [self.keys.public("id_ed25519")]
        for name, system in self.arrays.systems.items():
            if not system.is_dead:
                self._serve_array(name)
        for name, machine in self.nodes.machines.items():
            key = self.keys.private(f"host_{name}")
            self._serve(SshServer(name, key, Door("root", public), machine.run, NODE_LIMITS))

    def _serve_array(self, name: str) -> None:
        door = Door(USER, [self.keys.public("id_ed25519")], self.keys.secret(name))
        key = self.keys.private(f"host_{name}")
        shell = array_shell(self.arrays.systems[name])
        self._serve(SshServer(name, key, door, shell, Limits()))

    def _serve(self, server: SshServer) -> None:
        server.port = int(self._ports().get(server.name, 0))
        try:
            server.start()
        except OSError:  # the port of last time is taken: any other will do
            server.port = 0
            server.start()
        self.servers[server.name] = server

    def _ports(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            ports: dict[str, Any] = json.loads((self.directory / "run" / "ports.json").read_text())
            return ports
        return {}

    def announce(self, control_port: int, token: str) -> None:
        """Say where everything is."""
        ports = {name: server.port for name, server in self.servers.items()}
        write_json(self.directory / "run" / "ports.json", ports)
        ready = {"control_port": control_port, "token": token, "ports": ports}
        write_json(self.directory / "run" / "daemon.json", ready)

    def run(self) -> None:
        """Serve until told to stop."""
        self.start()
        control = socket.create_server(("127.0.0.1", 0))
        token = self.keys.secret("control")
        threading.Thread(target=self._control, args=(control, token), daemon=True).start()
        self.announce(control.getsockname()[1], token)
        while not self._stopping.wait(TICK_S):
            self.arrays.tick()
            self.nodes.tick()
        for server in self.servers.values():
            server.stop()
        (self.directory / "run" / "daemon.json").unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask the daemon to end."""
        self._stopping.set()

    def _control(self, listener: socket.socket, token: str) -> None:
        """Answer one JSON line per connection: `{"token", "action", …}`."""
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                connection.settimeout(10)
                try:
                    request = json.loads(stream.readline())
                    known = hmac.compare_digest(request.pop("token", ""), token)
                    answer = self.act(request) if known else {"error": "wrong token"}
                except ValueError as error:
                    answer = {"error": str(error)}
                except (KeyError, TypeError, OSError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                with contextlib.suppress(OSError):
                    stream.write(json.dumps(answer).encode() + b"\n")

    def act(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one control request (see `faults`)."""
        return faults.act(self, request)

    def power(self, name: str, *, is_on: bool) -> None:
        """Switch an array off, with all it was about to say, or on again."""
        was_dead = self.arrays.systems[name].is_dead
        self.arrays.power(name, is_on=is_on)
        if is_on and was_dead:
            self._serve_array(name)
        elif not is_on:
            self.servers[name].stop()


def write_json(path: Path, document: object) -> None:
    """Write a file of the owner's, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file, indent=2)
    draft.replace(path)


def main() -> None:
    """Run the daemon of the lab in the directory given."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    daemon = Daemon(Path(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.run()


if __name__ == "__main__":
    main()
