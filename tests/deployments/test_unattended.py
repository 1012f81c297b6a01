"""In the lab, with schedules of seconds: what runs by itself, and who is told when it stops."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

SAVE_ALARM = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
CustomWebhookNotificationBlock(
    name="alarm", url=sys.argv[1], method="POST", allow_private_urls=True,
    json_data={"subject": "{{subject}}", "body": "{{body}}"},
).save("flashvault-alarm", overwrite=True)
"""


def until(true: Callable[[], object], what: str, limit_s: float = 240) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(1)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    told: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            told.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", told
    server.shutdown()
    server.server_close()
    thread.join()


class Lab:
    """A lab with its environment, and workers that this test starts and ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._run(
            [*self._cli(), "lab", "up", "--dir", str(directory), "--size", "16M", "--no-worker"]
        )
        shell = f'eval "$({sys.executable} -m deployments.cli lab env --dir {directory})"; env -0'
        printed = self._run(["bash", "-c", shell])
        pairs = (entry.partition("=") for entry in printed.split("\0") if "=" in entry)
        self.environment = {name: value for name, _, value in pairs}
        self.environment["FLASHVAULT_STATE"] = str(directory / "state")
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def _cli(self) -> list[str]:
        return [sys.executable, "-m", "deployments.cli"]

    def _run(self, words: list[str], environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def flashvault(self, *words: str) -> str:
        return self._run([*self._cli(), *words], self.environment)

    def python(self, code: str, *words: str) -> None:
        self._run([sys.executable, "-c", code, *words], self.environment)

    def start_worker(self, pool: str) -> None:
        with (self.directory / f"{pool}.log").open("wb") as log:
            self.workers[pool] = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def runs(self) -> list[dict[str, str]]:
        return json.loads(self.flashvault("query", "runs", "RG_NAME=RG1", "--json"))

    def points(self) -> list[dict[str, str]]:
        return json.loads(self.flashvault("query", "restore_points", "RG1", "--json"))

    def down(self) -> None:
        for worker in self.workers.values():
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers.values():
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:  # asked while it was submitting a run, it hangs
                worker.kill()
                worker.wait()
        subprocess.run(
            [*self._cli(), "lab", "down", "--dir", str(self.directory)],
            capture_output=True,
            check=False,
        )


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Iterator[Lab]:
    for name in [name for name in os.environ if name.startswith(("FLASHVAULT_", "AWS_"))]:
        monkeypatch.delenv(name)
    lab = Lab(tmp_path / "lab")
    try:
        yield lab
    finally:
        lab.down()


def test_it_runs_by_itself_and_says_so_when_it_stops(lab, webhook, tmp_path):
    url, told = webhook
    notified = tmp_path / "notified"
    script = tmp_path / "notify.sh"
    script.write_text(f'#!/bin/sh\necho "$@ rg=$CBM_RG event=$CBM_EVENT" >> {notified}\n')
    script.chmod(0o755)
    lab.python(SAVE_ALARM, url)
    lab.flashvault(
        "modify",
        "backup_profile",
        "RG1",
        "BACKUP_METHOD=cloud",
        "BACKUP_FREQUENCY=3m",
        "INCREMENTAL_BACKUP_FREQUENCY=30s",
        f"NOTIFY_METHOD={script}",
    )
    assert lab.flashvault("apply") == "nothing to do\n"
    lab.start_worker("flashvault")
    lab.start_worker("flashvault-restore")

    def kinds() -> list[str]:
        return [point["KIND"] for point in lab.points()]

    until(lambda: kinds().count("full") >= 1, "a scheduled full")
    until(lambda: kinds().count("incremental") >= 1, "scheduled incrementals")
    lab.flashvault("backup", "RG1", "--incremental", "--json")
    until(lambda: any(r["STATE"] == "Skipped" for r in lab.runs()), "a skipped run")
    skipped = next(run for run in lab.runs() if run["STATE"] == "Skipped")
    assert "skipped: " in skipped["MESSAGE"]
    files = lab.flashvault("query", "backup_files", "RG_NAME=RG1").split()
    assert all("_RG1_VG1_hdisk1" in name for name in files)

    worker = lab.workers.pop("flashvault")
    worker.kill()
    worker.wait()
    told.clear()
    until(lambda: told, "the webhook to be called")
    assert told[0]["subject"] == "Backup of RG1 is overdue"
    until(
        lambda: notified.exists() and "backup_overdue RG1 error" in notified.read_text(),
        "the notify method to be run",
    )
    assert "backup_succeeded RG1 info" in notified.read_text()
