"""A storage system's address and credentials, as a Prefect block."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.ssh import SshTarget
from blocks.sshkeys import private_key
from blocks.svc.client import SvcClient, connect


class SvcSystem(Block):
    """An IBM SVC or Storage Virtualize array: where it answers, and who may enter."""

    _block_type_name = "Flashvault storage system"
    _block_type_slug = "flashvault-storage-system"

    name: str = Field(description="The name it is registered under, as in clmgr's storage_system.")
    addresses: list[str] = Field(
        min_length=1, description="Management addresses, tried in order until one answers."
    )
    port: int = Field(default=22, ge=1, le=65535)
    user: str = Field(default="admin", description="An array user with the CopyOperator role.")
    host_key: str = Field(
        default="", description="The array's SSH host key, as in known_hosts: `ssh-ed25519 AAAA…`."
    )
    private_key: SecretStr = Field(
        default=SecretStr(""), description="OpenSSH private key: ed25519, ECDSA or RSA."
    )
    private_key_file: str = Field(
        default="", description="Or the path of one on every machine that runs backups."
    )
    password: SecretStr = Field(default=SecretStr(""), description="Used when there is no key.")

    def get_client(self) -> SvcClient:
        """Make a client for the array; the first command opens the connection."""
        return connect(
            SshTarget(
                addresses=tuple(self.addresses),
                user=self.user,
                port=self.port,
                host_key=self.host_key,
                private_key=private_key(self.private_key.get_secret_value(), self.private_key_file),
                password=self.password.get_secret_value() or None,
                registered_as=f"storage_system {self.name}",
            )
        )
