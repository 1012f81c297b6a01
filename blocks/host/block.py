"""A node's address and credentials, as a Prefect block."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.host.aix import AixHost
from blocks.host.base import Host
from blocks.host.linux import LinuxHost
from blocks.ssh import LocalRunner, Runner, SshRunner, SshTarget
from blocks.sshkeys import private_key


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

    def get_runner(self) -> Runner:
        """Return what runs commands on the node; the first one opens the connection."""
        if self.is_local:
            return LocalRunner()
        return SshRunner(
            SshTarget(
                addresses=tuple(self.addresses),
                user=self.user,
                port=self.port,
                host_key=self.host_key,
                private_key=private_key(self.private_key.get_secret_value(), self.private_key_file),
                password=self.password.get_secret_value() or None,
                registered_as=f"node {self.name}",
            )
        )

    def get_host(self, runner: Runner | None = None, *, is_standalone: bool = False) -> Host:
        """Return the node as a host.

        Args:
            runner: what runs its commands; a new one if not given.
            is_standalone: no cluster software decides where its resource groups run.
        """
        runner = runner or self.get_runner()
        if self.os == "aix":
            return AixHost(self.name, runner)
        return LinuxHost(
            self.name,
            runner,
            device_directory=self.device_directory,
            is_standalone=is_standalone,
        )
