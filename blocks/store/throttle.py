"""No more than so many bytes a second, over all threads, and all processes, that share a throttle.

The processes of one machine share it through a small file: when the next byte may begin to pass, on
the clock all of them have since the machine was started. Whoever cannot have the file's lock at
once goes on by its own count: a limit spares a line, it never holds a backup up.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

LOCK_TRIES = 20
LOCK_PAUSE_S = 0.01
RECORD_BYTES = 128


@dataclass(frozen=True, slots=True)
class Pace:
    """Bytes a second by time of day; 0 means no limit."""

    otherwise: int = 0
    hours: tuple[tuple[int, int, int], ...] = ()
    """(first minute of the day, minute after the last, bytes a second); may go over midnight."""
    zone: str = "UTC"
    shared_in: str = ""
    """A directory in which the machine's processes share what they may send."""

    def at(self, moment: datetime) -> int:
        """Return the rate at a moment."""
        local = moment.astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        for first, end, rate in self.hours:
            is_within = first <= minute < end if first < end else minute >= first or minute < end
            if is_within:
                return rate
        return self.otherwise


class Throttle:
    """Lets bytes pass at a rate: whoever comes too early waits its turn, in order of asking."""

    def __init__(
        self,
        rate: int | Callable[[], int],
        *,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Begin with nothing owed.

        Args:
            rate: bytes a second, over any stretch longer than one request; what tells it now, if
                it changes. 0 lets everything pass.
            ledger: shared with other processes; alone without.
            clock: seconds.
            sleep: waits so many seconds.
        """
        self._rate = rate if callable(rate) else lambda: rate
        self._ledger = ledger
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Wait until `count` bytes may begin to pass."""
        rate = self._rate()
        if not rate:
            return
        cost = count / rate
        with self._lock:
            now = self._clock()
            begin = self._ledger.book(now, cost) if self._ledger is not None else None
            if begin is None:
                begin = max(now, self._free_at)
            self._free_at = begin + cost
        if begin > now:
            self._sleep(begin - now)


class Ledger:
    """A file that says when the next byte of this machine may pass."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def book(self, now: float, cost: float) -> float | None:
        """Take the next free stretch of `cost` seconds; None if the file cannot be had."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return None
        try:
            if not _locked(descriptor):
                return None
            begin = max(now, self._free_at(descriptor))
            record = f"{self._boot} {begin + cost!r}".encode()
            os.pwrite(descriptor, record.ljust(RECORD_BYTES), 0)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return begin

    def _free_at(self, descriptor: int) -> float:
        words = os.pread(descriptor, RECORD_BYTES, 0).decode(errors="replace").split()
        if len(words) == 2 and words[0] == self._boot:  # before this boot the clock was another
            with suppress(ValueError):
                return float(words[1])
        return 0.0


def _locked(descriptor: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return True
    return False


@lru_cache(maxsize=64)
def shared_throttle(place: str, pace: Pace) -> Throttle:
    """Return the throttle of a bucket that all runs with this pace share."""
    ledger = None
    if pace.shared_in:
        name = sha256(f"{place} {pace}".encode()).hexdigest()[:32]
        ledger = Ledger(Path(pace.shared_in) / name)
    return Throttle(lambda: pace.at(datetime.now(UTC)), ledger=ledger)
