"""An encrypted backup and its restore in the lab, and what they leave behind."""

import json
import os
import random
import subprocess
import sys

import pytest

from blocks.units import MIB
from deployments.lab import site as lab

pytestmark = [pytest.mark.server, pytest.mark.slow]

SIZE = 24 * MIB
PASSPHRASE = "correct horse battery staple"
MARK = b"a sentence only the volume holds "

OWN_RECORDS = {"site.json", "run/daemon.json", "s3/identities.json"}
"""The lab's own files, in which its secrets are meant to be; only their owner can read them."""


class Lab:
    """A running lab with a Prefect server, and its command line."""

    def __init__(self, directory):
        self.directory = directory
        self.site = lab.load_site(directory)
        self.environment = {**os.environ, **self.site.environment()}
        self.output = bytearray()

    def run(self, *words, secret="", expect=0):
        environment = dict(self.environment)
        if secret:
            environment["FLASHVAULT_PASSPHRASE"] = secret
        done = subprocess.run(
            [sys.executable, "-m", "deployments.cli", *words],
            env=environment,
            capture_output=True,
            check=False,
        )
        self.output += done.stdout + done.stderr
        assert done.returncode == expect, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode()

    def secrets(self):
        """Return every secret of the lab, by name."""
        found = {"passphrase": PASSPHRASE.encode(), "s3": self.site.s3.secret_key.encode()}
        for system in self.site.storage_systems:
            found[f"password of {system.name}"] = system.password.encode()
        for file in (self.directory / "keys").iterdir():
            if file.suffix in (".secret", ".fernet"):
                found[file.name] = file.read_bytes().strip()
            elif file.suffix != ".pub" and not file.name.startswith("."):
                found[file.name] = file.read_bytes().splitlines()[2]
        return found


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lab") / "lab"
    command = [sys.executable, "-m", "deployments.cli", "lab"]
    subprocess.run([*command, "up", "--dir", str(directory), "--size", "24M"], check=True)
    try:
        yield prepare(Lab(directory), tmp_path_factory.mktemp("keys"))
    finally:
        subprocess.run([*command, "down", "--dir", str(directory)], check=True)


def prepare(running, keys):
    """Fill the volumes, make keys, and ask for CLIENT; then back up twice and restore once."""
    running.content = {}
    for number, name in enumerate(("Node1_1", "Node1_2")):
        data = random.Random(number).randbytes(6 * MIB) + bytes(6 * MIB)
        data = (data + MARK * (12 * MIB // len(MARK) + 1))[:SIZE]
        with open(running.site.volume(name).path, "r+b") as file:
            file.write(data)
        running.content[name] = data
    (keys / "passphrase").write_text(PASSPHRASE + "\n")
    public = running.run("key", "new", str(keys / "host.key")).strip()
    running.writer_key = (keys / "host.key").read_text().strip()
    made = running.run(
        *("key", "init", "--bucket", "s3://pha-bucket", "--writer", f"backuphost={public}"),
        *("--passphrase-file", str(keys / "passphrase"), "--json"),
    )
    running.run("modify", "bucket", "pha-bucket", f"PRIVATE_KEY=@{keys / 'host.key'}")
    running.run(
        *("modify", "backup_profile", "RG1", "BACKUP_METHOD=cloud", "ENCRYPTION=CLIENT"),
        f"KEY_ID={json.loads(made)['key_id']}",
    )
    running.full = json.loads(running.run("backup", "RG1", "--full", "--json"))
    running.run("backup", "RG1", "--incremental", "--json")
    return running


def test_the_bucket_holds_nothing_of_the_volumes(encrypted, leaks):
    assert encrypted.full["stored_bytes"] > 0
    bucket = encrypted.directory / "s3"
    assert leaks({"contents": MARK * 2}, [bucket], processes=False) == []
    # The search is able to: what it looks for is found on the volume itself.
    volume = encrypted.directory / "volumes"
    assert leaks({"contents": MARK * 2}, [volume], processes=False)


def test_the_backup_host_cannot_restore_and_says_so_before_it_writes(encrypted, tmp_path):
    target = tmp_path / "disk"
    encrypted.run("restore", "RG1", "--to", f"hdisk18={target}", "--yes", expect=1)
    assert b"can only write" in encrypted.output
    assert not target.exists() or target.stat().st_size == 0


def test_a_reader_restores_with_nothing_but_bucket_and_passphrase(encrypted, tmp_path):
    target = tmp_path / "disk"
    encrypted.environment.pop("PREFECT_API_URL")
    encrypted.run(
        *("restore", "RG1", "--bucket", "s3://pha-bucket", "--to", f"hdisk18={target}", "--yes"),
        secret=PASSPHRASE,
    )
    assert target.read_bytes() == encrypted.content["Node1_1"]


def test_nothing_secret_is_left_behind(encrypted, leaks, tmp_path):
    """Logs, Prefect's database and results, the XML and its backup, journals, process lists."""
    (tmp_path / "printed").write_bytes(bytes(encrypted.output))
    places = [
        place
        for place in encrypted.directory.iterdir()
        if place.name not in ("keys", "volumes", "hosts")
    ]
    assert {"logs", "prefect", "flashvault.xml", "s3"} <= {place.name for place in places}
    secrets = {**encrypted.secrets(), "writer key": encrypted.writer_key.encode()}
    found = leaks(secrets, [*places, tmp_path])
    own = {str(encrypted.directory / name) for name in OWN_RECORDS}
    assert [leak for leak in found if leak.where not in own] == []
    for name in OWN_RECORDS:
        assert (encrypted.directory / name).stat().st_mode & 0o077 == 0, name
