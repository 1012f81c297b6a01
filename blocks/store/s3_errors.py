"""What an S3 client's error says about the data, in our tree of errors (docs/reference/faults.md).

Only a clear 404 is `ObjectMissing`; whatever leaves a doubt is `StoreUnavailable`.
"""

from __future__ import annotations

from blocks.errors import (
    AccessDenied,
    BucketMissing,
    CertificateRefused,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreUnavailable,
)

MISSING = {"NoSuchKey", "NoSuchUpload", "NoSuchVersion"}
"""Codes for what is not there."""

_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "Unauthorized",
    "401",
    "403",
}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "doesn't match", "certificate verify failed")
_PASSING = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}


def translate(error: Exception, key: str, url: str, *, is_head: bool) -> Exception:
    """Return the error of our tree for what an SDK raised; both SDKs name theirs alike."""
    where = f"{url}/{key}" if key else url
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        fault = response.get("Error", {})
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(fault.get("Code", ""))
        message = f"{where}: {fault.get('Message') or error} ({code or status})"
        # An answer to HEAD has no body: a bare 404 is all a store can say there.
        if is_head and status == 404 and code in {"404", "NoSuchKey", "NotFound"}:
            return ObjectMissing(f"{url} has no object {key}")
        return error_for(code, status, message)
    package = type(error).__module__.partition(".")[0]
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        return AccessDenied(f"{url}: there are no usable credentials: {error}")
    if name == "SSLError" and any(word in str(error) for word in _UNTRUSTED):
        return CertificateRefused(f"{url}: the store's certificate is not trusted: {error}")
    if package in {"botocore", "ibm_botocore", "boto3", "ibm_boto3", "urllib3", "ssl"} or (
        isinstance(error, OSError)
    ):
        if name in {"ParamValidationError", "UnknownParameterError"}:
            return StoreError(f"{where}: {error}")
        return StoreUnavailable(f"{where}: {error}")
    return error


def error_for(code: str, status: int, message: str) -> StoreError:
    """Return the error for a code of S3 and an HTTP status (0 if there was none)."""
    if code == "NoSuchBucket":
        return BucketMissing(message)
    if code in MISSING:
        return ObjectMissing(message)
    if code in _CHANGED or status == 412:
        return ObjectChanged(message)
    if code == "RequestTimeTooSkewed":
        hint = "The store refuses a time 15 minutes from its own: set this machine's clock."
        return StoreUnavailable(message, hint=hint)
    if code in _PASSING or status >= 500 or status in {408, 425, 429}:
        return StoreUnavailable(message)
    if code in _DENIED or status in {401, 403}:
        return AccessDenied(message)
    # A 404 without a code, a redirect, an answer nobody can read: no word about the object.
    if status == 404 or status < 400:
        return StoreUnavailable(message)
    return StoreError(message)


def error_code(error: Exception) -> str:
    """Return the store's code of a refusal; empty if the error is not an answer of the store.

    boto3 and IBM's fork of it have exceptions of the same shape and of different classes.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(response.get("Error", {}).get("Code") or status)
