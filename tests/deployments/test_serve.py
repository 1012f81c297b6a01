import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.errors import ConfigError
from deployments import serve
from deployments.settings import ENVIRONMENT_FILE

CONFIGURATION = """<flashvault format_version="1">
  <storage_system name="storage1"><ADDRESSES>127.0.0.1</ADDRESSES><USER>admin</USER>
  </storage_system>
  <node name="here"><TYPE>LOCAL</TYPE></node>
  <bucket name="pha-bucket"/>
  <backup_profile name="RG1">
    <ENABLE_BACKUP>yes</ENABLE_BACKUP><BACKUP_METHOD>cloud</BACKUP_METHOD>
    <REPLICATED_RESOURCES>cg</REPLICATED_RESOURCES><STORAGE_NAME>storage1</STORAGE_NAME>
    <BUCKET_NAME>pha-bucket</BUCKET_NAME>
  </backup_profile>
</flashvault>
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_keys_are_made_once_and_are_private(tmp_path):
    first = serve.prepare(tmp_path / "state", "127.0.0.1", free_port())
    again = serve.prepare(tmp_path / "state", "127.0.0.1", free_port())
    assert (first.auth, first.encryption_key) == (again.auth, again.encryption_key)
    mode = (tmp_path / "state" / "serve-keys.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_damaged_key_file_is_refused_and_not_replaced(tmp_path):
    (tmp_path / "serve-keys.json").write_text('{"auth": "x"}')
    with pytest.raises(ConfigError, match="is damaged"):
        serve.prepare(tmp_path, "127.0.0.1", free_port())
    assert (tmp_path / "serve-keys.json").read_text() == '{"auth": "x"}'


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
            serve.prepare(tmp_path, "127.0.0.1", taken.getsockname()[1])


def test_a_second_one_in_the_same_directory_is_refused(tmp_path):
    place = serve.prepare(tmp_path, "127.0.0.1", free_port())
    first = serve.Served(place)
    with pytest.raises(ConfigError, match="another `flashvault serve`"):
        serve.Served(place)
    first.close()
    serve.Served(place).close()


def test_the_server_gets_what_keeps_it_safe(tmp_path):
    settings = serve.server_settings(serve.prepare(tmp_path, "127.0.0.1", free_port()))
    assert settings["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"
    assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert settings["DO_NOT_TRACK"] == "1"
    assert settings["PREFECT_SERVER_API_AUTH_STRING"].startswith("flashvault:")
    assert settings["PREFECT_SERVER_ENCRYPTION_KEY"]
    assert "filesystem" in settings["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]


@pytest.mark.server
def test_serve_serves_and_stops_cleanly(tmp_path):
    config = tmp_path / "flashvault.xml"
    config.write_text(CONFIGURATION)
    state = tmp_path / "state"
    environment = {
        **os.environ,
        "FLASHVAULT_CONFIG": str(config),
        "FLASHVAULT_STATE": str(state),
        "COLUMNS": "200",
    }
    flashvault = [sys.executable, "-m", "deployments.cli"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*flashvault, *words], env=environment, capture_output=True, text=True, check=False
        )

    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [*flashvault, "serve", "--port", str(free_port()), "--json"],
            env=environment,
            stdout=out,
            stderr=err,
        )
    try:
        document = _document(process, tmp_path / "out", tmp_path / "err")
        assert set(document["processes"]) == {"server", "worker", "restore-worker"}
        assert "create deployment RG1-full" in document["applied"]
        # The others on this machine find the server, and there is nothing left to do.
        assert run("apply").stdout == "nothing to do\n"
        assert run("modify", "backup_profile", "RG1", "BACKUP_SCHEDULE=17:30").returncode == 0
        # The reconcile of the start is run by a worker that is really there; what it ends with is
        # its own affair: there is no bucket here.
        deadline = time.monotonic() + 90
        runs: list[dict[str, str]] = []
        ended = {"Completed", "Failed"}
        while time.monotonic() < deadline and not any(r["STATE"] in ended for r in runs):
            time.sleep(2)
            runs = json.loads(run("query", "runs", "--json").stdout)
        assert any(r["STATE"] in ended for r in runs), runs
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 0
    assert not (state / ENVIRONMENT_FILE).exists()
    for pid in document["processes"].values():
        assert not Path(f"/proc/{pid}").exists()


def _document(process: subprocess.Popen[bytes], out: Path, err: Path) -> dict:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, err.read_text()
        if out.read_text().rstrip().endswith("}"):
            return json.loads(out.read_text())
        time.sleep(0.5)
    raise AssertionError(err.read_text())
