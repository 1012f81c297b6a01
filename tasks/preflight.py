"""Look at everything a backup needs before anything is touched; all read-only, side by side."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from blocks.errors import ConfigError, DiskMissing, FlashvaultError
from blocks.host.base import Disk
from blocks.profile.model import BackupProfile, Configuration
from blocks.svc.flashcopy import FlashCopyGroup
from blocks.svc.model import Volume
from tasks.decide import Decision
from tasks.open import array, host
from tasks.owner import Owner, find_owner
from tasks.protection import check_store, profile_store, writing_cipher
from tasks.run import Run
from tasks.snapshot_source import snapshot_source
from tasks.steps import CONTROL_S, run_log, step
from tasks.target_location import check_room


@dataclass(frozen=True, slots=True)
class Pair:
    """One mapping: a volume of the group, and the target its snapshot is on."""

    mapping: str
    source: Volume
    target: Volume


@dataclass(frozen=True, slots=True)
class Seen:
    """What the preflight found: which disk is which volume, on whom."""

    storage_system: str
    owner: str
    """The node on which the resource group is online."""
    reader: str
    """The host that reads the targets."""
    pairs: tuple[Pair, ...]
    sources: dict[str, Disk]
    """By vdisk UID, the disks as the owner sees them."""
    targets: dict[str, Disk]
    """By vdisk UID, the disks as the reader sees them."""
    volume_groups: tuple[str, ...]


@step(name="preflight-{profile.name}", timeout_s=CONTROL_S)
def preflight(run: Run, wanted: Configuration, profile: BackupProfile, decision: Decision) -> Seen:
    """Check array, hosts, bucket, and the room for staged images.

    Raises:
        ConfigError: the group, the mappings, or the disks do not fit the profile.
        DiskMissing: the reading host does not see a target.
        Refused: the store cannot do what is asked, or TARGET_LOCATION has too little room.
    """
    run.check()
    with ThreadPoolExecutor(4, thread_name_prefix="preflight") as pool:
        mapped = pool.submit(read_pairs, wanted, profile)
        owned = pool.submit(find_owner, wanted, profile.name)
        reader_name = wanted.reading_node(profile).name
        read = pool.submit(_disks, wanted, reader_name)
        kept = pool.submit(_check_bucket, wanted, profile)
    kept.result()
    system, pairs = mapped.result()
    owner: Owner = owned.result()
    if system == profile.storage_names[0]:
        reader, targets = reader_name, read.result()
    else:
        reader, targets = _reader_at_second_site(wanted, reader_name, read, owner.name, pairs)
    volume_groups = profile.volume_groups or tuple(owner.machine.volume_groups(profile.name))
    seen = Seen(
        storage_system=system,
        owner=owner.name,
        reader=reader,
        pairs=pairs,
        sources={disk.uid: disk for disk in owner.disks if disk.uid},
        targets=targets,
        volume_groups=volume_groups,
    )
    check_pairs(profile, seen)
    decision = decision.on_volumes(profile, {pair.source.uid for pair in pairs})
    check_room(profile, decision, sum(pair.source.size_bytes for pair in pairs))
    run_log().info(
        "preflight of %s: %d volumes on %s, owner %s, reader %s",
        profile.name,
        len(pairs),
        system,
        owner.name,
        reader,
    )
    return seen


def read_pairs(wanted: Configuration, profile: BackupProfile) -> tuple[str, tuple[Pair, ...]]:
    """Ask the storage system that hosts write to for the group's mappings and their volumes."""
    system = snapshot_source(wanted, profile)
    with array(wanted, system) as client:
        mappings = FlashCopyGroup(client, profile.replicated_resources).mappings()
        volumes = {volume.id: volume for volume in client.lsvdisk()}
    pairs = tuple(
        Pair(mapping.name, volumes[mapping.source_id], volumes[mapping.target_id])
        for mapping in mappings
    )
    return system, pairs


