"""Changes of the configuration: what add, modify and delete do to the XML file.

Each holds the file's lock from reading to writing. Secrets are saved first, in Prefect: if that
fails, the file is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blocks.errors import ConfigError, ProfileError, Refused
from blocks.profile.base import Configured, did_you_mean, parse
from blocks.profile.document import editing
from blocks.profile.model import CLASSES, BackupProfile, BucketConfig, Configuration, Method
from deployments.cli import audit, secrets
from deployments.cli.grammar import Request

SHELVES = {
    "storage_system": "storage_systems",
    "node": "nodes",
    "bucket": "buckets",
    "backup_profile": "profiles",
}
"""By class: the field of `Configuration` that holds its objects."""

SaveSecrets = Callable[[Configured, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did. `changes` maps attribute to (before, after) as text."""

    action: str
    title: str
    changes: dict[str, tuple[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    secrets_set: tuple[str, ...] = ()
    group: str = ""
    """The resource group it was about; none for what several may use."""


def add(request: Request, path: Path, save_secrets: SaveSecrets) -> Outcome:
    """Register an object.

    Raises:
        ProfileError: everything that is wrong with it.
        ConfigError: there is one of this name already.
    """
    if not request.name:
        raise ConfigError(
            f"the {request.kind} needs a name",
            hint=f"flashvault add {request.kind} NAME ATTRIBUTE=value …",
        )
    attributes, typed = secrets.split(request.kind, request.attributes)
    if request.kind == "backup_profile" and attributes.get("BACKUP_METHOD", "").lower() == "cloud":
        attributes.setdefault("TIMEZONE", local_zone())
    item = _parse(request.kind, request.name, attributes)
    found = secrets.collect(request.kind, request.name, typed)
    with editing(path) as edit:
        before = edit.configuration
        if _find(before, item) is not None:
            raise ConfigError(
                f"there is already a {item.title}",
                hint=f"Change it with `flashvault modify {request.kind} {request.name} …`.",
            )
        after, notes = _with_its_bucket(_put(before, item), item)
        _refuse_faults(after)
        if found:
            save_secrets(item, found)
        edit.save(after)
        set_now = tuple(sorted(found))
        changes = {label: ("", text) for label, text in item.attributes(only_set=True).items()}
        _log(path, "add", item, changes, set_now)
    warnings = (*notes, *_loose_ends(after, item))
    return Outcome("added", item.title, changes, warnings, set_now, _group_of(item))


def modify(request: Request, path: Path, save_secrets: SaveSecrets) -> Outcome:
    """Change attributes of an object; an empty value brings back the default."""
    if request.kind == "cluster":
        return _modify_cluster(request, path)
    if not request.name:
        raise ConfigError(f"which {request.kind}?", hint=f"flashvault modify {request.kind} NAME …")
    attributes, typed = secrets.split(request.kind, request.attributes)
    with editing(path) as edit:
        before = edit.configuration
        item = _chosen(before, request, attributes)
        found = secrets.collect(request.kind, request.name, typed)
        if not attributes and not found:
            raise ConfigError(
                "nothing to change", hint="Name attributes: flashvault modify … ATTRIBUTE=value"
            )
        changed = _parse(request.kind, item.name, item.attributes(only_set=True) | attributes)
        after, notes = _with_its_bucket(_put(before, changed), changed)
        _refuse_faults(after)
        if found:
            save_secrets(changed, found)
        changes = _differences(item, changed)
        if changes or changed.model_fields_set != item.model_fields_set:
            edit.save(after)
        set_now = tuple(sorted(found))
        if changes or set_now:
            _log(path, "modify", changed, changes, set_now)
    warnings = (*notes, *_loose_ends(after, changed))
    return Outcome("modified", changed.title, changes, warnings, set_now, _group_of(changed))


def delete(request: Request, path: Path) -> Outcome:
    """Forget an object. Backups stay where they are.

    Raises:
        Refused: another object refers to it.
    """
    if not request.name:
        raise ConfigError(f"which {request.kind}?", hint=f"flashvault delete {request.kind} NAME")
    if extra := set(request.attributes) - {"BACKUP_METHOD"}:
        raise ConfigError(f"delete takes no attributes, but {', '.join(sorted(extra))} is given")
    with editing(path) as edit:
        before = edit.configuration
        item = _chosen(before, request, request.attributes)
        users = sorted(profile.title for profile in before.profiles if _refers(profile, item))
        if users:
            raise Refused(
                f"{item.title} is used by {', '.join(users)}",
                hint="Change or delete what uses it first.",
            )
        shelf = SHELVES[request.kind]
        left = tuple(other for other in getattr(before, shelf) if other is not item)
        edit.save(before.model_copy(update={shelf: left}))
        changes = {label: (text, "") for label, text in item.attributes(only_set=True).items()}
        _log(path, "delete", item, changes, ())
    return Outcome("deleted", item.title, changes, group=_group_of(item))


def local_zone() -> str:
    """Return the name of this machine's time zone, UTC if it has none we know."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    link = Path("/etc/localtime")
    name = str(link.resolve()).partition("zoneinfo/")[2] if link.exists() else ""
    name = name.removeprefix("posix/").removeprefix("right/")
    try:
        # /etc/localtime often says Etc/UTC, which nobody writes.
        return "UTC" if name in {"", "Etc/UTC", "Etc/UCT"} else ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


def _parse(kind: str, name: str, attributes: Mapping[str, str]) -> Configured:
    try:
        return parse(CLASSES[kind], name, attributes)
    except ProfileError as error:
        known = [*CLASSES[kind].labels(), *secrets.FIELDS.get(kind, {})]
        faults = [
            fault + did_you_mean(fault.split(":")[0], known)
            if fault.endswith("no such attribute")
            else fault
            for fault in error.faults
        ]
        raise ProfileError(faults, where=f"{kind} {name}", hint="Nothing was changed.") from error


def _find(configuration: Configuration, item: Configured) -> Configured | None:
    for other in getattr(configuration, SHELVES[item.element]):
        if other.name == item.name and getattr(other, "method", "") == getattr(item, "method", ""):
            found: Configured = other
            return found
    return None


def _put(configuration: Configuration, item: Configured) -> Configuration:
    shelf = SHELVES[item.element]
    standing = _find(configuration, item)
    objects = list(getattr(configuration, shelf))
    if standing is None:
        objects.append(item)
    else:
        objects[objects.index(standing)] = item
    return configuration.model_copy(update={shelf: tuple(objects)})


def _chosen(
    configuration: Configuration, request: Request, attributes: Mapping[str, str]
) -> Configured:
    if request.kind != "backup_profile":
        look_up = getattr(configuration, request.kind)
        found: Configured = look_up(request.name)
        return found
    if method := attributes.get("BACKUP_METHOD", "").lower():
        return configuration.profile(request.name, method)
    both = [profile for profile in configuration.profiles if profile.name == request.name]
    # A name with two profiles: an attribute that only one method knows says which is meant.
    meant = [
        profile
        for profile in both
        if not set(attributes) & set(BackupProfile.foreign({"method": profile.method}))
    ]
    if len(both) > 1 and len(meant) != 1:
        raise ConfigError(
            f"resource group {request.name} has two profiles",
            hint="Say which: BACKUP_METHOD=cloud or BACKUP_METHOD=remote_storage.",
        )
    if len(meant) == 1:
        return meant[0]
    return both[0] if both else configuration.profile(request.name)


def _with_its_bucket(
    configuration: Configuration, item: Configured
) -> tuple[Configuration, list[str]]:
    """Register the bucket a profile names, if nobody did: IBM's example never does.

    It gets the standard chain of AWS credentials, as in IBM's. A name like a registered one is
    taken for a slip of the hand.
    """
    if not isinstance(item, BackupProfile) or item.method != Method.CLOUD:
        return configuration, []
    known = [bucket.name for bucket in configuration.buckets]
    name = item.bucket_name
    if name in known:
        return configuration, []
    nearest = did_you_mean(name, known)
    if nearest or item.cloud_service == "IBM":
        raise ConfigError(
            f"BUCKET_NAME: bucket '{name}' is not registered{nearest}",
            hint=f"Register it first: flashvault add bucket {name} CLOUD_SERVICE=… …",
        )
    bucket = parse(BucketConfig, name, {"CLOUD_SERVICE": "AWS"})
    note = (
        f"bucket {name} was not registered: it is now, at AWS with the standard credential chain "
        f"(`flashvault modify bucket {name} …` to say otherwise)"
    )
    return _put(configuration, bucket), [note]


def _modify_cluster(request: Request, path: Path) -> Outcome:
    attributes = dict(request.attributes)
    name = attributes.pop("NAME", attributes.pop("CLUSTER_NAME", request.name))
    if attributes or not name:
        raise ConfigError("a cluster has a name only", hint="flashvault modify cluster NAME=prod")
    _parse("node", name, {"TYPE": "LOCAL"})
    with editing(path) as edit:
        before = edit.configuration.cluster
        edit.save(edit.configuration.model_copy(update={"cluster": name}))
        changes = {"NAME": (before, name)} if before != name else {}
        if changes:
            audit.record(path, "modify", "cluster", {"NAME": [before, name]})
    return Outcome("modified", "cluster", changes)


def _refuse_faults(configuration: Configuration) -> None:
    faults = [f"{item.title}: {fault}" for item, fault in configuration.faults()]
    if faults:
        raise ProfileError(faults, hint="Nothing was changed.")


def _refers(profile: BackupProfile, item: Configured) -> bool:
    match item.element:
        case "storage_system":
            return item.name in profile.storage_names
        case "bucket":
            return item.name == profile.bucket_name
        case "node":
            return item.name == profile.host
        case _:
            return False


def _group_of(item: Configured) -> str:
    return item.name if isinstance(item, BackupProfile) else ""


def _loose_ends(configuration: Configuration, item: Configured) -> tuple[str, ...]:
    return tuple(
        f"{text} (nothing runs until it is)"
        for profile, text in configuration.loose_ends()
        if profile == item
    )


def _differences(before: Configured, after: Configured) -> dict[str, tuple[str, str]]:
    old, new = before.attributes(), after.attributes()
    return {
        label: (old.get(label, ""), new.get(label, ""))
        for label in {**old, **new}
        if old.get(label, "") != new.get(label, "")
    }


def _log(
    path: Path,
    action: str,
    item: Configured,
    changes: Mapping[str, tuple[str, str]],
    set_now: tuple[str, ...],
) -> None:
    entry: dict[str, object] = {label: list(pair) for label, pair in changes.items()}
    if set_now:
        entry["secrets"] = list(set_now)
    audit.record(path, action, item.title, entry)
