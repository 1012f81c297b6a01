"""Look over a whole set-up and say what to do: arrays, nodes, buckets, profiles, Prefect.

Reads only. Each check stands alone, so that one dead machine does not hide what else is wrong.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from blocks.errors import FlashvaultError
from blocks.policy.replication import judge
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.store.s3 import S3Store
from blocks.units import MIB, counted, format_duration, format_size
from tasks import open as opened
from tasks.journal import state_directory
from tasks.owner import find_owner
from tasks.preflight import Seen, check_pairs, read_pairs, targets_of
from tasks.protection import writing_cipher
from tasks.remote_look import ask_both
from tasks.remote_memory import recall
from tasks.remote_setup import examine

SIDE_BY_SIDE = 8

STATE_FREE_BYTES = 256 * MIB
"""Less room for journals, bookmarks and logs is soon none."""

SKEW_MAX = timedelta(minutes=2)
"""S3 refuses a request 15 minutes off; restore points are named and aged by our clock."""

Status = Literal["ok", "off", "warning", "wrong"]
Found = tuple[Status, str, str]
"""How it is, what was seen, and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    status: Status
    message: str
    hint: str = ""


def check(wanted: Configuration, group: str = "") -> list[Finding]:
    """Check everything, or what one resource group needs.

    Args:
        wanted: the configuration.
        group: a resource group; all if empty.
    """
    looks = list(_looks(wanted, group))
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="check") as pool:
        return list(pool.map(_look, looks))


def _looks(wanted: Configuration, group: str) -> Iterator[tuple[str, Callable[[], Found]]]:
    profiles = [profile for profile in wanted.profiles if group in ("", profile.name)]
    if group and not profiles:
        wanted.profile(group)  # says which there are
    systems = dict.fromkeys(name for profile in profiles for name in profile.storage_names)
    buckets = dict.fromkeys(p.bucket_name for p in profiles if p.method == Method.CLOUD)
    yield "this machine", _machine
    for name in systems or [system.name for system in wanted.storage_systems]:
        yield f"storage_system {name}", partial(_array, wanted, name)
    for node in wanted.nodes:
        yield f"node {node.name}", partial(_node, wanted, node.name)
    for name in buckets or [bucket.name for bucket in wanted.buckets]:
        yield f"bucket {name}", partial(_bucket, wanted, name)
    for profile in profiles:
        yield profile.title, partial(_profile, wanted, profile)
    yield "prefect", partial(_prefect, wanted)


def _look(named: tuple[str, Callable[[], Found]]) -> Finding:
    subject, look = named
    try:
        status, message, hint = look()
    except FlashvaultError as error:
        return Finding(subject, "wrong", str(error), error.hint)
    return Finding(subject, status, message, hint)


