"""`flashvault add`, `query`, `modify`, `delete`: the configuration, in clmgr's grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.errors import ConfigError
from blocks.profile.base import Configured
from blocks.profile.document import config_path, load_configuration, parse_object
from blocks.profile.model import CLASSES
from blocks.units import counted
from deployments.cli import actions, queries, secrets
from deployments.cli.apply import after_a_change
from deployments.cli.grammar import Request, class_of, known_classes, understand
from deployments.cli.output import err, out, print_json, reported_errors
from deployments.cli.render import Style

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="The XML file; else $FLASHVAULT_CONFIG.")
]
NoApply = Annotated[
    bool, typer.Option("--no-apply", help="Change the file only, and leave Prefect as it is.")
]
From = Annotated[
    Path | None,
    typer.Option("--from", help="Take the attributes from an object exported with `query -x`."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for command in (add, query, modify, delete):
        app.command(no_args_is_help=True, rich_help_panel="Configuration")(command)


def _complete(verb: str) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return completions(verb, list(ctx.params.get("words") or []), incomplete)

    return complete


def completions(verb: str, words: list[str], incomplete: str) -> list[str]:
    """Return what may come next on the command line: classes, names, attributes."""
    try:
        if not words:
            return [kind for kind in known_classes(verb) if kind.startswith(incomplete.lower())]
        kind = class_of(words[0], verb)
        if len(words) == 1 and verb != "add":
            configuration = load_configuration()
            shelf = actions.SHELVES.get(kind, "profiles")
            names = dict.fromkeys(item.name for item in getattr(configuration, shelf))
            return [name for name in names if name.startswith(incomplete)]
        labels = [*CLASSES[kind].labels(), *secrets.FIELDS.get(kind, {})] if kind in CLASSES else []
        return [f"{label}=" for label in labels if label.startswith(incomplete.upper())]
    except ConfigError:
        return []


def add(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASS NAME [ATTRIBUTE=value]…",
            help="What kind, its name, and what is set.",
            autocompletion=_complete("add"),
        ),
    ] = None,
    source: From = None,
    config: Config = None,
    no_apply: NoApply = False,
    as_json: Json = False,
) -> None:
    """Register a storage_system, node, bucket or backup_profile.

    Secrets never go on the command line: write PASSWORD=- to be asked, PASSWORD=@FILE or
    PASSWORD=env:NAME. They are kept in Prefect.

    Examples:
        flashvault add storage_system storage1 TYPE=SVC ADDRESSES=90.90.90.1 USER=admin

        flashvault add bucket pha-bucket CLOUD_SERVICE=AWS ACCESS_KEY=AKIA… SECRET_KEY=-

        flashvault add backup_profile RG1 ENABLE_BACKUP=yes BACKUP_METHOD=cloud
        REPLICATED_RESOURCES=sample_consistency_group STORAGE_NAME=storage1
        BUCKET_NAME=pha-bucket VOLUME_GROUP=VG1 BACKUP_SCHEDULE=17:30
    """
    with reported_errors(as_json=as_json):
        request = _request("add", words, source)
        _change(
            lambda path: actions.add(request, path, _save_secrets),
            config,
            in_step=not no_apply,
            as_json=as_json,
        )


def modify(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASS NAME ATTRIBUTE=value…",
            help="What kind, its name, and what changes.",
            autocompletion=_complete("modify"),
        ),
    ] = None,
    source: From = None,
    config: Config = None,
    no_apply: NoApply = False,
    as_json: Json = False,
) -> None:
    """Change attributes of an object; `ATTRIBUTE=` brings back the default.

    A new secret replaces the old one from the next run on.

    Examples:
        flashvault modify backup_profile RG1 BACKUP_SCHEDULE=18:00

        flashvault modify bucket pha-bucket SECRET_KEY=@/run/new-key

        flashvault modify cluster NAME=r1r2m2p57_cluster
    """
    with reported_errors(as_json=as_json):
        request = _request("modify", words, source)
        _change(
            lambda path: actions.modify(request, path, _save_secrets),
            config,
            in_step=not no_apply,
            as_json=as_json,
        )


def delete(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASS NAME",
            help="What kind, and its name.",
            autocompletion=_complete("delete"),
        ),
    ] = None,
    config: Config = None,
    no_apply: NoApply = False,
    as_json: Json = False,
) -> None:
    """Forget an object. What is in the bucket stays.

    Examples:
        flashvault delete backup_profile RG1 BACKUP_METHOD=remote_storage

        flashvault delete storage_system storage2
    """
    with reported_errors(as_json=as_json):
        request = understand("delete", words or [])
        _change(
            lambda path: actions.delete(request, path),
            config,
            in_step=not no_apply,
            as_json=as_json,
        )


def query(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASS [NAME] [ATTRIBUTE=pattern]…",
            help="What kind, whose, and only those that match.",
            autocompletion=_complete("query"),
        ),
    ] = None,
    colon: Annotated[bool, typer.Option("-c", help="One line each, with colons.")] = False,
    delimiter: Annotated[
        str, typer.Option("-d", "--delimiter", help="Like -c, with this between the fields.")
    ] = "",
    xml: Annotated[bool, typer.Option("-x", help="XML; what `add --from` reads.")] = False,
    attributes: Annotated[
        str, typer.Option("-a", "--attributes", help="Only these: -a BACKUP_SCHEDULE,TIMEZONE")
    ] = "",
    no_header: Annotated[bool, typer.Option("-S", help="No header line.")] = False,
    bucket: Annotated[
        str, typer.Option("--bucket", help="s3://bucket/prefix, where no configuration is.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what is registered, what is in the bucket, or what ran.

    Without a name: the names, one a line. Classes: cluster, storage_system, node, bucket,
    backup_profile, backup_files, restore_points, runs.

    Examples:
        flashvault query backup_profile RG1

        flashvault query -cSa BACKUP_SCHEDULE backup_profile RG1

        flashvault query backup_files RG_NAME=RG1

        flashvault query restore_points --bucket s3://pha-bucket
    """
    with reported_errors(as_json=as_json):
        request = understand("query", words or [])
        style = Style(
            delimiter=delimiter or (":" if colon else ""),
            is_xml=xml,
            attributes=tuple(a.strip().upper() for a in attributes.split(",") if a.strip()),
            has_header=not no_header,
        )
        answer = queries.answer(request, config or config_path(), style, bucket=bucket)
        if as_json:
            print_json(answer.document)
        elif answer.text:
            print(answer.text)


