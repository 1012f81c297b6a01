"""`flashvault map`: which volume is copied to which, and the commands that make it so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from blocks.errors import ConfigError, FlashvaultError, Refused, SvcObjectMissing
from blocks.host.base import Disk
from blocks.policy.pairing import Pair, Source, find_sources, pair_volumes
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.svc.client import SvcClient
from blocks.svc.model import Volume
from blocks.svc.shell import Options, spell
from blocks.units import format_size
from deployments.cli.output import err, out, print_json, reported_errors


@dataclass(frozen=True, slots=True)
class Plan:
    """The pairs, and the commands that are still to be run on the first array."""

    storage_system: str
    group: str
    pairs: tuple[Pair, ...]
    commands: tuple[tuple[str, Options], ...]

    @property
    def lines(self) -> list[str]:
        """The commands as they are sent."""
        return [spell(verb, options) for verb, options in self.commands]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="map", rich_help_panel="Configuration")(show_map)


def show_map(
    group: Annotated[str, typer.Argument(help="Resource group, which is the profile's name.")],
    remote: Annotated[
        bool, typer.Option("--remote", help="For the remote_storage profile: Global Mirror.")
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="DISK=VOLUME: hdisk18=Node1_4; repeat."),
    ] = None,
    copy_rate: Annotated[
        int, typer.Option(min=0, max=150, help="Background copy; 0 copies on write only.")
    ] = 50,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Let the array copy only changed grains.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the commands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Match a resource group's disks to the array's volumes, and show how to map them.

    Disks are matched by vdisk UID and size, never by name or number. Nothing is changed without
    --yes, and then only what is missing.

    Example: flashvault map RG1 --target hdisk18=Node1_4 --target hdisk19=Node1_5 --yes
    """
    with reported_errors(as_json=as_json):
        from tasks.open import configuration

        wanted = configuration()
        profile = wanted.profile(group, Method.REMOTE_STORAGE if remote else Method.CLOUD)
        chosen = parse_targets(target or [])
        if remote:
            plan = plan_remote(wanted, profile, chosen)
        else:
            plan = plan_flashcopy(
                wanted, profile, chosen, copy_rate=copy_rate, incremental=incremental
            )
        if not as_json:
            _print(plan)
        if yes:
            _refuse_guesses(plan.pairs)
            _run(wanted, plan)
        if as_json:
            print_json(_document(plan, is_done=yes))
        elif yes:
            out().print(f"[green]done[/]: {len(plan.commands)} commands run")
        elif plan.commands:
            is_clear = all(pair.is_certain for pair in plan.pairs)
            first = "" if is_clear else "Name the targets with --target. "
            out().print(f"{first}Nothing was changed: --yes runs these commands.")


def parse_targets(words: Iterable[str]) -> dict[str, str]:
    """Read words such as `hdisk18=Node1_4`.

    Raises:
        ConfigError: a word is not of that form, or a disk is named twice.
    """
    chosen: dict[str, str] = {}
    for word in words:
        disk, found, volume = word.partition("=")
        if not (found and disk.strip() and volume.strip()):
            raise ConfigError(f"'{word}' does not name a target", hint="Write DISK=VOLUME.")
        if disk.strip() in chosen:
            raise ConfigError(f"{disk.strip()} is given two targets")
        chosen[disk.strip()] = volume.strip()
    return chosen


def plan_flashcopy(
    wanted: Configuration,
    profile: BackupProfile,
    chosen: dict[str, str],
    *,
    copy_rate: int,
    incremental: bool,
) -> Plan:
    """Plan a FlashCopy consistency group; only looks."""
    from tasks.open import array, host

    name, system = profile.replicated_resources, profile.storage_names[0]
    reading = {disk.uid: disk for disk in host(wanted, wanted.reading_node(profile).name).disks()}
    with array(wanted, system) as client:
        volumes = client.lsvdisk()
        sources, seen = _sources(wanted, profile, volumes)
        mappings = client.lsfcmap()
        by_id = {volume.id: volume for volume in volumes}
        mapped = {
            one.source_name: by_id[one.target_id] for one in mappings if one.group_name == name
        }
        used = {one.source_id for one in mappings} | {one.target_id for one in mappings}
        has_group = _exists(client, name)
    free = [
        volume
        for volume in _unused(volumes, [*seen, *reading.values()], sources)
        if volume.id not in used and volume.uid in reading
    ]
    pairs = pair_volumes(sources, free, mapped=mapped, chosen=chosen)
    commands: list[tuple[str, Options]] = []
    if not has_group:
        commands.append(("mkfcconsistgrp", {"name": name}))
    for pair in pairs:
        if not pair.is_mapped and pair.target:
            options: Options = {
                "source": pair.source.volume.name,
                "target": pair.target.name,
                "consistgrp": name,
                "copyrate": copy_rate,
                "incremental": incremental,
            }
            commands.append(("mkfcmap", options))
    return Plan(system, name, tuple(pairs), tuple(commands))


