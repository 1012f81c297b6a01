"""Plan a restore: which point, onto which disks, written by whom. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from blocks.catalog import shelf
from blocks.catalog.point import RestorePoint
from blocks.errors import ConfigError
from blocks.host.base import Host
from blocks.policy.recovery import RestorePlan, plan_restore
from blocks.profile.model import Configuration
from blocks.store.base import Store
from tasks.open import configuration, store
from tasks.run import Run
from tasks.steps import CONTROL_S, run_log, step
from tasks.targets import Places, candidates, refuse_written


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked to have restored; the fields are those of `flows.restore.restore`."""

    group: str
    to: Mapping[str, str]
    point: str = ""
    at: datetime | None = None
    bucket: str = ""
    node: str = ""
    host: str = ""
    force: bool = False


@step(name="plan-{asked.group}", timeout_s=CONTROL_S)
def plan(run: Run, asked: Asked) -> tuple[RestorePlan, Store, dict[str, Host]]:
    """Find the point and the disks, and refuse what is dangerous.

    Returns:
        The plan, the store to read from, and the host that writes each volume, by its UID.
    """
    run.check()
    refuse_idle_names(asked)
    wanted = configured(asked)
    source = open_source(wanted, asked)
    found = find(source, asked)
    looked = candidates(
        Places(wanted, group=asked.group, node=asked.node, writer=asked.host), found, asked.to
    )
    planned = plan_restore(
        found,
        {uid: candidate for uid, (_, candidate) in looked.items()},
        sources=[volume.uid for volume in found.volumes],
        force=asked.force,
    )
    refuse_written(source, planned)
    for note in planned.notes:
        run_log().info("%s", note)
    return planned, source, {uid: machine for uid, (machine, _) in looked.items()}


def refuse_idle_names(asked: Asked) -> None:
    """Refuse a host or a node where it changes nothing: a path is always one of this machine.

    Raises:
        ConfigError: whoever wrote it means a disk of another machine.
    """
    if asked.to and (asked.host or asked.node) and all("/" in path for path in asked.to.values()):
        raise ConfigError(
            f"every target is a path of this machine, not of {asked.host or asked.node}",
            hint="Run it on the machine that has the disk, or name disks: --to hdisk18=hdisk30.",
        )


def configured(asked: Asked) -> Configuration | None:
    """Return the configuration, or none where a bucket is named and every target is a path."""
    is_bare = asked.bucket and all("/" in target for target in asked.to.values())
    return None if is_bare else configuration()


def open_source(wanted: Configuration | None, asked: Asked) -> Store:
    """Open the bucket a restore reads from.

    Raises:
        ConfigError: neither a bucket nor a configuration says where the images are.
    """
    if asked.bucket:
        return store(wanted or Configuration(), asked.bucket)
    if wanted is None:
        raise ConfigError("no bucket given", hint="Name one: --bucket s3://bucket/prefix.")
    return store(wanted, wanted.profile(asked.group).bucket_name)


def find(source: Store, asked: Asked) -> RestorePoint:
    """Return the point that was asked for: by id, by time, or the latest.

    Raises:
        ConfigError: both an id and a time.
        PointMissing: there is none such.
    """
    if asked.point and asked.at:
        raise ConfigError(
            f"both restore point {asked.point} and the time {asked.at} are asked for",
            hint="Choose --point or --at.",
        )
    if asked.point:
        return shelf.read_point(source, asked.group, asked.point)
    return shelf.find_point(shelf.existing_points(source, asked.group), at=asked.at)
