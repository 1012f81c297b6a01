"""A disaster and a recovery, narrated: the whole product in the lab, in about a minute."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.errors import FlashvaultError
from deployments.lab import files
from deployments.lab.site import Site

FILL = 0.55
"""How much of a volume the demo's files take."""

Say = Callable[[str], None]
RunFlow = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""(module, flow, parameters) → the run's document; progress is the caller's business."""


@dataclass(frozen=True)
class Proof:
    """One volume: what it was, and what came back."""

    name: str
    disk: str
    target: str
    bytes: int
    stored_bytes: int
    sha256_source: str
    sha256_restored: str
    is_identical: bool
    fsck: str
    files: int
    files_identical: bool

    @property
    def is_proven(self) -> bool:
        """Whether nothing at all is missing."""
        return (
            self.is_identical
            and self.sha256_source == self.sha256_restored
            and self.fsck == "clean"
            and self.files_identical
        )


def perform(site: Site, say: Say, run: RunFlow) -> dict[str, Any]:
    """Back up, change, back up, lose everything, restore, and prove it.

    Args:
        site: a lab that is up and registered.
        say: tells the audience.
        run: runs a flow.

    Returns:
        The document of `flashvault demo --json`.
    """
    group = site.groups[0]
    sources = [Path(site.volume(name).path) for name in group.sources]
    spares = [Path(site.volume(name).path) for name in group.spares]
    disks = [group.disks[name] for name in group.sources]
    scratch = Path(site.directory, "demo")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()

    say(
        f"1. {' and '.join(disks)} in {group.volume_group} of {group.resource_group} get ext4 file"
        " systems with real files"
    )
    trees = []
    for number, source in enumerate(sources):
        tree = files.office_files(number + 1, int(source.stat().st_size * FILL))
        files.write_file_system(source, tree, f"data{number}")
        trees.append(tree)

    say("2. A full backup: snapshot on the array, images in the bucket, restore point last")
    full = run(
        "flows.backup", "backup", {"profile": group.resource_group, "mode": "full", "force": True}
    )

    say("3. A day of work, then an incremental backup: only what changed")
    for number, source in enumerate(sources):
        today = files.changed_files(trees[number], 7)
        files.edit_file_system(source, trees[number], today)
        trees[number] = today
    incremental = run(
        "flows.backup",
        "backup",
        {"profile": group.resource_group, "mode": "incremental", "force": True},
    )
    kept = []
    for source in sources:
        kept.append(scratch / f"{source.name}.kept")
        shutil.copyfile(source, kept[-1])

    say("4. The disaster: every byte of both disks is noise now")
    lost_at = time.time()
    for number, source in enumerate(sources):
        files.destroy(source, number)

    say(f"5. Restore onto other disks: {', '.join(group.disks[name] for name in group.spares)}")
    to = {
        group.disks[source]: group.disks[spare]
        for source, spare in zip(group.sources, group.spares, strict=True)
    }
    restored = run(
        "flows.restore",
        "restore",
        {"group": group.resource_group, "to": to, "approved": True, "importing": "auto"},
    )

    say("6. The proof: whole devices byte for byte, e2fsck, every file read back")
    stored = {row["uid"]: row for row in full["volumes"]}
    proofs = []
    for number, name in enumerate(group.sources):
        proofs.append(
            _prove(
                site.volume(name).name,
                disks[number],
                to[disks[number]],
                stored[site.volume(name).uid]["stored_bytes"],
                kept[number],
                spares[number],
                trees[number],
            )
        )
    return _document(full, incremental, restored, proofs, time.time() - lost_at)


def _prove(
    name: str,
    disk: str,
    target: str,
    stored_bytes: int,
    kept: Path,
    restored: Path,
    tree: files.Tree,
) -> Proof:
    found = files.read_file_system(restored)
    return Proof(
        name=name,
        disk=disk,
        target=target,
        bytes=restored.stat().st_size,
        stored_bytes=stored_bytes,
        sha256_source=files.sha256(kept),
        sha256_restored=files.sha256(restored),
        is_identical=files.is_same(kept, restored),
        fsck=files.check_file_system(restored),
        files=len(tree),
        files_identical=found == tree,
    )


def _document(
    full: dict[str, Any],
    incremental: dict[str, Any],
    restored: dict[str, Any],
    proofs: list[Proof],
    outage_s: float,
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ok": all(proof.is_proven for proof in proofs),
        "volumes": [asdict(proof) for proof in proofs],
        "bytes": sum(proof.bytes for proof in proofs),
        "stored_bytes": full["stored_bytes"],
        "backup_s": full["backup_s"],
        "incremental_s": incremental["backup_s"],
        "incremental_stored_bytes": incremental["stored_bytes"],
        "restore_s": restored["restore_s"],
        "restore_point": restored["restore_point"],
        "rpo_s": restored["rpo_s"],
        "rto_s": restored["rto_s"],
        "outage_s": round(outage_s, 3),
        "imported": restored["imported"],
    }


def require(document: dict[str, Any]) -> None:
    """Fail loudly if anything at all is not as it was.

    Raises:
        FlashvaultError: naming what is not.
    """
    for volume in document["volumes"]:
        if not (volume["is_identical"] and volume["files_identical"] and volume["fsck"] == "clean"):
            raise FlashvaultError(f"{volume['disk']} did not come back whole: {volume}")
