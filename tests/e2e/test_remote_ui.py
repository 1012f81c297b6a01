"""What a person sees of the second site in Prefect: progress, lag, and every change once."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.lab import control
from deployments.lab import site as lab
from tasks import open as opening

pytestmark = [pytest.mark.server, pytest.mark.slow]

GROUP = "sample_remote_cg"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("remote-ui") / "lab"
    before = dict(os.environ)
    words = [sys.executable, "-m", "deployments.cli", "lab"]
    up = ["up", "--dir", str(directory), "--size", "16M", "--no-worker"]
    subprocess.run([*words, *up], check=True, capture_output=True)
    try:
        made = lab.load_site(directory)
        os.environ.update(made.environment())
        yield made
    finally:
        subprocess.run(
            [*words, "down", "--dir", str(directory), "--purge"], check=True, capture_output=True
        )
        os.environ.clear()
        os.environ.update(before)


def flashvault(*words: str) -> int:
    command = [sys.executable, "-m", "deployments.cli", *words, "--json"]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


def sync() -> int:
    return flashvault("sync", "RG1")


def ask(path: str, body: dict) -> Any:
    headers = {}
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    answer = httpx.post(os.environ["PREFECT_API_URL"] + path, json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()


def test_progress_lag_and_changes_are_seen_in_prefect(site) -> None:
    enable = ("BACKUP_METHOD=remote_storage", "ENABLE_BACKUP=yes")
    assert flashvault("modify", "backup_profile", "RG1", *enable) == 0
    with opening.array(opening.configuration(), "storage1") as client:
        client.mkrcconsistgrp(name=GROUP, cluster="storage2")
        for number in (1, 2):
            client.mkrcrelationship(
                master=f"Node1_{number}",
                aux=f"Node2_{number}",
                cluster="storage2",
                consistgrp=GROUP,
            )
    directory = Path(site.directory)
    control.ask(directory, "speed", name="storage1", factor=0.03)
    assert sync() == 0
    assert sync() == 0
    control.ask(directory, "speed", name="storage1", factor=100)
    time.sleep(1)
    assert [sync(), sync()] == [0, 0]
    control.ask(directory, "link", up=False)
    assert [sync(), sync()] == [3, 3]
    control.ask(directory, "link", up=True)
    assert sync() == 0

    artifacts = ask("/artifacts/filter", {"limit": 100, "sort": "CREATED_DESC"})
    artifacts.reverse()
    shown = [a for a in artifacts if a["key"] and a["key"].startswith("remote-rg1")]
    titles = [a["data"].splitlines()[0] for a in shown]
    assert titles[0] == "## RG1: copying"
    assert titles[-1] == "## RG1: in sync"
    assert "## RG1: disconnected" in titles
    assert "data:image/svg+xml;base64," in shown[-1]["data"]
    copied = [a["data"] for a in artifacts if a["key"] and a["key"].startswith("remote-copy-rg1")]
    assert copied == sorted(copied)
    assert 0 <= copied[0] < 100
    assert copied[-1] == 100

    wanted = ["flashvault.remote.in_sync", "flashvault.remote.degraded"]
    wanted.append("flashvault.remote.recovered")
    prefix = {"filter": {"event": {"prefix": ["flashvault.remote"]}}, "limit": 50}
    deadline = time.monotonic() + 30
    events: list[dict] = []
    while len(events) < len(wanted) and time.monotonic() < deadline:
        events = ask("/events/filter", prefix)["events"]
        time.sleep(0.5)
    events.sort(key=lambda event: event["occurred"])
    assert [event["event"] for event in events] == wanted
