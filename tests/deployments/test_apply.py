"""Apply against a real Prefect server: twice, drifted, and with profiles gone."""

import os
import socket
import time

import pytest

from blocks.profile.base import parse
from blocks.profile.document import parse_document
from blocks.profile.model import BackupProfile, BucketConfig, Configuration, Node, StorageSystem
from deployments import serve

pytestmark = [pytest.mark.server, pytest.mark.slow]


def profile(name: str, **more: str) -> BackupProfile:
    given = {
        "ENABLE_BACKUP": "yes",
        "BACKUP_METHOD": "cloud",
        "REPLICATED_RESOURCES": "cg",
        "STORAGE_NAME": "storage1",
        "BUCKET_NAME": "pha-bucket",
        "BACKUP_SCHEDULE": "17:30",
        "TIMEZONE": "Europe/Berlin",
        "INCREMENTAL_BACKUP_FREQUENCY": "6",
        "RETENTION": "last=7",
        "GRACE_PERCENT": "12",
    }
    return parse(BackupProfile, name, given | more)


def configuration(*profiles: BackupProfile) -> Configuration:
    return Configuration(
        storage_systems=tuple(
            parse(StorageSystem, name, {"ADDRESSES": "90.90.90.1", "USER": "admin"})
            for name in ("storage1", "storage2")
        ),
        nodes=(parse(Node, "here", {"TYPE": "LOCAL"}),),
        buckets=(parse(BucketConfig, "pha-bucket", {"REGION": "eu-central-1"}),),
        profiles=profiles,
    )


