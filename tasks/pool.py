"""Threads that fetch, decode and write, and how their users wait for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from blocks.errors import Stopped


@contextmanager
def bounded_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool that drops what has not begun when its user leaves with an error."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="restore")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def workers_for(count: int | None) -> int:
    """Threads that fetch, decode and write: they mostly wait for network and disk."""
    return count or max(4, 2 * (os.cpu_count() or 1))


def wait_all(futures: Sequence[Future[None]], stop: threading.Event) -> None:
    """Wait for all; the first error stops the others from beginning."""
    for future in futures:
        try:
            future.result()
        except BaseException:
            for other in futures:
                other.cancel()
            raise
    if stop.is_set():
        raise Stopped("stopped as asked")
