"""What is remembered from poll to poll, and the picture of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from blocks.policy.loss import Begun
from blocks.policy.replication import Condition, Health, Memory, Transition
from tasks import remote_memory
from tasks.lag_chart import as_image, lag_chart
from tasks.remote_memory import (
    Sample,
    append_history,
    read_history,
    recall,
    recall_begun,
    remember,
    remember_begun,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / "remote"


def health(minute: int, lag_s: float | None = 0.0) -> Health:
    lag = None if lag_s is None else timedelta(seconds=lag_s)
    return Health(NOW + timedelta(minutes=minute), Condition.IN_SYNC, "why", lag=lag)


def test_memory_is_kept_per_group_and_starts_empty() -> None:
    assert recall("RG1") == Memory()
    memory = Memory(at=NOW, was_in_sync=True, volume_groups={"VG1": ("A", "B")})
    remember("RG1", memory)
    assert recall("RG1") == memory
    assert recall("rg1") == Memory()


def test_a_memory_cut_short_by_a_crash_is_started_anew(state) -> None:
    remember("RG1", Memory(at=NOW, was_in_sync=True))
    file = next(state.glob("*.json"))
    file.write_text(file.read_text()[:20])
    assert recall("RG1") == Memory()


def test_a_move_is_kept_apart_from_the_polls(monkeypatch) -> None:
    assert recall_begun("RG1") is None
    begun = Begun(move="failover", at=NOW, to="storage2", recovery_point=NOW - timedelta(seconds=9))
    remember_begun("RG1", begun)
    remember("RG1", Memory(at=NOW))
    assert recall_begun("RG1") == begun
    newer = begun.model_copy(update={"at": NOW + timedelta(days=1)})
    held = {
        remote_memory._variable("RG1", remote_memory.MOVE): newer.model_dump_json(),
        remote_memory._variable("RG1", remote_memory.POLLS): None,
    }
    assert len(held) == 2, "the two memories have variables of their own"
    monkeypatch.setattr(remote_memory, "has_api", lambda: True)
    monkeypatch.setattr(remote_memory.Variable, "get", lambda name, default=None: held[name])
    assert recall_begun("RG1") == newer
    assert recall("RG1") == Memory(at=NOW)


def test_the_newer_memory_counts_when_another_worker_went_on(monkeypatch) -> None:
    remember("RG1", Memory(at=NOW))
    newer = Memory(at=NOW + timedelta(minutes=5), was_in_sync=True)
    monkeypatch.setattr(remote_memory, "has_api", lambda: True)
    monkeypatch.setattr(
        remote_memory.Variable, "get", lambda name, default=None: newer.model_dump_json()
    )
    assert recall("RG1") == newer


def test_history_grows_by_a_line_a_poll_and_is_cut(state, monkeypatch) -> None:
    monkeypatch.setattr(remote_memory, "HISTORY_LINES", 10)
    remember("RG1", Memory())
    for minute in range(30):
        samples = append_history("RG1", health(minute, None), [Transition.IN_SYNC])
    assert samples[-1] == Sample(NOW + timedelta(minutes=29), "in sync", None, ("in_sync",), "why")
    assert 10 <= len(read_history("RG1")) <= 12


def test_a_line_cut_short_is_left_out(state) -> None:
    remember("RG1", Memory())
    append_history("RG1", health(0), [])
    path = next(state.glob("*.jsonl"))
    path.write_text(path.read_text() + '{"at": "2026-')
    assert len(read_history("RG1")) == 1


def test_the_chart_is_an_image_with_the_rpo_and_the_trouble() -> None:
    samples = [
        Sample(NOW + timedelta(minutes=n), "in sync" if n < 5 else "stopped", 60.0 * max(0, n - 5))
        for n in range(20)
    ]
    svg = lag_chart(samples, timedelta(minutes=10))
    root = ElementTree.fromstring(svg)
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert any("RPO 10m 00s" in text for text in texts)
    assert any('fill="#fde68a"' in svg for _ in [0])
    assert as_image(svg, "Lag").startswith("![Lag](data:image/svg+xml;base64,")


def test_the_chart_needs_two_known_polls() -> None:
    assert lag_chart([]) == ""
    assert lag_chart([Sample(NOW, "unseen", None), Sample(NOW, "in sync", 0.0)]) == ""
