"""PostgreSQL under load, its data on one volume and its WAL on another, survives the loss of both.

`make drill-postgres` runs this as root and prints the table of the four restore points. The lab's
volumes are loop devices here. They lie in a btrfs subvolume, of which the lab's array takes one
snapshot for the whole group: both volumes are copied at one instant, while pgbench goes on writing
and nothing is frozen.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.units import MIB
from deployments.lab import site as lab
from flows.backup import backup
from flows.restore import restore

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
PORT = 54399
SOON = timedelta(seconds=1)
"""At 150 transactions a second one has ended this recently, on a busy machine too."""

TO = {"hdisk18": "hdisk23", "hdisk19": "hdisk24"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not PROGRAMS, reason="needs apt install postgresql postgresql-contrib"),
    pytest.mark.skipif(not shutil.which("mkfs.btrfs"), reason="needs apt install btrfs-progs"),
]


def run(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.strip()


def loop_mounted(stack, file, directory):
    """Mount a file; the stack takes it away."""
    device = run("losetup", "--find", "--show", file)
    stack.callback(run, "losetup", "--detach", device)
    directory.mkdir(exist_ok=True)
    run("mount", device, directory)
    stack.callback(run, "umount", directory)
    return device


@pytest.fixture
def base():
    """A directory on btrfs that the user postgres can enter."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="flashvault-pg-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, place)
        place.chmod(0o755)
        disk = place / "btrfs"
        with disk.open("wb") as file:
            file.truncate(8192 * MIB)
        run("mkfs.btrfs", "-q", disk)
        loop_mounted(stack, disk, place / "base")
        (place / "base").chmod(0o755)
        yield place / "base"


@pytest.fixture
def site(base):
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("PREFECT_API", "FLASHVAULT"))]:
        del os.environ[name]
    command = [sys.executable, "-m", "deployments.cli", "lab"]
    place = ["--dir", str(base / "lab")]
    subprocess.run([*command, "up", *place, "--size", "256M", "--no-prefect"], check=True)
    try:
        site = lab.load_site(base / "lab")
        os.environ.update(site.environment())
        yield site
    finally:
        subprocess.run([*command, "down", *place, "--purge"], check=True)
        os.environ.clear()
        os.environ.update(before)


