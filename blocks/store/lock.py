"""Lock objects against deletion for a time, by the store's own Object Lock.

Governance mode: only who holds a special permission can lift a lock, and the backup role does not.
Where the law wants compliance mode, set it as the bucket's default retention: a default is stricter
than what is asked for here, and stays. A lock is only ever extended; the store refuses to shorten.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from blocks.errors import StoreError, StoreUnavailable
from blocks.store.s3_errors import error_code

MODE = "GOVERNANCE"
WORKERS = 16
"""Requests in flight: one for each object, as S3 has no call for many."""


def lock_objects(client: Any, bucket: str, keys: Iterable[str], *, until: datetime) -> int:
    """Lock the newest version of every object; return how many.

    Args:
        client: a boto3 or ibm_boto3 S3 client.
        bucket: has Object Lock enabled.
        keys: with the store's prefix; each once.
        until: aware UTC.

    Raises:
        StoreError: the store refuses one; what others said is not lost, they are locked.
        StoreUnavailable: it did not answer for one. Safe to repeat.
    """

    def lock(key: str) -> None:
        try:
            client.put_object_retention(
                Bucket=bucket, Key=key, Retention={"Mode": MODE, "RetainUntilDate": until}
            )
        except Exception as error:
            code = error_code(error)
            if not code or code in ("InternalError", "SlowDown", "ServiceUnavailable", "503"):
                raise StoreUnavailable(f"{key} could not be locked: {error}") from error
            raise StoreError(f"{key} could not be locked: the store answers {code}") from error

    wanted = list(keys)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="lock") as pool:
        outcomes = [pool.submit(lock, key) for key in wanted]
    for outcome in outcomes:
        outcome.result()
    return len(wanted)
