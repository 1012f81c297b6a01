"""How a run ended: one small document for the command line, one state for Prefect."""

from __future__ import annotations

from typing import Any

from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from pydantic import BaseModel, ConfigDict

from tasks.run import amend_ended


class Ending(BaseModel):
    """What a run has to say at its end. `exit_code` is the command line's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    summary: str
    exit_code: int = 0
    report: dict[str, Any] = {}
    markdown: str = ""

    def document(self) -> dict[str, Any]:
        """Return the JSON document the command line prints."""
        return {
            "ok": self.exit_code in (0, 5),
            "outcome": self.outcome,
            "summary": self.summary,
            **self.report,
        }


_last: list[Ending] = []


def forget() -> None:
    """Forget the last ending of this process."""
    _last.clear()


def last() -> Ending | None:
    """Return how the last run of this process ended, if it came that far.

    Known even when the Prefect server cannot be told any more.
    """
    return _last[-1] if _last else None


def skipped(group: str, reason: str) -> Ending:
    """Say that nothing was to be done, which is no failure."""
    return Ending(
        outcome="skipped",
        summary=f"skipped: {reason}",
        exit_code=5,
        report={"group": group, "reason": reason},
    )


def ended(ending: Ending) -> Any:
    """Return an ending as Prefect's state inside a run, as itself outside of one.

    A skip is a Completed run with a name of its own; damage that was worked around is a Failed one.
    """
    _last.append(ending)
    if FlowRunContext.get() is None:
        return ending
    data = ending.model_dump(mode="json")
    is_done = ending.exit_code in (0, 5)
    amend_ended(is_done=is_done, summary=ending.summary)
    if is_done:
        name = "Skipped" if ending.outcome == "skipped" else None
        return Completed(name=name, message=ending.summary, data=data)
    return Failed(name=ending.outcome.capitalize(), message=ending.summary, data=data)
