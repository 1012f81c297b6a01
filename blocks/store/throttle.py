"""No more than so many bytes a second, over all threads that share one throttle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import lru_cache


class Throttle:
    """Lets bytes pass at a rate: whoever comes too early waits its turn, in order of asking."""

    def __init__(
        self,
        bytes_per_s: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Begin with nothing owed.

        Args:
            bytes_per_s: the rate, over any stretch longer than one request.
            clock: seconds.
            sleep: waits so many seconds.
        """
        assert bytes_per_s > 0
        self._rate = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Wait until `count` bytes may begin to pass."""
        with self._lock:
            now = self._clock()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._rate
        if begin > now:
            self._sleep(begin - now)


@lru_cache(maxsize=64)
def shared_throttle(place: str, bytes_per_s: int) -> Throttle:
    """Return the throttle of a bucket that all runs of this process share."""
    return Throttle(bytes_per_s)
