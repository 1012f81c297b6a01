"""A restore begins only after a person has read its plan: at the command line, or in the UI."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from named_points import point_of, volume_named

from blocks.catalog.point import PointId
from blocks.errors import Refused
from blocks.host.base import Disk
from blocks.policy.recovery import Candidate, plan_restore
from flows import approval

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
UID = "6005076400810000000000000000000A"


@pytest.fixture
def plan():
    volume = volume_named("hdisk18", UID, 4 << 20, name="Node1_1", zero_bytes=1 << 20)
    point = point_of([volume], id=PointId("01M8C905ZE8QBAD94M0M8DP0TE"))
    disk = Disk("hdisk30", "/dev/hdisk30", 8 << 20, uid="6005076400810000000000000000000B")
    return plan_restore(point, {UID: Candidate(disk, is_blank=False)}, force=True)


@pytest.fixture
def answered(monkeypatch):
    """Answer the form as a person in the UI would; return what they were shown."""
    shown = []

    def answer(group):
        def pause(wait_for_input, **_):
            shown.append(str(wait_for_input._description))
            return SimpleNamespace(group=group, approver="Ann")

        monkeypatch.setattr(approval, "pause_flow_run", pause)
        monkeypatch.setattr(approval, "FlowRunContext", SimpleNamespace(get=lambda: object()))

    return answer, shown


def test_without_a_ui_nobody_has_approved_and_it_is_refused(plan):
    with pytest.raises(Refused, match="not approved") as caught:
        approval.approve(plan, approved=False)
    assert "--dry-run" in caught.value.hint


def test_who_has_read_the_plan_is_not_asked_again(plan):
    approval.approve(plan, approved=True)


def test_the_ui_shows_the_plan_before_it_asks(plan, answered):
    answer, shown = answered
    answer("RG1")
    approval.approve(plan, approved=False)
    (text,) = shown
    assert "4.0 MiB on 1 disk will be written over" in text
    assert "| hdisk18 (Node1_1) | 4.0 MiB | hdisk30 | `/dev/hdisk30` |" in text
    assert "hdisk30 is not empty: everything on it is written over" in text
    assert "its last 4.0 MiB stay as they are" in text


@pytest.mark.parametrize("typed", ["", "RG2", "rg1", "yes"])
def test_another_name_than_the_groups_is_no_approval(plan, answered, typed):
    answer, _ = answered
    answer(typed)
    with pytest.raises(Refused, match="is not the name of the group"):
        approval.approve(plan, approved=False)
