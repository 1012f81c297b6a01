"""Profiles as deployments: what runs, when, with which parameters and under which name. Pure.

A full's tick comes every day at BACKUP_SCHEDULE and returns *skipped* when the frequency is not
over, as IBM's does: so "every N days" keeps its phase across months, and a missed day is made up
for on the next. Frequencies that are no whole days become intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from blocks.policy.schedule import next_slot
from blocks.profile.model import BackupProfile, Configuration, Method

POOL = "flashvault"
RESTORE_POOL = "flashvault-restore"
CAPTURE_POOL = "flashvault-capture"
POOLS = {
    POOL: "Backups, verification, retention and drills.",
    RESTORE_POOL: "Restores and alarms: their own pool, so that no backlog of backups delays them.",
    CAPTURE_POOL: "Single volumes of large groups. Apart from the runs that wait for them.",
}
ANYWHERE = "default"
"""The work queue of what has no SITE: Prefect's own name for it."""


DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
RECONCILE_EVERY = timedelta(minutes=15)
DASHBOARD_EVERY = timedelta(minutes=15)
SYNC_EVERY = timedelta(minutes=5)
ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
"""Intervals are counted from here, so that applying again never moves them."""

RECONCILE = "flashvault-reconcile"
ALARM = "flashvault-alarm"
DASHBOARD = "flashvault-dashboard"


