"""What Prefect said once still holds when its server goes away in the middle of a run."""

from __future__ import annotations

import httpx
import pytest

import tasks.asking
import tasks.open
from tasks.asking import note_silence
from tasks.open import _loaded


class Secret:
    """As Prefect's blocks load; says how often it was asked."""

    asked: list[str]
    answer: object

    @classmethod
    def load(cls, name: str) -> object:
        cls.asked.append(name)
        if isinstance(cls.answer, Exception):
            raise cls.answer
        return cls.answer


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(tasks.open, "_known", {})
    monkeypatch.setattr(tasks.asking, "_silent_until", 0.0)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    Secret.asked = []
    Secret.answer = "secret"


def test_a_server_that_fell_silent_is_not_asked_again_and_its_answer_holds():
    assert _loaded(Secret, "a") == "secret"
    note_silence()
    Secret.answer = AssertionError("asked again")
    assert _loaded(Secret, "a") == "secret"
    assert Secret.asked == ["a"]


def test_one_that_is_there_is_asked_each_time():
    """A password that was changed counts at once."""
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = "new"
    assert _loaded(Secret, "a") == "new"
    Secret.answer = httpx.ConnectError("refused")
    assert _loaded(Secret, "a") == "new"


def test_an_answer_holds_too_where_somebody_listens_and_gives_none():
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = httpx.ReadTimeout("no answer")
    assert _loaded(Secret, "a") == "secret"


def test_a_block_that_was_deleted_is_forgotten():
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = ValueError("no such block")
    assert _loaded(Secret, "a") is None
    Secret.answer = httpx.ConnectError("refused")
    assert _loaded(Secret, "a") is None


def test_what_was_never_said_comes_from_the_environment():
    Secret.answer = httpx.ConnectError("refused")
    assert _loaded(Secret, "b") is None
