"""A store in memory where every call can fail, arrive late, arrive twice, or lie in transit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from faultsim.scheduler import Process, Scheduler

from blocks.errors import AccessDenied, FlashvaultError, ObjectChanged, StoreUnavailable
from blocks.store.base import Buffer, ObjectInfo, PartInfo, UploadInfo
from blocks.store.memory import MemoryStore, MemoryUpload

Answer = TypeVar("Answer")

SIGNATURE_LIFE = timedelta(minutes=15)
"""S3 refuses a request that arrives later than this after it was signed."""


@dataclass(slots=True)
class Rates:
    """How often each fault happens, per call."""

    refuse: float = 0.0
    """An error, and nothing was done: 500, 503, a timeout before the request arrived, 403."""
    doubt: float = 0.0
    """An error, though it was done: the answer was lost."""
    late: float = 0.0
    """An error, and it is done later, perhaps after its sender died."""
    twice: float = 0.0
    """It is done, and once more later."""
    conflict: float = 0.0
    """A conditional write says that the key is taken, though nothing is there (S3's 409)."""
    garble: float = 0.0
    """A read answers with a flipped bit, this time."""
    kill: float = 0.0
    """The process dies when the call was done, before it learns so."""
    slow: float = 0.0
    """The call is done at once, and its answer is long under way: old when it is read."""


class FaultyStore:
    """The door every simulated process uses."""

    reads_errors_as_empty = False
    """For a mutant only."""

    def __init__(self, inner: MemoryStore, scheduler: Scheduler, rates: Rates) -> None:
        self.inner = inner
        self.scheduler = scheduler
        self.rates = rates
        self.in_flight: list[tuple[datetime, Callable[[], object]]] = []
        self.trace: list[str] = []
        self.outage_until = 0
        self.outage_of = ""
        self.garbled: dict[Process | None, str] = {}
        """By process, the object of which it was given wrong bytes the last time it read."""

    @property
    def conditional_put(self) -> bool:
        return self.inner.conditional_put

    @property
    def url(self) -> str:
        return self.inner.url

    def put(self, key: str, data: Buffer, *, if_absent: bool = False) -> ObjectInfo:
        content = bytes(data)
        if if_absent and not self.inner.conditional_put:
            # Two requests on such a store: a look, then the write.
            if self._call("look", key, lambda: self._exists(key)):
                self.inner._refuse_existing(key)
            return self._write("put", key, lambda: self.inner.put(key, content))
        if if_absent and self.scheduler.rng.random() < self.rates.conflict:
            self.scheduler.yield_now()
            self._note("conflict", "put", key)
            raise ObjectChanged(f"put {key}: two conditional writes met, and neither was done")
        return self._write("put", key, lambda: self.inner.put(key, content, if_absent=if_absent))

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        return self._garbled(key, self._call("get", key, lambda: self.inner.get(key, etag=etag)))

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> Buffer:
        read = self._call(
            "range", key, lambda: self.inner.get_range(key, offset, length, etag=etag)
        )
        return self._garbled(key, bytes(read))

    def head(self, key: str) -> ObjectInfo:
        return self._call("head", key, lambda: self.inner.head(key))

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        count = self.scheduler.rng.choice([1, 2, 5, 1000])
        try:
            while True:
                page = self._call("list", prefix, partial(self._page, prefix, after, count))
                if not page:
                    return
                yield from page
                after = page[-1].key
        except StoreUnavailable:
            if not self.reads_errors_as_empty:
                raise

    def _page(self, prefix: str, after: str, count: int) -> Sequence[ObjectInfo]:
        return self.inner.list_page(prefix, after)[:count]

    def prefixes(self, prefix: str = "") -> Iterator[str]:
        yield from self._call("list", prefix, lambda: list(self.inner.prefixes(prefix)))

    def uploads(self, prefix: str = "") -> Iterator[UploadInfo]:
        yield from self._call("uploads", prefix, lambda: list(self.inner.uploads(prefix)))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:  # not atomic: any may be the last that is done
            self._write("delete", key, partial(self.inner.delete, [key]))

    def begin_upload(self, key: str) -> FaultyUpload:
        return FaultyUpload(self, self._write("begin", key, lambda: self.inner.begin_upload(key)))

    def resume_upload(self, key: str, upload_id: str) -> tuple[FaultyUpload, Sequence[PartInfo]]:
        upload, parts = self._call("parts", key, lambda: self.inner.resume_upload(key, upload_id))
        return FaultyUpload(self, upload), parts

    def copy_parts(
        self, target: FaultyUpload, number: int, key: str, offset: int, length: int, *, etag: str
    ) -> PartInfo:
        return target.put_part(number, self.inner.get_range(key, offset, length, etag=etag))

    def begin_outage(self) -> None:
        """For a while, most calls (or only listings) are refused."""
        rng = self.scheduler.rng
        self.scheduler.count("outage")
        self.outage_until = self.scheduler.step + rng.choice([10, 40, 150])
        self.outage_of = rng.choice(["list", ""])

    def end_faults(self) -> None:
        """From now on every call does what it should."""
        self.rates = Rates()
        self.outage_until = 0

    def _is_out(self, what: str) -> bool:
        if self.scheduler.step >= self.outage_until or not what.startswith(self.outage_of):
            return False
        return self.scheduler.rng.random() < 0.8

    def deliver_one_late(self) -> None:
        """Let one request that was on its way arrive."""
        rng = self.scheduler.rng
        signed_at, effect = self.in_flight.pop(rng.randrange(len(self.in_flight)))
        if self.inner._now() > signed_at + SIGNATURE_LIFE:
            self.trace.append("late: expired")
            return
        try:
            effect()
        except FlashvaultError:
            self.trace.append("late: refused")
        else:
            self.trace.append("late: done")

    def _write(self, what: str, key: str, effect: Callable[[], Answer]) -> Answer:
        """Do something that changes the store; it may be done late, or twice."""
        rng, rates = self.scheduler.rng, self.rates
        roll = rng.random()
        if roll < rates.late:
            self._note("late", what, key)
            self.scheduler.yield_now()
            self.in_flight.append((self.inner._now(), effect))
            raise StoreUnavailable(f"{what} {key}: timed out")
        if roll < rates.late + rates.twice:
            self._note("twice", what, key)
            answer = self._call(what, key, effect)
            self.in_flight.append((self.inner._now(), effect))
            return answer
        return self._call(what, key, effect)

    def _call(self, what: str, key: str, effect: Callable[[], Answer]) -> Answer:
        self.scheduler.yield_now()
        rng, rates = self.scheduler.rng, self.rates
        roll = rng.random()
        name = self.scheduler.current.name if self.scheduler.current else "-"
        if self._is_out(what) or roll < rates.refuse:
            self._note("refuse", what, key)
            if rng.random() < 0.1:
                raise AccessDenied(f"{what} {key}: 403")
            raise StoreUnavailable(f"{what} {key}: 503")
        answer = effect()
        self.trace.append(f"{name}: {what} {key}")
        roll -= rates.refuse
        if roll < rates.doubt:
            self._note("doubt", what, key)
            raise StoreUnavailable(f"{what} {key}: the answer was lost")
        if roll < rates.doubt + rates.kill:
            self._note("kill after", what, key)
            self.scheduler.kill_now()
        if rates.slow and rng.random() < rates.slow:
            self._note("slow", what, key)
            self.scheduler.sleep_now(rng.choice([3, 30, 300]))
        return answer

    def _garbled(self, key: str, data: bytes) -> bytes:
        """Flip a bit, but not in two reads of one object in a row: that is how rot is told."""
        rng = self.scheduler.rng
        process = self.scheduler.current
        if not data or rng.random() >= self.rates.garble or self.garbled.get(process) == key:
            self.garbled.pop(process, None)
            return data
        self.garbled[process] = key
        self.scheduler.count("garble")
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]

    def _exists(self, key: str) -> bool:
        return self.inner._is_live(key)

    def _note(self, fault: str, what: str, key: str) -> None:
        self.scheduler.count(fault)
        name = self.scheduler.current.name if self.scheduler.current else "-"
        self.trace.append(f"{name}: {what} {key} [{fault}]")


class FaultyUpload:
    """A multipart upload through the faulty door."""

    def __init__(self, store: FaultyStore, inner: MemoryUpload) -> None:
        self.store = store
        self.inner = inner
        self.key = inner.key
        self.upload_id = inner.upload_id

    def put_part(self, number: int, data: Buffer | Sequence[Buffer]) -> PartInfo:
        return self.store._write("part", self.key, lambda: self.inner.put_part(number, data))

    def complete(self, parts: Sequence[PartInfo]) -> ObjectInfo:
        return self.store._write("complete", self.key, lambda: self.inner.complete(parts))

    def abort(self) -> None:
        self.store._write("abort", self.key, self.inner.abort)
