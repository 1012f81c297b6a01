"""Prove a restore on disks nobody needs: scratch files of our own, or disks given for it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blocks.errors import ConfigError, FlashvaultError, Refused
from blocks.host.base import Host
from blocks.units import format_duration, format_size, slug
from tasks import reports
from tasks.importing import Imported
from tasks.inside import faults_of
from tasks.journal import state_directory
from tasks.open import configuration, host
from tasks.pace import remember_pace
from tasks.plan import Asked, configured, find, open_source
from tasks.restore import RestoredDisk
from tasks.restored import looks_markdown
from tasks.run import Run
from tasks.steps import run_log, step

SCRATCH = "scratch"
IMPORTED = "imported"
PROBE_S = 3600.0


@step(name="scratch-{asked.group}")
def scratch_targets(run: Run, asked: Asked, directory: str) -> dict[str, str]:
    """Choose where the drill restores to, and make room for it.

    Targets that were given must not be production disks: a drill writes over them unasked.

    Returns:
        Disk of the point → disk of the node, or a file in a scratch directory of our own.
    """
    source = open_source(configured(asked), asked)
    point = find(source, asked)
    if asked.to:
        given = set(asked.to.values())
        production = {volume.disk for volume in point.volumes} & given
        if production:
            raise Refused(
                f"{', '.join(sorted(production))} is a production disk of {asked.group}",
                hint="Give a drill disks of its own.",
            )
        return dict(asked.to)
    place = Path(directory) if directory else state_directory() / "drills"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(place).free
    needed = sum(volume.size_bytes - volume.zero_bytes for volume in point.volumes)
    if needed > free:
        raise ConfigError(
            f"{place} has {format_size(free)} free, the drill needs {format_size(needed)}",
            hint="Choose another directory, or give the drill disks: --to hdisk18=hdisk30.",
        )
    own = place / run.id
    run.journal.made(SCRATCH, directory=str(own))
    own.mkdir(mode=0o700)
    return {volume.disk: str(own / f"{volume.disk}.img") for volume in point.volumes}


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


def remember_drill(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a drill to the group's history on this machine; return all of it, oldest first."""
    path = state_directory() / "drills" / f"{slug(document['group'])}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    row = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "restore_point": document["restore_point"],
        "bytes": document["write_bytes"],
        "rto_s": document["rto_s"],
    }
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return [json.loads(line) for line in path.read_text().splitlines()]


def drilled_markdown(document: dict[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Show a drill and how long earlier ones took."""
    lines = [
        f"## {document['group']}: drill passed in {format_duration(document['rto_s'])}",
        "",
        f"Restore point `{document['restore_point']}`, taken {document['taken_at']}, was restored"
        f" onto scratch disks ({format_size(document['write_bytes'])}) and proven.",
        "",
        "| when | restore point | size | RTO |",
        "|---|---|---:|---:|",
    ]
    lines += [
        f"| {row['at']} | `{row['restore_point']}` | {format_size(row['bytes'])} "
        f"| {format_duration(row['rto_s'])} |"
        for row in list(reversed(history))[:30]
    ]
    lines += looks_markdown(document["file_systems"])
    if document.get("probe"):
        lines += ["", "The probe said:", "", "```", document["probe"], "```"]
    return "\n".join(lines)


def report_drill(document: dict[str, Any], markdown: str) -> None:
    """Show the drill in Prefect."""
    group = document["group"]
    remember_pace(document)
    reports.artifact(f"drill-{slug(group)}", markdown, "The newest drill")
    reports.event("drill.completed", group, rto_s=document["rto_s"])
