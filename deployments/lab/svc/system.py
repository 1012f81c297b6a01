"""One array: its objects, and `run`, which answers one command line.

All arrays of a lab share one lock: a command, and the step of time before it, happen at one
instant with respect to every other command. That makes a group's start atomic.
"""

from __future__ import annotations

import collections
import datetime
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.lab.svc import (
    about,
    copies,
    flashcopy,
    hosts,
    inventory,
    mapping_views,
    mappings,
    mirror,
    partnerships,
    remote,
    remote_views,
    spec,
    surroundings,
    users,
    volume_views,
    volumes,
)
from deployments.lab.svc.beyond import BEYOND
from deployments.lab.svc.commands import COMMANDS, Command, Done, Help, parse, usage
from deployments.lab.svc.model import ArrayState, Clock, Shelf, Volume
from deployments.lab.svc.naming import find
from deployments.lab.svc.refusals import Refusal

ROOMS = (
    about,
    copies,
    hosts,
    inventory,
    mapping_views,
    mappings,
    partnerships,
    remote,
    remote_views,
    spec,
    surroundings,
    users,
    volume_views,
    volumes,
)
"""Importing these registers their commands."""

SETTLE_LIMIT_S = 600.0
AUDIT_LIMIT = 1000
PREFIXES = {"svcinfo", "svctask", "sainfo", "satask"}


@dataclass(frozen=True)
class Action:
    """A line of the audit log."""

    at: str
    status: int
    made: str
    line: str


@dataclass(frozen=True)
class Output:
    """What a command answered."""

    stdout: str = ""
    stderr: str = ""
    status: int = 0


@dataclass
class Faults:
    """What goes wrong on purpose; each is set by `lab fault` and clears itself where it says so.

    `next_code` refuses the next commands whose name starts with `next_command`, `next_count` times.
    """

    busy: int = 0
    flush_fails: int = 0
    next_command: str = ""
    next_code: str = ""
    next_count: int = 0
    login_refused: int = 0
    warn_next: str = ""


@dataclass
class Network:
    """What joins the arrays of a lab: who is there, and which links are cut."""

    systems: dict[str, System] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)

    def is_up(self, first: System, second: System) -> bool:
        """Say whether two arrays reach one another."""
        pair = frozenset({first.state.name, second.state.name})
        return not (first.is_dead or second.is_dead or pair in self.cut)

    def outages(self) -> dict[str, list[Any]]:
        """Return what is broken, as it is kept."""
        dead = [name for name, system in self.systems.items() if system.is_dead]
        return {"cut": sorted(sorted(pair) for pair in self.cut), "dead": dead}

    def restore(self, outages: dict[str, list[Any]]) -> None:
        """Break what was broken when `outages` was asked."""
        self.cut = {frozenset(pair) for pair in outages["cut"]}
        for name in outages["dead"]:
            self.systems[name].is_dead = True


