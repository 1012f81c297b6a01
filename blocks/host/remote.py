"""A disk of another machine, read and written through `dd` over its session.

Starting a command costs tens of milliseconds, so neighbouring reads share one: a run of the disk is
streamed, and reads that continue where the last one ended are served from it, from whichever
thread they come. The first command of a run is short, the next ones grow. Only the command's exit
status proves that a stream was whole; a stream that ends early raises `ShortRead`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from blocks.errors import FlashvaultError, HostError, ShortRead
from blocks.host.base import Buffer
from blocks.host.compare import RemoteComparison, start_comparison
from blocks.runner import Completed, InStream, OutStream, Runner
from blocks.units import GIB, MIB

log = logging.getLogger(__name__)

FIRST_RUN_BYTES = 64 * MIB
MAX_RUN_BYTES = 512 * MIB
# Ending a write waits for the disk, so such commands are longer; none may wear out a connection
# (`blocks.ssh`), whatever the size of the disk.
MAX_WRITE_RUN_BYTES = 4 * GIB
GROWTH = 8
MAX_RUNS = 3
# How far ahead of a stream a read may be and still wait a moment for the reads in between.
NEAR_BYTES = 64 * MIB
NEAR_WAIT_S = 0.05
ZERO_COMMAND_FROM = 4 * MIB
# A disk may think for a long time (path failover) before the next byte.
SILENCE_S = 300.0
SECTOR_BYTES = 512

RangeCommand = Callable[[str, int, int], str]
"""(path, offset, length) to the command that streams this range of the disk."""


class _ReadRun:
    """One command that streams a range; `claimed` is where the next reader would go on."""

    def __init__(self, stream: OutStream, path: str, start: int, end: int) -> None:
        self.claimed = start
        self.end = end
        self.start = start
        self._stream = stream
        self._path = path
        self._position = start
        self._turn = threading.Condition()
        self._failure: FlashvaultError | None = None
        self._is_open = True

    @property
    def is_idle(self) -> bool:
        return self._position == self.claimed

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer when the stream has come to this offset."""
        with self._turn:
            while self._position != offset and self._failure is None:
                self._turn.wait()
            if self._failure is not None:
                raise self._failure
        try:
            self._fill(buffer)
        except BaseException as error:
            # Whoever waits for its turn behind this read must not wait for ever.
            with self._turn:
                self._failure = _named(error, f"reading {self._path} was given up")
                self._turn.notify_all()
            self.close()
            raise
        with self._turn:
            self._position += len(buffer)
            self._turn.notify_all()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._stream.close()

    def _fill(self, buffer: memoryview) -> None:
        filled = 0
        while filled < len(buffer):
            count = self._stream.read_into(buffer[filled:])
            if count == 0:
                self._raise_short(self._position + filled)
            filled += count
        if self._position + filled == self.end:
            done = self._stream.finish()
            if done.status != 0:
                raise HostError(f"reading {self._path} failed: {_reason(done)}")
            if done.stdout:
                raise HostError(f"reading {self._path} brought more than was asked for")
            self.close()

    def _raise_short(self, reached: int) -> None:
        done = self._stream.finish()
        raise ShortRead(
            f"{self._path} ended at {reached}, {self.end - reached} bytes before the end of the "
            f"range asked for: {_reason(done)}"
        )


