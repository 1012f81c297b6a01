"""`flashvault backup`, `restore`, `verify`, `prune`, `drill`, `reconcile`: do it now."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from deployments.cli.output import err, out, print_json, reported_errors

IMPORTING = ("auto", "import", "recreate", "no")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Fsck = Annotated[
    bool, typer.Option("--fsck", help="Check the restored file systems afterwards, read-only.")
]
Mount = Annotated[
    bool,
    typer.Option(
        "--mount", help="Mount them read-only afterwards, list the root directory, unmount."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(rich_help_panel="Backup and restore")(backup)
    app.command(rich_help_panel="Backup and restore")(restore)
    app.command(rich_help_panel="Backup and restore")(verify)
    app.command(rich_help_panel="Backup and restore")(prune)
    app.command(rich_help_panel="Backup and restore")(compact)
    app.command(rich_help_panel="Backup and restore")(drill)
    app.command(rich_help_panel="Backup and restore")(reconcile)


def backup(
    group: Annotated[str, typer.Argument(help="Resource group, which is the profile's name.")],
    full: Annotated[bool, typer.Option("--full", help="A full backup.")] = False,
    incremental: Annotated[bool, typer.Option("--incremental", help="Only what changed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if it is not due.")] = False,
    on_worker: Annotated[bool, typer.Option("--on-worker", help="Let a worker run it.")] = False,
    fail_if_skipped: Annotated[
        bool, typer.Option("--fail-if-skipped", help="Exit 5 when nothing was due.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Back up a resource group now: all its volumes, one moment.

    A person who asks for a backup gets one: `flashvault backup RG1` makes a full if there is none,
    else an incremental if the profile has them. The schedule's rules hold for scheduled runs only.

    Example: flashvault backup RG1 --full --json
    """
    with reported_errors(as_json=as_json):
        if full and incremental:
            raise typer.BadParameter("choose --full or --incremental")
        mode = "full" if full else "incremental" if incremental else "auto"
        parameters = {"profile": group, "mode": mode, "force": force or not fail_if_skipped}
        if on_worker:
            _on_worker(f"backup/{group}-full", {"mode": mode, "force": True}, as_json=as_json)
            return
        ending = run_now("flows.backup", "backup", parameters, quiet=quiet or as_json)
        finish(ending, as_json=as_json, fail_if_skipped=fail_if_skipped)


def restore(
    group: Annotated[str, typer.Argument(help="Resource group.")] = "",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="DISK=TARGET: hdisk18=hdisk30, or hdisk18=/path; repeat. Or only a path: a"
            " directory for all volumes.",
        ),
    ] = None,
    point: Annotated[str, typer.Option("--point", help="Restore point; else the latest.")] = "",
    at: Annotated[str, typer.Option("--at", help="The latest point at or before this time.")] = "",
    bucket: Annotated[
        str, typer.Option("--bucket", help="s3://bucket/prefix: needs nothing else.")
    ] = "",
    node: Annotated[
        str,
        typer.Option("--node", help="The node whose disk names are meant; else the group's owner."),
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            "--host", help="The host that writes disks given by name; else the profile's."
        ),
    ] = "",
    importing: Annotated[
        str,
        typer.Option(
            "--import", help="The volume group: auto, import, recreate (beside the original) or no."
        ),
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: show the plan.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over disks that are not blank.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything back.")] = False,
    allow_bad: Annotated[
        bool, typer.Option("--allow-bad", help="Write what is whole, list the rest, exit 3.")
    ] = False,
    fsck: Fsck = False,
    mount: Mount = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            max=16,
            help="Workers that write disks at once; the profile needs CAPTURE_WORKERS.",
        ),
    ] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write volumes of a restore point onto disks, and prove that they are there.

    Exit 0 only if the digest over every whole device equals the backup's. A disk in use is refused
    whatever is said. After an interruption the same command, with --force, goes on: what is already
    right is read back, compared and kept.

    --fsck and --mount look into what was restored and write nothing: exit 1 if a file system is
    damaged or cannot be mounted; the restored bytes are left as they are.

    Examples:
      flashvault restore RG1 --to hdisk18=hdisk23 --to hdisk19=hdisk24
      flashvault restore --bucket s3://pha-bucket --point 01J… RG1 --to hdisk18=/srv/hdisk18.img
    """
    with reported_errors(as_json=as_json):
        if importing not in IMPORTING:
            raise typer.BadParameter(f"--import is one of {', '.join(IMPORTING)}, not {importing}")
        parameters = {
            "group": _group(group, bucket),
            "to": _targets(to or []),
            "point": point,
            "at": _moment(at),
            "bucket": bucket,
            "node": node,
            "host": host,
            "importing": importing,
            "force": force,
            "verify": verify,
            "allow_bad": allow_bad,
            "fsck": fsck,
            "mount": mount,
            "workers": workers,
        }
        quiet = quiet or as_json
        if dry_run or not yes:
            planned = run_now(
                "flows.restore", "restore", {**parameters, "dry_run": True}, quiet=True
            )
            if dry_run:
                finish(planned, as_json=as_json)
                return
            _show_plan(planned.report)
            _ask(str(parameters["group"]))
            # What was read is restored, not what was backed up while it was read.
            parameters |= {"point": planned.report["restore_point"], "at": None}
        ending = run_now("flows.restore", "restore", {**parameters, "approved": True}, quiet=quiet)
        finish(ending, as_json=as_json)


def verify(
    group: Annotated[str, typer.Argument(help="Resource group.")],
    point: Annotated[str, typer.Option("--point", help="Restore point; else all.")] = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read and decode every frame.")] = False,
    sample: Annotated[
        str, typer.Option("--sample", help="Deep, but only so many percent of the frames: 5%.")
    ] = "",
    within: Annotated[
        int,
        typer.Option(
            "--within",
            min=0,
            help="Deep, but only what is due so that daily runs read every frame in so many days.",
        ),
    ] = 0,
    bucket: Annotated[str, typer.Option("--bucket", help="s3://bucket/prefix.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look whether what is stored can be restored: exit 3 if something is damaged.

    Without --deep every object is asked for and compared with its record; no image is read.
    A damaged point is marked, and no incremental builds on it. With --within 30, each daily run
    reads about a thirtieth of the bytes, each frame once however many points share it, and says
    whether everything was proven within so many days.

    Examples:
      flashvault verify RG1
      flashvault verify RG1 --sample 5%
      flashvault verify RG1 --within 30
      flashvault verify RG1 --point 01J… --deep
    """
    with reported_errors(as_json=as_json):
        parameters = {
            "group": group,
            "point": point,
            "deep": deep or bool(sample) or bool(within),
            "sample": _percent(sample),
            "within_days": within,
            "bucket": bucket,
        }
        finish(
            run_now("flows.verify", "verify", parameters, quiet=quiet or as_json), as_json=as_json
        )


