"""What Prefect said once still holds when its server goes away in the middle of a run."""

from __future__ import annotations

import socket

import httpx
import pytest

import tasks.open
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
    Secret.asked = []
    Secret.answer = "secret"


@pytest.fixture
def server(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/api")
        yield listening


def test_a_server_that_went_away_is_not_asked_again_and_its_answer_holds(server):
    assert _loaded(Secret, "a") == "secret"
    server.close()
    Secret.answer = AssertionError("asked again")
    assert _loaded(Secret, "a") == "secret"
    assert Secret.asked == ["a"]


def test_one_that_is_there_is_asked_each_time(server):
    """A password that was changed counts at once."""
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = "new"
    assert _loaded(Secret, "a") == "new"
    server.close()
    assert _loaded(Secret, "a") == "new"


def test_an_answer_holds_too_where_somebody_listens_and_gives_none(server):
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = httpx.ReadTimeout("no answer")
    assert _loaded(Secret, "a") == "secret"


def test_a_block_that_was_deleted_is_forgotten(server):
    assert _loaded(Secret, "a") == "secret"
    Secret.answer = ValueError("no such block")
    assert _loaded(Secret, "a") is None
    server.close()
    Secret.answer = httpx.ConnectError("refused")
    assert _loaded(Secret, "a") is None


def test_what_was_never_said_comes_from_the_environment(server):
    server.close()
    Secret.answer = httpx.ConnectError("refused")
    assert _loaded(Secret, "b") is None