@dataclass
class System:
    """One array."""

    state: ArrayState
    shelf: Shelf
    clock: Clock
    lock: threading.RLock = field(default_factory=threading.RLock)
    faults: Faults = field(default_factory=Faults)
    network: Network = field(default_factory=Network)
    audit: collections.deque[Action] = field(
        default_factory=lambda: collections.deque(maxlen=AUDIT_LIMIT)
    )
    is_dead: bool = False
    """Power is off: it answers nobody, and its volumes are out of reach."""
    changed: Callable[[], None] = lambda: None
    """Called under the lock after anything a host could see, or the state file, has changed."""

    def run(self, words: list[str]) -> Output:
        """Answer one command line, already split into words."""
        if words[0].rpartition("/")[2] in PREFIXES:
            words = words[1:] if words[1:] and words[1] not in {"-h", "-?"} else ["help"]
        name = words[0].rpartition("/")[2]
        if name in BEYOND:
            return Output(stderr=f"{Refusal('CMMVC7205E')}\n", status=1)
        if name not in COMMANDS:
            return Output(stderr=f"rbash: {words[0]}: command not found\n", status=127)
        known = COMMANDS[name]
        try:
            with self.lock:
                text, warning, settled = self._answer([name, *words[1:]])
            self._wait(settled)
        except Help:
            return Output(stdout=usage(known))
        except Refusal as refusal:
            self._note(known, words, "", refusal.status)
            return Output(stderr=f"{refusal}\n", status=refusal.status)
        self._note(known, words, text, 0)
        return Output(stdout=text, stderr=warning)

    def _answer(self, words: list[str]) -> tuple[str, str, Callable[[], bool] | None]:
        self.fail_on_purpose(words[0])
        self.advance()
        known, request = parse(words)
        answer = known.handler(self, request)
        if not isinstance(answer, Done):
            return answer.text(request.form), "", None
        self.changed()
        warning, self.faults.warn_next = self.faults.warn_next, ""
        return answer.text, f"{Refusal(warning)}\n" if warning else "", answer.settled

    def _wait(self, settled: Callable[[], bool] | None) -> None:
        """Wait, without the lock, until a command that answers late has happened."""
        deadline = self.clock.now() + SETTLE_LIMIT_S
        while settled and self.clock.now() < deadline:
            self.clock.sleep(0.02)
            with self.lock:
                self.advance()
                if settled():
                    return

    def _note(self, known: Command, words: list[str], text: str, status: int) -> None:
        """Keep an action for the audit log; a secret is not kept."""
        if known.is_view or known.name in {"help", "catxmlspec", "svqueryclock"}:
            return
        made = re.search(r"\[(\d+)\]", text)
        shown = [
            "***" if before in {"-chapsecret", "-password"} else word
            for before, word in zip(["", *words], words, strict=False)
        ]
        line = " ".join(["svctask", *shown])
        self.audit.append(Action(self.stamp(), status, made.group(1) if made else "", line))

    def fail_on_purpose(self, name: str) -> None:
        """Refuse the command when a fault switch says so."""
        faults = self.faults
        if faults.busy > 0:
            faults.busy -= 1
            raise Refusal("CMMVC5786E", status=11)
        if faults.next_count > 0 and name.startswith(faults.next_command):
            faults.next_count -= 1
            raise Refusal(faults.next_code)

    def advance(self) -> None:
        """Let the array catch up with the clock."""
        if self.is_dead:
            return
        moved = flashcopy.advance(self)
        if mirror.advance(self) or moved:
            self.changed()

    def stamp(self) -> str:
        """Return the time as FlashCopy prints it, YYMMDDhhmmss."""
        moment = datetime.datetime.fromtimestamp(self.clock.now(), tz=datetime.UTC)
        return moment.strftime("%y%m%d%H%M%S")

    def volume(self, word: str) -> Volume:
        """Find a volume by id, name or UID."""
        for volume in self.state.volumes.values():
            if word.upper() == volume.uid:
                return volume
        return find(self.state.volumes, word)

    def relationships_of(self, volume: Volume) -> list[tuple[int, str]]:
        """List the remote-copy relationships of a volume, as (id, name)."""
        return [
            (each.id, each.name)
            for each in self.state.relationships.values()
            if volume.name == mirror.volume_here(self, each)
        ]

    def known_systems(self) -> list[tuple[str, str, str]]:
        """List this system and its partners, as (id, name, local or remote)."""
        partners = [(each.id, each.name, "remote") for each in self.state.partners.values()]
        return [(self.state.id, self.state.name, "local"), *partners]

    def is_online(self, volume: Volume) -> bool:
        """Say whether the volume's status is online (a prepared target is, though unreadable)."""
        return not volume.is_offline and flashcopy.is_online(self, volume)

    def volumes_of(self, host: str) -> list[Volume]:
        """List the volumes mapped to a host, by SCSI id."""
        number = next((each.id for each in self.state.hosts.values() if each.name == host), None)
        shown = [shown for shown in self.state.host_maps if shown.host == number]
        return [self.state.volumes[m.volume] for m in sorted(shown, key=lambda m: m.scsi_id)]

    def volume_of(self, host: str, uid: str) -> Volume | None:
        """Return the volume of this UID, if it is mapped to a host."""
        volume = next((each for each in self.state.volumes.values() if each.uid == uid), None)
        number = next((each.id for each in self.state.hosts.values() if each.name == host), None)
        is_mapped = volume is not None and any(
            shown.host == number and shown.volume == volume.id for shown in self.state.host_maps
        )
        return volume if is_mapped else None

    def can_access(self, volume: Volume) -> bool:
        """Say whether a host can read the volume now."""
        if self.is_dead or volume.is_offline or not mirror.is_readable(self, volume):
            return False
        return flashcopy.is_accessible(self, volume)

    def can_write(self, volume: Volume) -> bool:
        """Say whether a host can write the volume now."""
        return self.can_access(volume) and mirror.is_writable(self, volume)
