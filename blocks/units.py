"""Sizes and durations, parsed and printed. Binary units; the array's GB and MB are binary too."""

from __future__ import annotations

import hashlib
import re

from blocks.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_FACTORS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": 1024 * TIB}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?\s*$", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a size such as `256KiB`, `4M`, `10.00GB` or `4096` as bytes (units are binary).

    Raises:
        ConfigError: the text is no size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise ConfigError(f"'{text}' is not a size", hint="Write it like 256KiB, 4M or 10GiB.")
    return int(float(match[1]) * _FACTORS[match[2].upper()])


def format_size(size_bytes: float) -> str:
    """Print bytes for a person: `4.0 GiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def parse_duration(text: str) -> float:
    """Read a duration such as `90s`, `1h30m` or `2d` as seconds.

    Raises:
        ConfigError: the text is no duration.
    """
    stripped = text.strip()
    parts = _DURATION.findall(stripped)
    if not parts or _DURATION.sub("", stripped).strip():
        raise ConfigError(f"'{text}' is not a duration", hint="Write it like 90s, 15m, 6h or 2d.")
    return sum(float(count) * _SECONDS[unit.lower()] for count, unit in parts)


def format_duration(duration_s: float) -> str:
    """Print seconds for a person: `1h 02m`, `4.2 s`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}h"


def slug(name: str) -> str:
    """Return a name Prefect accepts for blocks, limits and artifacts: lower case, digits, dashes.

    Different names have different slugs: whatever the plain spelling loses is kept as a short
    digest at the end (`RG_1` and `RG-1` must never share a lock).
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain}-{digest}" if plain else digest


def counted(number: int, thing: str) -> str:
    """Spell a number of things: `1 disk`, `2 disks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
