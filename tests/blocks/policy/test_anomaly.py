"""The ransomware alarm: it sounds when a disk is encrypted or wiped, and on no usual day."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.catalog.point import Kind, PageRef, RestorePoint, StoredObject, VolumeImage
from blocks.policy.anomaly import HISTORY_MIN, Alarm, Figures, Reason, assess, assess_volume
from blocks.units import GIB, MIB

START = datetime(2026, 11, 1, tzinfo=UTC)
SIZE = 100 * GIB


def figures(
    number: int,
    share: float,
    ratio: float = 0.4,
    *,
    zero: float = 0.25,
    kind: Kind = Kind.INCREMENTAL,
    hours: float | None = None,
    codec: str = "zstd-1",
    size: int = SIZE,
) -> Figures:
    changed = int(size * share)
    at = START + timedelta(hours=4 * number if hours is None else hours)
    return Figures(at, kind, codec, size, changed, int(changed * ratio), int(size * zero))


def usual(count: int = 20, seed: int = 1, busy: float = 0.02) -> list[Figures]:
    """A volume that changes about 2 % in four hours, by half or double."""
    draw = random.Random(seed)
    return [
        figures(number, busy * draw.uniform(0.5, 2.0), draw.uniform(0.35, 0.5))
        for number in range(count)
    ]


def signals(history: list[Figures], new: Figures) -> set[str]:
    return {reason.signal for reason in assess_volume("db01", history, new)}


def test_an_encrypted_volume_changes_much_and_compresses_no_more():
    reasons = assess_volume("db01", usual(), figures(20, 0.6, 1.0))
    assert {reason.signal for reason in reasons} == {"changed", "incompressible"}
    alarm = Alarm(tuple(reasons))
    assert alarm.is_severe
    assert "db01: 60% changed (60.0 GiB), usually 2." in alarm.text
    assert "compress to 100%" in alarm.text


def test_slow_encryption_shows_by_its_compression_alone():
    assert signals(usual(), figures(20, 0.03, 1.0)) == {"incompressible"}


def test_a_loaded_database_changes_much_and_still_compresses():
    assert signals(usual(), figures(20, 0.5, 0.4)) == {"changed"}
    assert not Alarm(tuple(assess_volume("v", usual(), figures(20, 0.5, 0.4)))).is_severe


def test_a_wiped_volume_becomes_zero():
    assert signals(usual(), figures(20, 0.01, zero=0.9)) == {"zero"}


@pytest.mark.parametrize("seed", range(20))
def test_usual_days_raise_no_alarm(seed):
    history = usual(60, seed)
    for number in range(HISTORY_MIN, len(history)):
        assert signals(history[:number], history[number]) == set()


def test_a_long_pause_explains_a_large_change():
    history = usual()
    twelve_days_later = 4 * 19 + 12 * 24
    assert signals(history, figures(0, 0.4, hours=twelve_days_later)) == set()
    assert signals(history, figures(20, 0.4)) == {"changed"}


def test_what_happened_twice_before_is_no_news():
    history = usual()
    history[5] = figures(5, 0.5)
    assert signals(history, figures(20, 0.49)) == {"changed"}
    history[12] = figures(12, 0.52)
    assert signals(history, figures(20, 0.49)) == set()


def test_a_full_is_not_judged_by_how_much_it_stores():
    assert signals(usual(), figures(20, 0.75, 0.4, kind=Kind.FULL)) == set()
    assert signals(usual(), figures(20, 0.75, 1.0, kind=Kind.FULL)) == {"incompressible"}


def test_another_codec_is_another_history():
    assert signals(usual(), figures(20, 0.02, 1.0, codec="none")) == set()


def test_few_bytes_say_nothing_of_compression():
    tiny = replace(figures(20, 0.0), changed_bytes=MIB, stored_bytes=MIB)
    assert signals(usual(), tiny) == set()


shares = st.floats(0.0, 1.0)
series = st.lists(st.tuples(shares, shares, shares), max_size=40).map(
    lambda rows: [figures(i, s, r, zero=z) for i, (s, r, z) in enumerate(rows)]
)


@given(history=series, share=shares, ratio=shares, zero=shares)
def test_too_little_history_never_alarms(history, share, ratio, zero):
    new = figures(50, share, ratio, zero=zero)
    assert signals(history[: HISTORY_MIN - 1], new) == set()


@given(history=series, share=shares, ratio=shares, order=st.randoms(use_true_random=False))
def test_the_order_of_the_history_does_not_matter(history, share, ratio, order):
    new = figures(50, share, ratio)
    shuffled = list(history)
    order.shuffle(shuffled)
    assert signals(shuffled, new) == signals(history, new)


@given(history=series, one=shares, other=shares)
def test_whoever_changes_more_alarms_all_the_more(history, one, other):
    less, more = sorted([one, other])
    small = "changed" in signals(history, figures(50, less))
    large = "changed" in signals(history, figures(50, more))
    assert large or not small


@given(share=shares, ratio=st.floats(0.1, 0.9), count=st.integers(HISTORY_MIN, 30))
def test_a_day_like_all_others_never_alarms(share, ratio, count):
    history = [figures(number, share, ratio) for number in range(count)]
    assert signals(history, figures(count, share, ratio)) == set()


@given(history=series, share=shares, zero=shares, factor=st.integers(2, 50))
def test_a_larger_volume_is_judged_alike(history, share, zero, factor):
    def scaled(each: Figures) -> Figures:
        return replace(
            each,
            size_bytes=each.size_bytes * factor,
            changed_bytes=each.changed_bytes * factor,
            stored_bytes=each.stored_bytes * factor,
            zero_bytes=each.zero_bytes * factor,
        )

    new = figures(50, share, zero=zero)
    wanted = signals(history, new) - {"incompressible"}  # that needs a sample of some size
    assert signals([scaled(each) for each in history], scaled(new)) - {"incompressible"} == wanted


# --- whole points ----------------------------------------------------------------------------


def point(number: int, volumes: dict[str, Figures]) -> RestorePoint:
    first = next(iter(volumes.values()))
    page = StoredObject(key="p", size_bytes=1, etag="e")
    return RestorePoint(
        id=f"{number:026d}",
        group="RG1",
        cluster="c",
        storage_system="s",
        consistency_group="g",
        kind=first.kind,
        taken_at=first.taken_at,
        committed_at=first.taken_at,
        reading_host="h",
        volumes=tuple(
            VolumeImage(
                name=name,
                uid=name.upper().ljust(32, "0"),
                size_bytes=each.size_bytes,
                disk="hdisk1",
                extent_bytes=262144,
                map_digest="0" * 64,
                pages=(PageRef(object=page, first_extent=0, extent_count=1),),
                read_bytes=each.size_bytes,
                zero_bytes=each.zero_bytes,
                changed_bytes=each.changed_bytes,
                stored_bytes=each.stored_bytes,
                image_keys=(),
            )
            for name, each in volumes.items()
        ),
        objects=(),
        maps_digest="0" * 64,
        codec=first.codec,
        tool_version="0",
    )


def test_one_encrypted_volume_is_found_in_a_group_of_quiet_ones():
    quiet = [usual(21, seed) for seed in range(4)]
    names = ["db01", "db02", "log01", "log02"]
    points = [
        point(number, {name: quiet[i][number] for i, name in enumerate(names)})
        for number in range(20)
    ]
    new = {name: quiet[i][20] for i, name in enumerate(names)} | {"log01": figures(20, 0.5, 1.0)}
    alarm = assess([*points, point(20, new)], point(20, new))
    assert alarm is not None
    assert {reason.volume for reason in alarm.reasons} == {"log01"}
    assert alarm.is_severe
    new["log01"] = quiet[2][20]
    assert assess(points, point(20, new)) is None


def test_severity_needs_both_signals_on_one_volume():
    apart = Alarm((Reason("a", "changed", ""), Reason("b", "incompressible", "")))
    assert not apart.is_severe
