"""A bucket's place, credentials and encryption, as a Prefect block."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class Bucket(Block):
    """A bucket in S3 or IBM Cloud Object Storage, and how to enter it."""

    _block_type_name = "Flashvault bucket"
    _block_type_slug = "flashvault-bucket"

    name: str = Field(description="The name it is registered under.")
    bucket: str = Field(description="The bucket's own name at the provider.")
    provider: Literal["AWS", "IBM"] = "AWS"
    prefix: str = Field(default="", description="Every key begins with it; ends in `/` or empty.")
    endpoint: str = Field(default="", description="URL; empty means the provider's own.")
    region: str = ""
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    aws_profile: str = Field(default="", description="AWS: a profile of the default chain.")
    role_arn: str = Field(default="", description="AWS: a role to assume.")
    api_key: SecretStr = Field(default=SecretStr(""), description="IBM: IAM API key.")
    service_instance_id: str = Field(default="", description="IBM: the COS instance's CRN.")
    iam_endpoint: str = Field(default="", description="IBM: where tokens come from.")
    ca_file: str = Field(default="", description="PEM file of the authorities to trust.")
    encryption: Literal["DISABLE", "KMS", "AES", "CLIENT"] = "DISABLE"
    kms_key_id: str = ""
    customer_key: SecretStr = Field(default=SecretStr(""), description="SSE-C: 32 bytes in base64.")
    private_key: SecretStr = Field(
        default=SecretStr(""),
        description="CLIENT: this host's own key (fv-private-...); a writer's cannot restore.",
    )
    passphrase: SecretStr = Field(
        default=SecretStr(""), description="CLIENT: opens the keyring, for restores."
    )
