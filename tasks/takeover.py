"""Move a resource group between two sites: survey, one order to the arrays, hosts take over.

Every step looks before it acts and the arrays remember what was done: a run that died is simply
started again, and goes on from what it finds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from blocks.errors import FlashvaultError, Refused, SvcStateError
from blocks.host.base import Disk, Host
from blocks.policy.loss import Begun, fallen_silent
from blocks.policy.replication import Memory, judge, parted_by
from blocks.policy.situation import Move, Order, Plan, Situation
from blocks.policy.takeover import plan_move
from blocks.profile.model import BackupProfile, Configuration, Platform
from blocks.svc.model import RemoteState
from blocks.svc.replication import RemoteGroup
from tasks.divergence import Difference, measure, sides_or_refuse
from tasks.open import array, host
from tasks.owner import members
from tasks.remote_look import Poll, look
from tasks.remote_memory import recall, recall_begun, remember_begun
from tasks.remote_setup import newest_cloud_point
from tasks.run import Run
from tasks.sites import activity
from tasks.steps import run_log, step

SETTLE_S = 60.0
"""How long an array may take to notice that its partner is gone."""
SETTLE_POLL_S = 2.0
CLOUD_S = 15.0
"""How long the bucket is waited for before a failover, which does not need it."""
ORDER_S = 300.0
"""How long an order may take to show in the state; the copying after it takes its own time."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The situation, and what is worth telling of how it was found."""

    poll: Poll
    situation: Situation
    uids: Mapping[str, frozenset[str]]
    notes: tuple[str, ...]


def survey(
    run: Run, wanted: Configuration, profile: BackupProfile, *, with_cloud: bool = False
) -> Survey:
    """Ask both arrays and every node: who is there, who follows, who runs the group.

    Args:
        run: this run.
        wanted: the configuration.
        profile: the remote profile.
        with_cloud: ask the bucket too how new the group's newest restore point is.
    """
    memory = recall(profile.name)
    poll = look(run, wanted, profile)
    silent_since = fallen_silent(memory.silent_since, poll.silent, poll.at)
    deadline = time.monotonic() + SETTLE_S
    while _is_unsettled(poll) and time.monotonic() < deadline and not run.stop.is_set():
        run_log().info("one array does not answer, and the other has not noticed: asking again")
        run.stop.wait(SETTLE_POLL_S)
        poll = look(run, wanted, profile)
        silent_since = fallen_silent(silent_since, poll.silent, poll.at)
    run.check()
    uids = ask_uids(run, wanted, profile, poll, memory)
    found, silent = ask_nodes(run, wanted, profile, uids)
    home, away = profile.storage_names
    health = judge(poll.views, memory, poll.at, rpo=profile.rpo)
    situation = Situation(
        home,
        away,
        poll.views,
        found,
        health.recovery_point,
        poll.at,
        parted_by=parted_by(poll.views, memory, poll.at),
        silent_since=silent_since,
        unhelpful=frozenset(poll.problems) - poll.silent,
        begun=_begun(profile, memory),
        cloud_point=_cloud_point(wanted, profile, memory) if with_cloud else None,
    )
    problems = tuple(f"{name}: {why}" for name, why in poll.problems.items())
    return Survey(poll, situation, uids, (*problems, *silent))


def _begun(profile: BackupProfile, memory: Memory) -> Begun | None:
    """Return the last move, unless it is a failover since which the group was in sync again."""
    begun = recall_begun(profile.name)
    if begun is None or begun.move != Move.FAILOVER or memory.in_sync_at is None:
        return begun
    return begun if memory.in_sync_at <= begun.at else None


def _cloud_point(wanted: Configuration, profile: BackupProfile, memory: Memory) -> datetime | None:
    """Return when the newest restore point was taken; what is remembered if the bucket is slow.

    A store that is lost with the site would be waited for: it must not delay the failover.
    """
    found: list[datetime | None] = []
    thread = threading.Thread(
        target=lambda: found.append(newest_cloud_point(wanted, profile)),
        daemon=True,
        name="cloud-point",
    )
    thread.start()
    thread.join(CLOUD_S)
    return max((at for at in (*found, memory.cloud_point) if at is not None), default=None)


