"""How one attribute is spelled and read: the text of the command line and of the XML.

Each type here reads the operator's text (`18:00`, `2`, `storage1, storage2`) into a Python value
and prints it back in one canonical spelling, so that what was printed reads as the same value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainSerializer

from blocks.errors import ConfigError
from blocks.units import GIB, KIB, MIB, TIB, parse_duration, parse_size

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_ADDRESS = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_CLOCK = re.compile(r"^([01]?\d|2[0-3]):([0-5]\d)$")
_DURATION_UNITS = ((7 * 86400, "w"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def _text_only(read: Callable[[str], Any]) -> BeforeValidator:
    """Apply `read` to text; a value that is already Python's passes."""
    return BeforeValidator(lambda value: read(value.strip()) if isinstance(value, str) else value)


def _read_flag(text: str) -> bool:
    word = text.lower()
    if word in {"yes", "true", "on", "enable", "enabled", "1"}:
        return True
    if word in {"no", "false", "off", "disable", "disabled", "0"}:
        return False
    raise ValueError(f"'{text}' is neither yes nor no")


def _read_names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        read_name(name)
    if len(set(names)) < len(names):
        raise ValueError(f"'{text}' names something twice")
    return names


def read_name(text: str) -> str:
    """Read an object's name.

    Raises:
        ValueError: it is empty, too long or has characters that no object key or command can carry.
    """
    if not _NAME.match(text):
        raise ValueError(
            f"'{text}' is not a name (letters, digits, '_', '.', '-'; at most 64, "
            "beginning with a letter or digit)"
        )
    return text


