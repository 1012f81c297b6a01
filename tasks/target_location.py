"""TARGET_LOCATION: where the images of a profile with STAGING=yes wait for their upload.

Each volume has a directory of its own there. It is in the run's journal before it exists, and is
removed when the image is in the bucket or the run is over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blocks.catalog.point import Kind
from blocks.errors import ConfigError, Refused
from blocks.profile.model import BackupProfile
from blocks.units import format_size, slug
from tasks.decide import Decision
from tasks.run import Run
from tasks.staging import Staging

STAGED = "staged"

_PREFIX = "flashvault."
_GROWTH = 1.25
"""A full is expected to need no more than this many times what the last one did."""


@contextmanager
def staging(run: Run, profile: BackupProfile, volume: str) -> Iterator[Staging | None]:
    """Yield the place where a volume's image waits, or None for a profile that streams.

    It is removed once the image is in the bucket; after an error it stays for the step's next try.
    """
    if not profile.staging:
        yield None
        return
    assert profile.target_location is not None
    directory = Path(profile.target_location, f"{_PREFIX}{run.id}.{slug(volume)}")
    made = run.journal.made(STAGED, directory=str(directory))
    yield Staging(directory)
    remove_staged({"directory": str(directory)})
    run.journal.unmade(made)


def remove_staged(facts: dict[str, Any]) -> None:
    """Remove what a run has staged."""
    directory = Path(facts["directory"])
    assert directory.name.startswith(_PREFIX)
    if directory.exists():
        shutil.rmtree(directory)


def check_room(profile: BackupProfile, decision: Decision, volume_bytes: int) -> None:
    """Refuse a full that would not fit into TARGET_LOCATION.

    Needed is a quarter more than what the last full has stored; before there is one, the volumes'
    whole size. How much an incremental stores is not known before: one that does not fit ends with
    an error, and nothing is lost.

    Raises:
        ConfigError: the directory is not there or cannot be written.
        Refused: it has too little room.
    """
    if not profile.staging:
        return
    place = Path(profile.target_location or "")
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"TARGET_LOCATION {place} of {profile.name} is no directory that can be written",
            hint="Make it on the host that runs the backup, or set STAGING=no.",
        )
    if decision.kind is not Kind.FULL:
        return
    fulls = [point for point in decision.history if point.kind is Kind.FULL]
    last = max(fulls, key=lambda point: point.committed_at, default=None)
    needed = volume_bytes
    if last is not None:
        needed = min(needed, int(last.stored_bytes * _GROWTH))
    free = shutil.disk_usage(place).free
    if free < needed:
        raise Refused(
            f"TARGET_LOCATION {place} has {format_size(free)} free, a full backup of"
            f" {profile.name} may need {format_size(needed)}",
            hint="Make room, or set STAGING=no: the images then go to the bucket directly.",
        )
