"""`flashvault catalog`: what can be restored, when its records are lost, held or in the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from blocks.catalog.claims import Intent, clear_intent, read_intents
from blocks.catalog.keyring import load_keyring
from blocks.catalog.leftovers import remove_uncommitted
from blocks.catalog.owner import Owner, is_alive
from blocks.catalog.point import CONTROL_FOLDERS, RestorePoint
from blocks.catalog.prune import hold, release, undelete
from blocks.catalog.readme import put_readme
from blocks.catalog.rebuild import RebuildReport, rebuild
from blocks.catalog.writers import (
    Closed,
    RestoreOrder,
    Writer,
    close,
    end_restore_order,
    is_gone,
    open_writers,
    read_orders,
)
from blocks.errors import ConfigError, DamageFound, GroupBusy, PointMissing, StoreError
from blocks.image.cipher import Cipher
from blocks.image.keys import open_keyring
from blocks.profile.document import load_configuration
from blocks.store.base import Store
from deployments.cli.buckets import (
    KmsRegion,
    PassphraseFile,
    PrivateKeyFile,
    identity_of,
    store_of,
)
from deployments.cli.output import err, out, print_json, reported_errors

Group = Annotated[str, typer.Argument(metavar="RG", help="The resource group.")]
Point = Annotated[str, typer.Argument(metavar="POINT", help="The restore point's id.")]
Bucket = Annotated[
    str,
    typer.Option("--bucket", help="s3://bucket/prefix; else the bucket of the group's profile."),
]
Reason = Annotated[
    str, typer.Option("--reason", help="Kept with the mark, for whoever asks later.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

catalog = typer.Typer(no_args_is_help=True, help="The records of what can be restored.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(catalog, name="catalog", rich_help_panel="Safety")


@catalog.command("rebuild")
def rebuild_catalog(
    group: Annotated[
        str,
        typer.Argument(metavar="[RG]", help="The resource group; all in the bucket if not given."),
    ] = "",
    bucket: Bucket = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be rebuilt; write nothing.")
    ] = False,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="The images are encrypted by us: open the keyring.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    private_key_file: PrivateKeyFile = None,
    kms_region: KmsRegion = "",
    as_json: Json = False,
) -> None:
    """Recreate restore points whose documents or maps were deleted, from what lies in the bucket.

    Nothing that is there is written over or deleted. A point that cannot be proven complete is
    reported and not rebuilt (exit status 3).

    Example: flashvault catalog rebuild RG1 --bucket s3://pha-bucket
    """
    with reported_errors(as_json=as_json):
        store = _store(group, bucket)
        cipher = None
        if sealed:
            identity = identity_of(passphrase_file, private_key_file, kms_region)
            cipher = Cipher(open_keyring(load_keyring(store), identity))
        names = [group] if group else _groups(store)
        reports = {
            name: rebuild(store, name, now=datetime.now(UTC), cipher=cipher, dry_run=dry_run)
            for name in names
        }
        if as_json:
            print_json({"ok": True, "dry_run": dry_run, "groups": _documents(reports)})
        else:
            _print(reports, dry_run=dry_run)
        left = sum(len(report.left) for report in reports.values())
        if left and not as_json:
            raise DamageFound(f"{left} runs are no restore points; see above why")
        if left:
            raise typer.Exit(DamageFound.exit_code)


@catalog.command("undelete")
def undelete_point(
    group: Group, point: Point, bucket: Bucket = "", reason: Reason = "undeleted by hand"
) -> None:
    """Bring a restore point back out of the trash, and hold it.

    Example: flashvault catalog undelete RG1 01JD3V0Q9Y
    """
    with reported_errors():
        found = undelete(_store(group, bucket), group, point, reason=reason)
        out().print(f"{found.id} of {_when(found)} is back, and held")


@catalog.command("hold")
def hold_point(group: Group, point: Point, bucket: Bucket = "", reason: Reason = "") -> None:
    """Keep a restore point whatever retention says, until it is released."""
    with reported_errors():
        found = hold(_store(group, bucket), group, point, reason=reason or "held by hand")
        out().print(f"{found.id} of {_when(found)} is held")


@catalog.command("release")
def release_point(group: Group, point: Point, bucket: Bucket = "") -> None:
    """Let retention decide about a held restore point again."""
    with reported_errors():
        release(_store(group, bucket), group, point)
        out().print(f"{point} is no longer held")


@catalog.command("claims")
def claims(
    group: Group,
    bucket: Bucket = "",
    clear: Annotated[
        str,
        typer.Option("--clear", metavar="RUN", help="End this run's claim; its process is dead."),
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if this machine cannot tell that the process is dead."),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the runs that hold something in the bucket, or end the claim of a dead one.

    What the dead run had stored goes with its claim, open uploads included, unless it had
    committed. A run whose claim is ended while it lives loses its work: its commit is refused.
    After a killed `flashvault image put`, name its image and bucket: claims db --bucket s3://…

    A worker that writes a disk for a restore is listed too. Use --force on that only if its machine
    is off for certain: nothing keeps one that lives from writing.

    Example: flashvault catalog claims RG1 --clear 01JD3V0Q9YB6T4 --force
    """
    with reported_errors(as_json=as_json):
        store = _store(group, bucket)
        intents = read_intents(store, group)
        writers, orders = open_writers(store, group), read_orders(store, group)
        if clear:
            if clear in {intent.run_id for intent in intents}:
                answer, said = _end_claim(store, intents, clear, force=force)
            elif clear in {each.run_id for each in writers} | {each.run_id for each in orders}:
                answer, said = _end_restore(store, writers, orders, clear, force=force)
            else:
                raise PointMissing(
                    f"{group} has no claim of run {clear}",
                    hint="List them: the same command without --clear.",
                )
            if as_json:
                print_json({"ok": True, **answer})
            else:
                out().print(said)
            return
        rows = [
            _claim_row(intent.run_id, intent.owner) | {"references": len(intent.references)}
            for intent in intents
        ]
        written = [
            _claim_row(order.run_id, order.owner)
            | {"writes": [target.target for target in order.targets]}
            for order in orders
        ]
        written += [
            _claim_row(writer.run_id, writer.worker) | {"writes": [writer.target]}
            for writer in writers
        ]
        if as_json:
            print_json({"ok": True, "claims": rows, "restores": written})
            return
        for row in [*rows, *written]:
            onto = f"  writes {', '.join(row['writes'])}" if "writes" in row else ""
            out().print(f"{row['run']}  {row['process']}  {row['state']}{onto}")
        if not rows and not written:
            err().print(f"nothing is claimed in {group}")