def check_pairs(profile: BackupProfile, seen: Seen) -> None:
    """Refuse a snapshot that could not be used: every disk, once, of equal size, and readable."""
    group = profile.replicated_resources
    if not seen.pairs:
        raise ConfigError(
            f"consistency group {group} on {seen.storage_system} has no mappings",
            hint=f"See what is needed: flashvault map {profile.name}.",
        )
    mapped: set[str] = set()
    for pair in seen.pairs:
        if pair.source.uid in mapped:
            raise ConfigError(
                f"{pair.source.name} has two mappings in {group}",
                hint="Remove one: it is not clear which target holds the snapshot.",
            )
        mapped.add(pair.source.uid)
        _check_pair(seen, pair)
    for disk in seen.sources.values():
        if disk.volume_group in seen.volume_groups and disk.uid not in mapped:
            raise ConfigError(
                f"{disk.name} of {disk.volume_group} ({disk.uid}) has no mapping in {group}",
                hint=f"A backup without it could not be used: flashvault map {profile.name}.",
            )


def _check_pair(seen: Seen, pair: Pair) -> None:
    source, target = pair.source, pair.target
    if source.size_bytes != target.size_bytes:
        raise ConfigError(
            f"mapping {pair.mapping}: {source.name} has {source.size_bytes} bytes,"
            f" {target.name} has {target.size_bytes}",
            hint="FlashCopy needs a target of exactly the source's size.",
        )


def targets_of(seen: Seen) -> dict[str, Disk]:
    """Return the reader's disk of every target, by the source's UID.

    Raises:
        DiskMissing: the reader does not see one; while the group is prepared no host does.
        ConfigError: it sees another size than the array's.
    """
    found = {}
    for pair in seen.pairs:
        disk = seen.targets.get(pair.target.uid)
        if disk is None:
            raise DiskMissing(
                f"{seen.reader} does not see volume {pair.target.name} ({pair.target.uid})"
            )
        if disk.size_bytes != pair.target.size_bytes:
            raise ConfigError(
                f"{seen.reader} sees {pair.target.name} with {disk.size_bytes} bytes,"
                f" the array says {pair.target.size_bytes}",
                hint="Rescan the host's disks after a volume was resized.",
            )
        found[pair.source.uid] = disk
    return found


def _disks(wanted: Configuration, name: str) -> dict[str, Disk]:
    return {disk.uid: disk for disk in host(wanted, name).discover() if disk.uid}


def _reader_at_second_site(
    wanted: Configuration,
    asked: str,
    read: Future[dict[str, Disk]],
    owner: str,
    pairs: tuple[Pair, ...],
) -> tuple[str, dict[str, Disk]]:
    """Choose who reads a snapshot on the second array: HOST may be lost with the first site.

    HOST if it sees every target, else the first node that does, the group's owner before others.
    Where nobody does, whoever answers is taken: a target cannot be seen until the group is started,
    and then a missing one is refused by name.

    Raises:
        FlashvaultError: HOST's, when no node can be asked for its disks.
    """
    wanted_uids = {pair.target.uid for pair in pairs}
    answers: list[tuple[str, dict[str, Disk]]] = []
    for name in dict.fromkeys([asked, owner, *(node.name for node in wanted.nodes)]):
        try:
            disks = read.result() if name == asked else _disks(wanted, name)
        except FlashvaultError as error:
            run_log().warning("%s cannot be asked for its disks: %s", name, error)
            continue
        if wanted_uids <= disks.keys():
            if name != asked:
                run_log().warning(
                    "%s does not see the second site's targets: %s reads", asked, name
                )
            return name, disks
        answers.append((name, disks))
    return answers[0] if answers else (asked, read.result())


def _check_bucket(wanted: Configuration, profile: BackupProfile) -> None:
    """Ask the bucket for something small, and see that it can do what the profile asks of it.

    Raises:
        Refused: the store cannot; every reason is named.
        WrongKey: with ENCRYPTION=CLIENT, this host's key does not open the bucket's keyring.
    """
    check_store(wanted, profile)
    writing_cipher(wanted, profile)
    for _ in profile_store(wanted, profile).list(f"points/{profile.name}/"):
        break
