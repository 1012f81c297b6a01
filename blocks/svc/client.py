"""The array's commands, one method each, named like the command.

A method without an object lists (concise view); with one it shows that object (detailed view). The
client does not decide: idioms of several commands are in `flashcopy` and `replication`.
Source: docs/reference/svc-cli.md §3.
"""

from __future__ import annotations

import logging
from datetime import datetime
from types import TracebackType
from typing import Self, overload

from blocks.errors import SvcAnswerError, SvcError
from blocks.runner import Runner
from blocks.ssh import SshRunner, SshTarget
from blocks.svc.model import (
    ArrayHost,
    ConsistencyGroup,
    Event,
    HostMap,
    Mapping,
    Partnership,
    Relationship,
    RemoteConsistencyGroup,
    Side,
    System,
    Volume,
)
from blocks.svc.parse import parse_clock, parse_created
from blocks.svc.shell import Filter, Options, SvcShell

log = logging.getLogger(__name__)

# SVC counts sessions, not channels, but each channel is a process there: four are plenty.
MAX_CHANNELS = 4


def connect(target: SshTarget) -> SvcClient:
    """Make a client for an array. The connection is opened by the first command."""
    return SvcClient(SshRunner(target, max_channels=MAX_CHANNELS, max_connections=1))


class SvcClient:
    """One array. Safe to use from several threads."""

    def __init__(self, runner: Runner) -> None:
        self.shell = SvcShell(runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where the array answers."""
        return self.shell.address

    def close(self) -> None:
        """Let the array go."""
        self.shell.close()

    # The system and its volumes

    def lssystem(self) -> System:
        """Describe the array."""
        return System.from_record(self.shell.detail("lssystem", None))

    def svqueryclock(self) -> datetime | None:
        """Tell the array's clock in its own zone; None when it does not have the command."""
        try:
            return parse_clock(self.shell.ask("svqueryclock"))
        except SvcError as error:
            log.debug("%s: no clock: %s", self.address, error)
            return None

    def lspartnership(self) -> list[Partnership]:
        """List the systems this one knows; the first is itself."""
        return [Partnership.from_record(row) for row in self.shell.rows("lspartnership")]

    def lseventlog(self, *, filtervalue: Filter | None = None) -> list[Event]:
        """List the event log."""
        rows = self.shell.rows("lseventlog", filtervalue=filtervalue)
        return [Event.from_record(row) for row in rows]

    @overload
    def lsvdisk(self, volume: str) -> Volume: ...

    @overload
    def lsvdisk(self, *, filtervalue: Filter | None = None) -> list[Volume]: ...

    def lsvdisk(
        self, volume: str | None = None, *, filtervalue: Filter | None = None
    ) -> Volume | list[Volume]:
        """Show a volume, or list volumes. Sizes are exact bytes."""
        if volume is not None:
            return Volume.from_record(self.shell.detail("lsvdisk", volume, bytes=True))
        rows = self.shell.rows("lsvdisk", filtervalue=filtervalue, bytes=True)
        return [Volume.from_record(row) for row in rows]

    def mkvdisk(self, *, name: str, mdiskgrp: str, size_bytes: int, iogrp: str = "0") -> str:
        """Create a volume of exactly this size; return its id."""
        options: Options = {
            "name": name,
            "mdiskgrp": mdiskgrp,
            "iogrp": iogrp,
            "size": size_bytes,
            "unit": "b",
        }
        return self._make("mkvdisk", options, name=name, lister="lsvdisk")

    def rmvdisk(self, volume: str) -> None:
        """Delete a volume; refused (CMMVC5840E) while it is mapped or copied."""
        self.shell.ask("rmvdisk", volume)

    def lshost(self, *, filtervalue: Filter | None = None) -> list[ArrayHost]:
        """List the hosts the array knows."""
        rows = self.shell.rows("lshost", filtervalue=filtervalue)
        return [ArrayHost.from_record(row) for row in rows]

    def lshostvdiskmap(self, host: str | None = None) -> list[HostMap]:
        """List the volumes shown to a host, or to all."""
        rows = self.shell.rows_of("lshostvdiskmap", host)
        return [HostMap.from_host_view(row) for row in rows]

    def lsvdiskhostmap(self, volume: str) -> list[HostMap]:
        """List the hosts a volume is shown to."""
        rows = self.shell.rows_of("lsvdiskhostmap", volume)
        return [HostMap.from_volume_view(row) for row in rows]

    def mkvdiskhostmap(
        self, volume: str, *, host: str, scsi: int | None = None, force: bool = False
    ) -> None:
        """Show a volume to a host. `force` allows a second host: CMMVC6071E without."""
        options: Options = {"host": host, "scsi": scsi, "force": force}
        self.shell.ask("mkvdiskhostmap", volume, options)

    def rmvdiskhostmap(self, volume: str, *, host: str) -> None:
        """Take a volume away from a host."""
        self.shell.ask("rmvdiskhostmap", volume, {"host": host})

    # FlashCopy

    @overload
    def lsfcconsistgrp(self, group: str) -> ConsistencyGroup: ...

    @overload
    def lsfcconsistgrp(self, *, filtervalue: Filter | None = None) -> list[ConsistencyGroup]: ...

    def lsfcconsistgrp(
        self, group: str | None = None, *, filtervalue: Filter | None = None
    ) -> ConsistencyGroup | list[ConsistencyGroup]:
        """Show a consistency group with its mappings, or list groups."""
        if group is not None:
            return ConsistencyGroup.from_record(self.shell.detail("lsfcconsistgrp", group))
        rows = self.shell.rows("lsfcconsistgrp", filtervalue=filtervalue)
        return [ConsistencyGroup.from_record(row) for row in rows]

    def mkfcconsistgrp(self, *, name: str, autodelete: bool = False) -> str:
        """Create an empty consistency group; return its id."""
        options: Options = {"name": name, "autodelete": autodelete}
        return self._make("mkfcconsistgrp", options, name=name, lister="lsfcconsistgrp")

    def rmfcconsistgrp(self, group: str, *, force: bool = False) -> None:
        """Delete a consistency group; `force` when it still has mappings."""
        self.shell.ask("rmfcconsistgrp", group, {"force": force})

    def chfcconsistgrp(
        self, group: str, *, name: str | None = None, autodelete: bool | None = None
    ) -> None:
        """Rename a group or change whether it vanishes with its last mapping."""
        options: Options = {"name": name, "autodelete": _on_off(autodelete)}
        self.shell.ask("chfcconsistgrp", group, options)

    def prestartfcconsistgrp(self, group: str, *, restore: bool = False) -> None:
        """Flush the sources' cache: preparing, then prepared. Targets become unreadable."""
        self.shell.ask("prestartfcconsistgrp", group, {"restore": restore})

    def startfcconsistgrp(self, group: str, *, prep: bool = False, restore: bool = False) -> None:
        """Take the snapshot of all mappings at one instant."""
        self.shell.ask("startfcconsistgrp", group, {"prep": prep, "restore": restore})

    def stopfcconsistgrp(self, group: str, *, force: bool = False, split: bool = False) -> None:
        """Stop all mappings: below 100 % progress the targets' data is lost."""
        self.shell.ask("stopfcconsistgrp", group, {"force": force, "split": split})

    @overload
    def lsfcmap(self, mapping: str) -> Mapping: ...

    @overload
    def lsfcmap(self, *, filtervalue: Filter | None = None) -> list[Mapping]: ...

    def lsfcmap(
        self, mapping: str | None = None, *, filtervalue: Filter | None = None
    ) -> Mapping | list[Mapping]:
        """Show a mapping with its `difference`, or list mappings."""
        if mapping is not None:
            return Mapping.from_record(self.shell.detail("lsfcmap", mapping))
        rows = self.shell.rows("lsfcmap", filtervalue=filtervalue)
        return [Mapping.from_record(row) for row in rows]

    def mkfcmap(
        self,
        *,
        source: str,
        target: str,
        name: str | None = None,
        consistgrp: str | None = None,
        copyrate: int = 50,
        incremental: bool = False,
        options: Options | None = None,
    ) -> str:
        """Create a mapping; return its id.

        `copyrate` is 0 (no background copy) to 150; `incremental` cannot be changed later. Rarer
        options (cleanrate, grainsize, autodelete, keeptarget) go into `options`.
        """
        words: Options = {
            "source": source,
            "target": target,
            "name": name,
            "consistgrp": consistgrp,
            "copyrate": copyrate,
            "incremental": incremental,
            **(options or {}),
        }
        return self._make("mkfcmap", words, name=name, lister="lsfcmap")

    def chfcmap(
        self,
        mapping: str,
        *,
        name: str | None = None,
        consistgrp: str | None = None,
        copyrate: int | None = None,
        cleanrate: int | None = None,
        autodelete: bool | None = None,
    ) -> None:
        """Change a mapping."""
        options: Options = {
            "name": name,
            "consistgrp": consistgrp,
            "copyrate": copyrate,
            "cleanrate": cleanrate,
            "autodelete": _on_off(autodelete),
        }
        self.shell.ask("chfcmap", mapping, options)

    def rmfcmap(self, mapping: str, *, force: bool = False) -> None:
        """Delete a mapping; from `stopped` only with `force`, leaving undefined content."""
        self.shell.ask("rmfcmap", mapping, {"force": force})

    def prestartfcmap(self, mapping: str, *, restore: bool = False) -> None:
        """Prepare a mapping that is in no group."""
        self.shell.ask("prestartfcmap", mapping, {"restore": restore})

    def startfcmap(self, mapping: str, *, prep: bool = False, restore: bool = False) -> None:
        """Start a mapping that is in no group."""
        self.shell.ask("startfcmap", mapping, {"prep": prep, "restore": restore})

    def stopfcmap(self, mapping: str, *, force: bool = False, split: bool = False) -> None:
        """Stop a mapping that is in no group."""
        self.shell.ask("stopfcmap", mapping, {"force": force, "split": split})

    def lsfcmapprogress(self, mapping: str) -> int:
        """Tell the background copy's progress in percent."""
        return self._progress("lsfcmapprogress", mapping)

    # Remote copy

    @overload
    def lsrcconsistgrp(self, group: str) -> RemoteConsistencyGroup: ...

    @overload
    def lsrcconsistgrp(
        self, *, filtervalue: Filter | None = None
    ) -> list[RemoteConsistencyGroup]: ...

    def lsrcconsistgrp(
        self, group: str | None = None, *, filtervalue: Filter | None = None
    ) -> RemoteConsistencyGroup | list[RemoteConsistencyGroup]:
        """Show a remote-copy group with its relationships, or list groups."""
        if group is not None:
            return RemoteConsistencyGroup.from_record(self.shell.detail("lsrcconsistgrp", group))
        rows = self.shell.rows("lsrcconsistgrp", filtervalue=filtervalue)
        return [RemoteConsistencyGroup.from_record(row) for row in rows]

    def mkrcconsistgrp(self, *, name: str, cluster: str | None = None) -> str:
        """Create a remote-copy group with another system; return its id."""
        options: Options = {"name": name, "cluster": cluster}
        return self._make("mkrcconsistgrp", options, name=name, lister="lsrcconsistgrp")

    def rmrcconsistgrp(self, group: str, *, force: bool = False) -> None:
        """Delete a remote-copy group; with `force` its relationships stand alone."""
        self.shell.ask("rmrcconsistgrp", group, {"force": force})

    def chrcconsistgrp(self, group: str, *, option: str, value: str | int | None = None) -> None:
        """Change one attribute of a remote-copy group: SVC takes one at a time."""
        self.shell.ask("chrcconsistgrp", group, {option: True if value is None else value})

    def startrcconsistgrp(
        self,
        group: str,
        *,
        primary: Side | None = None,
        force: bool = False,
        clean: bool = False,
    ) -> None:
        """Start copying. `force` accepts losing consistency, `clean` the secondary's changes."""
        self.shell.ask(
            "startrcconsistgrp", group, {"primary": primary, "force": force, "clean": clean}
        )

    def stoprcconsistgrp(self, group: str, *, access: bool = False) -> None:
        """Stop copying; `access` makes a consistent secondary writable."""
        self.shell.ask("stoprcconsistgrp", group, {"access": access})

    def switchrcconsistgrp(self, group: str, *, primary: Side) -> None:
        """Swap the roles of a synchronized group."""
        self.shell.ask("switchrcconsistgrp", group, {"primary": primary})

    @overload
    def lsrcrelationship(self, relationship: str) -> Relationship: ...

    @overload
    def lsrcrelationship(self, *, filtervalue: Filter | None = None) -> list[Relationship]: ...

    def lsrcrelationship(
        self, relationship: str | None = None, *, filtervalue: Filter | None = None
    ) -> Relationship | list[Relationship]:
        """Show a relationship, or list relationships."""
        if relationship is not None:
            return Relationship.from_record(self.shell.detail("lsrcrelationship", relationship))
        rows = self.shell.rows("lsrcrelationship", filtervalue=filtervalue)
        return [Relationship.from_record(row) for row in rows]

    def mkrcrelationship(
        self,
        *,
        master: str,
        aux: str,
        cluster: str,
        name: str | None = None,
        consistgrp: str | None = None,
        is_global: bool = True,
        sync: bool = False,
    ) -> str:
        """Create a relationship to a volume of another system; return its id.

        `is_global` is Global Mirror, else Metro. `sync` swears that both hold the same data.
        """
        options: Options = {
            "master": master,
            "aux": aux,
            "cluster": cluster,
            "name": name,
            "consistgrp": consistgrp,
            "sync": sync,
            "global": is_global,
        }
        return self._make("mkrcrelationship", options, name=name, lister="lsrcrelationship")

    def rmrcrelationship(self, relationship: str, *, force: bool = False) -> None:
        """Delete a relationship; the volumes stay."""
        self.shell.ask("rmrcrelationship", relationship, {"force": force})

    def chrcrelationship(
        self, relationship: str, *, option: str, value: str | int | None = None
    ) -> None:
        """Change one attribute of a relationship: SVC takes one at a time."""
        self.shell.ask("chrcrelationship", relationship, {option: True if value is None else value})

    def startrcrelationship(
        self,
        relationship: str,
        *,
        primary: Side | None = None,
        force: bool = False,
        clean: bool = False,
    ) -> None:
        """Start a relationship that stands alone."""
        options: Options = {"primary": primary, "force": force, "clean": clean}
        self.shell.ask("startrcrelationship", relationship, options)

    def stoprcrelationship(self, relationship: str, *, access: bool = False) -> None:
        """Stop a relationship that stands alone."""
        self.shell.ask("stoprcrelationship", relationship, {"access": access})

    def switchrcrelationship(self, relationship: str, *, primary: Side) -> None:
        """Swap the roles of a relationship that stands alone."""
        self.shell.ask("switchrcrelationship", relationship, {"primary": primary})

    def lsrcrelationshipprogress(self, relationship: str) -> int:
        """Tell the background copy's progress in percent."""
        return self._progress("lsrcrelationshipprogress", relationship)

    def _progress(self, verb: str, object_: str) -> int:
        rows = self.shell.rows_of(verb, object_)
        if not rows:
            raise SvcAnswerError(f"{verb} {object_}: no progress told")
        return rows[0].number("progress", 100)

    def _make(self, verb: str, options: Options, *, name: str | None, lister: str) -> str:
        said = self.shell.ask(verb, None, options)
        try:
            return parse_created(said)
        except SvcAnswerError:
            # With a warning (CMMVC6372W) the object is made, but its id may not be told.
            if name is None:
                raise
        for row in self.shell.rows(lister, filtervalue={"name": name}):
            return row.text("id")
        raise SvcError(f"{verb}: '{name}' was not created: {said.strip()[:80]}", command=verb)


def _on_off(value: bool | None) -> str | None:
    return None if value is None else ("on" if value else "off")
