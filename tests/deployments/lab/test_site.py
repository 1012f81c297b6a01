"""A lab as users have it: started by the command, asked by OpenSSH, gone after `down`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from blocks.errors import ConfigError
from deployments.lab import site as sites
from deployments.lab.processes import start_ticks

GROUP = "sample_consistency_group"


def flashvault(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments.cli", "lab", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def processes_of(directory: Path) -> list[str]:
    """Find every process that has the lab's directory in its command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(entry / "cwd")
        except OSError:
            continue
        if str(directory) in line or place.startswith(str(directory)):
            found.append(line)
    return found


# Without processes ------------------------------------------------------------------------------


def test_down_where_no_lab_is_makes_nothing(tmp_path) -> None:
    assert sites.down(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
    assert sites.down(tmp_path, purge=True) == []
    assert list(tmp_path.iterdir()) == []


def test_the_lab_an_environment_speaks_of_is_meant(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FLASHVAULT_LAB", str(tmp_path / "mine"))
    assert sites.default_directory() == tmp_path / "mine"
    monkeypatch.delenv("FLASHVAULT_LAB")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert sites.default_directory() == tmp_path / "flashvault" / "lab"


def test_another_programs_directory_is_left_alone(tmp_path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="not empty"):
        sites.up(tmp_path, with_prefect=False, register_profiles=False)
    sites.down(tmp_path, purge=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("size", [0, -1, 1000, 1024 * 1024 + 1])
def test_a_volume_is_whole_mebibytes(tmp_path, size) -> None:
    with pytest.raises(ConfigError, match="MiB"):
        sites.up(tmp_path / "lab", size_bytes=size, with_prefect=False, register_profiles=False)
    assert not (tmp_path / "lab").exists()


# With processes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lab") / "lab"
    words = ["--no-prefect", "--empty", "--size", "16M", "--json"]
    done = flashvault("up", "--dir", str(directory), *words)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
    flashvault("down", "--dir", str(directory), "--purge")


def ssh(machine: dict[str, object], line: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    words = ["-i", machine["key_file"], "-p", str(machine["port"]), "-F", "/dev/null"]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "LogLevel=ERROR"):
        words += ["-o", option]
    known = Path(machine["key_file"]).with_name("known_hosts")
    known.write_text(f"[127.0.0.1]:{machine['port']} {machine['host_key']}\n")
    words += ["-o", f"UserKnownHostsFile={known}"]
    address = f"{machine['user']}@{machine['address']}"
    command = ["ssh", *words, address, line]
    return subprocess.run(command, capture_output=True, input=stdin, timeout=60, check=False)


needs_openssh = pytest.mark.skipif(not shutil.which("ssh"), reason="needs OpenSSH's client")


@pytest.mark.server
def test_up_prints_where_everything_is(lab) -> None:
    arrays = {row["name"]: row for row in lab["storage_systems"]}
    wanted = {"name", "address", "port", "user", "key_file", "password", "host_key"}
    assert wanted <= arrays["storage1"].keys()
    assert {row["name"]: row["os"] for row in lab["nodes"]} == {"node1": "aix", "node2": "aix"}
    assert {"endpoint", "access_key", "secret_key", "region", "bucket"} <= lab["s3"].keys()
    for volume in lab["volumes"]:
        assert Path(volume["path"]).stat().st_size == volume["bytes"] == 16 << 20
    assert len({volume["uid"] for volume in lab["volumes"]}) == len(lab["volumes"]) == 8


@pytest.mark.server
@needs_openssh
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("lsfcmap -delim :", 0, "id:name:source_vdisk_id:source_vdisk_name:"),
        ("lshostvdiskmap | grep -w node1", 0, "node1"),
        ("svctask mkfcmap -source Node1_1 -target Node1_6 -copyrate 100", 0, "FlashCopy Mapping"),
        ("svctask rmfcmap fcmap2", 0, ""),
        ("svcinfo lsvdisk -delim ! -nohdr -bytes", 0, "!16777216!"),
        ("lsvdisk -delim=, -filtervalue name=Node1_1", 0, ",Node1_1,"),
        ('lsvdisk -delim "|" Node1_1', 0, "vdisk_UID|60050764008101D3F8"),
        ("lsvdisk nowhere || echo tag-1 $?", 0, "tag-1 1"),
        ("lssystem -delim : && echo tag-2 $?", 0, "tag-2 0"),
        ("lsvdisk -nosuch", 1, ""),
        ("bash -c id", 127, ""),
        ("lsvdisk -delim : | wc -l", 0, "7"),
    ],
)
def test_openssh_asks_an_array(lab, line, status, said) -> None:
    done = ssh(lab["storage_systems"][0], line)
    assert done.returncode == status, done.stderr
    assert said in done.stdout.decode()
    if status == 1:
        assert done.stderr.startswith(b"CMMVC5709E ")


@pytest.mark.server
@needs_openssh
def test_openssh_reads_and_writes_a_nodes_disk(lab) -> None:
    node = lab["nodes"][0]
    data = os.urandom(5 << 20)
    done = ssh(node, "dd of=/dev/rhdisk23 ibs=65536 obs=1048576 seek=1 conv=notrunc", data)
    assert (done.returncode, done.stderr) == (0, b"80+0 records in.\n5+0 records out.\n")
    done = ssh(node, "dd if=/dev/rhdisk23 bs=1m skip=1 count=5")
    assert (done.returncode, done.stdout) == (0, data)
    assert b"hdisk23" in ssh(node, "lspv -u | grep -w hdisk23").stdout
    assert ssh(node, "dd if=/dev/rhdisk99 bs=1m").returncode == 2


@pytest.mark.server
def test_a_broken_store_answers_what_was_asked_for_and_is_mended(lab) -> None:
    place = ("--dir", lab["directory"])
    settings = lab["s3"]
    client = boto3.client(
        "s3",
        endpoint_url=settings["endpoint"],
        aws_access_key_id=settings["access_key"],
        aws_secret_access_key=settings["secret_key"],
        region_name=settings["region"],
    )
    assert flashvault("fault", "s3", "throttle", "--count", "1", *place).returncode == 0
    time.sleep(0.3)
    client.put_object(Bucket=settings["bucket"], Key="a", Body=b"retried")
    assert client.get_object(Bucket=settings["bucket"], Key="a")["Body"].read() == b"retried"
    listed = json.loads(flashvault("fault", "list", "--json", *place).stdout)
    assert listed == {"ok": True, "faults": []}


@pytest.mark.server
@needs_openssh
def test_an_array_without_power_answers_nobody_and_comes_back(lab) -> None:
    place = ("--dir", lab["directory"])
    array = lab["storage_systems"][1]
    assert flashvault("fault", "array", "storage2", "kill", *place).returncode == 0
    assert ssh(array, "lssystem").returncode == 255
    assert flashvault("fault", "array", "storage2", "start", *place).returncode == 0
    assert ssh(array, "lssystem").returncode == 0


@pytest.mark.server
@needs_openssh
def test_a_second_up_finds_what_the_first_left(lab) -> None:
    directory = Path(lab["directory"])
    Path(lab["volumes"][0]["path"]).write_bytes(b"kept".ljust(16 << 20, b"."))
    ssh(lab["storage_systems"][0], f"startfcconsistgrp -prep {GROUP}")
    ssh(lab["nodes"][0], "chdev -l hdisk24 -a queue_depth=7")
    assert "up already" in flashvault("up", "--dir", str(directory)).stderr
    flashvault("down", "--dir", str(directory))
    assert processes_of(directory) == []
    done = flashvault("up", "--dir", str(directory), "--no-prefect", "--empty", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert [row["port"] for row in again["nodes"]] == [row["port"] for row in lab["nodes"]]
    target = next(row for row in again["volumes"] if row["name"] == "Node1_4")
    assert Path(target["path"]).read_bytes().startswith(b"kept....")
    asked = ssh(again["nodes"][0], "lsattr -El hdisk24 -a queue_depth -F value")
    assert asked.stdout == b"7\n"


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_running_after_ctrl_c(tmp_path, number) -> None:
    directory = tmp_path / "lab"
    words = ["up", "--dir", str(directory), "--no-prefect", "--empty", "--size", "1M"]
    command = [sys.executable, "-m", "deployments.cli", "lab", *words, "--foreground"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 90
        while not (directory / "site.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        pids = json.loads((directory / "site.json").read_text())["processes"].values()
        assert all(start_ticks(pid) is not None for pid in pids)
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert processes_of(directory) == []
    assert [start_ticks(pid) for pid in pids] == [None] * len(pids)
    assert not (directory / "site.json").exists()


@pytest.mark.server
def test_an_up_that_is_interrupted_leaves_nothing_running(tmp_path) -> None:
    directory = tmp_path / "lab"
    words = ["up", "--dir", str(directory), "--no-prefect", "--empty", "--size", "1M"]
    command = [sys.executable, "-m", "deployments.cli", "lab", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (directory / "run" / "processes.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert processes_of(directory) == []
