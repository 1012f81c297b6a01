"""`make bench`: Flashvault beside what a user would pick instead, alternating, in one run.

Everyone gets the same image, the same machine and the same S3 server (SeaweedFS on loopback), and
takes turns. A restore is done when the bytes are on the disk: everyone flushes, Flashvault of
itself. The median of the rounds counts. The last line is one JSON document.

    ROUNDS=3 SIZE_MIB=4096 FOLDER=.bench python tests/bench/run.py

The whole Prefect flow runs in the lab, beside the plumbing command on the same volume into the same
bucket. As root the lab's disks lie on btrfs, where the simulated array copies in no time, like a
real one; elsewhere the flow's time includes that copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import image

from deployments.lab import s3
from deployments.lab.keys import Keys
from deployments.lab.processes import Register

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SIZE_MIB = int(os.environ.get("SIZE_MIB", "4096"))
FOLDER = Path(os.environ.get("FOLDER", ".bench")).absolute()
BIN = Path(sys.executable).parent
BUCKET = "bench"
PASSWORD = "bench"

Times = dict[str, dict[str, list[float]]]


class Bench:
    """The machine, the server, and who takes part."""

    def __init__(self, endpoint: str, secret_key: str) -> None:
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": s3.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_DEFAULT_REGION": s3.REGION,
            "AWS_REGION": s3.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RESTIC_PASSWORD": PASSWORD,
            "DO_NOT_TRACK": "1",
        }
        self.endpoint = endpoint
        self.times: Times = defaultdict(lambda: defaultdict(list))
        self.facts: dict[str, dict[str, float]] = defaultdict(dict)
        self.peak_rss_kib = 0
        self.has_aws = shutil.which("aws") is not None
        self.has_restic = shutil.which("restic") is not None

    def time(self, stage: str, who: str, work: Callable[[], None]) -> None:
        """Run one turn; what earlier turns left to be written is written first."""
        os.sync()
        for source in FOLDER.glob("day*.img"):  # whoever comes first reads no colder than the next
            subprocess.run(["cat", str(source)], check=True, stdout=subprocess.DEVNULL)
        began = time.perf_counter()
        work()
        taken = time.perf_counter() - began
        self.times[stage][who].append(taken)
        print(f"  {stage:12} {who:12} {taken:7.2f} s", flush=True)

    def shell(self, line: str) -> None:
        """Run a pipeline as a person types it; any part that fails fails it."""
        command = ["bash", "-o", "pipefail", "-c", line]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def flashvault(self, words: Sequence[str]) -> dict[str, float]:
        """Run the command line, and watch its memory."""
        process = subprocess.Popen(
            [str(BIN / "flashvault"), *words], env=self.environment, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode:
            raise SystemExit(f"flashvault {' '.join(words)} ended with {process.returncode}")
        self.peak_rss_kib = max(self.peak_rss_kib, usage.ru_maxrss)
        return json.loads(answer) if answer.strip().startswith(b"{") else {}

    def bucket_bytes(self, prefix: str) -> int:
        """Ask how much is stored under a prefix."""
        from blocks.store.clients import open_store, parse_bucket_url

        os.environ.update(self.environment)
        store = open_store(parse_bucket_url(f"s3://{BUCKET}"))
        return sum(info.size_bytes for info in store.list(prefix))


def one_round(bench: Bench, number: int) -> None:  # noqa: C901 - a list of turns
    """Let everyone make a full, an incremental, one of nothing, and a restore."""
    print(f"round {number + 1} of {ROUNDS}")
    day1, day2, back = FOLDER / "day1.img", FOLDER / "day2.img", FOLDER / "back.img"
    name, to = f"r{number}", f"s3://{BUCKET}/fv"

    def put(source: Path, *more: str) -> None:
        words = ["image", "put", str(source), "--to", to, "--name", name, "--json", *more]
        stage = "incremental" if source == day2 else "unchanged" if more else "full"
        bench.facts[stage] = bench.flashvault(words)

    def get() -> None:
        where = ["--from", to, "--name", name, "--json"]
        bench.flashvault(["image", "get", str(back), *where])

    def fresh() -> None:
        back.unlink(missing_ok=True)

    bench.time("full", "flashvault", lambda: put(day1))
    if bench.has_aws:
        line = f"zstd -1 -T2 -c {day1} | aws s3 cp --only-show-errors - s3://{BUCKET}/p{number}.zst"
        bench.time("full", "pipe", lambda: bench.shell(line))
    repository = f"s3:{bench.endpoint}/{BUCKET}/restic{number}"
    if bench.has_restic:
        bench.shell(f"restic -r {repository} init")
        backup = f"restic -r {repository} backup --stdin --stdin-filename disk < "
        bench.time("full", "restic", lambda: bench.shell(f"{backup}{day1}"))
        before = bench.bucket_bytes(f"restic{number}/")
    bench.time("unchanged", "flashvault", lambda: put(day1, "--parent", "latest"))
    if bench.has_restic:
        bench.time("unchanged", "restic", lambda: bench.shell(f"{backup}{day1}"))
        before = bench.bucket_bytes(f"restic{number}/")
    bench.time("incremental", "flashvault", lambda: put(day2, "--parent", "latest"))
    if bench.has_restic:
        bench.time("incremental", "restic", lambda: bench.shell(f"{backup}{day2}"))
        after = bench.bucket_bytes(f"restic{number}/")
        bench.facts["restic"] = {"bytes_added": after - before}
    fresh()
    bench.time("restore", "flashvault", get)
    compare(day2, back)
    if bench.has_aws:
        fresh()
        line = (
            f"aws s3 cp --only-show-errors s3://{BUCKET}/p{number}.zst - | zstd -dc "
            f"| dd of={back} bs=1M conv=fsync status=none"
        )
        bench.time("restore", "pipe", lambda: bench.shell(line))
        compare(day1, back)
    if bench.has_restic:
        fresh()
        dump = f"restic -r {repository} dump latest disk > {back} && sync {back}"
        bench.time("restore", "restic", lambda: bench.shell(dump))
    if bench.has_aws:
        ibm(bench, number, day1, back, fresh)
    bench.shell(
        f"aws s3 rm --only-show-errors --recursive s3://{BUCKET}/" if bench.has_aws else "true"
    )


def ibm(bench: Bench, number: int, day1: Path, back: Path, fresh: Callable[[], None]) -> None:
    """IBM's own procedure: dd to a file, upload it raw; download it, dd it back."""
    staged, key = FOLDER / "staged.img", f"s3://{BUCKET}/raw{number}.img"
    bench.time(
        "full",
        "ibm",
        lambda: bench.shell(
            f"dd if={day1} of={staged} bs=1M status=none && "
            f"aws s3 cp --only-show-errors {staged} {key} && rm {staged}"
        ),
    )
    fresh()
    bench.time(
        "restore",
        "ibm",
        lambda: bench.shell(
            f"aws s3 cp --only-show-errors {key} {staged} && "
            f"dd if={staged} of={back} bs=1024 conv=fsync status=none && rm {staged}"
        ),
    )


