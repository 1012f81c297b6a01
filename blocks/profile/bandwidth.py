"""How much a profile may send a second, by time of day: `50MiB/s,08:00-18:00=10MiB/s`.

The first rule has no hours and holds whenever no other does; without it there is no limit then.
Hours may go over midnight, and never overlap. They are on the clocks of the profile's TIMEZONE.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from blocks.profile.attributes import print_size, read_clock, read_rate

UNLIMITED = "unlimited"
DAY_MINUTES = 24 * 60


class Hours(BaseModel):
    """A rate from one time of day to another; 0 bytes a second means no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin: time
    end: time
    bytes_per_s: int

    @property
    def minutes(self) -> frozenset[int]:
        """The minutes of the day in which it holds."""
        first, last = _minute(self.begin), _minute(self.end)
        length = (last - first) % DAY_MINUTES
        return frozenset((first + count) % DAY_MINUTES for count in range(length))


class Bandwidth(BaseModel):
    """Bytes a second: outside of any hours, and in some. 0 means no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    otherwise: int = 0
    hours: tuple[Hours, ...] = ()


def _minute(at: time) -> int:
    return at.hour * 60 + at.minute


def _rate(text: str) -> int:
    return 0 if text.strip().lower() == UNLIMITED else read_rate(text.strip())


def _read(text: str) -> Bandwidth:
    otherwise: int | None = None
    hours: list[Hours] = []
    taken: set[int] = set()
    for rule in (part.strip() for part in text.split(",")):
        window, is_hours, rate = rule.rpartition("=")
        if not is_hours:
            if otherwise is not None:
                raise ValueError(f"'{text}' has two rates without hours")
            otherwise = _rate(rule)
            continue
        begin, is_span, end = window.partition("-")
        if not is_span:
            raise ValueError(f"'{rule}' is not like 08:00-18:00=10MiB/s")
        found = Hours(
            begin=read_clock(begin.strip()), end=read_clock(end.strip()), bytes_per_s=_rate(rate)
        )
        if not found.minutes:
            raise ValueError(f"'{rule}' is no time at all; a rate without hours holds all day")
        if taken & found.minutes:
            raise ValueError(f"'{rule}' overlaps other hours")
        taken |= found.minutes
        hours.append(found)
    if not otherwise and not any(rule.bytes_per_s for rule in hours):
        raise ValueError(f"'{text}' limits nothing: leave it out")
    return Bandwidth(otherwise=otherwise or 0, hours=tuple(hours))


def _print_rate(rate: int) -> str:
    return f"{print_size(rate)}/s" if rate else UNLIMITED


def _print(limit: Bandwidth) -> str:
    rules = [
        f"{rule.begin:%H:%M}-{rule.end:%H:%M}={_print_rate(rule.bytes_per_s)}"
        for rule in limit.hours
    ]
    return ",".join([_print_rate(limit.otherwise), *rules] if limit.otherwise else rules)


BandwidthText = Annotated[
    Bandwidth,
    BeforeValidator(lambda value: _read(value) if isinstance(value, str) else value),
    PlainSerializer(_print, return_type=str, when_used="json-unless-none"),
]
