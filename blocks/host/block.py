"""A node's address and credentials, as a Prefect block."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class Node(Block):
    """A machine that sees the volumes as disks: an AIX or Linux node, over SSH or this one."""

    _block_type_name = "Flashvault node"
    _block_type_slug = "flashvault-node"

    name: str = Field(description="The name it is registered under.")
    os: Literal["aix", "linux"] = "aix"
    is_local: bool = Field(
        default=False, description="The machine that runs the backup itself: no SSH."
    )
    addresses: list[str] = Field(default=[], description="Tried in order until one answers.")
    port: int = Field(default=22, ge=1, le=65535)
    user: str = "root"
    host_key: str = Field(default="", description="Its SSH host key, as in known_hosts.")
    private_key: SecretStr = Field(default=SecretStr(""), description="OpenSSH private key.")
    private_key_file: str = Field(
        default="", description="Or the path of one on every machine that runs backups."
    )
    password: SecretStr = Field(default=SecretStr(""), description="Used when there is no key.")
    device_directory: str = Field(
        default="/dev/disk/by-id",
        description="Linux: where disks are found by WWID; multipath names are preferred.",
    )