def whole_flow(bench: Bench) -> None:
    """The whole Prefect flow: lab with array, nodes and server; one volume is the image."""
    with fast_copies(FOLDER / "lab") as directory:
        lab = [str(BIN / "flashvault"), "lab"]
        up = [*lab, "up", "--dir", str(directory), "--size", f"{SIZE_MIB}M", "--no-worker"]
        started = subprocess.run(
            [*up, "--json"], env=bench.environment, check=True, stdout=subprocess.PIPE
        )
        site = json.loads(started.stdout)
        try:
            in_lab(bench, lab, directory, site)
        finally:
            subprocess.run([*lab, "down", "--dir", str(directory)], check=True)


def in_lab(bench: Bench, lab: list[str], directory: Path, site: dict[str, Any]) -> None:
    """Take turns with the plumbing: what is between the two is orchestration."""
    [source] = [row["path"] for row in site["volumes"] if row["name"] == "Node1_1"]
    bench.shell(f"dd if={FOLDER / 'day1.img'} of={source} bs=4M conv=notrunc,fsync status=none")
    exports = subprocess.run(
        [*lab, "env", "--dir", str(directory)], check=True, capture_output=True, text=True
    ).stdout
    group, bucket = site["groups"][0]["resource_group"], site["s3"]["bucket"]
    for number in range(ROUNDS):
        put = f"{BIN}/flashvault image put {source} --to s3://{bucket}/plumbing --name r{number}"
        backup = f"{BIN}/flashvault backup {group} --full --force"
        for who, line in (("plumbing", put), ("prefect", backup)):
            script = f"{exports}\n{line} --json"
            bench.time("full", who, lambda script=script: bench.shell(script))


