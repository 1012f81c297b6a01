"""A bounded, order-keeping map over worker threads: the CPU's share of the speed.

The work that is worth a thread (read, hash, compress, decrypt) happens in C and lets go of the
interpreter lock; what stays under the lock is one short call per batch of 4 MiB.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from blocks.errors import Stopped

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    stop: threading.Event | None = None,
) -> Iterator[Result]:
    """Apply `function` to every item on `workers` threads and yield the results in order.

    At most `ahead` items are begun and not yet yielded, which bounds the memory. The first error,
    of an item or of the iterator, ends it; work already begun is waited for.

    Raises:
        Stopped: `stop` was set.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="image") as pool:
        try:
            for item in items:
                if stop is not None and stop.is_set():
                    raise Stopped("stopped as asked")
                waiting.append(pool.submit(function, item))
                while waiting and (len(waiting) >= ahead or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


_END = object()


def read_ahead(items: Iterable[Item], *, depth: int) -> Iterator[Item]:  # noqa: C901 - one thread
    """Draw items from an iterator on a thread of its own, at most `depth` before they are used.

    An error of the iterator is raised here, in its turn. When the consumer leaves early, the
    iterator is closed on its thread before this returns.
    """
    line: queue.Queue[Any] = queue.Queue(maxsize=depth)
    left = threading.Event()

    def draw() -> None:
        source = iter(items)
        try:
            for item in source:
                while not left.is_set():
                    try:
                        line.put((item, None), timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if left.is_set():
                    break
            ending: tuple[Any, BaseException | None] = (_END, None)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the consumer
            ending = (_END, error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        while not left.is_set():
            try:
                line.put(ending, timeout=0.1)
                break
            except queue.Full:
                continue

    thread = threading.Thread(target=draw, name="image-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = line.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        left.set()
        thread.join()
