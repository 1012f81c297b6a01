"""The unit files, the compose file and the settings they share."""

from __future__ import annotations

import configparser
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields

from deployments import settings
from deployments.schedules import POOLS
from deployments.serve import Place, server_settings

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
UNITS = sorted((DEPLOYMENTS / "systemd").glob("*.*"))
READ_FROM_THE_ENVIRONMENT = {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_SERVER_ENCRYPTION_KEY"}
"""By prefect-redis and by the server's own secrets, beside Prefect's settings."""

OWN_TO_A_PLACE = {"PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_SERVER_DATABASE_TIMEOUT"}


def env_file(name: str) -> dict[str, str]:
    lines = (DEPLOYMENTS / name).read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def compose() -> dict:
    return yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())


@pytest.mark.parametrize("name", ["server.env", "worker.env"])
def test_prefect_knows_every_setting(name):
    """One that is misspelt is silently ignored: places in line would be kept in memory again."""
    known = set(_get_settings_fields(Settings)) | READ_FROM_THE_ENVIRONMENT
    ours = {name for name in env_file(name) if name.startswith("PREFECT_")}
    assert ours - known - set(settings.QUIET) == set()


def test_a_shared_server_has_the_settings_of_a_small_one():
    small = server_settings(Place(Path("/x"), "127.0.0.1", 4200, "u:p", "k"))
    shared = env_file("server.env")
    wanted = set(small) - OWN_TO_A_PLACE - set(settings.QUIET)
    assert wanted <= set(shared)
    same = {name for name in wanted if "_SERVICES_" in name}
    assert same
    assert {name: shared[name] for name in same} == {name: small[name] for name in same}


def test_nothing_that_servers_share_is_kept_in_the_memory_of_one():
    shared = env_file("server.env")
    modules = {name: value for name, value in shared.items() if value.startswith("prefect_redis.")}
    assert set(modules) == {
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
    }
    for module in modules.values():
        importlib.import_module(module)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(unit, tmp_path):
    text = unit.read_text().replace("/opt/flashvault/bin", str(Path(sys.executable).parent))
    copy = tmp_path / unit.name.replace("@.", "@flashvault.")
    copy.write_text(text)
    if unit.suffix == ".timer":
        started = unit.with_suffix(".service")
        (tmp_path / started.name).write_text(started.read_text().replace("/opt/flashvault", "/usr"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    own = [line for line in done.stderr.splitlines() if copy.name in line or str(copy) in line]
    assert own == []
    assert done.returncode == 0, done.stderr


def test_stopping_a_worker_leaves_its_backups_alone():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string((DEPLOYMENTS / "systemd" / "flashvault-worker@.service").read_text())
    assert unit["Service"]["KillMode"] == "process"


def test_compose_has_the_whole_topology_and_a_worker_for_every_pool():
    services = compose()["services"]
    assert {"postgres", "redis", "server"} <= set(services)
    pools = {
        service["command"][service["command"].index("--pool") + 1]
        for service in services.values()
        if "--pool" in service.get("command", [])
    }
    assert pools == set(POOLS)
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert "healthcheck" in services[other], f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose()["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "TLS is a proxy's business"


def test_no_secret_is_in_the_files():
    for path in (DEPLOYMENTS / "server.env", DEPLOYMENTS / "worker.env"):
        for line in path.read_text().splitlines():
            if re.search(r"(AUTH_STRING|ENCRYPTION_KEY|CONNECTION_URL|MESSAGING_URL)=", line):
                assert "<" in line, line
