"""kill -9 during a restore, again and again: it goes on, and fetches nothing it has already."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from blocks.store.clients import open_store, parse_bucket_url
from blocks.units import MIB

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 20
SIZE = 192 * MIB
GET_S = 0.15
"""Each read of the store takes this long, as over a network, so that there is time to be killed."""

SLOP = MIB
"""A read may go through a small gap that is there already: it is cheaper than a second request."""

# Restores in a fork for each line it reads: importing the flow takes longer than the restore.
# Every read of the store is noted before it is made, in a file that outlives the fork.
RESTORER = """
import json, os, sys, time
from blocks.store.directory import DirectoryStore
from flows.restore import restore

read = DirectoryStore.get_range

def counted(self, key, offset, length, **pin):
    os.write(notes, f"{length}\\n".encode())
    time.sleep(float(sys.argv[1]))
    return read(self, key, offset, length, **pin)

DirectoryStore.get_range = counted
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    notes = os.open(wanted.pop("notes"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    result = wanted.pop("result")
    child = os.fork()
    if not child:
        os.setsid()
        ending = restore.fn(approved=True, force=True, importing="no", **wanted)
        with open(result, "w") as file:
            json.dump(ending.report, file)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until it is waited for, its number is nobody else's
    os.waitpid(child, 0)
    print("over", flush=True)
"""


class Restorer:
    """Starts restores in processes that can be killed."""

    def __init__(self, site):
        self.site = site
        self.notes, self.result = site / "notes", site / "result"
        self.process = subprocess.Popen(
            [sys.executable, "-c", RESTORER, str(GET_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **{name: text for name, text in os.environ.items() if "PREFECT" not in name},
                "FLASHVAULT_STATE": str(site / "state"),
            },
        )
        assert self._said() == "ready"

    def run(self, target, kill_after_s=None):
        """Restore; return the bytes fetched, and the report unless it was killed."""
        for file in (self.notes, self.result):
            file.unlink(missing_ok=True)
        self.notes.touch()
        wanted = {
            "group": "RG1",
            "to": {"disk": str(target)},
            "bucket": f"file://{self.site}/bucket",
            "notes": str(self.notes),
            "result": str(self.result),
        }
        self._say(json.dumps(wanted))
        child = int(self._said())
        if kill_after_s is not None:
            deadline = time.monotonic() + 60
            while not self.notes.stat().st_size and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(kill_after_s)
            os.kill(child, signal.SIGKILL)
        self._say("wait")
        assert self._said() == "over"
        fetched = sum(map(int, self.notes.read_text().split()))
        report = json.loads(self.result.read_text()) if self.result.exists() else None
        return fetched, report

    def claimed(self):
        """Return the bytes that the killed restores have noted as written."""
        files = list((self.site / "state" / "restores").glob("*.progress"))
        if not files:
            return 0
        [file] = files
        extents = set()
        for line in file.read_text().splitlines()[1:]:
            first, _, count = line.partition(" ")
            if first.isdigit() and count.isdigit():
                extents |= set(range(int(first), int(first) + int(count)))
        return len(extents) * 256 * 1024

    def close(self):
        with self.process:
            self.process.stdin.close()

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _said(self):
        return self.process.stdout.readline().strip()


@pytest.fixture
def restorer(tmp_path):
    restorer = Restorer(tmp_path)
    yield restorer
    restorer.close()


def test_a_restore_killed_at_20_random_moments_goes_on_and_is_identical(restorer, tmp_path):
    dice = random.Random(20)
    disk, target = tmp_path / "disk", tmp_path / "target"
    disk.write_bytes(dice.randbytes(SIZE))
    words = ["image", "put", str(disk), "--to", f"file://{tmp_path}/bucket", "--name", "RG1"]
    subprocess.run([sys.executable, "-m", "deployments.cli", *words, "-q"], check=True)
    store = open_store(parse_bucket_url(f"file://{tmp_path}/bucket"))
    stored = sum(info.size_bytes for info in store.list("RG1/"))
    dirt = dice.randbytes(MIB) * (SIZE // MIB)
    target.write_bytes(dirt)
    kills, finished, went_on = 0, 0, 0
    while kills < KILLS:
        before = restorer.claimed()
        fetched, report = restorer.run(target, dice.uniform(0, 1.2))
        assert fetched <= stored - before + SLOP, "what was right is fetched again"
        went_on += bool(before)
        if report is None:
            kills += 1
            continue
        finished += 1
        assert report["volumes"][0]["skipped_bytes"] >= before
        assert target.read_bytes() == disk.read_bytes()
        target.write_bytes(dirt)
    before = restorer.claimed()
    fetched, report = restorer.run(target)
    [row] = report["volumes"]
    assert row["proven"]
    assert row["skipped_bytes"] == before
    assert fetched == row["read_bytes"] <= stored - before + SLOP
    assert target.read_bytes() == disk.read_bytes()
    assert went_on >= KILLS // 2, "most kills came in the middle"
    assert finished < KILLS, f"{finished} finished before they were killed"


def test_what_is_noted_and_was_lost_on_the_disk_is_fetched_again(restorer, tmp_path):
    dice = random.Random(21)
    disk, target = tmp_path / "disk", tmp_path / "target"
    disk.write_bytes(dice.randbytes(SIZE))
    words = ["image", "put", str(disk), "--to", f"file://{tmp_path}/bucket", "--name", "RG1"]
    subprocess.run([sys.executable, "-m", "deployments.cli", *words, "-q"], check=True)
    target.write_bytes(bytes(SIZE))
    while not restorer.claimed():
        restorer.run(target, dice.uniform(0.3, 0.8))
    target.write_bytes(bytes(SIZE))  # the machine lost what was in its cache
    _, report = restorer.run(target)
    assert report["volumes"][0]["skipped_bytes"] == 0
    assert target.read_bytes() == disk.read_bytes()
