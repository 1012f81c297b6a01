"""A lab as a whole: `up` starts it, `load_site` says where everything is, `down` takes it away.

Everything of a lab is in one directory; `<lab>/site.json` is what the other programs read. Nothing
listens anywhere but on loopback, and no process outlives `down`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blocks.errors import ConfigError, FlashvaultError
from deployments.lab import prefect_server, s3, wiring
from deployments.lab.arrays import Arrays
from deployments.lab.daemon import USER, write_json
from deployments.lab.disks import make_volume_directory, remove_volume_directory
from deployments.lab.keys import Keys
from deployments.lab.processes import Register, wait_until

BUCKET = "pha-bucket"
WORK_POOLS = ("flashvault", "flashvault-restore")
MIB = 1024 * 1024
DEFAULT_BYTES = 256 * MIB


@dataclass(frozen=True)
class StorageSystem:
    """One simulated array. `host_key` is `ssh-ed25519 AAAA…`."""

    name: str
    address: str
    port: int
    user: str
    key_file: str
    password: str
    host_key: str


@dataclass(frozen=True)
class Node:
    """One simulated AIX node, in the cluster `cluster`."""

    name: str
    os: str
    address: str
    port: int
    user: str
    key_file: str
    host_key: str
    cluster: str


@dataclass(frozen=True)
class LinuxHost:
    """This machine in its part as a host: `device_directory` holds `wwn-0x…` links to disks."""

    name: str
    device_directory: str


@dataclass(frozen=True)
class S3:
    """The object store."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str


@dataclass(frozen=True)
class Prefect:
    """The Prefect server; empty URLs when the lab has none."""

    api_url: str
    ui_url: str
    home: str


@dataclass(frozen=True)
class LabVolume:
    """One volume: `path` is its file, whose bytes anyone may write."""

    name: str
    uid: str
    bytes: int
    path: str
    storage_system: str


@dataclass(frozen=True)
class LabGroup:
    """One resource group as it is wired. The lists are in the same order; `disks` is node1's."""

    resource_group: str
    volume_group: str
    cluster: str
    node: str
    storage_system: str
    consistency_group: str
    remote_consistency_group: str
    remote_storage_system: str
    sources: list[str]
    targets: list[str]
    spares: list[str]
    auxiliaries: list[str]
    disks: dict[str, str]