class Database:
    """A PostgreSQL whose two disks are files that loop devices show."""

    def __init__(self, base):
        self.base = base
        self.data, self.wal, self.run_in = base / "data", base / "wal", base / "socket"
        self.run_in.mkdir()
        shutil.chown(self.run_in, "postgres")
        self._disks = ExitStack()
        self._bench = None

    def program(self, name, *words):
        return run("runuser", "-u", "postgres", "--", PROGRAMS[0] / name, *words)

    def sql(self, text):
        words = ["-h", self.run_in, "-p", PORT, "-XAtqc", text, "postgres"]
        return self.program("psql", *words)

    def mount(self, data, wal):
        loop_mounted(self._disks, data, self.data)
        loop_mounted(self._disks, wal, self.wal)

    def create(self, data, wal):
        for file in (data, wal):
            run("mkfs.ext4", "-q", "-F", file)
        self.mount(data, wal)
        for directory in (self.data, self.wal):
            shutil.chown(directory, "postgres")
        self.program("initdb", "-k", "-D", self.data / "pg", "-X", self.wal / "pg_wal")
        with (self.data / "pg" / "postgresql.conf").open("a") as file:
            file.write("max_wal_size = 96MB\nmin_wal_size = 32MB\ntimezone = 'UTC'\n")
            file.write(f"listen_addresses = ''\nport = {PORT}\n")
            file.write(f"unix_socket_directories = '{self.run_in}'\n")
            file.flush()
            os.fsync(file.fileno())  # only what is synced is on the disk when it is copied

    def start(self):
        log = self.run_in / "log"
        self.program("pg_ctl", "start", "-w", "-t", "120", "-D", self.data / "pg", "-l", log)
        self._disks.callback(self.stop, "immediate")

    def stop(self, mode="fast"):
        if (self.data / "pg" / "postmaster.pid").exists():
            self.program("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data / "pg")

    def begin_load(self):
        connection = ["-h", str(self.run_in), "-p", str(PORT)]
        self.program("pgbench", "-i", "-q", "-s", "3", *connection, "postgres")
        self.sql("create table noted (number int primary key, at timestamptz)")
        words = ["-n", "-c", "4", "-T", "3600", "--rate", "150", *connection, "postgres"]
        self._bench = subprocess.Popen(
            ["runuser", "-u", "postgres", "--", str(PROGRAMS[0] / "pgbench"), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def is_under_load(self):
        return self._bench is not None and self._bench.poll() is None

    def lose(self):
        """The machine dies: nothing is shut down in good order."""
        if self._bench is not None:
            self._bench.terminate()
            self._bench.wait()
            self._bench = None
        self._disks.close()


@pytest.fixture
def database(site, base):
    database = Database(base)
    yield database
    database.lose()


def look(database):
    """Start what was restored; return what is in it, after it was checked in every way."""
    database.start()
    sums = database.sql(
        "select (select sum(abalance) from pgbench_accounts),"
        " (select sum(tbalance) from pgbench_tellers),"
        " (select sum(bbalance) from pgbench_branches),"
        " (select coalesce(sum(delta), 0) from pgbench_history)"
    ).split("|")
    assert len(set(sums)) == 1, f"accounts, tellers, branches, history: {sums}"
    count, latest = database.sql(
        "select count(*), extract(epoch from max(mtime)) from pgbench_history"
    ).split("|")
    noted = database.sql("select coalesce(max(number), 0) from noted")
    words = ["-h", database.run_in, "-p", PORT, "--install-missing", "--heapallindexed"]
    database.program("pg_amcheck", *words, "--all")
    database.stop("fast")
    database.program("pg_checksums", "--check", "-D", database.data / "pg")
    return {
        "noted": int(noted),
        "balance": int(sums[0]),
        "transactions": int(count),
        "latest": datetime.fromtimestamp(float(latest), UTC),
    }


def table(rows):
    lines = [
        f"{'restore point':26}  {'kind':11}  {'transactions':>12}  {'balance':>10}"
        f"  {'latest, from FlashCopy start':>28}  restored in"
    ]
    for row in rows:
        late_s = (row["latest"] - row["taken_at"]).total_seconds()
        lines.append(
            f"{row['id']:26}  {row['kind']:11}  {row['transactions']:12,}  {row['balance']:10,}"
            f"  {late_s * 1000:+25.0f} ms  {row['rto_s']:9.1f} s"
        )
    return "\n".join(lines)


def test_a_database_under_load_comes_back_from_each_of_four_points(site, database, capsys):
    disks = [Path(site.volume(name).path) for name in ("Node1_1", "Node1_2")]
    spares = [Path(site.volume(name).path) for name in ("Node1_6", "Node1_7")]
    database.create(*disks)
    database.start()
    database.begin_load()
    points = []
    for number, mode in enumerate(["full", "incremental", "incremental", "incremental"], 1):
        time.sleep(3)
        database.sql(f"insert into noted values ({number}, clock_timestamp())")
        report = backup.fn("RG1", mode=mode, force=True).report
        assert report["kind"] == mode
        assert database.is_under_load()
        points.append({"number": number, "id": report["restore_point"]})
    database.lose()
    for disk in disks:
        disk.write_bytes(random.Random(1).randbytes(MIB) * 256)

    rows = []
    for point in random.Random(2).sample(points, len(points)):
        ending = restore.fn(
            "RG1", to=TO, point=point["id"], approved=True, force=True, importing="no"
        )
        assert ending.exit_code == 0
        database.mount(*spares)
        found = look(database)
        database.lose()
        taken_at = datetime.fromisoformat(ending.report["taken_at"])
        assert found["noted"] == point["number"], "what was committed before is there, no more"
        assert found["latest"] >= taken_at - SOON, "pgbench's last before the snapshot are there"
        rows.append({**point, **found, "taken_at": taken_at, "rto_s": ending.report["rto_s"]})
    rows.sort(key=lambda row: row["number"])
    for row in rows:
        row["kind"] = "full" if row["number"] == 1 else "incremental"
    counts = [row["transactions"] for row in rows]
    assert counts == sorted(set(counts)), "each point is later than the one before it"
    with capsys.disabled():
        sys.stdout.write(f"\n{table(rows)}\n")