REMOTE = parse(
    BackupProfile,
    "RG1",
    {
        "ENABLE_BACKUP": "yes",
        "BACKUP_METHOD": "remote_storage",
        "REPLICATED_RESOURCES": "rcg",
        "STORAGE_NAME": "storage1,storage2",
        "RPO": "5m",
    },
)
WHOLE = configuration(profile("RG1"), REMOTE, profile("RG_2"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of our own settings; Prefect is told of it for the time of this module."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_HOME,
        temporary_settings,
    )

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = serve.prepare(tmp_path_factory.mktemp("serve"), "127.0.0.1", port)
    before = dict(os.environ)
    served = serve.Served(place)
    try:
        served.start_server()
        with temporary_settings(
            {
                PREFECT_API_URL: f"{place.url}/api",
                PREFECT_API_AUTH_STRING: place.auth,
                PREFECT_HOME: place.directory / "prefect",
            }
        ):
            yield place
    finally:
        served.close()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def applied(server):
    from deployments import register

    register.apply(WHOLE)
    return register


@pytest.fixture
def client(server):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def test_the_second_time_there_is_nothing_to_do(applied):
    assert applied.plan(WHOLE) == []
    assert applied.apply(WHOLE) == []


def test_a_profile_is_found_in_the_ui_by_its_name_and_tags(applied, client):
    names = {
        "backup/RG1-full": {"mode": "full"},
        "backup/RG1-incremental": {"mode": "incremental"},
        "verify/RG1-verify": {},
        "prune/RG1-prune": {},
        "restore/RG1-restore": {},
    }
    for name, parameters in names.items():
        deployment = client.read_deployment_by_name(name)
        assert {"flashvault", "group:RG1"} <= set(deployment.tags)
        assert deployment.parameters.items() >= parameters.items()
        assert deployment.job_variables == {
            "command": "python -m deployments.shim",
            "stream_output": False,
        }
        assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
        assert deployment.entrypoint.startswith("flows.")
    full = client.read_deployment_by_name("backup/RG1-full")
    assert full.parameters == {"profile": "RG1", "mode": "full", "grace_percent": 12.0}
    (schedule,) = full.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 17 * * *", "Europe/Berlin")
    restore = client.read_deployment_by_name("restore/RG1-restore")
    assert restore.work_pool_name == "flashvault-restore"
    assert restore.schedules == []


def test_a_schedule_gets_its_runs(applied, client):
    """With a SQLAlchemy that Prefect does not cap, its scheduler fails and none ever comes."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=["group:RG1", "full"]))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if runs := client.read_flow_runs(flow_run_filter=wanted):
            break
        time.sleep(1)
    assert len(runs) >= 3
    assert {f"{run.expected_start_time:%M}" for run in runs} == {"30"}


def test_what_a_hand_changed_is_found_and_put_right(applied, client):
    full = client.read_deployment_by_name("backup/RG1-full")
    changes = {"parameters": {"profile": "RG9"}, "paused": True}
    client.request("PATCH", f"/deployments/{full.id}", json=changes)
    (schedule,) = full.schedules
    client.request("DELETE", f"/deployments/{full.id}/schedules/{schedule.id}")
    (alarm,) = client.read_automations_by_name("flashvault: RG1 overdue")
    client.delete_automation(alarm.id)
    found = {(change.action, change.name): change.detail for change in applied.apply(WHOLE)}
    assert found == {
        ("update", "RG1-full"): "parameters, paused, schedules",
        ("create", "flashvault: RG1 overdue"): "",
    }
    assert client.read_deployment_by_name("backup/RG1-full").parameters["profile"] == "RG1"
    assert applied.plan(WHOLE) == []


def test_a_changed_schedule_replaces_the_old_one(applied, client):
    later = configuration(profile("RG1", BACKUP_SCHEDULE="18:00"), REMOTE, profile("RG_2"))
    assert {c.name for c in applied.apply(later)} >= {"RG1-full", "RG1-incremental"}
    (schedule,) = client.read_deployment_by_name("backup/RG1-full").schedules
    assert schedule.schedule.cron == "0 18 * * *"
    applied.apply(WHOLE)


def test_a_change_of_one_group_looks_at_that_group_and_what_all_share(applied, client):
    def drift():
        for group in ("RG1", "RG_2"):
            full = client.read_deployment_by_name(f"backup/{group}-full")
            client.request("PATCH", f"/deployments/{full.id}", json={"paused": True})
            (alarm,) = client.read_automations_by_name(f"flashvault: {group} overdue")
            client.delete_automation(alarm.id)
        reconcile = client.read_deployment_by_name("reconcile/flashvault-reconcile")
        client.request("PATCH", f"/deployments/{reconcile.id}", json={"paused": True})

    drift()
    done = {(change.action, change.name) for change in applied.apply(WHOLE, "RG1")}
    assert done == {
        ("update", "RG1-full"),
        ("update", "flashvault-reconcile"),
        ("create", "flashvault: RG1 overdue"),
    }
    left = {(change.action, change.name) for change in applied.plan(WHOLE)}
    assert left == {("update", "RG_2-full"), ("create", "flashvault: RG_2 overdue")}
    applied.apply(WHOLE)


def test_a_group_that_left_is_taken_away_by_a_look_at_it_alone(applied, client):
    without = configuration(profile("RG1"), REMOTE)
    gone = {(c.action, c.kind) for c in applied.apply(without, "RG_2") if "RG_2" in c.name}
    assert gone == {("delete", "deployment"), ("delete", "automation")}
    assert applied.plan(without) == []
    assert {c.action for c in applied.apply(WHOLE, "RG_2")} == {"create", "update"}
    assert applied.plan(WHOLE) == []


def test_a_profile_that_left_takes_everything_along(applied, client):
    changes = applied.apply(configuration(profile("RG1")))
    gone = {(change.kind, change.name) for change in changes if change.action == "delete"}
    assert ("deployment", "RG_2-full") in gone
    assert ("automation", "flashvault: RG_2 overdue") in gone
    names = {deployment.name for deployment in client.read_deployments(limit=200)}
    assert not [name for name in names if name.startswith("RG_2")]
    assert applied.plan(configuration(profile("RG1"))) == []
    applied.apply(WHOLE)


def test_a_secret_survives_a_changed_place_and_is_replaced_by_a_new_one(applied):
    from blocks.svc.block import SvcSystem
    from deployments import credentials

    system = WHOLE.storage_systems[0]
    credentials.save(system, {"password": "first"})
    moved = system.model_copy(update={"addresses": ("90.90.90.9",)})
    credentials.save(moved)
    block = SvcSystem.load("storage1")
    assert block.addresses == ["90.90.90.9"]
    assert block.password.get_secret_value() == "first"
    credentials.save(system, {"password": "second"})
    assert SvcSystem.load("storage1").password.get_secret_value() == "second"
    assert applied.plan(WHOLE) == []


def test_a_block_goes_with_the_object_it_belonged_to(applied, client):
    left = WHOLE.model_copy(
        update={
            "storage_systems": WHOLE.storage_systems[:1],
            "profiles": (profile("RG1"), profile("RG_2")),
        }
    )
    deleted = [change for change in applied.apply(left) if change.action == "delete"]
    assert ("block", "storage_system storage2") in {(c.kind, c.name) for c in deleted}
    applied.apply(WHOLE)


def test_workers_elsewhere_read_the_same_configuration(applied, monkeypatch, tmp_path):
    import tasks.open

    many = configuration(*(profile(f"RG{number}") for number in range(12)))
    applied.apply(many)
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "none.xml"))
    monkeypatch.setattr(tasks.open, "has_api", lambda: True)
    assert tasks.open.configuration() == many
    applied.apply(WHOLE)


def test_a_loose_end_is_left_out_and_said(applied):
    loose = configuration(profile("RG1", STORAGE_NAME="elsewhere"))
    assert applied.problems(loose) == [
        "backup_profile RG1 (cloud): STORAGE_NAME: storage system 'elsewhere' is not registered"
    ]
    assert not [change for change in applied.plan(loose) if change.action == "create"]


def test_the_configuration_in_prefect_holds_no_secret(applied, client):
    value = client.read_variable_by_name("flashvault_configuration").value
    assert "password" not in value.lower()
    assert parse_document(value) if value.startswith("<?xml") else True


def test_a_site_moves_its_runs_to_its_queue_and_back(applied, client):
    far = configuration(profile("RG1", SITE="kosice", CAPTURE_WORKERS="2"), REMOTE, profile("RG_2"))
    changes = {(change.action, change.name) for change in applied.apply(far)}
    assert ("create", "RG1-capture") in changes
    assert ("create", "flashvault-capture") in changes, "the pool, only now that it is needed"
    assert ("create", "flashvault-reconcile-kosice") in changes
    assert applied.plan(far) == []
    queues = {
        name: (found.work_pool_name, found.work_queue_name)
        for name in ("backup/RG1-full", "restore/RG1-restore", "capture-part/RG1-capture")
        for found in [client.read_deployment_by_name(name)]
    }
    assert queues == {
        "backup/RG1-full": ("flashvault", "kosice"),
        "restore/RG1-restore": ("flashvault-restore", "kosice"),
        "capture-part/RG1-capture": ("flashvault-capture", "kosice"),
    }
    assert client.read_deployment_by_name("backup/RG_2-full").work_queue_name == "default"
    applied.apply(WHOLE)
    assert client.read_deployment_by_name("backup/RG1-full").work_queue_name == "default"
    assert applied.plan(WHOLE) == []


def test_a_queue_nobody_looks_at_is_named(applied, client):
    far = configuration(profile("RG1", SITE="kosice"))
    applied.apply(far)
    assert ("flashvault", "kosice") in applied.queues_without_a_worker(far)
    # A worker of the site polls: that is all Prefect knows of it.
    client.get_scheduled_flow_runs_for_work_pool("flashvault", work_queue_names=["kosice"])
    deadline = time.monotonic() + 60  # the server notes it a moment later
    while ("flashvault", "kosice") in (idle := applied.queues_without_a_worker(far)):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert ("flashvault-restore", "kosice") in idle
    applied.apply(WHOLE)
