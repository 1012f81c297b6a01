"""Prove a restore on disks nobody needs: scratch files of our own, or disks given for it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from blocks.catalog import shelf
from blocks.catalog.drills import read_drills
from blocks.errors import ConfigError, FlashvaultError, Refused
from blocks.host.base import Disk, Host
from blocks.host.linux import LinuxHost
from blocks.policy.drilling import why_no_drill
from blocks.policy.recovery import RestorePlan
from blocks.profile.model import BackupProfile
from blocks.runner import LocalRunner
from blocks.units import format_size
from tasks.importing import Imported, name_beside
from tasks.inside import faults_of
from tasks.journal import state_directory
from tasks.open import array, configuration, host
from tasks.plan import Asked, configured, find, open_source
from tasks.restore import RestoredDisk
from tasks.run import Run
from tasks.steps import CONTROL_S, run_log, step
from tasks.targets import spelled_out

SCRATCH = "scratch"
IMPORTED = "imported"
PROBE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a drill is to do; what a person did not say is the profile's."""

    asked: Asked
    profile: BackupProfile | None
    """None with nothing but a bucket."""

    directory: str
    command: str
    fsck: bool
    mount: bool
    is_scheduled: bool


def wished(
    asked: Asked, *, directory: str, command: str, fsck: bool, mount: bool, is_scheduled: bool
) -> Wish:
    """Complete what a person asked for by the profile's DRILL_ attributes, if there is one.

    Raises:
        ConfigError: there is no such group.
    """
    wanted = configured(asked)
    profile = wanted.profile(asked.group) if wanted is not None else None
    if profile is not None:
        if not asked.to and not directory:
            asked = replace(asked, to=dict(profile.drill_targets))
            directory = profile.drill_directory or ""
        command = command or profile.drill_probe or ""
        fsck, mount = fsck or profile.drill_fsck, mount or profile.drill_mount
    return Wish(asked, profile, directory, command, fsck, mount, is_scheduled)


@step(name="due-{wish.asked.group}", timeout_s=CONTROL_S)
def why_skip(run: Run, wish: Wish, now: datetime) -> str:
    """Say why a scheduled drill is not made now; empty when it is, and for a person always.

    Raises:
        StoreError: the bucket cannot be read: that is not the same as no restore point.
    """
    run.check()
    if not wish.is_scheduled or wish.profile is None:
        return ""
    group = wish.asked.group
    source = open_source(configured(wish.asked), wish.asked)
    if reason := why_no_drill(wish.profile, read_drills(source, group), now):
        return reason
    return "" if shelf.points(source, group) else "there is no restore point to drill with yet"


@step(name="scratch-{asked.group}")
def scratch_targets(run: Run, asked: Asked, directory: str) -> dict[str, str]:
    """Choose where the drill restores to, and make room for it.

    Returns:
        Disk (or volume) of the point → disk of the node as given, or a file in a scratch directory
        of our own.
    """
    if asked.to:
        return dict(asked.to)
    point = find(open_source(configured(asked), asked), asked)
    place = Path(directory) if directory else state_directory() / "drills"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(place).free
    needed = sum(volume.size_bytes - volume.zero_bytes for volume in point.volumes)
    if needed > free:
        raise ConfigError(
            f"{place} has {format_size(free)} free, the drill needs {format_size(needed)}",
            hint="Choose another directory (--scratch, DRILL_DIRECTORY), or give the drill disks:"
            " --to hdisk18=hdisk30, DRILL_TARGETS.",
        )
    own = place / run.id
    run.journal.made(SCRATCH, directory=str(own))
    own.mkdir(mode=0o700)
    return spelled_out(point, {"": str(own)})


@step(name="production-{asked.group}", timeout_s=CONTROL_S)
def refuse_production(run: Run, asked: Asked, planned: RestorePlan) -> None:
    """Refuse disks that somebody may need: a drill writes over its targets unasked.

    A disk is somebody's if it is a volume of the restore point, if the array copies to or from it
    (FlashCopy, remote copy), or if it is in a volume group that no drill made. A disk in use is
    refused by every restore.

    Raises:
        Refused: one of them is.
        Unreachable: the array cannot be asked, so that nobody knows.
    """
    run.check()
    given = _as_disks(planned)
    if not given:
        return  # scratch files of our own
    production = {volume.uid: f"{volume.name} of {asked.group}" for volume in planned.point.volumes}
    left_by_drills = {name_beside(v.volume_group) for v in planned.point.volumes}
    if any(disk.uid for disk in given):
        production |= copied_volumes(asked)
    for disk in given:
        why = ""
        if disk.uid in production:
            why = f"is a production disk ({production[disk.uid]})"
        elif disk.volume_group and disk.volume_group not in left_by_drills:
            why = f"is in volume group {disk.volume_group}, which no drill made"
        if why:
            raise Refused(
                f"{disk.name} {why}",
                hint="Give a drill disks of its own, which nobody copies and no volume group has.",
            )


