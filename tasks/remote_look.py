"""Look at a remote copy: both arrays' halves. What changes seldom: `tasks.remote_setup`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from blocks.errors import ConfigError, FlashvaultError, SvcObjectMissing, Unreachable
from blocks.profile.model import BackupProfile, Configuration
from blocks.svc.remote_view import RemoteView, observe
from tasks.open import array
from tasks.run import Run, describe
from tasks.steps import step


@dataclass(frozen=True, slots=True)
class Poll:
    """What both arrays answered at one moment; one that did not is in `problems`."""

    at: datetime
    views: Mapping[str, RemoteView]
    problems: Mapping[str, str]
    silent: frozenset[str] = frozenset()
    """Those of `problems` that gave no sign of life. The others answered, but nothing of use."""
    lacking: frozenset[str] = frozenset()
    """Those of `problems` that answered that they have no such group."""


WATCH_S, WATCH_MAX_S = 10.0, 60.0
"""A copy that is being watched is looked at so often at first, and so often after ten minutes."""


def pause_s(watched_s: float, bound_s: float) -> float:
    """Return how long to wait for the next look at a copy somebody watches.

    Args:
        watched_s: how long it is watched already: the longer, the more rarely.
        bound_s: how long it will be watched at most; of a short watch all is not one pause.
    """
    return min(max(WATCH_S, watched_s / 10), WATCH_MAX_S, bound_s / 60)


@step(name="look-{profile.name}")
def look(run: Run, wanted: Configuration, profile: BackupProfile) -> Poll:
    """Ask both arrays for the group, as a step of a run: see `ask_both`."""
    run.check()
    return ask_both(wanted, profile)


def ask_both(wanted: Configuration, profile: BackupProfile) -> Poll:
    """Ask both arrays for the group, side by side.

    Raises:
        ConfigError: the group is not between the two storage systems of the profile.
    """
    at = datetime.now(UTC)

    def ask(name: str) -> RemoteView:
        with array(wanted, name) as client:
            return observe(client, profile.replicated_resources, at)

    views: dict[str, RemoteView] = {}
    problems: dict[str, str] = {}
    silent: set[str] = set()
    lacking: set[str] = set()
    with ThreadPoolExecutor(2, thread_name_prefix="look") as pool:
        asked = {name: pool.submit(ask, name) for name in profile.storage_names}
        for name, answer in asked.items():
            try:
                views[name] = answer.result()
            except FlashvaultError as error:
                problems[name] = describe(error)
                if isinstance(error, Unreachable):
                    silent.add(name)
                if isinstance(error, SvcObjectMissing):
                    lacking.add(name)
    sides = [view.side for view in views.values()]
    if len(sides) == 2 and sides[0] is sides[1]:
        raise ConfigError(
            f"{' and '.join(profile.storage_names)} are the same side of"
            f" {profile.replicated_resources}",
            hint="STORAGE_NAME needs the two arrays of the group, the primary site's first.",
        )
    return Poll(at, views, problems, frozenset(silent), frozenset(lacking))