class RemoteReader:
    """A disk of another machine, open for reading."""

    def __init__(
        self, runner: Runner, path: str, size_bytes: int, *, read_command: RangeCommand
    ) -> None:
        self._runner = runner
        self._path = path
        self._size_bytes = size_bytes
        self._read_command = read_command
        self._lock = threading.Condition()
        self._runs: list[_ReadRun] = []
        self._ended: dict[int, int] = {}

    @property
    def size_bytes(self) -> int:
        """The disk's size."""
        return self._size_bytes

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk (see `Reader.read_into`)."""
        if offset < 0 or offset + len(buffer) > self._size_bytes:
            raise ShortRead(
                f"{self._path} has {self._size_bytes} bytes, "
                f"not the {offset + len(buffer)} this read needs"
            )
        while len(buffer):
            run, count = self._claim(offset, len(buffer))
            run.read_into(offset, buffer[:count])
            offset += count
            buffer = buffer[count:]

    def data_runs(self) -> Iterator[tuple[int, int]]:
        """Yield the whole disk: nothing is known about its zeros from here."""
        if self._size_bytes:
            yield 0, self._size_bytes

    def can_compare(self) -> bool:
        """Ask the node whether it can compare the disk itself."""
        probe = self.compare(0, 0, memoryview(b""), extent_bytes=SECTOR_BYTES, batch_extents=1)
        if probe is None:
            return False
        try:
            probe.finish()
        except HostError as error:
            log.info("node=%s cannot compare: %s", self._runner.address, error)
            return False
        finally:
            probe.close()
        return True

    def compare(
        self, offset: int, length: int, known: memoryview, *, extent_bytes: int, batch_extents: int
    ) -> RemoteComparison | None:
        """Let the node compare a range (see `ComparingReader.compare`)."""
        return start_comparison(
            self._runner,
            self._path,
            offset,
            length,
            known,
            extent_bytes=extent_bytes,
            batch_extents=batch_extents,
            timeout_s=SILENCE_S,
        )

    def close(self) -> None:
        """End the commands that still run."""
        with self._lock:
            runs, self._runs = self._runs, []
        for run in runs:
            run.close()

    def _claim(self, offset: int, length: int) -> tuple[_ReadRun, int]:
        """Find the run that comes to this offset next, or start one; take up to `length` of it."""
        with self._lock:
            run = self._find(offset)
            if run is None and any(
                0 < offset - other.claimed <= NEAR_BYTES and offset < other.end
                for other in self._runs
            ):
                self._lock.wait_for(lambda: self._find(offset) is not None, NEAR_WAIT_S)
                run = self._find(offset)
            if run is None:
                run = self._open(offset, length)
            count = min(length, run.end - offset)
            run.claimed += count
            if run.claimed == run.end:
                self._runs.remove(run)
                self._ended[run.end] = run.end - run.start
            self._lock.notify_all()
            return run, count

    def _find(self, offset: int) -> _ReadRun | None:
        return next((run for run in self._runs if run.claimed == offset), None)

    def _open(self, offset: int, length: int) -> _ReadRun:
        before = self._ended.pop(offset, 0)
        if before:
            wanted = min(before * GROWTH, MAX_RUN_BYTES)
        else:
            wanted = FIRST_RUN_BYTES if offset == 0 else length
        end = min(offset + max(wanted, length), self._size_bytes)
        idle = [run for run in self._runs if run.is_idle]
        if len(self._runs) >= MAX_RUNS and idle:
            self._runs.remove(idle[0])
            idle[0].close()
        command = self._read_command(self._path, offset, end - offset)
        stream = self._runner.stream_out(command, timeout_s=SILENCE_S)
        run = _ReadRun(stream, self._path, offset, end)
        self._runs.append(run)
        return run


def _named(error: BaseException, otherwise: str) -> FlashvaultError:
    return error if isinstance(error, FlashvaultError) else HostError(otherwise)


def _reason(done: Completed) -> str:
    said = " ".join(done.stderr.split())[:300]
    status = f"status {done.status}" if done.status >= 0 else "killed"
    return f"{status}: {said}" if said else status


class _WriteRun:
    """One command that takes a range from `start` on, as long as writes continue each other."""

    def __init__(self, stream: InStream, path: str, start: int) -> None:
        self.start = start
        self.claimed = start
        self._stream = stream
        self._path = path
        self._position = start
        self._turn = threading.Condition()
        self._failure: FlashvaultError | None = None

    @property
    def is_idle(self) -> bool:
        return self._position == self.claimed

    def write(self, offset: int, data: memoryview) -> None:
        with self._turn:
            while self._position != offset and self._failure is None:
                self._turn.wait()
            if self._failure is not None:
                raise self._failure
        try:
            self._stream.write(data)
        except BaseException as error:
            # Whoever waits for its turn behind this write must not wait for ever.
            self._fail(_named(error, f"writing {self._path} was given up"))
            raise
        with self._turn:
            self._position += len(data)
            self._turn.notify_all()

    def finish(self) -> None:
        """Wait until all of it is on the disk, said so by the command's exit status."""
        with self._stream as stream:
            with self._turn:
                while not self.is_idle and self._failure is None:
                    self._turn.wait()
                if self._failure is not None:
                    raise self._failure
            done = stream.finish()
        if done.status != 0:
            error = HostError(f"writing {self._path} failed: {_reason(done)}")
            self._fail(error)
            raise error

    def close(self) -> None:
        self._stream.close()

    def _fail(self, error: FlashvaultError) -> None:
        with self._turn:
            self._failure = error
            self._turn.notify_all()


