"""The ransomware alarm: is this backup unlike the ones before it?

Encrypting a disk under its owner's feet changes much at once, and what it writes does not compress.
Wiping it turns it into zeros. Both show in figures every restore point has, so no data is read.
Each volume is judged against its own history: in a large group one volume would drown.

It is an alarm for people, no proof: loading a database looks the same on the day it happens. It
never stops a backup and never deletes. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from blocks.catalog.point import Kind, RestorePoint, VolumeImage
from blocks.units import MIB, format_size

HISTORY_MIN = 6
"""Fewer earlier figures say nothing about what is usual."""

HISTORY_MAX = 60
"""Older ones are forgotten: what a volume is used for changes."""

DEVIATIONS = 4.0
"""How far from the median, in robust standard deviations, a figure is unusual."""

SHARE_MIN = 0.05
SHARE_FACTOR = 3.0
"""A changed share below 5 %, or below three times the usual, is never an alarm."""

RATIO_MIN = 0.90
RATIO_RISE = 0.15
"""Stored ÷ changed bytes: encrypted data is about 1.0; usual data is well below."""

ZERO_RISE = 0.20
"""A volume a fifth of which became zero is being wiped, discarded or reformatted."""

SAMPLE_MIN_BYTES = 64 * MIB
"""How much must have been stored before its compressibility means anything."""

_SPREAD_FLOOR = 0.10
"""A quiet history has no spread: differences within 10 % of the usual are noise."""

_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True)
class Figures:
    """What one restore point says of one volume."""

    taken_at: datetime
    kind: Kind
    codec: str
    size_bytes: int
    changed_bytes: int
    stored_bytes: int
    zero_bytes: int

    @property
    def changed_share(self) -> float:
        """Changed bytes as a share of the volume."""
        return self.changed_bytes / self.size_bytes

    @property
    def zero_share(self) -> float:
        """Zero bytes as a share of the volume."""
        return self.zero_bytes / self.size_bytes

    @property
    def stored_ratio(self) -> float:
        """Stored bytes per changed byte; only where enough was stored to mean something."""
        return self.stored_bytes / self.changed_bytes


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is unusual about one volume, as a phrase for people."""

    volume: str
    signal: str
    text: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is unusual about a restore point, by volume."""

    reasons: tuple[Reason, ...]

    @property
    def is_severe(self) -> bool:
        """Whether a volume changed much *and* stopped compressing, which encryption does."""
        signals: dict[str, set[str]] = {}
        for reason in self.reasons:
            signals.setdefault(reason.volume, set()).add(reason.signal)
        return any({"changed", "incompressible"} <= seen for seen in signals.values())

    @property
    def text(self) -> str:
        """Everything in one line."""
        return "; ".join(f"{reason.volume}: {reason.text}" for reason in self.reasons)


def assess(history: Sequence[RestorePoint], new: RestorePoint) -> Alarm | None:
    """Compare a restore point with the profile's earlier ones.

    Args:
        history: the profile's restore points, any order; `new` and later ones may be among them.
        new: the point just committed.

    Returns:
        An alarm with its reasons, or None if nothing is unusual or too little is known.
    """
    earlier = [point for point in history if point.taken_at < new.taken_at]
    reasons: list[Reason] = []
    for volume in new.volumes:
        figures = [
            _figures(point, image)
            for point in earlier
            for image in point.volumes
            if image.uid == volume.uid
        ]
        reasons += assess_volume(volume.name, figures, _figures(new, volume))
    return Alarm(tuple(reasons)) if reasons else None


def assess_volume(name: str, history: Sequence[Figures], new: Figures) -> list[Reason]:
    """Compare one volume's figures with its earlier ones; what is unusual, or nothing."""
    recent = sorted(history, key=lambda figures: figures.taken_at)[-HISTORY_MAX:]
    found = [
        ("changed", _judge_change(recent, new)),
        ("incompressible", _judge_compression(recent, new)),
        ("zero", _judge_zeros(recent, new)),
    ]
    return [Reason(name, signal, text) for signal, text in found if text]


def _judge_change(history: Sequence[Figures], new: Figures) -> str:
    """Judge the changed share of an incremental, and its rate: a long pause explains much."""
    if new.kind is not Kind.INCREMENTAL or not history:
        return ""
    shares, rates = [], []
    for former, figures in pairwise(history):
        if figures.kind is Kind.INCREMENTAL:
            shares.append(figures.changed_share)
            rates.append(figures.changed_share / _hours(former, figures))
    share = new.changed_share
    rate = share / _hours(history[-1], new)
    usual = statistics.median(shares) if shares else 0.0
    if (
        share < SHARE_MIN
        or share < SHARE_FACTOR * usual
        or not _is_unusual(shares, share)
        or not _is_unusual(rates, rate)
    ):
        return ""
    return f"{share:.0%} changed ({format_size(new.changed_bytes)}), usually {usual:.1%}"


def _judge_compression(history: Sequence[Figures], new: Figures) -> str:
    """Judge how well the changed data compressed, against points with the same codec."""
    if new.changed_bytes < SAMPLE_MIN_BYTES:
        return ""
    ratios = [
        figures.stored_ratio
        for figures in history
        if figures.codec == new.codec and figures.changed_bytes >= SAMPLE_MIN_BYTES
    ]
    ratio = new.stored_ratio
    if len(ratios) < HISTORY_MIN or ratio < RATIO_MIN or not _is_unusual(ratios, ratio):
        return ""
    usual = statistics.median(ratios)
    if ratio < usual + RATIO_RISE:
        return ""
    return f"its changes compress to {ratio:.0%}, usually to {usual:.0%}"


def _judge_zeros(history: Sequence[Figures], new: Figures) -> str:
    """Judge how much of the volume is zero."""
    shares = [figures.zero_share for figures in history]
    if len(shares) < HISTORY_MIN or new.zero_share < max(shares[-HISTORY_MIN:]) + ZERO_RISE:
        return ""
    usual = statistics.median(shares)
    return f"{new.zero_share:.0%} of it is zero, usually {usual:.0%}"


def _is_unusual(history: Sequence[float], value: float) -> bool:
    """Say whether a value is far above its history, on a logarithmic scale.

    Median and median absolute deviation: an outlier in the history moves neither. What was
    reached twice before is no news, whatever the spread.
    """
    if len(history) < HISTORY_MIN or value <= sorted(history)[-2]:
        return False
    logs = [math.log(max(earlier, 1e-6)) for earlier in history]
    median = statistics.median(logs)
    spread = statistics.median(abs(log - median) for log in logs) * _MAD_TO_DEVIATION
    floor = math.log1p(_SPREAD_FLOOR) / _MAD_TO_DEVIATION
    threshold = median + DEVIATIONS * max(spread, floor)
    # A ratio cannot rise without bound: near the top of its scale a smaller step is as telling.
    return math.log(max(value, 1e-6)) > min(threshold, math.log(RATIO_MIN))


def _hours(former: Figures, latter: Figures) -> float:
    return max((latter.taken_at - former.taken_at).total_seconds() / 3600, 1 / 60)


def _figures(point: RestorePoint, image: VolumeImage) -> Figures:
    return Figures(
        taken_at=point.taken_at,
        kind=point.kind,
        codec=point.codec,
        size_bytes=image.size_bytes,
        changed_bytes=image.changed_bytes,
        stored_bytes=image.stored_bytes,
        zero_bytes=image.zero_bytes,
    )
