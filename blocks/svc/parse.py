"""The array's text, read: `-delim` views, "successfully created" lines, times, `CMMVC` codes.

Pure. Columns are found by name, since releases append some; whatever cannot be read raises
`SvcAnswerError`, never an IndexError three rooms later. Source: docs/reference/svc-cli.md §2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from blocks.errors import ConfigError, SvcAnswerError
from blocks.units import parse_size

State = TypeVar("State", bound=StrEnum)

# A name can hold neither '!' (CMMVC6527E) nor can an address or a WWPN, as they can ':'.
DELIMITER = "!"

_CODE = re.compile(r"\bCMMVC\d{4,5}[EWI]\b")
# `ctrl_LUN_#` and `ctrl_s/n` are columns too.
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_.#/-]*")
_CREATED = re.compile(r"\bid \[(\d+)\]")
_TIMES = {12: "%y%m%d%H%M%S", 10: "%y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class Record:
    """One object as the array printed it: attributes in order, names possibly repeated."""

    pairs: tuple[tuple[str, str], ...]

    def text(self, key: str, default: str | None = None) -> str:
        """Return the first value of an attribute.

        Raises:
            SvcAnswerError: it is not there and no default is given.
        """
        for name, value in self.pairs:
            if name == key:
                return value
        if default is None:
            raise SvcAnswerError(f"the array's answer has no '{key}': {self._glimpse()}")
        return default

    def all(self, key: str) -> list[str]:
        """Return every value of a repeated attribute, in order."""
        return [value for name, value in self.pairs if name == key]

    def number(self, key: str, default: int | None = None) -> int:
        """Return a whole number; an empty value counts as absent."""
        value = self.text(key, "" if default is not None else None).strip()
        if not value and default is not None:
            return default
        if not re.fullmatch(r"[0-9]{1,20}", value):
            raise SvcAnswerError(f"'{key}' is not a number: '{value[:40]}'")
        return int(value)

    def size_bytes(self, key: str) -> int:
        """Return a capacity: a plain number with `-bytes`, else `10.00GB` in binary units."""
        value = self.text(key)
        try:
            return parse_size(value)
        except ConfigError as error:
            raise SvcAnswerError(f"'{key}' is not a capacity: '{value[:40]}'") from error

    def state(self, key: str, states: type[State]) -> State:
        """Return a state the client knows how to go on from; any other is an error here."""
        value = self.text(key)
        try:
            return states(value)
        except ValueError as error:
            raise SvcAnswerError(
                f"'{key}' is '{value[:40]}', a state this client does not know",
                hint="The array may be newer than this release of flashvault: please report it.",
            ) from error

    def is_yes(self, key: str) -> bool:
        """Read yes/no, on/off and true/false; an absent attribute is no."""
        return self.text(key, "").strip().lower() in {"yes", "on", "true", "1"}

    def sections(self, first_key: str) -> list[Record]:
        """Split at each occurrence of an attribute, dropping what comes before the first."""
        starts = [index for index, (name, _) in enumerate(self.pairs) if name == first_key]
        ends = [*starts[1:], len(self.pairs)]
        return [Record(self.pairs[a:b]) for a, b in zip(starts, ends, strict=True)]

    def _glimpse(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.pairs[:4])[:120] or "it is empty"


def parse_concise(text: str, delimiter: str = DELIMITER) -> list[Record]:
    """Read a concise view: a header line, then one row for each object.

    No output at all means no objects: some commands print no header then.

    Raises:
        SvcAnswerError: a row does not have the header's number of fields.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        return []
    header = lines[0].split(delimiter)
    if not all(_ATTRIBUTE.fullmatch(name) for name in header):
        raise SvcAnswerError(f"this is not a list's header: '{lines[0][:80]}'")
    records = []
    for line in lines[1:]:
        fields = line.split(delimiter)
        if len(fields) != len(header):
            raise SvcAnswerError(
                f"a row has {len(fields)} fields, its header {len(header)}: '{line[:80]}'"
            )
        records.append(Record(tuple(zip(header, fields, strict=True))))
    return records


def parse_detail(text: str, delimiter: str = DELIMITER) -> Record:
    """Read a detailed view: `attribute!value` lines. Blank lines only separate sections.

    Raises:
        SvcAnswerError: a line has no delimiter, or there is none.
    """
    pairs = []
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        if not line.strip():
            continue
        name, found, value = line.partition(delimiter)
        if not found or not _ATTRIBUTE.fullmatch(name):
            raise SvcAnswerError(f"this is not an attribute: '{line[:80]}'")
        pairs.append((name, value))
    if not pairs:
        raise SvcAnswerError("the array's answer is empty")
    return Record(tuple(pairs))


def parse_created(text: str) -> str:
    """Return the id in `FlashCopy Mapping, id [6], successfully created`.

    Raises:
        SvcAnswerError: there is none.
    """
    found = _CREATED.search(text)
    if found is None:
        raise SvcAnswerError(f"the array did not say what it created: '{text.strip()[:80]}'")
    return found[1]


def parse_codes(text: str) -> list[str]:
    """Return the message codes in a text, in order, each once."""
    return list(dict.fromkeys(_CODE.findall(text)))


def parse_time(text: str) -> datetime | None:
    """Read `start_time` (`YYMMDDhhmmss`) or `freeze_time` (`YY/MM/DD/HH/MM`).

    Returns:
        A naive time in the array's own zone, None when the array prints nothing.

    Raises:
        SvcAnswerError: it is neither.
    """
    digits = text.strip()
    if not digits:
        return None
    if not re.fullmatch(r"[0-9][0-9/:. -]*", digits):
        raise SvcAnswerError(f"'{text[:40]}' is not a time")
    digits = re.sub(r"[^0-9]", "", digits)
    try:
        return datetime.strptime(digits, _TIMES[len(digits)])  # noqa: DTZ007 (the array's zone)
    except (KeyError, ValueError) as error:
        raise SvcAnswerError(f"'{text[:40]}' is not a time") from error


def parse_clock(text: str) -> datetime:
    """Read `svqueryclock`: `Fri Jan 18 14:02:40 2008`, a zone's name before the year allowed.

    Returns:
        A naive time in the array's own zone.

    Raises:
        SvcAnswerError: it is none.
    """
    words = text.split()
    if len(words) == 6:
        del words[4]
    try:
        return datetime.strptime(" ".join(words), "%a %b %d %H:%M:%S %Y")  # noqa: DTZ007
    except ValueError as error:
        raise SvcAnswerError(f"'{text.strip()[:40]}' is not a clock") from error