def copied_volumes(asked: Asked) -> dict[str, str]:
    """Return the volumes that the group's array copies to or from, by UID, with what they are."""
    wanted = configured(asked)
    if wanted is None:
        return {}
    found: dict[str, str] = {}
    for name in wanted.profile(asked.group).storage_names:
        with array(wanted, name) as client:
            mappings, mirrors = client.lsfcmap(), client.lsrcrelationship()
            system = client.lssystem().id
            volumes = {volume.id: volume for volume in client.lsvdisk()}
        roles = {m.source_id: f"source of FlashCopy {m.name}" for m in mappings}
        roles |= {m.target_id: f"target of FlashCopy {m.name}" for m in mappings}
        for mirror in mirrors:
            role = f"in remote copy {mirror.name}"
            if mirror.master_system_id == system:
                roles[mirror.master_volume_id] = role
            if mirror.aux_system_id == system:
                roles[mirror.aux_volume_id] = role
        found |= {
            volumes[id_].uid: f"{volumes[id_].name}, {role}"
            for id_, role in roles.items()
            if id_ in volumes
        }
    return found


def _as_disks(planned: RestorePlan) -> list[Disk]:
    """Return the targets that are disks; of a path, what this machine knows about its device."""
    found = [p.disk for p in planned.placements if p.disk.uid]
    paths = [p.disk for p in planned.placements if not p.disk.uid and Path(p.disk.path).exists()]
    devices = {os.path.realpath(d.path): d for d in paths if Path(d.path).is_block_device()}
    if devices:
        known = {os.path.realpath(d.path): d for d in LinuxHost("local", LocalRunner()).disks()}
        found += [
            replace(device, uid=known[path].uid, volume_group=known[path].volume_group)
            if path in known
            else device
            for path, device in devices.items()
        ]
    return found


def remove_scratch(facts: Mapping[str, Any]) -> None:
    """Remove a drill's scratch directory; safe to repeat."""
    path = Path(facts["directory"])
    if path.exists():
        shutil.rmtree(path)


def release_imported(facts: Mapping[str, Any]) -> None:
    """Take a volume group that a drill imported away again; safe to repeat."""
    machine = host(configuration(), facts["node"])
    if machine.has_group(facts["name"]):
        machine.release_group(facts["name"])


def journal_import(run: Run) -> Callable[[Host, str], None]:
    """Return what registers a volume group for removal, before it is imported.

    Raises:
        Refused: (when called) the node has a group of that name, which is not the drill's.
    """

    def about_to_import(node: Host, name: str) -> None:
        if node.has_group(name):
            raise Refused(
                f"{node.name} has a volume group {name} already",
                hint="It is not the drill's: export it (exportvg), or drill onto scratch files.",
            )
        run.journal.made(IMPORTED, node=node.name, name=name)

    return about_to_import


def refuse_unusable(group: str, looks: Sequence[Mapping[str, Any]]) -> None:
    """Let the drill fail if a file system is not sound.

    Raises:
        FlashvaultError: it is not.
    """
    if faults := faults_of(looks):
        raise FlashvaultError(
            f"the drill of {group} restored every byte, but {'; '.join(faults)[:400]}",
            hint="Was the file system sound when it was backed up? Try another restore point.",
        )


@step(name="probe-{asked.group}", retries=0)
def probe(
    run: Run,
    asked: Asked,
    command: str,
    disks: Sequence[RestoredDisk],
    imported: Sequence[Imported],
) -> str:
    """Run the user's own check on what was restored; return the end of what it said.

    It gets `FLASHVAULT_DISKS` (`hdisk18=/path …`) and `FLASHVAULT_VOLUME_GROUPS`.

    Raises:
        FlashvaultError: it ended with another status than 0, or not in time.
    """
    run.check()
    if not command:
        return ""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "FLASHVAULT_GROUP": asked.group,
        "FLASHVAULT_DISKS": " ".join(f"{disk.disk}={disk.target_path}" for disk in disks),
        "FLASHVAULT_VOLUME_GROUPS": " ".join(group.name for group in imported),
    }
    try:
        done = subprocess.run(
            shlex.split(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FlashvaultError(f"the probe of {asked.group} did not end well: {error}") from error
    said = done.stdout.decode(errors="replace").strip()[-2000:]
    if done.returncode:
        raise FlashvaultError(
            f"the probe of {asked.group} ended with {done.returncode}: {said[-300:]}",
            hint="The bytes restored are proven; look at what the probe expects.",
        )
    run_log().info("probe said: %s", said[-300:])
    return said