def _read_targets(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        disk, equals, target = (piece.strip() for piece in part.partition("="))
        if not equals or not disk or not target or any(c.isspace() for c in disk + target):
            raise ValueError(f"'{part}' is not DISK=TARGET (such as hdisk18=hdisk30)")
        pairs.append((disk, target))
    for word in ("disk", "target"):
        names = [pair[word == "target"] for pair in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"'{min(twice)}' is named twice as a {word}")
    return tuple(pairs)


def _print_targets(pairs: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{disk}={target}" for disk, target in pairs)


def _read_addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    for address in addresses:
        numeric = re.fullmatch(r"[\d.]+", address)
        octets = address.split(".")
        if numeric and (len(octets) != 4 or any(not o or int(o) > 255 for o in octets)):
            raise ValueError(f"'{address}' is not an IPv4 address")
        if not _ADDRESS.match(address):
            raise ValueError(f"'{address}' is neither a host name nor an IP address")
    return addresses


def _read_bucket(text: str) -> str:
    if not _BUCKET.match(text) or ".." in text:
        raise ValueError(
            f"'{text}' is not a bucket name (3 to 63 lower-case letters, digits, '-' and '.')"
        )
    return text


def read_clock(text: str) -> time:
    """Read a time of day, `HH:MM`.

    Raises:
        ValueError: it is none.
    """
    match = _CLOCK.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not a time of day (HH:MM, 24 hours)")
    return time(int(match[1]), int(match[2]))


def _read_frequency(unit: timedelta, unit_name: str) -> Callable[[str], timedelta]:
    def read(text: str) -> timedelta:
        if re.fullmatch(r"\d{1,5}", text):
            frequency = int(text) * unit
        else:
            try:
                frequency = timedelta(seconds=parse_duration(text))
            except (ConfigError, OverflowError) as error:
                raise ValueError(
                    f"'{text}' is not a number of {unit_name} (or a duration such as 90m)"
                ) from error
        if frequency < timedelta(seconds=1) or frequency > 3660 * DAY:
            raise ValueError(f"'{text}' must be at least 1 and at most ten years")
        return frequency

    return read


def _print_frequency(unit: timedelta) -> Callable[[timedelta], str]:
    def show(frequency: timedelta) -> str:
        whole, rest = divmod(frequency, unit)
        return str(whole) if not rest else _print_duration(frequency)

    return show


def _read_duration(text: str) -> timedelta:
    try:
        duration = timedelta(seconds=parse_duration(text))
    except (ConfigError, OverflowError) as error:
        raise ValueError(f"'{text}' is not a duration (such as 90s, 15m, 6h or 2d)") from error
    if duration <= timedelta():
        raise ValueError(f"'{text}' must be more than nothing")
    return duration


def _print_duration(duration: timedelta) -> str:
    left = duration.total_seconds()
    parts = []
    for seconds, unit in _DURATION_UNITS:
        count = int(left // seconds)
        if count:
            parts.append(f"{count}{unit}")
            left -= count * seconds
    return "".join(parts) or f"{left:g}s"


def _read_size(text: str) -> int:
    try:
        return parse_size(text)
    except ConfigError as error:
        raise ValueError(f"'{text}' is not a size (such as 256KiB or 4M)") from error


def read_rate(text: str) -> int:
    """Read bytes a second, such as `50MiB/s`.

    Raises:
        ValueError: it is no rate, or too slow for any part to be sent.
    """
    size = _read_size(re.sub(r"/s(ec)?$", "", text, flags=re.IGNORECASE))
    if size < 64 * KIB:
        raise ValueError(f"'{text}' is too slow: at least 64KiB a second (such as 50MiB/s)")
    return size


def print_size(size_bytes: int) -> str:
    """Print a size so that it reads back as the same number of bytes."""
    for factor, unit in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def _read_percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 50:
        raise ValueError(f"'{text}' is not a percentage from 0 to 50")
    return percent


def _read_whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"'{text}' is not a whole number from {low} to {high}")
        return int(text)

    return read


def _read_compaction(text: str) -> int | None:
    word = text.lower()
    if word == "no":
        return None
    if word == "full":
        return 0
    if not re.fullmatch(r"\d{1,2}%?", text) or not int(text.removesuffix("%")):
        raise ValueError(f"'{text}' is neither no, nor full, nor a share of 1% to 99%")
    return int(text.removesuffix("%"))


def _print_compaction(dead_percent: int | None) -> str:
    return {None: "no", 0: "full"}.get(dead_percent, f"{dead_percent}%")


def _read_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"'{text}' is not a time zone (write it like Europe/Berlin or UTC)"
        ) from error
    return text


def _read_directory(text: str) -> str:
    if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
        raise ValueError(f"'{text}' is not an absolute path")
    return text.rstrip("/") or "/"


def _read_command(text: str) -> str:
    if not text.startswith("/") or "\n" in text or "\0" in text:
        raise ValueError(f"'{text}' must begin with the absolute path of an executable")
    return text


def _read_line(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError("it holds control characters")
    return text


def _read_url(text: str) -> str:
    if not re.match(r"^https?://[^\s/@]+(/\S*)?$", text):
        raise ValueError(f"'{text}' is not an address (https://host[:port], without credentials)")
    return text.rstrip("/")


def _read_prefix(text: str) -> str:
    prefix = text.strip("/")
    if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
        raise ValueError(f"'{text}' is not a key prefix")
    return _read_line(prefix)


def is_observing_dst(zone: str, year: int = 2026) -> bool:
    """Say whether a zone's clock changes within a year."""
    offsets = {
        datetime(year, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
        for month in range(1, 13)
    }
    return len(offsets) > 1


def _text(show: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(show, return_type=str, when_used="json-unless-none")


Name = Annotated[str, _text_only(read_name)]
NameIfAny = Annotated[str, _text_only(lambda text: read_name(text) if text else "")]
Names = Annotated[tuple[str, ...], _text_only(_read_names), _text(",".join)]
Targets = Annotated[tuple[tuple[str, str], ...], _text_only(_read_targets), _text(_print_targets)]
"""Pairs of a disk of the group and what a drill restores it onto."""
Addresses = Annotated[tuple[str, ...], _text_only(_read_addresses), _text(",".join)]
BucketName = Annotated[str, _text_only(_read_bucket)]
Flag = Annotated[bool, _text_only(_read_flag), _text(lambda on: "yes" if on else "no")]
Switch = Annotated[bool, _text_only(_read_flag), _text(lambda on: "Enable" if on else "Disable")]
Truth = Annotated[bool, _text_only(_read_flag), _text(lambda on: "true" if on else "false")]
Clock = Annotated[time, _text_only(read_clock), _text(lambda at: f"{at:%H:%M}")]
Days = Annotated[timedelta, _text_only(_read_frequency(DAY, "days")), _text(_print_frequency(DAY))]
Hours = Annotated[
    timedelta, _text_only(_read_frequency(HOUR, "hours")), _text(_print_frequency(HOUR))
]
Duration = Annotated[timedelta, _text_only(_read_duration), _text(_print_duration)]
Size = Annotated[int, _text_only(_read_size), _text(print_size)]
Percent = Annotated[float, _text_only(_read_percent), _text(lambda percent: f"{percent:g}")]
Compaction = Annotated[int | None, _text_only(_read_compaction), _text(_print_compaction)]
"""What share of an object may be dead before it is written anew, in percent; 0 means a full."""
Port = Annotated[int, _text_only(_read_whole(1, 65535)), _text(str)]
WorkerCount = Annotated[int, _text_only(_read_whole(1, 16)), _text(str)]
DayCount = Annotated[int, _text_only(_read_whole(0, 36500)), _text(str)]
Zone = Annotated[str, _text_only(_read_zone)]
Directory = Annotated[str, _text_only(_read_directory)]
Command = Annotated[str, _text_only(_read_command)]
Line = Annotated[str, _text_only(_read_line)]
Url = Annotated[str, _text_only(_read_url)]
Prefix = Annotated[str, _text_only(_read_prefix)]


def words(**spellings: str) -> BeforeValidator:
    """Read one of a few words in any case: `words(svc="SVC")`; others are refused by name."""

    def read(text: str) -> str:
        word = spellings.get(text.lower().replace("-", "_"))
        if word is None:
            raise ValueError(
                f"'{text}' is not one of {', '.join(dict.fromkeys(spellings.values()))}"
            )
        return word

    return _text_only(read)
