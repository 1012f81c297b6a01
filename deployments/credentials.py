"""Configured objects as Prefect blocks: where they are, and the secrets that open them.

The XML file says where things are, and the block repeats it for the UI; secrets are in the block
alone. Writing the place again never touches a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import SecretStr

from blocks.errors import ConfigError, Unreachable
from blocks.host.block import Node as NodeBlock
from blocks.profile.base import Configured
from blocks.profile.model import BucketConfig, Node, Platform, StorageSystem
from blocks.store.block import Bucket
from blocks.svc.block import SvcSystem
from blocks.units import slug

BLOCKS: dict[str, type[Block]] = {
    "storage_system": SvcSystem,
    "node": NodeBlock,
    "bucket": Bucket,
}


def place(item: Configured) -> dict[str, Any]:
    """Return the fields of an object's block that the configuration decides; none is a secret."""
    match item:
        case StorageSystem():
            return {
                "name": item.name,
                "addresses": list(item.addresses),
                "port": item.port,
                "user": item.user,
                "host_key": item.host_key,
                "private_key_file": item.key_file,
            }
        case Node():
            return {
                "name": item.name,
                "os": "aix" if item.type == Platform.AIX else "linux",
                "is_local": item.type == Platform.LOCAL,
                "addresses": list(item.addresses),
                "port": item.port,
                "user": item.user,
                "host_key": item.host_key,
                "private_key_file": item.key_file,
                "device_directory": item.device_directory,
            }
        case BucketConfig():
            return {
                "name": item.name,
                "bucket": item.bucket_name,
                "provider": item.provider.value,
                # Keys are the prefix and the rest, put together as they are.
                "prefix": f"{item.prefix}/" if item.prefix else "",
                "endpoint": item.endpoint or "",
                "region": item.region,
                "aws_profile": item.aws_profile,
                "role_arn": item.role_arn,
                "service_instance_id": item.service_instance_id,
                "iam_endpoint": item.iam_endpoint or "",
                "ca_file": item.ca_file or "",
            }
        case _:
            raise ConfigError(f"{item.title} has no credentials")


def standing(item: Configured) -> Block | None:
    """Return the object's block as Prefect has it, or None.

    Raises:
        Unreachable: the server does not answer.
    """
    try:
        return BLOCKS[item.element].load(slug(item.name), validate=False)  # type: ignore[return-value]
    except ValueError:
        return None
    except httpx.HTTPError as error:
        raise Unreachable(f"the Prefect server does not answer: {error}") from error
    except PrefectHTTPStatusError as error:
        raise Unreachable(f"the Prefect server refuses: {error}") from error


def drift(item: Configured, block: Block | None) -> list[str]:
    """Return the block's fields that are not as the configuration says."""
    if block is None:
        return ["missing"]
    return [key for key, value in place(item).items() if getattr(block, key, None) != value]


def save(item: Configured, values: Mapping[str, str] | None = None) -> None:
    """Write an object's block: its place from the configuration, and new secrets if given."""
    block_type = BLOCKS[item.element]
    fields = place(item)
    if before := standing(item):
        kept = {key: getattr(before, key, None) for key in block_type.model_fields}
        fields = {
            k: v for k, v in kept.items() if isinstance(v, SecretStr) or k == "access_key"
        } | fields
    block = block_type(**(fields | dict(values or {})))
    try:
        block.save(slug(item.name), overwrite=True)
    except httpx.HTTPError as error:
        raise Unreachable(f"the Prefect server does not answer: {error}") from error


def forget(item: Configured) -> None:
    """Remove an object's block, with its secrets."""
    with suppress(ValueError):
        BLOCKS[item.element].delete(slug(item.name))
