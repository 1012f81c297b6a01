"""A machine with the package and the bucket's credentials, and nothing else."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.backup import backup

pytestmark = pytest.mark.server

BUCKET = "s3://pha-bucket"
KEPT = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


@pytest.fixture(scope="module")
def lost(lab_site):
    """A group as it was when it was backed up: its restore point, and its disks' bytes."""
    from random import Random

    disks = {}
    for disk, name in (("hdisk18", "Node1_1"), ("hdisk19", "Node1_2")):
        path = Path(lab_site.volume(name).path)
        half = path.stat().st_size // 2
        with path.open("r+b") as file:
            file.write(Random(name).randbytes(half))
        disks[disk] = path.read_bytes()
    ending = backup.fn("RG1", mode="full", force=True)
    return ending.report["restore_point"], disks


@pytest.fixture
def bare(lost, tmp_path):
    """Run the installed command with an empty home and only the bucket's variables set."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: os.environ[name] for name in KEPT}
    environment |= {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = Path(sys.executable).with_name("flashvault")

    def run(*words, status=0, meanwhile=None, **changed):
        process = subprocess.Popen(
            [command, *words],
            env=environment | changed,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if meanwhile:
                meanwhile(process)
        finally:
            if meanwhile:
                process.terminate()
            out, err = process.communicate(timeout=120)
        assert process.returncode == status, err
        return json.loads(out)

    return run


def test_what_can_be_restored_is_listed(bare, lost):
    points = bare("query", "restore_points", "--bucket", BUCKET, "--json")
    assert lost[0] in [row["ID"] for row in points]


@pytest.mark.parametrize(
    ("bucket", "changed", "error"),
    [
        (BUCKET, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "AccessDenied"),
        ("s3://no-such-bucket", {}, "BucketMissing"),
        (f"{BUCKET}/wrong/prefix", {}, "PointMissing"),
        (BUCKET, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "StoreUnavailable"),
    ],
)
def test_what_is_wrong_with_the_bucket_is_said(bare, bucket, changed, error):
    said = bare("query", "restore_points", "--bucket", bucket, "--json", status=1, **changed)
    assert said["error"]["type"] == error
    assert said["error"]["hint"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_loop_device_takes_a_volume(bare, lost, tmp_path):
    point, disks = lost
    file = tmp_path / "device"
    file.write_bytes(bytes(len(disks["hdisk18"])))
    make = ["losetup", "-f", "--show", file]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices here: {made.stderr}")
    device = made.stdout.strip()
    try:
        words = ["restore", "--bucket", BUCKET, "--point", point, "--to", f"hdisk18={device}"]
        said = bare(*words, "--yes", "--verify", "--json")
        assert said["volumes"][0]["proven"] is True
        assert Path(device).read_bytes() == disks["hdisk18"]
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_a_group_is_restored_from_the_bucket_alone(bare, lost, tmp_path):
    point, disks = lost
    paths = {disk: tmp_path / f"{disk}.raw" for disk in disks}
    targets = [word for disk, path in paths.items() for word in ("--to", f"{disk}={path}")]
    words = ["restore", "RG1", "--bucket", BUCKET, "--point", point, *targets]
    said = bare(*words, "--yes", "--json")
    assert said["restore_point"] == point
    assert [row["proven"] for row in said["volumes"]] == [True, True]
    assert {disk: path.read_bytes() for disk, path in paths.items()} == disks


def test_a_directory_takes_all_volumes_and_refuses_to_be_written_over(bare, lost, tmp_path):
    directory = tmp_path / "disks"
    directory.mkdir()
    words = ["restore", "RG1", "--bucket", BUCKET, "--to", str(directory), "--yes", "--json"]
    bare(*words, "--point", lost[0])
    found = {path.name.removesuffix(".img"): path.read_bytes() for path in directory.iterdir()}
    assert found == lost[1]
    assert bare(*words, "--point", lost[0], status=4)["error"]["type"] == "TargetNotEmpty"


def test_one_file_for_two_volumes_is_refused(bare, lost, tmp_path):
    said = bare(
        *("restore", "RG1", "--bucket", BUCKET, "--point", lost[0]),
        *("--to", str(tmp_path / "one.img"), "--yes", "--json"),
        status=2,
    )
    assert "hdisk18, hdisk19" in said["error"]["hint"]
    assert not (tmp_path / "one.img").exists()


@pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="needs /dev/fuse")
def test_a_point_is_looked_into_from_the_bucket_alone(bare, lost, tmp_path):
    point, disks = lost
    directory = tmp_path / "point"
    directory.mkdir()
    took = []

    def look(process):
        while not os.path.ismount(directory):
            assert process.poll() is None
            time.sleep(0.05)
        began = time.monotonic()
        with (directory / "hdisk19.img").open("rb") as file:
            file.seek(5_000_000)
            assert file.read(1) == disks["hdisk19"][5_000_000:5_000_001]
        took.append(time.monotonic() - began)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
            f"{disk}.img": data for disk, data in disks.items()
        }

    words = ["mount", "RG1", str(directory), "--point", point, "--bucket", BUCKET, "--json"]
    said = bare(*words, meanwhile=look)
    assert took[0] < 1, "the first byte"
    stored = sum(len(data) for data in disks.values()) / 2
    assert said["fetched_bytes"] < 1.2 * stored, "each frame once; zeros cost nothing"