@dataclass(frozen=True)
class Site:
    """Everything in a lab, as `lab up --json` prints it."""

    directory: str
    storage_systems: list[StorageSystem]
    nodes: list[Node]
    hosts: list[LinuxHost]
    s3: S3
    prefect: Prefect
    volumes: list[LabVolume]
    groups: list[LabGroup]
    config: str
    processes: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as the JSON document."""
        return asdict(self)

    def volume(self, name: str) -> LabVolume:
        """Return one volume by its name."""
        return next(volume for volume in self.volumes if volume.name == name)

    def environment(self) -> dict[str, str]:
        """Return the settings with which every other program talks to this lab."""
        settings = {
            "FLASHVAULT_CONFIG": self.config,
            "FLASHVAULT_LAB": self.directory,
            "FLASHVAULT_STATE": str(Path(self.directory, "runs")),
            "AWS_ENDPOINT_URL": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_REGION": self.s3.region,
            "AWS_DEFAULT_REGION": self.s3.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "DO_NOT_TRACK": "1",
        }
        if self.prefect.api_url:
            home = Path(self.prefect.home)
            settings |= prefect_server.client_settings(self.prefect.api_url, home)
        return settings

    def exports(self) -> str:
        """Return the settings as shell commands."""
        lines = [f"export {name}={shlex.quote(text)}" for name, text in self.environment().items()]
        bin_directory = shlex.quote(str(Path(sys.executable).parent))
        return "\n".join([*lines, f'export PATH={bin_directory}:"$PATH"', ""])


def default_directory() -> Path:
    """Return where the lab is when no --dir says: where `lab env` said, or a place of ours."""
    if named := os.environ.get("FLASHVAULT_LAB"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "flashvault" / "lab"


def up(
    directory: Path,
    *,
    size_bytes: int = DEFAULT_BYTES,
    groups: int = 1,
    volumes: int = 2,
    with_prefect: bool = True,
    register_profiles: bool = True,
    with_worker: bool = True,
) -> Site:
    """Start a lab, or the one that was in this directory before, and return where all is.

    Args:
        directory: where everything of the lab goes.
        size_bytes: each volume's size, a multiple of 1 MiB (what AIX counts in).
        groups: how many resource groups.
        volumes: how many volumes each has.
        with_prefect: start a Prefect server.
        register_profiles: write the configuration and register it with Prefect.
        with_worker: start a worker for each work pool of the Prefect server.

    Raises:
        ConfigError: the lab is up already, or another program's files are in the directory.
        FlashvaultError: a part did not start; nothing is left running.
    """
    directory = directory.absolute()
    register = Register(directory)
    if any(row.is_alive for row in register.read()):
        raise ConfigError(
            f"the lab in {directory} is up already", hint=f"flashvault lab down --dir {directory}"
        )
    _prepare(directory, {"size_bytes": size_bytes, "groups": groups, "volumes": volumes})
    try:
        site = _start(directory, register, with_prefect=with_prefect)
        if register_profiles and importlib.util.find_spec("deployments.lab.register"):
            _register(site)
            if with_prefect and with_worker:
                _start_workers(site, register)
    except BaseException:
        register.stop()
        raise
    return site


def _prepare(directory: Path, plan: dict[str, int]) -> None:
    size_bytes = plan["size_bytes"]
    if size_bytes <= 0 or size_bytes % MIB:
        raise ConfigError(f"a volume of {size_bytes} bytes: AIX counts in whole MiB")
    if not (directory / "lab.json").exists():
        if directory.exists() and any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty and no lab", hint="Choose another --dir.")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        write_json(directory / "lab.json", plan)
    make_volume_directory(directory / "volumes")
    (directory / "run" / "daemon.json").unlink(missing_ok=True)


def _start(directory: Path, register: Register, *, with_prefect: bool) -> Site:
    """Start all parts at once, then wait for each."""
    keys = Keys(directory / "keys")
    keys.key_file("id_ed25519")
    server = prefect_server.start(directory, keys, register) if with_prefect else None
    store = s3.start(directory, keys, register, BUCKET)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "deployments.lab.daemon", str(directory)]
    process = register.start("daemon", words, environment)
    ready = directory / "run" / "daemon.json"
    log = directory / "logs" / "daemon.log"
    wait_until(ready.exists, "the lab's daemon", process=process, log=log, limit_s=600)
    s3.wait(store, BUCKET, directory)
    if server:
        prefect_server.wait(server, directory)
    site = _describe(directory, keys, store, server)
    write_json(directory / "site.json", site.document())
    return site


def _describe(
    directory: Path,
    keys: Keys,
    store: s3.ObjectStore,
    server: prefect_server.PrefectServer | None,
) -> Site:
    ports = json.loads((directory / "run" / "daemon.json").read_text())["ports"]
    plan = json.loads((directory / "lab.json").read_text())
    key_file = str(keys.key_file("id_ed25519"))
    arrays = Arrays(directory)
    return Site(
        directory=str(directory),
        storage_systems=[
            StorageSystem(
                name=name,
                address="127.0.0.1",
                port=ports[name],
                user=USER,
                key_file=key_file,
                password=keys.secret(name),
                host_key=keys.public(f"host_{name}"),
            )
            for name in wiring.ARRAYS
        ],
        nodes=[
            Node(
                name=name,
                os="aix",
                address="127.0.0.1",
                port=ports[name],
                user="root",
                key_file=key_file,
                host_key=keys.public(f"host_{name}"),
                cluster=wiring.CLUSTER,
            )
            for name in wiring.NODES
            if name in ports
        ],
        hosts=[LinuxHost(wiring.LINUX_HOST, str(arrays.device_directory(wiring.LINUX_HOST)))],
        s3=S3(store.endpoint, store.access_key, store.secret_key, store.region, BUCKET),
        prefect=Prefect(
            api_url=server.api_url if server else "",
            ui_url=server.ui_url if server else "",
            home=str(directory / "prefect"),
        ),
        volumes=[
            LabVolume(
                name=volume.name,
                uid=volume.uid,
                bytes=volume.capacity,
                path=str(arrays.shelf.path((name, volume.name))),
                storage_system=name,
            )
            for name, system in arrays.systems.items()
            for volume in system.state.volumes.values()
        ],
        groups=[_describe_group(group) for group in wiring.groups_of(plan)],
        config=str(directory / "flashvault.xml"),
        processes={row.name: row.pid for row in Register(directory).read()},
    )


def _describe_group(group: wiring.Group) -> LabGroup:
    return LabGroup(
        resource_group=group.resource_group,
        volume_group=group.volume_group,
        cluster=wiring.CLUSTER,
        node="node1",
        storage_system="storage1",
        consistency_group=group.consistency_group,
        remote_consistency_group=group.remote_group,
        remote_storage_system="storage2",
        sources=group.sources,
        targets=group.targets,
        spares=group.spares,
        auxiliaries=group.auxiliaries,
        disks={volume: f"hdisk{number}" for volume, number in group.disks.items()},
    )


def _register(site: Site) -> None:
    """Let `deployments.lab.register` write the configuration and tell Prefect, in this process."""
    os.environ.update(site.environment())
    module = importlib.import_module("deployments.lab.register")
    module.register(site)


def _start_workers(site: Site, register: Register) -> None:
    """Start a worker for each pool, so that what is scheduled or started in the UI runs."""
    # The deployments' command is `python -m deployments.shim`: it must be this python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, **site.environment(), "PATH": path}
    for pool in WORK_POOLS:
        words = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
        register.start(
            f"worker-{pool}", [*words, "--pool", pool, "--name", f"lab-{pool}"], environment
        )


def load_site(directory: Path) -> Site:
    """Read where everything is in a lab that is up.

    Raises:
        ConfigError: no lab is up in this directory.
    """
    try:
        document = json.loads((directory / "site.json").read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"no lab is up in {directory}", hint=f"flashvault lab up --dir {directory}"
        ) from None
    return Site(
        directory=document["directory"],
        storage_systems=[StorageSystem(**row) for row in document["storage_systems"]],
        nodes=[Node(**row) for row in document["nodes"]],
        hosts=[LinuxHost(**row) for row in document["hosts"]],
        s3=S3(**document["s3"]),
        prefect=Prefect(**document["prefect"]),
        volumes=[LabVolume(**row) for row in document["volumes"]],
        groups=[LabGroup(**row) for row in document["groups"]],
        config=document["config"],
        processes=document["processes"],
    )


def down(directory: Path, *, purge: bool = False) -> list[str]:
    """Stop everything of a lab; return what was running. Safe to repeat.

    The volumes and the bucket stay for the next `up`, unless `purge` removes the directory.
    """
    directory = directory.absolute()
    if not (directory / "lab.json").exists():
        return []  # no lab: nothing to stop, and nothing of ours to write there
    stopped = Register(directory).stop()
    (directory / "site.json").unlink(missing_ok=True)
    (directory / "run" / "daemon.json").unlink(missing_ok=True)
    if purge and (directory / "lab.json").exists():
        remove_volume_directory(directory / "volumes")
        shutil.rmtree(directory)
    return stopped


def status(directory: Path) -> dict[str, Any]:
    """Say what of a lab is running, and where it is."""
    rows = Register(directory.absolute()).read()
    processes = [{"name": row.name, "pid": row.pid, "is_running": row.is_alive} for row in rows]
    is_up = bool(rows) and all(row.is_alive for row in rows)
    site: dict[str, Any] | None = None
    with contextlib.suppress(ConfigError, FlashvaultError):
        site = load_site(directory).document()
    return {"is_up": is_up, "directory": str(directory), "processes": processes, "site": site}
