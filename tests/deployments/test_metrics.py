"""The endpoint is scraped, and what it says is parsed by Prometheus' own parser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from blocks.catalog.drills import Drill, Drills
from blocks.catalog.point import Kind, PointId
from blocks.policy.overview import Kept, Overview, Remote, State
from deployments import metrics
from deployments.cli import status

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
GRAFANA = Path(__file__).parents[2] / "deployments" / "grafana" / "dashboard.json"


def row(group: str = "RG1", state: State = State.OK, **more) -> Overview:
    at = NOW - timedelta(hours=2)
    point = Kept(PointId("01X"), Kind.FULL, at, at, at + timedelta(minutes=5), 2048, 1024, 0)
    known = {"bucket": "b", "last": point, "age": NOW - at, "history": (point,)}
    return Overview(group, state, **(known | more))


ROWS = [
    row(
        remote=Remote("in sync", NOW, NOW, is_well=True),
        drills=Drills((Drill(run_id="01X", began_at=NOW, ended_at=NOW, rto_s=90.0),)),
        next_due=NOW + timedelta(hours=3),
    ),
    Overview("RG2", State.NEVER, bucket="b"),
    Overview('odd "group"\\', State.UNKNOWN, "no answer", bucket="away"),
]


class Looks:
    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def __call__(self) -> list[Overview]:
        self.count += 1
        if self.error:
            raise self.error
        return ROWS


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def scraped(looks: Looks) -> Iterator[httpx.Client]:
    server = metrics.server("127.0.0.1", 0, metrics.Cached(looks))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    with server, httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
        yield client
        server.shutdown()
        thread.join()


def values(text: str) -> dict[tuple[str, str], float]:
    """Return the samples by name and group; of `flashvault_state` only the one that holds."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name == "flashvault_state" and not sample.value:
                continue
            name = sample.labels.get("state", sample.name)
            found[name, sample.labels.get("group", "")] = sample.value
    return found


def test_a_scrape_says_how_every_group_stands(scraped):
    answer = scraped.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    told = values(answer.text)
    taken = (NOW - timedelta(hours=2)).timestamp()
    assert told["flashvault_last_restore_point_timestamp_seconds", "RG1"] == taken
    assert told["flashvault_last_restore_point_age_seconds", "RG1"] == 7200
    assert told["flashvault_last_restore_point_size_bytes", "RG1"] == 2048
    assert told["flashvault_last_restore_point_duration_seconds", "RG1"] == 300
    assert told["flashvault_stored_bytes", "RG1"] == 1024
    assert told["flashvault_restore_points", "RG1"] == 1
    assert told["flashvault_overdue", "RG1"] == 0
    assert told["flashvault_remote_in_sync", "RG1"] == 1
    assert told["flashvault_last_drill_duration_seconds", "RG1"] == 90
    assert told["flashvault_overdue", "RG2"] == 1
    assert told["never backed up", "RG2"] == 1


def test_what_is_not_known_is_left_out_and_not_zero(scraped):
    told = values(scraped.get("/metrics").text)
    odd = {name for name, group in told if group == 'odd "group"\\'}
    assert odd == {"unknown"}, "labels are escaped, and an unread bucket has no numbers"
    assert ("flashvault_last_restore_point_age_seconds", "RG2") not in told


def test_two_scrapes_in_a_minute_read_the_buckets_once(scraped, looks):
    assert scraped.get("/metrics").text == scraped.get("/metrics").text
    assert looks.count == 1


def test_a_failed_look_is_a_failed_scrape_and_the_next_one_tries_again(scraped, looks):
    looks.error = RuntimeError("no configuration")
    assert scraped.get("/metrics").status_code == 500
    looks.error = None
    assert scraped.get("/metrics").status_code == 200
    assert scraped.get("/other").status_code == 404


def test_grafana_asks_only_for_what_is_told():
    board = json.loads(GRAFANA.read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"flashvault_\w+", target["expr"])
    }
    text = metrics.exposition(ROWS, looked_at=0, took_s=0).decode()
    told = {family.name for family in text_string_to_metric_families(text)}
    assert asked
    assert asked <= told
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_once_prints_them_for_the_textfile_collector(flashvault_once):
    told = values(flashvault_once)
    assert told["flashvault_overdue", "RG2"] == 1


@pytest.fixture
def flashvault_once(monkeypatch, capsys):
    from deployments.cli import metrics as verb

    monkeypatch.setattr(verb, "_look", lambda: ROWS)
    verb.metrics(once=True)
    return capsys.readouterr().out


def test_a_server_that_is_away_is_neither_waited_for_nor_forgotten(monkeypatch):
    import os

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with status.no_waiting():
        assert "PREFECT_API_URL" not in os.environ
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
