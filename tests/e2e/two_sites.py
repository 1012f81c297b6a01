"""Two sites in a lab of their own: short words for tests, and somebody who writes all the while."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deployments.lab import site as lab
from flows.replicate import replicate
from tasks.open import configuration, host_and_runner

MIB = 1024 * 1024
SIZE = 16 * MIB
GROUP = "sample_remote_cg"
PAIRS = [("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")]
RECORD = struct.Struct(">QQ")
RECORD_BYTES = 512
FIRST = 4 * MIB


@dataclass
class Bench:
    """A lab, and short words for tests."""

    site: lab.Site
    told: Path

    @property
    def directory(self) -> Path:
        return Path(self.site.directory)

    def flashvault(self, *words: str, status: int = 0) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "deployments.cli", *words, "--json"],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def node(self, name: str, *words: str) -> str:
        _, runner = host_and_runner(configuration(), name)
        done = runner.run(list(words))
        runner.close()
        assert done.status == 0, (words, done)
        return done.stdout

    def path(self, volume: str) -> Path:
        return Path(self.site.volume(volume).path)

    def write(self, volume: str, data: bytes) -> None:
        with self.path(volume).open("r+b") as file:
            file.write(data)

    def same(self) -> bool:
        return all(self.path(a).read_bytes() == self.path(b).read_bytes() for a, b in PAIRS)

    def notices(self) -> list[str]:
        return self.told.read_text().split() if self.told.exists() else []

    def clmgr(self, action: str, node: str) -> None:
        words = (action, "resource_group", "RG1", f"NODES={node}")
        self.node("node1", "/usr/es/sbin/cluster/utilities/clmgr", *words)

    def uids(self, side: int) -> list[str]:
        return [self.site.volume(pair[side]).uid for pair in PAIRS]

    def is_restored_identical(self, document: dict, side: int) -> None:
        """Restore a point into files and compare them with the volumes themselves."""
        place = self.directory / "restored" / document["restore_point"]
        place.mkdir(parents=True)
        words = ("restore", "RG1", "--point", document["restore_point"], "--to", str(place))
        self.flashvault(*words, "--yes")
        for volume, pair in zip(document["volumes"], PAIRS, strict=True):
            (restored,) = place.glob(f"*{volume['disk']}*")
            assert restored.read_bytes() == self.path(pair[side]).read_bytes()

    def joint_recovery_point(self) -> datetime:
        (row,) = self.flashvault("status", "RG1")["groups"]
        return datetime.fromisoformat(row["joint_recovery_point"])

    def until(self, condition: str) -> dict:
        deadline = time.monotonic() + 60
        while True:
            seen = self.sync()
            if seen["condition"] == condition:
                return seen
            assert time.monotonic() < deadline, seen
            time.sleep(0.5)

    def sync(self) -> dict:
        """Poll once, as the schedule does."""
        ending = replicate.fn("RG1")
        return ending.document()


@contextmanager
def bench_in(directory: Path) -> Iterator[Bench]:
    """Bring the lab up below a directory, and take it down whatever happens."""
    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["FLASHVAULT_STATE"] = str(directory / "state")
    told = directory / "told"
    script = directory / "notify"
    script.write_text(f'#!/bin/sh\necho "$1" >> {told}\n')
    script.chmod(0o700)
    words = [sys.executable, "-m", "deployments.cli", "lab"]
    place = ["--dir", str(directory / "lab")]
    size = ["--size", f"{SIZE // MIB}M"]
    subprocess.run([*words, "up", *place, *size, "--no-prefect"], check=True)
    try:
        site = lab.load_site(directory / "lab")
        os.environ.update(site.environment())
        made = Bench(site, told)
        made.flashvault(
            "modify",
            "backup_profile",
            "RG1",
            "BACKUP_METHOD=remote_storage",
            "ENABLE_BACKUP=yes",
            f"NOTIFY_METHOD={script}",
        )
        yield made
    finally:
        subprocess.run([*words, "down", *place, "--purge"], check=True)
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Writer:
    """Writes numbered records to both volumes in turn, while their disks are there.

    What it logs was written; the order over both volumes is the order of the numbers.
    """

    bench: Bench
    volumes: tuple[str, str]
    log: list[float] = field(default_factory=list)
    pause_s: float = 0.03

    def __post_init__(self) -> None:
        links = Path(self.bench.site.hosts[0].device_directory)
        self._links = [
            links / f"wwn-0x{self.bench.site.volume(name).uid.lower()}" for name in self.volumes
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _write(self) -> None:
        while not self._stop.wait(self.pause_s):
            number = len(self.log)
            try:
                with self._links[number % 2].open("r+b") as file:
                    file.seek(FIRST + number // 2 * RECORD_BYTES)
                    file.write(RECORD.pack(number + 1, time.time_ns()))
            except FileNotFoundError:
                return  # the disk is gone
            self.log.append(time.time())


def records(paths: list[Path]) -> list[int]:
    """Return the numbers of all records found on two volumes, sorted."""
    found = []
    for place, path in enumerate(paths):
        data = path.read_bytes()[FIRST:]
        for index in range(len(data) // RECORD_BYTES):
            number, _ = RECORD.unpack_from(data, index * RECORD_BYTES)
            if number:
                assert (number - 1) % 2 == place
                assert (number - 1) // 2 == index
                found.append(number - 1)
    return sorted(found)
