"""What is remembered of a remote copy from poll to poll: its memory, and the history of its lag.

Three small files in the state directory. Where a Prefect server is, the memory is also a variable,
so that another worker goes on where this one stopped and tells nothing twice. All of it is a cache:
lost, the next poll starts anew, and tells what it sees once more. The last move is kept apart, for
polls go on while it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError
from prefect.variables import Variable
from pydantic import BaseModel, ValidationError

from blocks.policy.loss import Begun
from blocks.policy.replication import Health, Memory, Transition
from blocks.units import slug
from tasks.asking import Silent, ask
from tasks.journal import state_directory
from tasks.open import has_api
from tasks.steps import run_log

POLLS, MOVE = "json", "move.json"
"""Which memory: that of the polls, and that of the last move."""

M = TypeVar("M", bound=BaseModel)

HISTORY_LINES = 4000
"""Two weeks of polls every five minutes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One poll of the past. `lag_s` is None while nothing was known to be usable."""

    at: datetime
    condition: str
    lag_s: float | None
    told: tuple[str, ...] = ()
    why: str = ""


OLDEST = datetime.min.replace(tzinfo=UTC)


def recall(group: str) -> Memory:
    """Return what is known of a group's remote copy; the newer of file and variable."""
    found = _found(Memory, group, POLLS)
    return max(found, key=lambda memory: memory.at or OLDEST, default=Memory())


def remember(group: str, memory: Memory) -> None:
    """Write down what is known now."""
    _keep(memory, group, POLLS)


def recall_begun(group: str) -> Begun | None:
    """Return the last move as it was when it was ordered, None if there was none."""
    return max(_found(Begun, group, MOVE), key=lambda begun: begun.at, default=None)


def remember_begun(group: str, begun: Begun) -> None:
    """Write down a move, before it is ordered and when it is done."""
    _keep(begun, group, MOVE)


def append_history(group: str, health: Health, told: Sequence[Transition]) -> list[Sample]:
    """Add a poll to the history, and return the history."""
    path = _path(group, "history.jsonl")
    lag_s = None if health.lag is None else health.lag.total_seconds()
    row = {
        "at": health.at.isoformat(),
        "condition": str(health.condition),
        "lag_s": lag_s,
        "told": [str(transition) for transition in told],
        "why": health.why,
    }
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    samples = read_history(group)
    if len(samples) > HISTORY_LINES * 1.2:
        kept = path.read_text().splitlines(keepends=True)[-HISTORY_LINES:]
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text("".join(kept))
        draft.replace(path)
    return samples


def read_history(group: str) -> list[Sample]:
    """Return the polls of the past, the oldest first; lines cut short by a crash are left out."""
    samples = []
    try:
        text = _path(group, "history.jsonl").read_text()
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            samples.append(
                Sample(
                    datetime.fromisoformat(row["at"]),
                    row["condition"],
                    row["lag_s"],
                    tuple(row["told"]),
                    row["why"],
                )
            )
        except (ValueError, KeyError, TypeError):
            continue
    return samples


def _path(group: str, suffix: str) -> Path:
    return state_directory() / "remote" / f"{slug(group)}.{suffix}"


def _variable(group: str, kind: str) -> str:
    name = f"flashvault_remote_{slug(group).replace('-', '_')}"
    return name if kind == POLLS else f"{name}_{kind.partition('.')[0]}"


def _found(model: type[M], group: str, kind: str) -> list[M]:
    """Return what file and variable hold, as far as there are any and they can be read."""
    both = (_from_file(model, group, kind), _from_variable(model, group, kind))
    return [each for each in both if each is not None]


def _keep(memory: BaseModel, group: str, kind: str) -> None:
    path = _path(group, kind)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(memory.model_dump_json())
    draft.replace(path)
    if not has_api():
        return
    try:
        text = memory.model_dump_json()
        ask(lambda: Variable.set(_variable(group, kind), text, overwrite=True))
    except (Silent, httpx.HTTPError, PrefectHTTPStatusError, ValueError, RuntimeError) as error:
        run_log().warning("memory of %s not written to Prefect: %s", group, error)


def _from_file(model: type[M], group: str, kind: str) -> M | None:
    try:
        return model.model_validate_json(_path(group, kind).read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        run_log().warning("memory of %s cannot be read, starting anew: %s", group, error)
        return None


def _from_variable(model: type[M], group: str, kind: str) -> M | None:
    if not has_api():
        return None
    try:
        text: object = ask(lambda: Variable.get(_variable(group, kind), default=None))
        return model.model_validate_json(text) if isinstance(text, str) else None
    except (Silent, httpx.HTTPError, PrefectHTTPStatusError, ValueError, RuntimeError) as error:
        run_log().warning("memory of %s not read from Prefect: %s", group, error)
        return None
