"""What a move of the production will do, or has done: for `--json`, for a person, for Prefect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from blocks.policy.loss import in_utc
from blocks.policy.situation import Plan
from blocks.profile.model import BackupProfile
from blocks.units import format_duration, slug
from tasks import reports
from tasks.divergence import Difference
from tasks.divergence import document as difference_document
from tasks.notify import notify
from tasks.takeover import Survey, TakenOver


def move_document(
    profile: BackupProfile,
    plan: Plan,
    surveyed: Survey,
    state: str = "",
    taken: TakenOver | None = None,
    began_at: datetime | None = None,
    ended_at: datetime | None = None,
    measured: Sequence[Difference] | None = None,
) -> dict[str, Any]:
    """Return a plan, and what became of it, as the command line's JSON shows it."""
    seen = surveyed.situation
    took = (ended_at - began_at).total_seconds() if began_at and ended_at else None
    return {
        "group": profile.name,
        "remote_group": profile.replicated_resources,
        **plan.document(),
        "states": {name: str(view.state) for name, view in seen.views.items()},
        "activity": {name: str(said) for name, said in seen.activity.items()},
        "notes": [*plan.notes, *surveyed.notes, *(taken.notes if taken else ())],
        "difference": None if measured is None else difference_document(measured),
        "state_after": state,
        "node": taken.node if taken else "",
        "disks": list(taken.disks) if taken else [],
        "imported": list(taken.imported) if taken else [],
        "faults": list(taken.faults) if taken else [],
        "rto_s": None if took is None else round(took, 3),
    }


def move_markdown(document: dict[str, Any]) -> str:
    """Show a plan, or what became of it, to the person who decides."""
    lines = [f"## {document['move']} of {document['group']}", ""]
    if document["refusal"]:
        lines += [f"**Refused: {document['refusal']}.** {document['hint']}", ""]
    lines += [
        f"- production afterwards: **{document['to']}**",
        f"- order: `{document['order'] or 'none: nothing to do on the arrays'}`",
    ]
    if document["takes_over"] and not document["refusal"]:
        lines += _lost(document)
    if document["overwrites"]:
        lines.append(f"- **written over: {document['overwrites']}**")
    if document["difference"] is not None:
        lines.append(f"- **{document['difference']['words']}**")
    if document["is_split"]:
        lines.append("- **afterwards both sites' volumes can be written**")
    lines += [
        f"- {name}: {document['states'].get(name, 'does not answer')}, the group there is {said}"
        for name, said in sorted(document["activity"].items())
    ]
    lines += [f"- {note}" for note in document["notes"]]
    if document["state_after"]:
        lines.append(f"- done: the group is {document['state_after']}")
    if document["node"]:
        lines.append(f"- {document['node']} sees {', '.join(document['disks'])}")
    if document["imported"]:
        lines.append(f"- imported: {', '.join(document['imported'])}")
    lines += [f"- **not done: {fault}**" for fault in document["faults"]]
    return "\n".join(lines)


def told_at(moment: str | None) -> str:
    """Return a moment of a document as a person reads it; empty for none."""
    return in_utc(datetime.fromisoformat(moment)) if moment else ""


def _lost(document: dict[str, Any]) -> list[str]:
    """Say what a move loses: between which moments, and so how much at most."""
    point, loss = document["recovery_point"], document["loss_s"]
    if point and loss == 0:
        return ["- lost: nothing"]
    lines = [f"- **lost: what was written after {told_at(point) or 'a moment nobody knows'}**"]
    if document["parted_by"]:
        lines.append(f"- {document['to']} stopped following by {told_at(document['parted_by'])}")
    if document["loss_if_stopped_s"] is not None:
        lines.append(
            f"- the other array was found silent at {told_at(document['silent_by'])}: if it stopped"
            f" then, at most {format_duration(document['loss_if_stopped_s'])} are lost"
        )
    if loss:
        went_on = "if hosts went on writing there" if len(lines) > 2 else "that is"
        lines.append(f"- {went_on}, at most {format_duration(loss)}")
    return lines


def report_move(profile: BackupProfile, document: dict[str, Any], markdown: str) -> None:
    """Show the move in Prefect and tell who wants to know."""
    move = document["move"]
    reports.artifact(f"remote-{move}-{slug(profile.name)}", markdown, f"The last {move}")
    facts = {
        key: document[key] for key in ("to", "order", "state_after", "loss_s", "recovery_point")
    }
    reports.event(f"remote.{move}", profile.name, **facts)
    notify(
        profile,
        f"remote_{move}",
        "warning",
        f"{move} to {document['to']}: {document['order'] or 'nothing to do on the arrays'}",
    )