def _remove_stored(store: Store, folder: str) -> None:
    try:
        remove_uncommitted(store, folder)
    except StoreError as error:  # a role that may not delete: the run is void all the same
        err().print(f"what it stored stays below {folder} for a prune: {error}", markup=False)


def _claim_row(run: str, owner: Owner) -> dict[str, Any]:
    states = {True: "alive", False: "dead", None: "on another machine"}
    return {"run": run, "process": str(owner), "state": states[is_alive(owner)]}


def _end_claim(
    store: Store, intents: Sequence[Intent], run: str, *, force: bool
) -> tuple[dict[str, Any], str]:
    """End the claim of a backup; return what was done, and in words."""
    (intent,) = (each for each in intents if each.run_id == run)
    had_committed = clear_intent(store, intent, force=force)
    if not had_committed:
        _remove_stored(store, intent.folder)
    word = "had committed: its restore point stays" if had_committed else "is void"
    return {"run": run, "committed": had_committed}, f"run {run} {word}"


def _end_restore(
    store: Store,
    writers: Sequence[Writer],
    orders: Sequence[RestoreOrder],
    run: str,
    *,
    force: bool,
) -> tuple[dict[str, Any], str]:
    """End a restore by several workers; return what was done, and in words.

    Raises:
        GroupBusy: a process of it may live, and `force` is not given.
    """
    own = [writer for writer in writers if writer.run_id == run]
    processes = [(writer.worker, writer.machine) for writer in own]
    processes += [(order.owner, order.machine) for order in orders if order.run_id == run]
    for process, machine in processes:
        if not force and not is_gone(process, machine):
            raise GroupBusy(
                f"restore {run} may be alive: {process}",
                hint="Run `flashvault reconcile` on that machine, or use --force if it is off.",
            )
    for order in orders:
        if order.run_id == run:
            own = list(end_restore_order(store, order.group, run))
    own = [writer for writer in own if force or is_gone(writer.worker, writer.machine)]
    for writer in own:
        close(store, writer, Closed(error="declared dead by an operator"))
    targets = [writer.target for writer in own]
    named = f": {', '.join(targets)} can be written by another" if targets else ""
    return {"run": run, "closed": targets}, f"restore {run} is over{named}"


@catalog.command("readme")
def readme(bucket: Annotated[str, typer.Option("--bucket", help="s3://bucket/prefix")]) -> None:
    """Put README.txt into a bucket: how to restore from it with stock tools."""
    with reported_errors():
        store = store_of(bucket)
        done = "written" if put_readme(store) else "there already"
        out().print(f"{store.url}/README.txt is {done}")


def _store(group: str, bucket: str) -> Store:
    """Open the bucket given, or the one of the group's profile."""
    if bucket:
        return store_of(bucket)
    if not group:
        raise ConfigError("which bucket?", hint="Give --bucket s3://…, or a resource group.")
    from deployments import runtime

    runtime.found_server()
    from tasks.open import store  # Prefect is needed only here

    wanted = load_configuration()
    return store(wanted, wanted.profile(group).bucket_name)


def _groups(store: Store) -> list[str]:
    """List every group that has a folder, also one whose points are all gone."""
    names = [prefix.rstrip("/") for prefix in store.prefixes("")]
    return [name for name in names if name not in CONTROL_FOLDERS]


def _documents(reports: dict[str, RebuildReport]) -> dict[str, Any]:
    return {
        name: {
            "rebuilt": [
                {
                    "restore_point": rebuilt.point.id,
                    "from_run": rebuilt.from_run,
                    "taken_at": rebuilt.point.taken_at.isoformat(),
                    "volumes": [volume.disk for volume in rebuilt.point.volumes],
                    "remade_pages": rebuilt.remade_pages,
                }
                for rebuilt in report.rebuilt
            ],
            "left": report.left,
        }
        for name, report in reports.items()
    }


def _print(reports: dict[str, RebuildReport], *, dry_run: bool) -> None:
    verb = "would be rebuilt" if dry_run else "rebuilt"
    for name, report in reports.items():
        out().print(f"{name}: {len(report.rebuilt)} restore points {verb}")
        for rebuilt in report.rebuilt:
            pages = f", {rebuilt.remade_pages} map pages made again" if rebuilt.remade_pages else ""
            out().print(f"  {rebuilt.point.id}  {_when(rebuilt.point)}{pages}")
        for run, why in report.left.items():
            out().print(f"  left: {run}: {why}")


def _when(point: RestorePoint) -> str:
    return f"{point.taken_at:%Y-%m-%d %H:%M:%S %Z}"