@contextlib.contextmanager
def fast_copies(directory: Path) -> Iterator[Path]:
    """Yield a directory for the lab: on a file system that shares blocks, where that can be had."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    disk = directory.with_suffix(".btrfs")
    if os.geteuid() or not shutil.which("mkfs.btrfs"):
        print("no btrfs here: the simulated array copies byte for byte, in the flow's time")
        yield directory
        shutil.rmtree(directory, ignore_errors=True)
        return
    with disk.open("wb") as file:
        file.truncate(6 * SIZE_MIB * image.MIB)
    try:
        subprocess.run(["mkfs.btrfs", "-q", "-f", str(disk)], check=True, stdout=subprocess.DEVNULL)
        mount = ["mount", "-o", "loop,nodatasum", str(disk), str(directory)]
        subprocess.run(mount, check=True)
        try:
            yield directory / "lab"
        finally:
            subprocess.run(["umount", str(directory)], check=True)
    finally:
        disk.unlink()


def compare(one: Path, other: Path) -> None:
    """Insist that what came back is what went in."""
    if subprocess.run(["cmp", str(one), str(other)], check=False).returncode:
        raise SystemExit(f"{other} is not {one}")


def report(bench: Bench) -> dict[str, dict[str, float] | float]:
    """Print the table, and return the line."""
    medians = {
        stage: {who: statistics.median(runs) for who, runs in parts.items()}
        for stage, parts in bench.times.items()
    }
    everyone = ("flashvault", "plumbing", "prefect", "pipe", "restic", "ibm")
    print(f"\nmedian of {ROUNDS}, {SIZE_MIB} MiB, {os.cpu_count()} cores, seconds")
    print("".join(f"{cell:>13}" for cell in ("", *everyone)))
    for stage, parts in medians.items():
        cells = [f"{parts[who]:.2f}" if who in parts else "" for who in everyone]
        print("".join(f"{cell:>13}" for cell in (stage, *cells)))
    line: dict[str, dict[str, float] | float] = {
        stage: {f"{who}_s": round(seconds, 3) for who, seconds in parts.items()}
        for stage, parts in medians.items()
    }
    for stage, name in (("full", "stored_bytes"), ("incremental", "bytes_added")):
        found = line[stage]
        assert isinstance(found, dict)
        found[name] = bench.facts[stage]["stored_bytes"]
    if "restic" in bench.facts:
        found = line["incremental"]
        assert isinstance(found, dict)
        found["restic_bytes_added"] = bench.facts["restic"]["bytes_added"]
    line["peak_rss_mib"] = round(bench.peak_rss_kib / 1024, 1)
    return line


def main() -> None:
    """Build the images, start the server, take turns."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    image.build(FOLDER / "day1.img", SIZE_MIB * image.MIB)
    image.next_day(FOLDER / "day1.img", FOLDER / "day2.img")
    place = FOLDER / "server"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    register = Register(place)
    keys = Keys(place / "keys")
    server = s3.start(place, keys, register, BUCKET, with_door=False)
    s3.wait(server, BUCKET, place)
    bench = Bench(server.endpoint, server.secret_key)
    for peer, is_there in (("aws", bench.has_aws), ("restic", bench.has_restic)):
        if not is_there:
            print(f"{peer} is not installed: left out (apt install awscli restic)")
    try:
        for number in range(ROUNDS):
            one_round(bench, number)
    finally:
        register.stop()
        shutil.rmtree(place, ignore_errors=True)
        for name in ("back.img", "staged.img"):
            (FOLDER / name).unlink(missing_ok=True)
    if os.environ.get("FLOW", "1") != "0":
        whole_flow(bench)
    line = report(bench)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
