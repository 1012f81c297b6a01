"""How many restore points a profile keeps. What to do about it is decided in `policy`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


class Retention(BaseModel):
    """How many points stay: the newest ones, and the newest of each of so many periods.

    A period of 0 keeps none for its own sake. `minimum` is the number of restorable points below
    which nothing is ever removed, whatever the clock says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    last: int = Field(default=0, ge=0)
    hourly: int = Field(default=0, ge=0)
    daily: int = Field(default=0, ge=0)
    weekly: int = Field(default=0, ge=0)
    monthly: int = Field(default=0, ge=0)
    yearly: int = Field(default=0, ge=0)
    minimum: int = Field(default=3, ge=1)


def _read(text: str) -> Retention:
    counts: dict[str, int] = {}
    for part in re.split(r"[\s,]+", text.strip()):
        match = re.fullmatch(r"([a-zA-Z]+)[=:](\d{1,6})", part)
        period = match[1].lower() if match else ""
        if match is None or period not in (*PERIODS, "minimum"):
            raise ValueError(
                f"'{part}' is not a rule; write it like last=7,daily=14,weekly=8,monthly=12,"
                "yearly=3,minimum=3"
            )
        if period in counts:
            raise ValueError(f"'{period}' is given twice")
        counts[period] = int(match[2])
    if not any(counts.get(period) for period in PERIODS):
        raise ValueError(f"'{text}' keeps nothing")
    if counts.get("minimum") == 0:
        raise ValueError("minimum must be at least 1")
    return Retention(**counts)


def _print(retention: Retention) -> str:
    counts = retention.model_dump()
    kept = [f"{period}={counts[period]}" for period in PERIODS if counts[period]]
    return ",".join([*kept, f"minimum={retention.minimum}"])


RetentionText = Annotated[
    Retention,
    BeforeValidator(lambda value: _read(value) if isinstance(value, str) else value),
    PlainSerializer(_print, return_type=str, when_used="json-unless-none"),
]
