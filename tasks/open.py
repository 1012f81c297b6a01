"""Open what a configuration names: arrays, hosts, buckets.

What is wanted comes from the XML file, or, on a worker without one, from the copy `flashvault
apply` keeps in Prefect. Secrets come from Prefect blocks; when no server answers, from the
environment and key files, so that a restore works while everything else is down.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import PrefectHTTPStatusError
from prefect.variables import Variable

from blocks.errors import ConfigError
from blocks.host.base import Host
from blocks.host.block import Node
from blocks.profile.document import config_path, load_configuration, parse_document
from blocks.profile.model import Configuration, Platform
from blocks.profile.parcel import unpack
from blocks.ssh import Runner
from blocks.store.base import Store
from blocks.store.block import Bucket
from blocks.store.clients import open_store, parse_bucket_url
from blocks.svc.block import SvcSystem
from blocks.svc.client import SvcClient
from blocks.units import slug
from tasks.asking import Silent, ask, is_silent

CONFIGURATION_VARIABLE = "flashvault_configuration"
"""The Prefect variable that holds the XML text for workers on other machines."""

log = logging.getLogger(__name__)
B = TypeVar("B", bound=Block)

_known: dict[tuple[type, str], object] = {}
"""What Prefect last said of a name, in this process."""


def configuration() -> Configuration:
    """Read what is wanted: the XML file, else the copy in Prefect.

    Raises:
        ConfigError: there is neither, or it is wrong.
    """
    path = config_path()
    if path.exists():
        return load_configuration(path)
    text = _configuration_in_prefect() if has_api() else None
    if text is None:
        return load_configuration(path)  # says that there is none
    return parse_document(text, source=f"variable {CONFIGURATION_VARIABLE}")


def _configuration_in_prefect() -> bytes | None:
    key = (Variable, CONFIGURATION_VARIABLE)
    if key in _known and is_silent():
        return cast("bytes", _known[key])
    try:
        whole = ask(_all_pieces, is_needed=key not in _known)
    except (Silent, httpx.HTTPError, PrefectHTTPStatusError) as error:
        if key not in _known:
            raise ConfigError(
                f"the configuration is in Prefect, and its server does not answer: {error}",
                hint=f"Put the XML file at {config_path()}, or name it in FLASHVAULT_CONFIG.",
            ) from error
        log.warning("Prefect does not answer (%s): using the configuration as it was", error)
        return cast("bytes", _known[key])
    if whole is not None:
        _known[key] = whole
    return whole


def _all_pieces() -> bytes | None:
    text: object = Variable.get(CONFIGURATION_VARIABLE, default=None)
    return unpack(text, _piece) if isinstance(text, str) else None


def _piece(number: int) -> str | None:
    text: object = Variable.get(f"{CONFIGURATION_VARIABLE}_{number}", default=None)
    return text if isinstance(text, str) else None


def has_api() -> bool:
    """Say whether this process is set up to talk to a Prefect server."""
    return bool(os.environ.get("PREFECT_API_URL"))


@contextmanager
def array(wanted: Configuration, name: str) -> Iterator[SvcClient]:
    """Connect to a storage system; the connection is closed on the way out."""
    client = _system(wanted, name).get_client()
    try:
        yield client
    finally:
        client.close()


def host(wanted: Configuration, name: str) -> Host:
    """Return a node as a host; connections are made when they are needed."""
    return host_and_runner(wanted, name)[0]


def host_and_runner(wanted: Configuration, name: str) -> tuple[Host, Runner]:
    """Return a node as a host, and what runs an operator's own commands there."""
    node = _node(wanted, name)
    runner = node.get_runner()
    return node.get_host(runner, is_standalone=len(wanted.nodes) == 1), runner


def store(wanted: Configuration, name: str) -> Store:
    """Open a registered bucket; a URL such as `s3://bucket/prefix` opens one that is not."""
    if "://" in name:
        return open_store(parse_bucket_url(name))
    return bucket(wanted, name).get_store()


def bucket(wanted: Configuration, name: str) -> Bucket:
    """Return a registered bucket and its secrets: from Prefect, else from the environment."""
    asked = wanted.bucket(name)
    return _loaded(Bucket, name) or Bucket(
        name=name,
        bucket=asked.bucket_name,
        provider="IBM" if asked.provider == "IBM" else "AWS",
        prefix=asked.prefix,
        endpoint=asked.endpoint or "",
        region=asked.region,
        access_key=os.environ.get("AWS_ACCESS_KEY_ID", ""),
        secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
        aws_profile=asked.aws_profile,
        role_arn=asked.role_arn,
        api_key=secret_of(name, "API_KEY"),
        service_instance_id=asked.service_instance_id,
        iam_endpoint=asked.iam_endpoint or "",
        ca_file=asked.ca_file or "",
        customer_key=secret_of(name, "CUSTOMER_KEY"),
        passphrase=secret_of(name, "PASSPHRASE"),
        private_key=secret_of(name, "PRIVATE_KEY"),
    )


def _system(wanted: Configuration, name: str) -> SvcSystem:
    asked = wanted.storage_system(name)
    return _loaded(SvcSystem, name) or SvcSystem(
        name=name,
        addresses=list(asked.addresses),
        port=asked.port,
        user=asked.user,
        host_key=asked.host_key,
        private_key_file=asked.key_file,
        password=secret_of(name, "PASSWORD"),
        private_key=secret_of(name, "PRIVATE_KEY"),
    )


def _node(wanted: Configuration, name: str) -> Node:
    asked = wanted.node(name)
    return _loaded(Node, name) or Node(
        name=name,
        os="aix" if asked.type == Platform.AIX else "linux",
        is_local=asked.type == Platform.LOCAL,
        addresses=list(asked.addresses),
        port=asked.port,
        user=asked.user,
        host_key=asked.host_key,
        private_key_file=asked.key_file,
        password=secret_of(name, "PASSWORD"),
        private_key=secret_of(name, "PRIVATE_KEY"),
        device_directory=asked.device_directory,
    )


def _loaded(model: type[B], name: str) -> B | None:
    """Load a block; None when there is no server to ask, or the server has no such block.

    A server that fell silent since this process last asked is not waited for: what it said then
    still holds, or a backup would end where Prefect does.
    """
    if not has_api():
        return None
    key = (model, name)
    if key in _known and is_silent():
        log.info("Prefect is away: using the %s block %s as it was", model.__name__, name)
        return cast("B", _known[key])
    try:
        block = ask(lambda: model.load(slug(name)), is_needed=key not in _known)
    except ValueError:
        log.info("Prefect has no %s block %s: using the environment", model.__name__, name)
        _known.pop(key, None)
    except (Silent, httpx.HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        if key in _known:
            log.warning("Prefect does not answer (%s): using block %s as it was", error, name)
            return cast("B", _known[key])
        log.warning("Prefect does not answer (%s): using the environment", error)
    else:
        _known[key] = block
        return cast("B", block)
    return None


def secret_of(name: str, what: str) -> str:
    """Read `FLASHVAULT_<WHAT>_<NAME>`, as in FLASHVAULT_PASSWORD_STORAGE1.

    `deployments.cli.secrets.variable`, which loads no Prefect, has the same rule.
    """
    plain = "".join(letter if letter.isalnum() else "_" for letter in name).upper()
    return os.environ.get(f"FLASHVAULT_{what}_{plain}", "")