def _is_unsettled(poll: Poll) -> bool:
    """Say whether an array may be about to notice that the other one is gone."""
    return len(poll.views) == 1 and all(view.is_connected for view in poll.views.values())


@step(name="uids-{profile.name}")
def ask_uids(
    run: Run, wanted: Configuration, profile: BackupProfile, poll: Poll, memory: Memory
) -> dict[str, frozenset[str]]:
    """Return the vdisk UIDs of the group by storage system; of a silent one, those remembered."""
    run.check()
    found: dict[str, frozenset[str]] = {}
    for name, view in poll.views.items():
        with array(wanted, name) as client:
            by_name = {volume.name: volume.uid for volume in client.lsvdisk()}
        found[name] = frozenset(by_name[volume] for volume in view.volumes())
    known = {uid for uids in memory.volume_groups.values() for uid in uids}
    for name in profile.storage_names:
        if name not in found:
            found[name] = frozenset(known - {uid for uids in found.values() for uid in uids})
    return found


@step(name="nodes-{profile.name}")
def ask_nodes(
    run: Run,
    wanted: Configuration,
    profile: BackupProfile,
    uids: Mapping[str, frozenset[str]],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Ask every node whether the group runs there."""
    run.check()
    found, silent = activity(wanted, profile, uids)
    return dict(found), silent


def would_start(poll: Poll) -> bool:
    """Say whether a group stands still with its direction known, so that a start is worth a look.

    Asked before any node is: a group that follows costs no more than the poll.
    """
    stopped = {RemoteState.INCONSISTENT_STOPPED, RemoteState.CONSISTENT_STOPPED}
    return any(view.state in stopped for view in poll.views.values())


def plan_takeover(
    surveyed: Survey, move: Move, *, allow_split: bool = False, keep_home: bool = False
) -> Plan:
    """Plan the move; a refusal is part of the plan."""
    return plan_move(move, surveyed.situation, allow_split=allow_split, keep_home=keep_home)


def refuse_unless_possible(plan: Plan) -> None:
    """Raise a plan's refusal.

    Raises:
        Refused: the plan cannot be carried out.
    """
    if plan.refusal:
        raise Refused(f"{plan.move}: {plan.refusal}", hint=plan.hint)


@step(name="order-{profile.name}", retries=0)
def carry_out(run: Run, wanted: Configuration, profile: BackupProfile, plan: Plan) -> str:
    """Send the plan's order and return when the array shows it; return the state then.

    The group is looked at once more just before: an order is sent only to the state it was
    planned for.
    """
    run.check()
    if plan.order is None:
        return ""
    name = profile.replicated_resources
    if plan.begun is not None:
        # Afterwards nobody can tell it again.
        remember_begun(profile.name, plan.begun)
    with array(wanted, plan.at) as client:
        group = RemoteGroup(client, name)
        found = group.group()
        if (found.state, found.primary) != plan.found:
            raise SvcStateError(
                f"group {name} has become {found.state} (primary: {found.primary or 'none'})"
                " since the plan was made",
                hint="Look at the new plan and ask again.",
            )
        _send(group, plan)
        reached = group.wait_until(plan.wanted, ORDER_S, run.stop)
    if plan.order is Order.SWITCH and reached.primary is not plan.primary:
        raise SvcStateError(f"group {name}: {reached.primary} is primary, not {plan.primary}")
    run_log().warning("%s: %s on %s: now %s", profile.name, plan.order, plan.at, reached.state)
    return str(reached.state)


def _send(group: RemoteGroup, plan: Plan) -> None:
    match plan.order:
        case Order.START:
            group.start(plan.primary or None)
        case Order.START_FORCED:
            group.start(plan.primary or None, overwrite=True)
        case Order.STOP_ACCESS:
            group.stop(access=True)
        case Order.SWITCH:
            group.switch(plan.primary)
        case None:
            raise AssertionError("a plan without an order is not carried out")


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What the hosts at the new site see and use."""

    node: str
    disks: tuple[str, ...]
    imported: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


@step(name="take-over-{profile.name}")
def take_over(
    run: Run, wanted: Configuration, profile: BackupProfile, plan: Plan, surveyed: Survey
) -> TakenOver:
    """Find the node that sees the volumes and import their volume groups.

    The volumes are writable whatever happens here: what a host cannot do is listed, not raised.
    """
    run.check()
    uids = surveyed.uids[plan.to]
    node, machine, disks, faults = _seeing(wanted, profile, uids)
    if machine is None:
        return TakenOver("", (), (), tuple(faults), ())
    names = tuple(disk.name for disk in disks)
    if wanted.node(node).type == Platform.LOCAL:
        note = f"{node} only reads: no volume group is imported there"
        return TakenOver(node, names, (), (), (note,))
    imported, notes = [], []
    for group, own in _by_volume_group(profile, recall(profile.name), disks).items():
        known = {disk.volume_group for disk in own} - {"", "None"}
        if group in known:
            notes.append(f"{group} is known on {node}: bring the resource group online there")
            continue
        try:
            machine.import_group(group, own)
            imported.append(group)
        except FlashvaultError as error:
            faults.append(f"{group} was not imported on {node}: {error}")
    if not imported and not notes and not faults:
        faults.append(
            f"which disk belongs to which volume group is not known: import them on {node}"
            f" yourself (importvg), from {', '.join(names)}"
        )
    return TakenOver(node, names, tuple(imported), tuple(faults), tuple(notes))


def settle(profile: BackupProfile, plan: Plan, taken: TakenOver) -> None:
    """Write down that a move is done, once its hosts have taken over too."""
    if plan.begun is not None and not taken.faults:
        remember_begun(profile.name, plan.begun.model_copy(update={"is_done": True}))


def _seeing(
    wanted: Configuration, profile: BackupProfile, uids: frozenset[str]
) -> tuple[str, Host | None, list[Disk], list[str]]:
    """Return the first node that sees all of the volumes: HOST, the cluster's, the reader."""
    others = [node.name for node in wanted.nodes]
    names = list(
        dict.fromkeys([*([profile.host] if profile.host else []), *members(wanted), *others])
    )
    faults = []
    for name in names:
        try:
            machine = host(wanted, name)
            disks = [disk for disk in machine.discover() if disk.uid in uids]
        except FlashvaultError as error:
            faults.append(f"{name} could not be asked for its disks: {error}")
            continue
        if uids and {disk.uid for disk in disks} == uids:
            return name, machine, disks, []
    return "", None, [], [*faults, "no node sees all volumes: map them (mkvdiskhostmap)"]


def measure_difference(
    run: Run, wanted: Configuration, profile: BackupProfile, surveyed: Survey
) -> tuple[Difference, ...]:
    """Read both sites' volumes and count what differs, before one of them is written over.

    Raises:
        Refused: the sides cannot be read now, or no node sees all volumes of one.
    """
    views = surveyed.situation.views
    idle = len(views) == 2 and {view.state for view in views.values()} == {RemoteState.IDLING}
    if not idle:
        raise Refused(
            "the two sites can be compared only while both can be read and neither is copied"
            f" (the group is {', '.join(str(view.state) for view in views.values())})",
            hint="Leave --measure away.",
        )
    seen, orders = [], []
    for system in profile.storage_names:
        with array(wanted, system) as client:
            by_name = {volume.name: volume.uid for volume in client.lsvdisk()}
        orders.append([by_name[volume] for volume in views[system].volumes()])
        _, machine, disks, faults = _seeing(wanted, profile, frozenset(orders[-1]))
        seen.append((system, machine, disks, faults))
    names = [each.name for each in views[profile.storage_names[0]].relationships]
    return measure(run, wanted, profile, names, sides_or_refuse(seen, orders))


def _by_volume_group(
    profile: BackupProfile, memory: Memory, disks: list[Disk]
) -> dict[str, list[Disk]]:
    """Return the disks of each volume group: what was remembered, else the only group there is."""
    found = {
        name: [disk for disk in disks if disk.uid in uids]
        for name, uids in memory.volume_groups.items()
    }
    found = {name: own for name, own in found.items() if own}
    if not found and len(profile.volume_groups) == 1:
        return {profile.volume_groups[0]: disks}
    return found
