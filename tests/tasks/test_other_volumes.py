"""What a backup builds on when its group has moved to another site, whose volumes are others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from blocks.catalog.point import Kind, RestorePoint
from blocks.profile.model import BackupProfile, Method
from blocks.units import KIB
from tasks.decide import Decision

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
PROFILE = BackupProfile(
    name="RG1",
    enabled=True,
    method=Method.CLOUD,
    replicated_resources="cg",
    storage_names=("storage1", "storage2"),
    bucket_name="pha-bucket",
)
HOME, AWAY = {"H1", "H2"}, {"A1", "A2"}


def point(name: str, hour: int, uids: set[str], extent_bytes: int = 256 * KIB) -> RestorePoint:
    return RestorePoint.model_construct(
        id=name,
        taken_at=NOW + timedelta(hours=hour),
        kind=Kind.FULL,
        storage_system="storage1" if uids == HOME else "storage2",
        volumes=tuple(SimpleNamespace(uid=u, extent_bytes=extent_bytes) for u in sorted(uids)),
        digest_algorithm="blake3",
        objects=(),
    )


def on(uids: set[str], *points: RestorePoint, distrusted: frozenset[str] = frozenset()) -> Decision:
    asked = Decision(Kind.INCREMENTAL, "due", points[-1], points, distrusted)
    return asked.on_volumes(PROFILE, uids)


def test_on_the_volumes_of_its_parent_a_decision_stays_what_it_is() -> None:
    first = point("first", 0, HOME)
    assert on(HOME, first) == Decision(Kind.INCREMENTAL, "due", first, (first,))
    grown = on({*HOME, "H3"}, first)
    assert grown.parent is first, "a volume that is new in the group changes nothing for the others"


def test_the_first_backup_of_other_volumes_is_a_full_that_says_why() -> None:
    chosen = on(AWAY, point("first", 0, HOME))
    assert (chosen.kind, chosen.parent) == (Kind.FULL, None)
    assert "first is of other volumes (of storage1)" in chosen.reason


def test_back_home_it_builds_on_the_newest_sound_point_of_home() -> None:
    older, old, away = point("older", 0, HOME), point("old", 1, HOME), point("away", 2, AWAY)
    assert on(HOME, older, old, away).parent is old
    assert on(HOME, older, old, away, distrusted=frozenset({"old"})).parent is older
    other = point("other", 1, HOME, extent_bytes=64 * KIB)
    assert on(HOME, older, other, away).parent is older
    partial = point("partial", 1, {"H1"})
    assert on(HOME, older, partial, away).parent is older
    ahead = point("ahead", 9, HOME)
    assert (
        Decision(Kind.INCREMENTAL, "", away, (old, ahead, away)).on_volumes(PROFILE, HOME).parent
        is old
    ), "a point from the future is not built upon"


def test_a_full_is_left_alone() -> None:
    asked = Decision(Kind.FULL, "due", None, (point("first", 0, HOME),))
    assert asked.on_volumes(PROFILE, AWAY) is asked