@dataclass(frozen=True, slots=True)
class Tick:
    """When a deployment gets a run: a cron line on the zone's clocks, or an interval."""

    slug: str
    zone: str = "UTC"
    cron: str = ""
    every: timedelta | None = None
    anchor: datetime = ANCHOR
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One deployment as the configuration asks for it. `entrypoint` is a module path."""

    name: str
    entrypoint: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    ticks: tuple[Tick, ...] = ()
    tags: tuple[str, ...] = ("flashvault",)
    pool: str = POOL
    is_paused: bool = False
    queue: str = ANYWHERE
    limit: int | None = 1
    """Runs at a time; more are cancelled. None where who starts them keeps count."""


def wanted_deployments(configuration: Configuration) -> list[Wanted]:
    """Return every deployment of a configuration, by profile."""
    found = [
        Wanted(
            RECONCILE,
            "flows.reconcile.reconcile",
            "Clears what dead runs left behind, and sets their states right.",
            ticks=(Tick("reconcile", every=RECONCILE_EVERY),),
            pool=RESTORE_POOL,
        ),
        Wanted(
            ALARM,
            "flows.alarm.alarm",
            "Runs the profile's NOTIFY_METHOD when a backup is overdue.",
            pool=RESTORE_POOL,
        ),
    ]
    if configuration.profiles:
        found.append(
            Wanted(
                DASHBOARD,
                "flows.dashboard.dashboard",
                "Draws how every resource group stands, from the buckets.",
                ticks=(Tick("dashboard", every=DASHBOARD_EVERY),),
                pool=RESTORE_POOL,
            )
        )
    found.extend(
        Wanted(
            f"{RECONCILE}-{site}",
            "flows.reconcile.reconcile",
            f"Clears what dead runs left behind on the backup hosts of {site}.",
            ticks=(Tick("reconcile", every=RECONCILE_EVERY),),
            pool=RESTORE_POOL,
            queue=site,
        )
        for site in sites(configuration)
    )
    for profile in configuration.profiles:
        made = (
            _cloud(profile)
            if profile.method == Method.CLOUD
            else [_sync(profile), *_moves(profile)]
        )
        found.extend(replace(item, queue=profile.site or ANYWHERE) for item in made)
    return found


def sites(configuration: Configuration) -> list[str]:
    """Return the sites that profiles name: each has a work queue of its name in every pool."""
    return sorted({profile.site for profile in configuration.profiles if profile.site})


def wanted_queues(configuration: Configuration) -> list[tuple[str, str]]:
    """Return every (pool, queue) that something is sent to: each needs a worker."""
    found = {(item.pool, item.queue) for item in wanted_deployments(configuration)}
    return sorted(found)


def _cloud(profile: BackupProfile) -> list[Wanted]:
    name, group = profile.name, {"group": profile.name}
    backup = {"profile": name, "grace_percent": profile.grace_percent}
    every = f"{profile.schedule:%H:%M} {profile.timezone}"
    incremental = profile.incremental_frequency
    found = [
        _of(
            profile,
            "full",
            "flows.backup.backup",
            f"Full backup of {name}, at {every}.",
            backup | {"mode": "full"},
            full_ticks(profile),
        ),
        _of(
            profile,
            "verify",
            "flows.verify.verify",
            f"Reads back what is stored of {name}: its structure daily, {_all_of_it(profile)}.",
            group,
            _verify_ticks(profile),
        ),
        _of(
            profile,
            "prune",
            "flows.prune.prune",
            f"Lets go of restore points of {name} that RETENTION no longer keeps.",
            group,
            (_daily("prune", profile, after=timedelta(hours=4)),) if profile.retention else (),
        ),
        _of(
            profile,
            "compact",
            "flows.compact.compact",
            f"Writes the newest restore point of {name} anew, as COMPACTION says.",
            group,
            (_daily("compact", profile, after=timedelta(hours=6)),)
            if profile.compaction is not None
            else (),
        ),
        _of(
            profile,
            "drill",
            "flows.drill.drill",
            f"Proves a restore of {name} on scratch disks, {_drilled(profile)}.",
            group,
            _drill_ticks(profile),
        ),
    ]
    if incremental is not None:
        parameters = backup | {"mode": "incremental"}
        what = f"Incremental backup of {name}, every {incremental}."
        ticks = incremental_ticks(profile)
        found.insert(1, _of(profile, "incremental", "flows.backup.backup", what, parameters, ticks))
    restore = Wanted(
        f"{name}-restore",
        "flows.restore.restore",
        f"Restores {name}; asks before it writes.",
        group,
        tags=_tags(profile, "restore"),
        pool=RESTORE_POOL,
    )
    if profile.capture_workers > 1:
        found += _parts(profile)
    return [*found, restore]


def _parts(profile: BackupProfile) -> list[Wanted]:
    """Return what other workers do of a large group: asked for by its runs, never by hand."""
    parts = [
        ("capture", "flows.capture.capture_part", "Captures", "backups"),
        ("restore-part", "flows.restore_part.restore_part", "Restores", "restores"),
    ]
    return [
        Wanted(
            f"{profile.name}-{kind}",
            entrypoint,
            f"{does} single volumes of {profile.name}; started by its {runs}, never by hand.",
            tags=_tags(profile, kind),
            pool=CAPTURE_POOL,
            limit=None,
        )
        for kind, entrypoint, does, runs in parts
    ]


def _sync(profile: BackupProfile) -> Wanted:
    every = SYNC_EVERY
    if profile.rpo is not None:
        every = max(min(every, profile.rpo / 3), timedelta(seconds=5))
    return _of(
        profile,
        "sync",
        "flows.replicate.replicate",
        f"Watches the Global Mirror of {profile.name}, and starts it when it has stopped.",
        {"profile": profile.name},
        (Tick("sync", every=every),),
    )


def _moves(profile: BackupProfile) -> list[Wanted]:
    """Return what a person starts: each shows its plan, and waits for an approval in the UI."""
    what = {
        "failover": "Makes the second site's copy the production, the first being lost.",
        "failback": "Brings the production home: copies back, then swaps the roles.",
        "switch": "Swaps the sites' roles while both are well.",
    }
    return [
        Wanted(
            f"{profile.name}-{move}",
            f"flows.failover.{move}",
            does,
            {"group": profile.name},
            tags=_tags(profile, move),
            pool=RESTORE_POOL,
        )
        for move, does in what.items()
    ]


def full_ticks(profile: BackupProfile) -> tuple[Tick, ...]:
    """Return when a full is looked at: every day, or by interval if the frequency is no days."""
    frequency = profile.backup_frequency
    assert frequency is not None, "a cloud profile has a frequency"
    if frequency % DAY:
        return (_interval("full", profile, frequency),)
    return (_daily("full", profile),)


def incremental_ticks(profile: BackupProfile) -> tuple[Tick, ...]:
    """Return when an incremental is looked at.

    Whole hours that divide the day follow the wall clock, beside the full; the hour that is a
    daily full's is left out. Anything else is an interval, and policy steps aside for the full.
    """
    frequency = profile.incremental_frequency
    assert frequency is not None, "asked for incrementals"
    full = profile.backup_frequency
    assert full is not None, "a cloud profile has a frequency"
    if frequency % HOUR or DAY % frequency or full % DAY:
        return (_interval("incremental", profile, frequency),)
    step = frequency // HOUR
    hours = sorted((profile.schedule.hour + step * count) % 24 for count in range(24 // step))
    if full == DAY:
        hours.remove(profile.schedule.hour)
    cron = f"{profile.schedule.minute} {','.join(map(str, hours))} * * *"
    return (Tick("incremental", zone=profile.timezone, cron=cron),)


def _verify_ticks(profile: BackupProfile) -> tuple[Tick, ...]:
    daily = _daily("structure", profile, after=timedelta(hours=8))
    if not profile.verify_days:
        return (daily,)
    rolling = _daily("rolling", profile, after=timedelta(hours=10))
    parameters = {"deep": True, "within_days": profile.verify_days}
    return (daily, replace(rolling, parameters=parameters))


def _all_of_it(profile: BackupProfile) -> str:
    days = profile.verify_days
    return f"every frame within {days} days" if days else "no frames (VERIFY_DAYS=0)"


def _drill_ticks(profile: BackupProfile) -> tuple[Tick, ...]:
    """Return when a drill is looked at: daily, and skipped unless DRILL_FREQUENCY is over."""
    if profile.drill_frequency is None:
        return ()
    daily = _daily("drill", profile, after=timedelta(hours=12))
    return (replace(daily, parameters={"scheduled": True}),)


def _drilled(profile: BackupProfile) -> str:
    frequency = profile.drill_frequency
    return "by hand" if frequency is None else f"every {frequency.days} days or by hand"


def _daily(slug: str, profile: BackupProfile, after: timedelta = timedelta()) -> Tick:
    at = (datetime.combine(datetime(2026, 1, 1, tzinfo=UTC), profile.schedule) + after).time()
    return Tick(slug, zone=profile.timezone, cron=f"{at.minute} {at.hour} * * *")


def _interval(slug: str, profile: BackupProfile, every: timedelta) -> Tick:
    anchor = next_slot(ANCHOR, profile.schedule, profile.timezone)
    home = ZoneInfo(profile.timezone)
    return Tick(slug, zone=profile.timezone, every=every, anchor=anchor.astimezone(home))


def _of(
    profile: BackupProfile,
    kind: str,
    entrypoint: str,
    description: str,
    parameters: dict[str, Any],
    ticks: tuple[Tick, ...] = (),
) -> Wanted:
    return Wanted(
        f"{profile.name}-{kind}",
        entrypoint,
        description,
        parameters,
        ticks,
        _tags(profile, kind),
        # What is stored is looked after all the same.
        is_paused=not profile.enabled and kind not in {"verify", "drill"},
    )


def _tags(profile: BackupProfile, kind: str) -> tuple[str, ...]:
    return ("flashvault", f"group:{profile.name}", kind)