class RemoteWriter(RemoteReader):
    """A disk of another machine, open for writing (and reading back)."""

    def __init__(
        self,
        runner: Runner,
        path: str,
        size_bytes: int,
        *,
        read_command: RangeCommand,
        write_command: Callable[[str, int], str],
        zero_command: RangeCommand,
    ) -> None:
        super().__init__(runner, path, size_bytes, read_command=read_command)
        self._write_command = write_command
        self._zero_command = zero_command
        self._write_lock = threading.Condition()
        self._write_runs: list[_WriteRun] = []
        self._is_dirty = False
        self._failure: FlashvaultError | None = None

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from the disk, after everything written so far."""
        if self._is_dirty:
            self.flush()
        super().read_into(offset, buffer)

    def write(self, offset: int, data: Buffer) -> None:
        """Send all of it; only `flush` knows that it arrived on the disk."""
        view = memoryview(data).cast("B")
        self._check_range(offset, len(view))
        self._settle(offset, len(view))
        with self._remembered():
            run, is_last = self._claim_write(offset, len(view))
            try:
                run.write(offset, view)
            except BaseException:
                if is_last:
                    run.close()
                raise
        if is_last:
            self._finish([run])

    def zero(self, offset: int, length: int) -> None:
        """Write zeros; long ranges are made on the node itself."""
        self._check_range(offset, length)
        if length < ZERO_COMMAND_FROM:
            self.write(offset, bytes(length))
            return
        self._settle(offset, length)
        command = self._zero_command(self._path, offset, length)
        with (
            self._remembered(),
            self._runner.stream_out(command, timeout_s=_zero_timeout(length)) as stream,
        ):
            done = stream.finish()
            if done.status != 0:
                raise HostError(f"writing zeros to {self._path} failed: {_reason(done)}")

    def flush(self) -> None:
        """Return when all writes are on stable storage, or raise the first failure."""
        # A reader's stream may hold bytes from before these writes.
        self._forget_reads()
        with self._write_lock:
            runs, self._write_runs = self._write_runs, []
            self._is_dirty = False
        self._finish(runs)

    def close(self) -> None:
        """End the commands that still run; without `flush` nothing is promised."""
        with self._write_lock:
            runs, self._write_runs = self._write_runs, []
        for run in runs:
            run.close()
        super().close()

    def _forget_reads(self) -> None:
        super().close()

    def _settle(self, offset: int, length: int) -> None:
        """Wait for earlier writes to this range: another command could overtake them."""
        with self._write_lock:
            earlier = [
                run
                for run in self._write_runs
                if run.start < offset + length and offset < run.claimed
            ]
            for run in earlier:
                self._write_runs.remove(run)
            self._is_dirty = True
        self._finish(earlier)

    def _finish(self, runs: Sequence[_WriteRun]) -> None:
        for run in runs:
            with suppress(FlashvaultError), self._remembered():
                run.finish()
        # What failed once stays failed: its bytes are not on the disk.
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """Keep the first failure for `flush`, whoever met it."""
        try:
            yield
        except FlashvaultError as error:
            self._failure = self._failure or error
            raise

    def _check_range(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self._size_bytes:
            raise HostError(
                f"{self._path} has {self._size_bytes} bytes, "
                f"not the {offset + length} this write needs"
            )

    def _claim_write(self, offset: int, length: int) -> tuple[_WriteRun, bool]:
        """Find or start the run that takes this range; say whether the run ends with it."""
        retired = None
        with self._write_lock:
            run = self._find_write(offset)
            if run is None and any(
                0 < offset - other.claimed <= NEAR_BYTES for other in self._write_runs
            ):
                self._write_lock.wait_for(lambda: self._find_write(offset) is not None, NEAR_WAIT_S)
                run = self._find_write(offset)
            if run is None:
                idle = [other for other in self._write_runs if other.is_idle]
                if len(self._write_runs) >= MAX_RUNS and idle:
                    retired = idle[0]
                    self._write_runs.remove(retired)
                command = self._write_command(self._path, offset)
                stream = self._runner.stream_in(command, timeout_s=SILENCE_S)
                run = _WriteRun(stream, self._path, offset)
                self._write_runs.append(run)
            run.claimed += length
            is_last = run.claimed - run.start >= MAX_WRITE_RUN_BYTES
            if is_last:
                self._write_runs.remove(run)
            self._write_lock.notify_all()
        if retired is not None:
            self._finish([retired])
        return run, is_last

    def _find_write(self, offset: int) -> _WriteRun | None:
        return next((run for run in self._write_runs if run.claimed == offset), None)


def _zero_timeout(length: int) -> float:
    # The command says nothing until it is done: allow for a disk of 10 MB/s.
    return SILENCE_S + length / 10e6
