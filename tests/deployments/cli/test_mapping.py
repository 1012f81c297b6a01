"""`flashvault map` against the lab's arrays and nodes, over SSH."""

import json
import os
import subprocess
import sys

import pytest

from blocks.errors import ConfigError
from deployments.cli.mapping import parse_targets
from deployments.lab import site as sites


def test_targets_are_read_or_refused_by_name():
    assert parse_targets(["hdisk18=Node1_4"]) == {"hdisk18": "Node1_4"}
    for words in (["hdisk18"], ["=x"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(ConfigError):
            parse_targets(words)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lab") / "lab"
    lab = [sys.executable, "-m", "deployments.cli", "lab"]
    subprocess.run(
        [*lab, "up", "--dir", directory, "--size", "4M", "--no-prefect", "--no-worker"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    yield sites.load_site(directory)
    subprocess.run([*lab, "down", "--dir", directory, "--purge"], check=True, capture_output=True)


def flashvault(site, *words):
    command = [sys.executable, "-m", "deployments.cli", *words]
    environment = {**os.environ, **site.environment(), "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def array(site, line):
    system = site.storage_systems[0]
    words = ["ssh", "-q", "-i", system.key_file, "-p", str(system.port)]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    done = subprocess.run(
        [*words, f"{system.user}@{system.address}", line], capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.server
def test_map_finds_shows_refuses_to_guess_and_maps(site):
    status, said, _ = flashvault(site, "map", "RG1", "--json")
    document = json.loads(said)
    assert status == 0
    assert document["commands"] == []
    assert all(pair["is_mapped"] for pair in document["pairs"])

    for mapping in (0, 1):
        array(site, f"rmfcmap {mapping}")
    array(site, "rmfcconsistgrp sample_consistency_group")
    status, said, _ = flashvault(site, "map", "RG1")
    assert status == 0
    assert "$ mkfcconsistgrp -name sample_consistency_group" in said
    assert "a guess among" in said
    assert array(site, "lsfcmap -nohdr -delim :") == ""

    status, _, complaint = flashvault(site, "map", "RG1", "--yes")
    assert status == 4
    assert "--target hdisk18=" in complaint
    assert array(site, "lsfcmap -nohdr -delim :") == ""

    targets = ["--target", "hdisk18=Node1_4", "--target", "hdisk19=Node1_5"]
    status, said, complaint = flashvault(site, "map", "RG1", "--yes", "--json", *targets)
    assert status == 0, complaint
    assert json.loads(said)["is_done"]
    rows = array(site, "lsfcmap -nohdr -delim :").splitlines()
    pairs = [(row.split(":")[3], row.split(":")[5], row.split(":")[7]) for row in rows]
    assert pairs == [
        ("Node1_1", "Node1_4", "sample_consistency_group"),
        ("Node1_2", "Node1_5", "sample_consistency_group"),
    ]


@pytest.mark.server
def test_map_makes_a_global_mirror_group_where_only_one_choice_is_possible(site):
    status, said, complaint = flashvault(site, "map", "RG1", "--remote", "--json")
    assert status == 0, complaint
    document = json.loads(said)
    assert [pair["target"] for pair in document["pairs"]] == ["Node2_1", "Node2_2"]
    assert all(pair["is_certain"] for pair in document["pairs"])
    assert document["commands"][0].startswith("mkrcconsistgrp -name sample_remote_cg -cluster ")

    status, said, complaint = flashvault(site, "map", "RG1", "--remote", "--yes")
    assert status == 0, complaint
    assert "inconsistent_stopped" in array(site, "lsrcconsistgrp -delim : sample_remote_cg")
    status, said, _ = flashvault(site, "map", "RG1", "--remote", "--json")
    assert json.loads(said)["commands"] == []