def prune(
    group: Annotated[str, typer.Argument(help="Resource group.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove the restore points the profile's RETENTION no longer keeps, with reasons.

    What is given up can be brought back with `flashvault catalog undelete` until its window has
    passed; only then its objects go. Without RETENTION nothing is ever removed.

    Example: flashvault prune RG1 --dry-run
    """
    with reported_errors(as_json=as_json):
        parameters = {"group": group, "dry_run": dry_run}
        finish(run_now("flows.prune", "prune", parameters, quiet=as_json), as_json=as_json)


def compact(
    group: Annotated[str, typer.Argument(help="Resource group.")],
    dead: Annotated[
        int | None,
        typer.Option(
            "--dead",
            help="Write anew what is dead by more than so many percent; 0 makes a full."
            " By default the profile's COMPACTION.",
            min=0,
            max=99,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the newest restore point anew inside the bucket, without the dead bytes of its chain.

    A new restore point of the same moment, proven frame by frame before it counts; the old one
    stays until RETENTION lets go of it. With --dead 0 stock tools can restore it. Encrypted points
    are refused.

    Example: flashvault compact RG1 --dead 0
    """
    with reported_errors(as_json=as_json):
        parameters = {"group": group, "dead_percent": dead}
        finish(run_now("flows.compact", "compact", parameters, quiet=as_json), as_json=as_json)


def drill(
    group: Annotated[str, typer.Argument(help="Resource group.")],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="DISK=TARGET: disks given for drills; else scratch files."),
    ] = None,
    point: Annotated[str, typer.Option("--point", help="Restore point; else the newest.")] = "",
    command: Annotated[
        str,
        typer.Option("--probe", help="A program that looks at what was restored, run at the end."),
    ] = "",
    directory: Annotated[str, typer.Option("--scratch", help="Where scratch files go.")] = "",
    bucket: Annotated[str, typer.Option("--bucket", help="s3://bucket/prefix.")] = "",
    fsck: Fsck = False,
    mount: Mount = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove a restore on disks nobody needs, record how long it took, and tear it down.

    The probe is run with FLASHVAULT_DISKS (`hdisk18=/path …`), FLASHVAULT_VOLUME_GROUPS and
    FLASHVAULT_GROUP; the drill fails if it does not end with 0. What is not said is taken from the
    profile's DRILL_TARGETS, DRILL_DIRECTORY, DRILL_PROBE, DRILL_FSCK and DRILL_MOUNT; with
    DRILL_FREQUENCY a worker drills by itself, and `flashvault status` says if one failed.

    Production disks are refused: volumes of the point, disks the array copies to or from, and disks
    in a volume group that no drill made.

    Examples:
      flashvault drill RG1
      flashvault drill RG1 --to hdisk18=hdisk30 --probe /usr/local/bin/looks-alive
    """
    with reported_errors(as_json=as_json):
        parameters = {
            "group": group,
            "to": _targets(to or []),
            "point": point,
            "command": command,
            "directory": directory,
            "bucket": bucket,
            "fsck": fsck,
            "mount": mount,
        }
        finish(run_now("flows.drill", "drill", parameters, quiet=quiet or as_json), as_json=as_json)


def reconcile(
    as_json: Json = False,
) -> None:
    """Clear what runs that died on this machine left behind, and set their states right.

    Prefect does the same every fifteen minutes. Runs that are alive are left alone.
    """
    with reported_errors(as_json=as_json):
        finish(run_now("flows.reconcile", "reconcile", {}, quiet=as_json), as_json=as_json)


def run_now(module: str, name: str, parameters: dict[str, Any], *, quiet: bool) -> Any:
    """Run a flow in this process and return its ending. Prefect is imported here only."""
    from deployments import runtime

    runtime.prepare_environment(quiet=True)
    import importlib

    from deployments.cli.progress import shown_progress

    flow = getattr(importlib.import_module(module), name)
    with shown_progress(quiet=quiet):
        return runtime.run_flow(flow, parameters)


def finish(ending: Any, *, as_json: bool, fail_if_skipped: bool = False) -> None:
    """Print an ending and leave with its exit code."""
    if as_json:
        print_json(ending.document())
    else:
        _show(ending)
    if ending.outcome == "skipped" and not fail_if_skipped:
        return
    if ending.exit_code:
        sys.exit(ending.exit_code)


def _show(ending: Any) -> None:
    from rich.markdown import Markdown

    if ending.markdown and sys.stdout.isatty():
        out().print(Markdown(ending.markdown))
    elif ending.markdown:
        out().print(ending.markdown, markup=False)
    style = "green" if ending.exit_code == 0 else "yellow" if ending.exit_code == 5 else "red"
    out().print(ending.summary, style=style, markup=False)


def _show_plan(document: dict[str, Any]) -> None:
    from blocks.units import format_size
    from flows.approval import expected_words

    console = err()
    console.print(
        f"restore point {document['restore_point']} of {document['group']},"
        f" taken {document['taken_at']}"
    )
    for row in document["volumes"]:
        console.print(
            f"  {row['disk']} ({row['name']}, {format_size(row['bytes'])})"
            f" is written onto {row['target']} ({row['target_path']})",
            markup=False,
        )
    console.print(
        f"  {format_size(document['write_bytes'])} in all, {format_size(document['data_bytes'])}"
        f" of it data. {expected_words(document['expected_s'])}",
        markup=False,
    )
    for note in document["notes"]:
        console.print(f"  note: {note}", style="yellow", markup=False)


def _ask(group: str) -> None:
    from blocks.errors import Refused

    if not sys.stdin.isatty():
        raise Refused("the restore was not approved", hint="Say --yes after reading the plan.")
    if typer.prompt(f"Type {group} to write", err=True).strip() != group:
        raise Refused("the restore was not approved")


def _targets(pairs: list[str]) -> dict[str, str]:
    from blocks.errors import ConfigError

    targets: dict[str, str] = {}
    for pair in pairs:
        disk, equals, target = pair.partition("=")
        if not equals and "/" in pair:
            disk, target = "", pair
        is_pair = bool(target and (disk or not equals))
        if not is_pair or disk in targets:
            raise ConfigError(
                f"--to names {disk or 'a path alone'} twice"
                if is_pair
                else f"--to '{pair}' is not DISK=TARGET",
                hint="Write it like --to hdisk18=hdisk30, or --to hdisk18=/path/of/a/file.",
            )
        targets[disk] = target
    return targets


def _moment(text: str) -> datetime | None:
    from blocks.errors import ConfigError

    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--at {text} is no moment", hint="Write it like 2026-11-22T17:30 or with +01:00."
        ) from error
    moment = moment if moment.tzinfo else moment.astimezone()
    if moment > datetime.now(UTC):
        # The latest point would be taken, which may be one that was made after the disaster.
        raise ConfigError(
            f"--at {text} is in the future",
            hint="Leave it away for the latest point, or name one with --point.",
        )
    return moment


def _percent(text: str) -> float | None:
    from blocks.errors import ConfigError

    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%?", text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ConfigError(f"--sample {text} is no percentage", hint="Write it like 5%.")
    return float(match[1])


def _group(group: str, bucket: str) -> str:
    """Return the group, which a bucket with only one need not be told."""
    from blocks.errors import ConfigError

    if group:
        return group
    if not bucket:
        raise ConfigError(
            "no resource group given",
            hint="Name it: flashvault restore RG1 …. Only a --bucket with one group needs no name.",
        )
    from blocks.catalog import shelf
    from blocks.store.clients import open_store, parse_bucket_url

    groups = shelf.groups(open_store(parse_bucket_url(bucket)))
    if len(groups) != 1:
        raise ConfigError(
            f"{bucket} holds {len(groups)} resource groups",
            hint=f"Name one: {', '.join(groups)}." if groups else "Is the prefix right?",
        )
    return groups[0]


def _on_worker(deployment: str, parameters: dict[str, Any], *, as_json: bool) -> None:
    from deployments import runtime

    runtime.prepare_environment(quiet=True)
    runtime.require_server()
    from prefect.deployments import run_deployment

    run: Any = run_deployment(deployment, parameters=parameters, timeout=0)
    if as_json:
        print_json({"ok": True, "flow_run": str(run.id), "name": run.name})
    else:
        out().print(f"asked a worker: flow run {run.name} ({run.id})")
