"""What disks of volume groups say about themselves (PVID, VGDA), kept beside the volumes.

A label follows its volume: FlashCopy and mirrors copy it with the bytes. Bytes that come back by
another way, a restore, bring none along, so a disk without a label is asked for its contents:

1. all zero at its beginning: it is blank;
2. it begins like a volume did at some FlashCopy start: it is an image of that volume;
3. otherwise it is an image of the source that the wiring pairs it with.

The rule is the lab's, not AIX's: there the label is part of the bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.lab.aix.odm import Descriptor, Label, LogicalVolume

BEGINNING_BYTES = 1024 * 1024
REMEMBERED = 1000


@dataclass
class Labels:
    """Labels by volume UID; `seen` maps the digest of a beginning to the label it had.

    `pairs` says which source each spare volume stands for, by UID.
    """

    file: Path
    path: Callable[[str], Path | None]
    by_uid: dict[str, Label] = field(default_factory=dict)
    seen: dict[str, Label] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up what is kept, if anything."""
        if self.file.exists():
            document = json.loads(self.file.read_text())
            self.by_uid = {uid: load(row) for uid, row in document["by_uid"].items()}
            self.seen = {digest: load(row) for digest, row in document["seen"].items()}
            self.pairs = document["pairs"]

    def get(self, uid: str) -> Label | None:
        """Return a disk's label; None when it is blank."""
        if uid in self.by_uid:
            return self.by_uid[uid]
        digest = self._beginning(uid)
        if not digest:
            return None
        paired = self.by_uid.get(self.pairs.get(uid, ""))
        return self.seen.get(digest) or paired

    def put(self, uid: str, label: Label | None) -> None:
        """Write a disk's label, or make it blank."""
        if label is None:
            self.by_uid.pop(uid, None)
        else:
            self.by_uid[uid] = label
        self.save()

    def copied(self, pairs: list[tuple[str, str]], *, is_snapshot: bool = True) -> None:
        """Carry labels from sources to targets, given by UID."""
        for source, target in pairs:
            label = self.get(source)
            if label is None:
                self.by_uid.pop(target, None)
                continue
            self.by_uid[target] = label
            if is_snapshot and (digest := self._beginning(source)):
                self.seen.pop(digest, None)
                self.seen[digest] = label
        while len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
        self.save()

    def _beginning(self, uid: str) -> str:
        """Return the digest of a volume's beginning; empty when that is all zero."""
        path = self.path(uid)
        if path is None:
            return ""
        with path.open("rb") as file:
            data = file.read(BEGINNING_BYTES)
        return hashlib.sha256(data).hexdigest() if data.strip(b"\0") else ""

    def save(self) -> None:
        """Write them down."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "by_uid": {uid: dataclasses.asdict(label) for uid, label in self.by_uid.items()},
            "seen": {digest: dataclasses.asdict(label) for digest, label in self.seen.items()},
            "pairs": self.pairs,
        }
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(document))
        os.replace(draft, self.file)


def load(row: dict[str, Any]) -> Label:
    """Read a label as `dataclasses.asdict` wrote it."""
    area = row["descriptor"]
    return Label(row["pvid"], load_descriptor(area) if area else None)


def load_descriptor(row: dict[str, Any]) -> Descriptor:
    """Read a descriptor area."""
    volumes = [LogicalVolume(**volume) for volume in row["logical_volumes"]]
    return Descriptor(**{**row, "logical_volumes": volumes})
