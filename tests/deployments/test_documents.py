"""The pages and the example file say what the code does."""

import importlib
from pathlib import Path

import pytest
import yaml

from blocks.profile.base import parse
from blocks.profile.model import CLASSES, BackupProfile, Configuration
from deployments.cli.grammar import CLASS_FORMS, VERB_FORMS
from deployments.cli.secrets import FIELDS
from deployments.schedules import wanted_deployments

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", list(CLASSES))
def test_every_attribute_is_on_the_page(kind):
    page = (ROOT / "docs" / "reference" / "profile.md").read_text()
    section = page.split(f"## {kind}\n")[1].split("\n## ")[0]
    for label in CLASSES[kind].labels():
        assert f"`{label}`" in section, label


def test_every_verb_class_and_secret_is_on_the_page():
    page = (ROOT / "docs" / "reference" / "cli-config.md").read_text()
    secrets = [label for fields in FIELDS.values() for label in fields]
    for word in (*VERB_FORMS, *CLASS_FORMS, *secrets):
        assert f"`{word}`" in page, word


def test_the_example_for_prefect_deploy_is_what_apply_makes():
    text = (ROOT / "deployments" / "prefect.yaml").read_text()
    example = yaml.safe_load(text.replace("{{ $GROUP }}", "RG1"))
    profile = parse(
        BackupProfile,
        "RG1",
        {
            "ENABLE_BACKUP": "yes",
            "BACKUP_METHOD": "cloud",
            "REPLICATED_RESOURCES": "cg",
            "STORAGE_NAME": "storage1",
            "BUCKET_NAME": "pha-bucket",
            "BACKUP_SCHEDULE": "17:30",
            "TIMEZONE": "Europe/Berlin",
            "INCREMENTAL_BACKUP_FREQUENCY": "6",
            "RETENTION": "last=7",
        },
    )
    made = {item.name: item for item in wanted_deployments(Configuration(profiles=(profile,)))}
    for item in example["deployments"]:
        ours = made[item["name"]]
        assert item["entrypoint"] == ours.entrypoint
        assert item.get("parameters", {}) == ours.parameters
        crons = [schedule.get("cron", "") for schedule in item["schedules"]]
        assert crons == [tick.cron for tick in ours.ticks]
        assert item["work_pool"]["name"] == ours.pool


def test_every_entrypoint_is_a_flow_with_these_parameters():
    import inspect

    profile = BackupProfile(
        name="RG1",
        enabled=True,
        method="cloud",
        replicated_resources="cg",
        storage_names=("storage1",),
        bucket_name="pha-bucket",
        incremental_frequency="6",
    )
    for item in wanted_deployments(Configuration(profiles=(profile,))):
        module, _, name = item.entrypoint.rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        known = inspect.signature(flow.fn).parameters
        assert set(item.parameters) <= set(known), item.name
        for tick in item.ticks:
            assert set(tick.parameters) <= set(known), item.name
