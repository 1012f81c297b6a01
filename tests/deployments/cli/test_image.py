import json
import random
import subprocess
import sys

import pytest

from blocks.units import MIB


@pytest.fixture
def run(tmp_path):
    def flashvault(*words, status=0, binary=False):
        command = [sys.executable, "-m", "deployments.cli", "image", *map(str, words)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == status, done.stderr.decode()
        if binary:
            return done.stdout
        return json.loads(done.stdout) if "--json" in words else done.stdout.decode()

    return flashvault


@pytest.fixture
def bucket(tmp_path):
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(3 * MIB) + bytes(2 * MIB) + b"text " * 99_999)
    return path


def test_a_disk_goes_into_a_bucket_and_comes_back_without_server_or_profile(
    run, bucket, disk, tmp_path
):
    first = run("put", disk, "--to", bucket, "--name", "db", "--json")
    assert first["kind"] == "full"
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    second = run("put", disk, "--to", bucket, "--name", "db", "--parent", "latest", "--json")
    assert second["kind"] == "incremental"
    assert 0 < second["changed_bytes"] <= 256 * 1024
    assert len(run("ls", "--from", bucket, "--json")) == 2
    assert "whole" in run("verify", "--deep", "--from", bucket, "--name", "db")
    target = tmp_path / "back.img"
    run("get", target, "--from", bucket, "--name", "db", "--verify", "--json")
    assert target.read_bytes() == disk.read_bytes()
    where = ["--from", bucket, "--name", "db", "--range", "1048570-1048600"]
    assert run("cat", *where, binary=True) == disk.read_bytes()[1048570:1048601]


def test_a_file_with_data_is_not_written_over(run, bucket, disk, tmp_path):
    run("put", disk, "--to", bucket, "--name", "db")
    target = tmp_path / "used.img"
    target.write_bytes(b"precious" * MIB)
    run("get", target, "--from", bucket, "--name", "db", status=4)
    assert target.read_bytes() == b"precious" * MIB


def test_damage_is_an_exit_status(run, bucket, disk, tmp_path):
    done = run("put", disk, "--to", bucket, "--name", "db", "--json")
    [stored] = (tmp_path / "bucket").rglob(done["keys"][0].rsplit("/", 1)[-1])
    body = bytearray(stored.read_bytes())
    body[len(body) // 2] ^= 1
    stored.write_bytes(bytes(body))
    report = run("verify", "--deep", "--from", bucket, "--name", "db", "--json", status=3)
    assert report["damaged"]


def test_bad_words_are_one_clear_error(run, bucket, disk):
    run("put", disk, "--to", "nowhere", "--name", "db", status=2)
    run("put", disk.with_name("gone"), "--to", bucket, "--name", "db", status=1)
    run("cat", "--from", bucket, "--name", "db", status=1)


def test_an_incremental_becomes_a_full_inside_the_bucket(run, bucket, disk, tmp_path):
    run("put", disk, "--to", bucket, "--name", "db", "--json")
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    second = run("put", disk, "--to", bucket, "--name", "db", "--parent", "latest", "--json")
    made = run("compact", "--from", bucket, "--name", "db", "--json")
    assert made["kind"] == "full"
    assert made["of"] == second["restore_point"]
    assert made["moved_bytes"] > 0
    assert [row["kind"] for row in run("ls", "--from", bucket, "--json")] == [
        "full",
        "incremental",
        "full",
    ]
    target = tmp_path / "back.img"
    run("get", target, "--from", bucket, "--name", "db", "--json")
    assert target.read_bytes() == disk.read_bytes()