def _machine() -> Found:
    place = state_directory()
    standing = next(each for each in (place, *place.parents) if each.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        hint = "Give it to the user who runs this, or set FLASHVAULT_STATE to another directory."
        return "wrong", f"{standing} cannot be written: no run could keep its journal", hint
    free = shutil.disk_usage(standing).free
    if free < STATE_FREE_BYTES:
        hint = "Make room, or set FLASHVAULT_STATE to another directory."
        return "wrong", f"{place} has {format_size(free)} free: journals would not fit", hint
    return "ok", f"{place} can be written, {format_size(free)} free", ""


def _array(wanted: Configuration, name: str) -> Found:
    with opened.array(wanted, name) as client:
        system = client.lssystem()
        return "ok", f"{system.name} answers at {client.address}", ""


def _node(wanted: Configuration, name: str) -> Found:
    disks = opened.host(wanted, name).disks()
    known = sum(bool(disk.uid) for disk in disks)
    return "ok", f"{len(disks)} disks, {known} of them volumes of an array", ""


def _bucket(wanted: Configuration, name: str) -> Found:
    store = opened.store(wanted, name)
    for _ in store.list("points/"):
        break
    if isinstance(store, S3Store):
        ahead = datetime.now(UTC) - store.clock()
        if abs(ahead) > SKEW_MAX:
            which = "ahead of" if ahead > timedelta(0) else "behind"
            off = format_duration(abs(ahead).total_seconds())
            hint = "Set this machine's clock, or that of the store: see chronyc tracking."
            return "wrong", f"this machine's clock is {off} {which} that of {store.url}", hint
    return "ok", f"{store.url} can be listed", ""


def _profile(wanted: Configuration, profile: BackupProfile) -> Found:
    if not profile.enabled:
        hint = (
            f"flashvault modify backup_profile {profile.name} BACKUP_METHOD={profile.method.value}"
            " ENABLE_BACKUP=yes"
        )
        return "off", "switched off by ENABLE_BACKUP=no, not looked at", hint
    return (_cloud if profile.method == Method.CLOUD else _remote)(wanted, profile)


def _cloud(wanted: Configuration, profile: BackupProfile) -> Found:
    system, pairs = read_pairs(wanted, profile)
    owner = find_owner(wanted, profile.name)
    reader = wanted.reading_node(profile).name
    seen = Seen(
        storage_system=system,
        owner=owner.name,
        reader=reader,
        pairs=pairs,
        sources={disk.uid: disk for disk in owner.disks if disk.uid},
        targets={disk.uid: disk for disk in opened.host(wanted, reader).disks() if disk.uid},
        volume_groups=profile.volume_groups or tuple(owner.machine.volume_groups(profile.name)),
    )
    check_pairs(profile, seen)
    targets_of(seen)
    writing_cipher(wanted, profile)
    if profile.retention is None:
        hint = f"flashvault modify backup_profile {profile.name} RETENTION=last=7,daily=14"
        return "warning", f"{counted(len(pairs), 'volume')}; nothing is ever pruned", hint
    return "ok", f"{counted(len(pairs), 'volume')}; owner {owner.name}, read by {reader}", ""


def _remote(wanted: Configuration, profile: BackupProfile) -> Found:
    poll = ask_both(wanted, profile)
    if poll.lacking == set(profile.storage_names):
        both = " nor ".join(profile.storage_names)
        why = "; ".join(dict.fromkeys(poll.problems.values()))  # two arrays, mostly one answer
        message = f"neither {both} has a remote-copy group {profile.replicated_resources}: {why}"
        hint = f"See whether the name is right. To make it: flashvault map {profile.name} --remote"
        return "wrong", message, hint
    found = examine(wanted, profile, poll)
    health = judge(poll.views, recall(profile.name), poll.at, problems=poll.problems)
    said = [*found.faults, *(note for note in health.notes if not _is_in(note, found.faults))]
    hint = f"flashvault sync {profile.name}"
    if not poll.views or found.faults:
        return "wrong", "; ".join([*said, health.why]), hint
    if poll.problems or not health.is_healthy or found.remark:
        return "warning", "; ".join(filter(None, [*said, health.why, found.remark])), hint
    return "ok", f"{profile.replicated_resources}: {health.why}", ""


def _is_in(note: str, faults: Sequence[str]) -> bool:
    """Say whether a fault says what a note of the poll says too."""
    return any(note.partition(": ")[2] in fault for fault in faults)


def _prefect(wanted: Configuration) -> Found:
    if not opened.has_api():
        hint = "Start one with `flashvault serve`, or set PREFECT_API_URL."
        return "warning", "no server is known: nothing is scheduled", hint
    from deployments import register, runtime

    runtime.require_server()
    if changes := register.plan(wanted):
        names = ", ".join(f"{change.kind} {change.name}" for change in changes[:3])
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return "wrong", f"not as the configuration says: {names}{more}", "flashvault apply"
    if idle := register.queues_without_a_worker(wanted):
        pool, queue = idle[0]
        named = ", ".join(f"{pool}/{queue}" for pool, queue in idle)
        hint = f"prefect worker start --pool {pool} --work-queue {queue}"
        return "wrong", f"no worker looks at {named}", hint
    return "ok", "deployments, schedules and alarms are as configured", ""


def loose_ends(wanted: Configuration) -> list[Finding]:
    """Return what profiles name and nobody registered."""
    return [
        Finding(profile.title, "wrong", text, "Register it with `flashvault add`.")
        for profile, text in wanted.loose_ends()
    ]


def worst(findings: list[Finding]) -> int:
    """Return the exit status: 0, or 1 if something is wrong."""
    return 1 if any(finding.status == "wrong" for finding in findings) else 0
