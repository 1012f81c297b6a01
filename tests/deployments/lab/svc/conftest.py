"""One of the lab's arrays behind a real SSH server, and a client that is logged in."""

from __future__ import annotations

from collections.abc import Iterator

import paramiko
import pytest
from answers import Client

from deployments.lab.daemon import array_shell
from deployments.lab.keys import Keys
from deployments.lab.sshd import Door, Limits, SshServer


@pytest.fixture
def server(bench, tmp_path) -> Iterator[SshServer]:
    keys = Keys(tmp_path / "keys")
    door = Door("admin", [keys.public("id")], "pass word")
    made_here = SshServer("storage1", keys.private("host"), door, array_shell(bench.near), Limits())
    made_here.start()
    yield made_here
    made_here.stop()


@pytest.fixture
def client(server, tmp_path) -> Iterator[Client]:
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # as most of these clients do
    key = str(Keys(tmp_path / "keys").key_file("id"))
    ssh.connect("127.0.0.1", server.port, "admin", key_filename=key, allow_agent=False)
    yield Client(ssh)
    ssh.close()
