"""Which host disk is which array volume: the AIX UDID and the Linux WWID, read as vdisk UIDs.

Pure. A vdisk UID is 32 upper-case hex digits, NAA type 6: it alone identifies a volume. PVIDs are
equal on source and copy, hdisk numbers differ between nodes. Source: docs/reference/aix-host.md §2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEX = frozenset("0123456789abcdefABCDEF")
_NAA6 = re.compile(r"6[0-9a-f]{31}", re.IGNORECASE)
_SVC_NAA6 = re.compile(r"6005076[0-9a-f]{25}", re.IGNORECASE)
# A vSCSI disk's ident is the server's whole UDID: longer than any NAA id.
_NESTED_FROM = 40
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_PVID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|none", re.IGNORECASE)
_STATES = ("active", "concurrent", "locked")


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """One line of `lspv -u`. Missing fields are empty."""

    name: str
    pvid: str
    volume_group: str
    state: str
    udid: str
    uuid: str

    @property
    def is_varied_on(self) -> bool:
        """Whether its volume group is varied on here."""
        return self.state in {"active", "concurrent"}


def uid_from_udid(udid: str) -> str:
    """Return the vdisk UID inside an AIX UDID; empty when it holds none, or is cut before its end.

    A UDID is length-prefixed: `TT II ident PP product VV vendor transport`, lengths in hex, where
    ident is `3` and the NAA id, or the UDID of the disk behind a VIOS.
    """
    text = udid.strip()
    for _ in range(4):
        if len(text) < 5 or not _HEX.issuperset(text[:4]):
            break
        length = int(text[2:4], 16)
        ident = text[4 : 4 + length]
        if len(ident) < length:
            break
        if length > _NESTED_FROM and _HEX.issuperset(ident[:4]):
            text = ident
            continue
        if length == 33 and ident[0] == "3" and _NAA6.fullmatch(ident[1:]):
            return ident[1:].upper()
        return ""
    found = _SVC_NAA6.search(text)
    return found[0].upper() if found else ""


def uid_from_wwid(wwid: str) -> str:
    """Return the vdisk UID in a Linux name of a LUN; empty when it has none.

    Accepts `wwn-0x6005…`, `scsi-36005…`, `dm-uuid-mpath-36005…`, `mpath-36005…`, `0x6005…`,
    `naa.6005…`, `t10`-free bare forms with or without the designator type 3, and a `-partN` ending
    is refused: a partition is not the volume.
    """
    text = wwid.strip().rsplit("/", 1)[-1].lower()
    for prefix in ("dm-uuid-mpath-", "mpath-", "scsi-", "wwn-", "naa."):
        text = text.removeprefix(prefix)
    text = text.removeprefix("0x")
    if len(text) == 33 and text[0] == "3":
        text = text[1:]
    return text.upper() if _NAA6.fullmatch(text) else ""


def parse_lspv(text: str) -> list[PhysicalVolume]:
    """Read `lspv -u`. Lines that are no disk (a header, a warning) are passed over."""
    volumes = [_parse_line(line) for line in text.splitlines()]
    return [volume for volume in volumes if volume is not None]


def _parse_line(line: str) -> PhysicalVolume | None:
    fields = line.split(None, 2)
    if len(fields) < 2 or not _PVID.fullmatch(fields[1]):
        return None
    name, pvid = fields[0], fields[1].lower()
    group, _, rest = (fields[2] if len(fields) > 2 else "").partition(" ")
    rest = rest.strip()
    found = _UUID.search(rest)
    uuid = ""
    if found is not None:
        uuid = found[0]
        rest = rest[: found.start()].rstrip()
    state, _, after = rest.partition(" ")
    if state in _STATES:
        rest = after.strip()
    else:
        state = ""
    return PhysicalVolume(
        name=name,
        pvid="" if pvid == "none" else pvid,
        volume_group="" if group.lower() == "none" else group,
        state=state,
        udid=rest,
        uuid=uuid,
    )