def plan_remote(wanted: Configuration, profile: BackupProfile, chosen: dict[str, str]) -> Plan:
    """Plan a Global Mirror consistency group; only looks."""
    from tasks.open import array

    name = profile.replicated_resources
    near_name, far_name = profile.storage_names[:2]
    with array(wanted, far_name) as far:
        far_id = far.lssystem().id
        far_volumes = far.lsvdisk()
        targets = {one.target_id for one in far.lsfcmap()}
    with array(wanted, near_name) as near:
        partner = next((one for one in near.lspartnership() if one.id == far_id), None)
        if partner is None or partner.state != "fully_configured":
            state = partner.state if partner else "missing"
            raise ConfigError(
                f"the partnership of {near_name} with {far_name} is {state}",
                hint="Make it on both systems: mkippartnership or mkfcpartnership, then "
                "chpartnership -start.",
            )
        sources, seen = _sources(wanted, profile, near.lsvdisk())
        far_by_name = {volume.name: volume for volume in far_volumes}
        relationships = near.lsrcrelationship()
        mapped = {
            one.master_volume_name: far_by_name[one.aux_volume_name]
            for one in relationships
            if one.group_name == name and one.aux_volume_name in far_by_name
        }
        has_group = any(one.name == name for one in near.lsrcconsistgrp())
    free = [
        volume
        for volume in _unused(far_volumes, seen, sources)
        if volume.id not in targets and not volume.relationship
    ]
    pairs = pair_volumes(sources, free, mapped=mapped, chosen=chosen)
    commands: list[tuple[str, Options]] = []
    if not has_group:
        commands.append(("mkrcconsistgrp", {"name": name, "cluster": far_id}))
    for pair in pairs:
        if not pair.is_mapped and pair.target:
            options: Options = {
                "master": pair.source.volume.name,
                "aux": pair.target.name,
                "cluster": far_id,
                "consistgrp": name,
                "global": True,
            }
            commands.append(("mkrcrelationship", options))
    return Plan(near_name, name, tuple(pairs), tuple(commands))


def _sources(
    wanted: Configuration, profile: BackupProfile, volumes: list[Volume]
) -> tuple[list[Source], list[Disk]]:
    """Return the group's sources, and every disk any node sees."""
    from tasks.open import host
    from tasks.owner import find_owner

    owner = find_owner(wanted, profile.name)
    groups = profile.volume_groups or tuple(owner.machine.volume_groups(profile.name))
    sources = find_sources(owner.disks, groups, volumes)
    seen = list(owner.disks)
    for node in wanted.nodes:
        if node.name == owner.name:
            continue
        try:
            seen += host(wanted, node.name).disks()
        except FlashvaultError as error:
            err().print(
                f"[yellow]warning[/]: {node.name} does not say which disks it uses: {error}"
            )
    return sources, seen


def _unused(volumes: list[Volume], seen: list[Disk], sources: list[Source]) -> list[Volume]:
    """Leave out what any node has in a volume group or in use, and the sources themselves."""
    used = {disk.uid for disk in seen if disk.volume_group or disk.is_active}
    used |= {source.volume.uid for source in sources}
    return [volume for volume in volumes if volume.uid not in used]


def _exists(client: SvcClient, group: str) -> bool:
    try:
        client.lsfcconsistgrp(group)
    except SvcObjectMissing:
        return False
    return True


def _refuse_guesses(pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        disk, volume = pair.source.disk.name, pair.source.volume
        if pair.target is None:
            raise Refused(
                f"{disk}: no free volume of {volume.size_bytes} bytes",
                hint="Create one (mkvdisk -size … -unit b) and map it to the host that reads.",
            )
        if not pair.is_certain:
            raise Refused(
                f"{disk}: more than one volume could be its target: {', '.join(pair.choices)}",
                hint=f"The copy overwrites it. Name it: --target {disk}={pair.target.name}",
            )


def _run(wanted: Configuration, plan: Plan) -> None:
    from tasks.open import array

    with array(wanted, plan.storage_system) as client:
        for verb, options in plan.commands:
            client.shell.ask(verb, None, options)


def _print(plan: Plan) -> None:
    console = out()
    console.print(f"consistency group {plan.group} on {plan.storage_system}", markup=False)
    for pair in plan.pairs:
        disk, volume = pair.source.disk, pair.source.volume
        to = pair.target.name if pair.target else "no free volume of this size"
        if pair.is_mapped:
            note = "mapped already"
        elif pair.target and not pair.is_certain:
            note = f"a guess among {', '.join(pair.choices)}"
        else:
            note = ""
        size = format_size(volume.size_bytes)
        line = f"  {disk.name:10} {volume.name:20} {size:>10}  {volume.uid} -> {to}"
        console.print(f"{line}  ({note})" if note else line, markup=False)
    for line in plan.lines:
        console.print(f"$ {line}", markup=False)
    if not plan.commands:
        console.print("Every disk is mapped.")


def _document(plan: Plan, *, is_done: bool) -> dict[str, Any]:
    return {
        "ok": True,
        "storage_system": plan.storage_system,
        "consistency_group": plan.group,
        "pairs": [
            {
                "disk": pair.source.disk.name,
                "volume_group": pair.source.disk.volume_group,
                "source": pair.source.volume.name,
                "source_uid": pair.source.volume.uid,
                "size_bytes": pair.source.volume.size_bytes,
                "target": pair.target.name if pair.target else None,
                "target_uid": pair.target.uid if pair.target else None,
                "is_mapped": pair.is_mapped,
                "is_certain": pair.is_certain,
                "choices": list(pair.choices),
            }
            for pair in plan.pairs
        ],
        "commands": plan.lines,
        "is_done": is_done,
    }
