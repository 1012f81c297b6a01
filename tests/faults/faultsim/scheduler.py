"""Processes as greenlets, interleaved at every call to the store, killed and paused at will."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from greenlet import getcurrent, greenlet

from blocks.catalog.owner import Owner

CALLS_MAX = 20_000
"""A schedule that needs more calls is not making progress."""


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may see it as an error."""


class NoProgress(AssertionError):
    """The schedule does not end."""


@dataclass(eq=False)
class Process:
    """One process of one host."""

    name: str
    host: str
    number: int
    body: Callable[[], None]
    green: greenlet | None = None
    is_alive: bool = True
    asleep_until: int = 0
    priority: float = 0.0

    @property
    def owner(self) -> Owner:
        """How the process appears in an intent."""
        return Owner(
            host=self.host,
            boot_id="boot",
            pid_namespace="pid",
            pid=self.number,
            started_ticks=self.number,
        )


@dataclass
class Scheduler:
    """Chooses which process makes its next call.

    Three ways of choosing, by seed: any at random; mostly the same one again; or by priorities
    that change a few times (which finds orders that need one long pause at one exact place).
    """

    rng: Random
    kill_rate: float = 0.0
    pause_rate: float = 0.0
    processes: list[Process] = field(default_factory=list)
    step: int = 0
    calls: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    on_step: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.way = self.rng.choice(["random", "sticky", "priorities"])
        self.stickiness = self.rng.uniform(0.5, 0.98)
        self.changes = {self.rng.randrange(1, 900) for _ in range(self.rng.randrange(1, 6))}
        self.current: Process | None = None
        self.last: Process | None = None
        self.number = 0

    def spawn(self, name: str, host: str, body: Callable[[], None]) -> Process:
        """Add a process; it begins when it is first chosen."""
        self.number += 1
        process = Process(name, host, self.number, body, priority=self.rng.random())
        process.green = greenlet(self._life(process))
        self.processes.append(process)
        return process

    def run(self) -> None:
        """Let the processes live until all have ended."""
        while living := [process for process in self.processes if process.is_alive]:
            self.step += 1
            if self.calls > CALLS_MAX:
                raise NoProgress(f"{[process.name for process in living]} after {self.calls} calls")
            self.on_step()
            awake = [process for process in living if process.asleep_until <= self.step]
            if not awake:
                self.step = min(process.asleep_until for process in living)
                continue
            self._resume(self._choose(awake))

    def is_owner_alive(self, owner: Owner, asked_on: str) -> bool | None:
        """Answer as the real `is_alive` does on a host."""
        return self.is_alive(owner) if owner.host == asked_on else None

    def is_alive(self, owner: Owner) -> bool:
        """Answer as an operator who went and looked."""
        return any(p.is_alive and p.number == owner.pid for p in self.processes)

    def yield_now(self) -> None:
        """Let others run; called in a process before each effect on the store."""
        process = self.current
        if process is None:
            return
        if not process.is_alive:
            raise Killed  # clean-up code of a killed process reaches nothing
        assert process.green is getcurrent()
        assert process.green.parent is not None
        process.green.parent.switch()

    def sleep_now(self, steps: int) -> None:
        """Let others run for so many steps before the process goes on."""
        if self.current is not None:
            self.current.asleep_until = self.step + steps
            self.yield_now()

    def kill_now(self) -> None:
        """Kill the process that is running, here."""
        assert self.current is not None
        self.count("kill")
        self.current.is_alive = False
        raise Killed

    def count(self, what: str) -> None:
        """Count an injected fault."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def _life(self, process: Process) -> Callable[[], None]:
        def life() -> None:
            try:
                process.body()
            except Killed:
                pass
            finally:
                process.is_alive = False

        return life

    def _choose(self, awake: list[Process]) -> Process:
        if self.way == "random":
            return self.rng.choice(awake)
        if self.way == "sticky":
            if self.last in awake and self.rng.random() < self.stickiness:
                assert self.last is not None
                return self.last
            return self.rng.choice(awake)
        chosen = max(awake, key=lambda process: (process.priority, process.number))
        if self.step in self.changes:
            chosen.priority = -self.rng.random()
            chosen = max(awake, key=lambda process: (process.priority, process.number))
        return chosen

    def _resume(self, process: Process) -> None:
        self.last = self.current = process
        roll = self.rng.random()
        assert process.green is not None
        try:
            if roll < self.kill_rate and process.green:
                self.count("kill")
                process.is_alive = False
                process.green.throw(Killed)
            elif roll < self.kill_rate + self.pause_rate:
                self.count("pause")
                process.asleep_until = self.step + self.rng.choice([3, 30, 300, 3000])
            else:
                self.calls += 1
                process.green.switch()
        finally:
            self.current = None
