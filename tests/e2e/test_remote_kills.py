"""kill -9 of failover, failback, switch and poll in a lab: given again, each goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from deployments.lab import control
from deployments.lab import site as lab
from tasks.open import array, configuration, host_and_runner

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

GROUP = "sample_remote_cg"
PAIRS = [("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")]

# The command line, with an end: SIGKILL before or after the first command over SSH with this word
# in it, or with `notify` after the notify method has run.
MORTAL = """
import os, signal, sys
from blocks import ssh
from tasks import move_report, replication
when, word, *sys.argv[1:] = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

run = ssh.SshRunner.run

def mortal(self, command, **how):
    line = command if isinstance(command, str) else " ".join(command)
    if word in line and when == "before":
        die()
    done = run(self, command, **how)
    if word in line:
        die()
    return done

def told(*words, **facts):
    from tasks.notify import notify
    notify(*words, **facts)
    die()

ssh.SshRunner.run = mortal
if word == "notify":
    move_report.notify = replication.notify = told
from deployments.cli.__main__ import main
main()
"""


class Bench:
    """A lab in sync, and short words."""

    def __init__(self, site: lab.Site, told: Path) -> None:
        self.site, self.told = site, told

    def flashvault(self, *words: str, status: int = 0) -> dict:
        command = [sys.executable, "-m", "deployments.cli", *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def killed(self, when: str, word: str, *words: str) -> None:
        """Run the command line until it is killed there."""
        done = subprocess.run(
            [sys.executable, "-c", MORTAL, when, word, *words, "--json"],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, (done.returncode, done.stdout, done.stderr)

    def halves(self) -> dict[str, tuple[str, str]]:
        """Return state and primary of the group on each array that is there."""
        found = {}
        for name in ("storage1", "storage2"):
            try:
                with array(configuration(), name) as client:
                    group = client.lsrcconsistgrp(GROUP)
            except Exception:  # noqa: BLE001 - it is meant to be away
                continue
            found[name] = (str(group.state), str(group.primary))
        return found

    def node(self, name: str, *words: str) -> None:
        _, runner = host_and_runner(configuration(), name)
        done = runner.run(list(words))
        runner.close()
        assert done.status == 0, (words, done)

    def offline(self) -> None:
        clmgr = "/usr/es/sbin/cluster/utilities/clmgr"
        self.node("node1", clmgr, "offline", "resource_group", "RG1")

    def write(self, volume: str, data: bytes) -> None:
        with Path(self.site.volume(volume).path).open("r+b") as file:
            file.write(data)

    def array(self, *, up: bool) -> None:
        control.ask(Path(self.site.directory), "array", name="storage1", up=up)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    directory = tmp_path_factory.mktemp("remote-kills")
    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["FLASHVAULT_STATE"] = str(directory / "state")
    script = directory / "notify"
    script.write_text(f'#!/bin/sh\necho "$1" "$CBM_NOTICE_ID" >> {directory}/told\n')
    script.chmod(0o700)
    words = [sys.executable, "-m", "deployments.cli", "lab"]
    place = ["--dir", str(directory / "lab")]
    subprocess.run([*words, "up", *place, "--size", "16M", "--no-prefect"], check=True)
    try:
        site = lab.load_site(directory / "lab")
        os.environ.update(site.environment())
        made = Bench(site, directory / "told")
        profile = ("BACKUP_METHOD=remote_storage", "ENABLE_BACKUP=yes", f"NOTIFY_METHOD={script}")
        made.flashvault("modify", "backup_profile", "RG1", *profile)
        with array(configuration(), "storage1") as client:
            client.mkrcconsistgrp(name=GROUP, cluster="storage2")
            for master, aux in PAIRS:
                client.mkrcrelationship(
                    master=master, aux=aux, cluster="storage2", consistgrp=GROUP
                )
        control.ask(directory / "lab", "speed", name="storage1", factor=8)
        deadline = time.monotonic() + 60
        while made.flashvault("sync", "RG1", "--wait", "20s")["condition"] != "in sync":
            assert time.monotonic() < deadline
        yield made
    finally:
        subprocess.run([*words, "down", *place, "--purge"], check=True)
        os.environ.clear()
        os.environ.update(before)


def test_every_move_goes_on_after_kill_9(bench) -> None:
    a_poll_loses_no_alarm(bench)
    a_switch(bench)
    a_failover(bench)
    a_failback(bench)


def a_poll_loses_no_alarm(bench) -> None:
    bench.told.unlink(missing_ok=True)
    control.ask(Path(bench.site.directory), "link", up=False)
    bench.killed("before", "lsrcconsistgrp", "sync", "RG1")
    bench.killed("after", "notify", "sync", "RG1")
    control.ask(Path(bench.site.directory), "link", up=True)
    # It is well again, and the alarm that may have been lost is told before its end.
    assert bench.flashvault("sync", "RG1")["told"] == ["degraded", "recovered"]
    assert bench.flashvault("sync", "RG1")["told"] == []
    told = [line.split() for line in bench.told.read_text().splitlines()]
    assert [event for event, _ in told] == [
        "remote_degraded",
        "remote_degraded",
        "remote_recovered",
    ]
    assert told[0][1] == told[1][1] != told[2][1], "a receiver can tell the second for the first"


def a_switch(bench) -> None:
    bench.offline()
    for when in ("before", "after"):
        bench.killed(when, "switchrcconsistgrp", "switch", "RG1", "--yes")
    bench.killed("before", "importvg", "switch", "RG1", "--yes")
    assert {primary for _, primary in bench.halves().values()} == {"aux"}
    planned = bench.flashvault("switch", "RG1", "--dry-run")
    assert (planned["to"], planned["order"]) == ("storage2", "")
    assert "interrupted has swapped the roles already" in " ".join(planned["notes"])
    bench.killed("after", "importvg", "switch", "RG1", "--yes")
    done = bench.flashvault("switch", "RG1", "--yes")
    assert (done["to"], done["order"], done["faults"]) == ("storage2", "", [])
    bench.node("node2", "/usr/sbin/varyoffvg", "VG1")
    bench.write("Node2_1", b"written at the second site")
    home = bench.flashvault("switch", "RG1", "--yes")
    assert (home["to"], home["faults"]) == ("storage1", [])
    assert (
        Path(bench.site.volume("Node1_1").path).read_bytes()[:26] == b"written at the second site"
    )


def a_failover(bench) -> None:
    bench.array(up=False)
    planned = bench.flashvault("failover", "RG1", "--dry-run")
    bench.killed("before", "stoprcconsistgrp", "failover", "RG1", "--yes")
    assert bench.halves()["storage2"][0] == "consistent_disconnected"
    bench.killed("after", "stoprcconsistgrp", "failover", "RG1", "--yes")
    assert bench.halves()["storage2"][0] == "idling_disconnected"
    bench.killed("after", "notify", "failover", "RG1", "--yes")
    bench.flashvault("sync", "RG1", status=3)
    done = bench.flashvault("failover", "RG1", "--yes")
    assert (done["order"], done["to"], done["faults"]) == ("", "storage2", [])
    # Since the access was enabled the array tells the minute in which it stopped following: at the
    # turn of a minute that is later than what was known before, and surer.
    told = [datetime.fromisoformat(each["recovery_point"]) for each in (planned, done)]
    later_s = (told[1] - told[0]).total_seconds()
    assert 0 <= later_s < 60
    assert done["loss_s"] + later_s >= planned["loss_s"]
    bench.write("Node2_2", b"written away")


def a_failback(bench) -> None:
    bench.array(up=True)
    for when in ("before", "after"):
        bench.killed(when, "startrcconsistgrp", "failback", "RG1", "--yes")
    assert {primary for _, primary in bench.halves().values()} == {"aux"}
    bench.node("node2", "/usr/sbin/varyoffvg", "VG1")
    for when in ("before", "after"):
        bench.killed(when, "switchrcconsistgrp", "failback", "RG1", "--yes")
    done = bench.flashvault("failback", "RG1", "--yes")
    assert (done["to"], done["order"], done["faults"]) == ("storage1", "", [])
    assert bench.halves() == dict.fromkeys(
        ("storage1", "storage2"), ("consistent_synchronized", "master")
    )
    assert Path(bench.site.volume("Node1_2").path).read_bytes()[:12] == b"written away"
    assert bench.flashvault("failback", "RG1", "--yes")["order"] == ""