def _request(verb: str, words: list[str] | None, source: Path | None) -> Request:
    if source is None:
        return understand(verb, words or [])
    try:
        text = source.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is not text"
        raise ConfigError(
            f"cannot read {source}: {reason}",
            hint="Name a file written by `flashvault query CLASS NAME -x`.",
        ) from error
    kind, name, attributes = parse_object(text, source=str(source))
    typed = understand(verb, words or [kind, name])
    if typed.kind != kind:
        raise ConfigError(f"{source} holds a {kind}, not a {typed.kind}")
    return Request(verb, kind, typed.name or name, attributes | typed.attributes)


def _change(
    act: Callable[[Path], actions.Outcome],
    config: Path | None,
    *,
    in_step: bool,
    as_json: bool,
) -> None:
    path = config or config_path()
    outcome = act(path)
    for warning in outcome.warnings:
        err().print(f"warning: {warning}", markup=False)
    if not as_json:
        out().print(_sentence(outcome), markup=False)
    has_changed = outcome.changes or outcome.secrets_set
    applied = after_a_change(path, outcome.group) if in_step and has_changed else []
    if as_json:
        print_json(_document(outcome) | {"applied": applied})
    elif applied:
        out().print(f"{counted(len(applied), 'change')} made in Prefect", markup=False)


def _document(outcome: actions.Outcome) -> dict[str, Any]:
    return {
        "ok": True,
        "action": outcome.action,
        "object": outcome.title,
        "changes": {k: {"before": b, "after": a} for k, (b, a) in outcome.changes.items()},
        "secrets": list(outcome.secrets_set),
        "warnings": list(outcome.warnings),
    }


def _sentence(outcome: actions.Outcome) -> str:
    if outcome.action != "modified":
        return f"{outcome.action} {outcome.title}"
    changed = [f"{k} {b or '-'} → {a or '-'}" for k, (b, a) in outcome.changes.items()]
    changed += [f"{name} replaced" for name in outcome.secrets_set]
    return f"{outcome.title}: {', '.join(changed) or 'no change'}"


def _save_secrets(item: Configured, values: Mapping[str, str]) -> None:
    from deployments import runtime

    runtime.require_server()
    from deployments import credentials

    credentials.save(item, values)
