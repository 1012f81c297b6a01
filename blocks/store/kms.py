"""AWS KMS as a keyring's recipient: it opens an envelope for whoever may use one of its keys.

IBM Key Protect offers the same wrap and unwrap under another API; it is not supported here yet:
with IBM use a passphrase or a public key.
"""

from __future__ import annotations

from typing import Any

from blocks.errors import StoreUnavailable, WrongKey
from blocks.store.s3_errors import error_code

_REFUSED = {
    "AccessDeniedException",
    "DisabledException",
    "IncorrectKeyException",
    "InvalidCiphertextException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
    "NotFoundException",
}


class AwsKms:
    """Seals and opens up to 4 KiB; the key never leaves the service (`blocks.image.keys.Kms`)."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def encrypt(self, kms_key_id: str, plain: bytes, context: dict[str, str]) -> bytes:
        """Seal with a key of the service.

        Raises:
            WrongKey: the key is missing, disabled, or not ours to use.
            StoreUnavailable: the service does not answer.
        """
        answer = self._ask(
            kms_key_id,
            "encrypt",
            KeyId=kms_key_id,
            Plaintext=plain,
            EncryptionContext=context,
        )
        return bytes(answer["CiphertextBlob"])

    def decrypt(self, kms_key_id: str, sealed: bytes, context: dict[str, str]) -> bytes:
        """Open what `encrypt` sealed with the same key and context; raises as `encrypt` does."""
        answer = self._ask(
            kms_key_id,
            "decrypt",
            KeyId=kms_key_id,
            CiphertextBlob=sealed,
            EncryptionContext=context,
        )
        return bytes(answer["Plaintext"])

    def _ask(self, kms_key_id: str, call: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, call)(**arguments)
        except Exception as error:
            code = error_code(error)
            if code in _REFUSED:
                raise WrongKey(f"the KMS refuses key {kms_key_id}: {code}") from error
            raise StoreUnavailable(
                f"the KMS does not answer for key {kms_key_id}: {error}"
            ) from error


def open_kms(region: str = "", endpoint: str = "") -> AwsKms:
    """Return the KMS the standard AWS credentials give access to. Makes no request."""
    import boto3

    return AwsKms(boto3.client("kms", region_name=region or None, endpoint_url=endpoint or None))
