"""A bucket's place, credentials and encryption, as a Prefect block."""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.store.base import Store
from blocks.store.clients import BucketSettings, open_store


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

    def get_settings(self) -> BucketSettings:
        """Return how to enter the bucket."""
        prefix = self.prefix.strip("/")
        return BucketSettings(
            bucket=self.bucket,
            provider=self.provider,
            prefix=f"{prefix}/" if prefix else "",
            endpoint=self.endpoint,
            region=self.region,
            access_key=self.access_key,
            secret_key=self.secret_key.get_secret_value(),
            profile=self.aws_profile,
            role_arn=self.role_arn,
            api_key=self.api_key.get_secret_value(),
            service_instance_id=self.service_instance_id,
            iam_endpoint=self.iam_endpoint,
            ca_file=self.ca_file,
            encryption=self.encryption,
            kms_key_id=self.kms_key_id,
            customer_key=self.customer_key.get_secret_value(),
        )

    def get_store(self) -> Store:
        """Open the bucket. Makes no request."""
        return open_store(self.get_settings())
