"""Gather how every resource group stands: from the buckets, which are the truth, and this machine.

Needs no Prefect server. One bucket that does not answer costs its own groups their rows' content,
never the others theirs.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.catalog import shelf
from blocks.catalog.claims import read_intents
from blocks.catalog.document import each
from blocks.catalog.drills import Drill, read_drills
from blocks.catalog.marks import read_damage
from blocks.catalog.owner import is_alive
from blocks.catalog.readings import proven_since, read_readings
from blocks.errors import FlashvaultError
from blocks.policy.overview import Overview, Remote, State, overview, remote_overview, unread
from blocks.policy.replication import Condition
from blocks.policy.rolling import Coverage, coverage
from blocks.profile.model import BackupProfile, Configuration, Method
from blocks.store.base import Store
from blocks.units import counted, format_duration, format_size
from tasks.open import store as open_registered
from tasks.remote_memory import recall

SIDE_BY_SIDE = 8
"""Groups that are read at once."""

STALE = timedelta(minutes=30)
"""Remote copies are looked at every five minutes (`deployments.schedules.SYNC_EVERY`)."""

SHOWN_DRILLS = 30
"""Drills in the document of a group, the newest; the artifact of the drills draws all."""

log = logging.getLogger(__name__)


def gather(
    wanted: Configuration,
    now: datetime,
    *,
    group: str = "",
    open_store: Callable[[Configuration, str], Store] = open_registered,
) -> list[Overview]:
    """Read every group of a configuration, or one; by name.

    Args:
        wanted: the configuration.
        now: aware.
        group: only this one.
        open_store: opens a registered bucket.

    Raises:
        ConfigError: there is no such group.
    """
    clouds = {p.name: p for p in wanted.profiles if p.method == Method.CLOUD}
    remotes = {p.name: p for p in wanted.profiles if p.method == Method.REMOTE_STORAGE}
    names = sorted({*clouds, *remotes})
    if group:
        if group not in names:
            wanted.profile(group)  # says which there are
        names = [group]
    stores = _open_all(
        wanted, {clouds[name].bucket_name for name in names if name in clouds}, open_store
    )

    def one(name: str) -> Overview:
        remote = _remote(name) if name in remotes else None
        if name not in clouds:
            return remote_overview(remotes[name], remote, now, STALE)
        profile = clouds[name]
        store = stores[profile.bucket_name]
        if isinstance(store, FlashvaultError):
            return unread(name, profile, str(store))
        return _read(store, name, profile, now, remote)

    return list(each(one, names, workers=SIDE_BY_SIDE))


def gather_bucket(store: Store, now: datetime, *, group: str = "") -> list[Overview]:
    """Read every group of a bucket, or one, where no configuration is.

    Raises:
        StoreError: the groups cannot be listed.
        PointMissing: the bucket has nothing of the group.
    """
    names = sorted(shelf.groups(store))
    if group and group not in names:
        raise shelf.no_points(store, group)
    names = [group] if group else names
    return list(each(lambda name: _read(store, name, None, now, None), names, workers=SIDE_BY_SIDE))


def _open_all(
    wanted: Configuration,
    names: set[str],
    open_store: Callable[[Configuration, str], Store],
) -> dict[str, Store | FlashvaultError]:
    stores: dict[str, Store | FlashvaultError] = {}
    for name in sorted(names):
        try:
            stores[name] = open_store(wanted, name)
        except FlashvaultError as error:
            stores[name] = error
    return stores


def _read(
    store: Store,
    group: str,
    profile: BackupProfile | None,
    now: datetime,
    remote: Remote | None,
) -> Overview:
    try:
        found = shelf.read_shelf(store, group)
        running = _running(store, group)
        covered = _coverage(store, group, found, profile, now)
        drilled = read_drills(store, group)
    except FlashvaultError as error:
        log.warning("%s cannot be read: %s", group, error)
        return unread(group, profile, str(error))
    return overview(
        group,
        profile,
        found,
        now,
        running=running,
        remote=remote,
        drills=drilled,
        coverage=covered,
    )


def _coverage(
    store: Store, group: str, found: shelf.Shelf, profile: BackupProfile | None, now: datetime
) -> Coverage:
    points = [entry.point for entry in found.points if entry.trashed_at is None]
    since = proven_since(points, read_readings(store, group), now)
    is_damaged = any(entry.is_damaged for entry in found.points)
    bad = {mark.key for mark in read_damage(store, group)} if is_damaged else set()
    return coverage(since, bad & since.keys(), now, profile.verify_days if profile else 0)


def _running(store: Store, group: str) -> str:
    """Say who writes into the group now: every run announces itself in the bucket first."""
    owners = [intent.owner for intent in read_intents(store, group)]
    return ", ".join(str(owner) for owner in owners if is_alive(owner) is not False)


def _remote(group: str) -> Remote | None:
    try:
        memory = recall(group)
    except OSError as error:
        log.warning("memory of %s cannot be read: %s", group, error)
        return None
    if memory.condition is None:
        return None
    return Remote(
        condition=str(memory.condition),
        since=memory.since,
        looked_at=memory.at,
        is_well=memory.condition is Condition.IN_SYNC and not memory.is_breach_told,
        recovery_point=memory.recovery_point,
    )


def document(row: Overview) -> dict[str, Any]:
    """Return a row as the JSON of `flashvault status`; times in UTC, lengths in seconds."""
    point = row.last
    return {
        "group": row.group,
        "state": str(row.state),
        "ok": row.is_good,
        "overdue": row.is_overdue,
        "why": row.why,
        "bucket": row.bucket,
        "restore_point": point.id if point else None,
        "kind": str(point.kind) if point else None,
        "taken_at": _moment(point.taken_at if point else None),
        "age_s": row.age.total_seconds() if row.age is not None else None,
        "size_bytes": point.size_bytes if point else None,
        "point_stored_bytes": point.stored_bytes if point else None,
        "stored_bytes": row.stored_bytes,
        "restore_points": len(row.history),
        "damaged": row.damaged,
        "unreadable": row.unreadable,
        "next_due": _moment(row.next_due),
        "overdue_at": _moment(row.overdue_at),
        "running": row.running or None,
        "remote": {
            "condition": row.remote.condition,
            "well": row.remote.is_well,
            "since": _moment(row.remote.since),
            "looked_at": _moment(row.remote.looked_at),
        }
        if row.remote
        else None,
        "verified": {
            "complete": row.coverage.is_complete,
            "within_days": row.coverage.within_days or None,
            "oldest_at": _moment(row.coverage.oldest_at),
            "objects": row.coverage.objects,
            "late": row.coverage.late,
        }
        if row.coverage
        else None,
        "joint_recovery_point": _moment(row.joint_recovery_point),
        "newest_of_both": _newest(row) or None,
        "drill": _drill(row.drills.last_passed),
        "drills": [_drill(drilled) for drilled in row.drills.entries[-SHOWN_DRILLS:]],
    }


def _drill(drill: Drill | None) -> dict[str, Any] | None:
    if drill is None:
        return None
    return {
        "at": _moment(drill.ended_at),
        "restore_point": drill.restore_point or None,
        "rto_s": drill.rto_s if drill.has_passed else None,
        "passed": drill.has_passed,
        "fault": drill.fault or None,
        "host": drill.host,
    }


def headline(rows: Sequence[Overview]) -> str:
    """Say in one line how all groups stand."""
    counts = Counter(str(row.state) for row in rows)
    told = ", ".join(f"{counts[state]} {state}" for state in map(str, State) if counts[state])
    return f"{counted(len(rows), 'group')}: {told}" if rows else "no resource groups yet"


def worst_first(rows: Sequence[Overview]) -> list[Overview]:
    """Return the rows of groups that need somebody first, then by name."""
    order = list(State)
    return sorted(rows, key=lambda row: (-order.index(row.state), row.group))


HEADINGS = (
    *("group", "state", "last good", "age", "kind", "size", "points", "stored"),
    *("next due", "verified", "remote", "newest of both", "last drill", "now", "note"),
)


def cells(row: Overview) -> dict[str, str]:
    """Return a row as a person reads it, by `HEADINGS`; times in UTC."""
    point = row.last
    cells = dict.fromkeys(HEADINGS, "")
    cells |= {"group": row.group, "state": str(row.state), "now": row.running, "note": row.why}
    if point is not None and row.age is not None:
        cells |= {
            "last good": f"{point.taken_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "age": format_duration(row.age.total_seconds()),
            "kind": str(point.kind),
            "size": format_size(point.size_bytes),
        }
    if row.history:
        cells |= {"points": str(len(row.history)), "stored": format_size(row.stored_bytes)}
    if row.next_due is not None:
        cells["next due"] = f"{row.next_due.astimezone(UTC):%Y-%m-%d %H:%M}"
    if row.remote is not None:
        since = f" since {row.remote.since:%Y-%m-%d %H:%M}" if row.remote.since else ""
        cells["remote"] = f"{row.remote.condition}{since}"
        if (newest := row.joint_recovery_point) is not None and row.bucket:
            told = f"{newest.astimezone(UTC):%Y-%m-%d %H:%M}"
            cells["newest of both"] = f"{told} {_newest(row)}"
    if row.coverage is not None and row.coverage.oldest_at is not None:
        said = "yes, " if row.coverage.is_complete else f"no ({row.coverage.late} late), "
        cells["verified"] = f"{said * bool(row.coverage.within_days)}{row.coverage.oldest_at:%m-%d}"
    if (last := row.drills.last) is not None:
        took = format_duration(last.rto_s) if last.has_passed else "failed"
        cells["last drill"] = f"{last.ended_at.astimezone(UTC):%Y-%m-%d}, {took}"
    return cells


def _newest(row: Overview) -> str:
    """Say which of a group's methods brings back the newest state; empty when neither does."""
    if row.joint_recovery_point is None:
        return ""
    return "second site" if row.newest_is_remote else "cloud"


def _moment(at: datetime | None) -> str | None:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else None
