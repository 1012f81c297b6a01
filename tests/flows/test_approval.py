"""A restore begins only after a person has read its plan: at the command line, or in the UI."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest
from named_points import point_of, volume_named
from prefect import states
from prefect.exceptions import FlowPauseTimeout

import flows.restore
from blocks.catalog.point import PointId
from blocks.errors import Refused
from blocks.host.base import Disk
from blocks.policy.recovery import Candidate, plan_restore, refuse_another
from flows import approval
from flows.restore import restore
from tasks.run import run_of

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
        approval.approve(plan)
    assert "--dry-run" in caught.value.hint


def test_the_ui_shows_the_plan_before_it_asks(plan, answered):
    answer, shown = answered
    answer("RG1")
    approval.approve(plan)
    (text,) = shown
    assert "4.0 MiB on 1 disk will be written over" in text
    assert "| hdisk18 (Node1_1) | 4.0 MiB | hdisk30 (`/dev/hdisk30`) |" in text
    assert "hdisk30 is not empty: everything on it is written over" in text
    assert "its last 4.0 MiB stay as they are" in text


@pytest.mark.parametrize("typed", ["", "RG2", "rg1", "yes"])
def test_another_name_than_the_groups_is_no_approval(plan, answered, typed):
    answer, _ = answered
    answer(typed)
    with pytest.raises(Refused, match="is not the name of the group"):
        approval.approve(plan)


def test_who_is_waited_for_in_vain_is_told_so(plan, monkeypatch, answered):
    def pause(**_):
        raise FlowPauseTimeout("no answer")

    monkeypatch.setattr(approval, "FlowRunContext", SimpleNamespace(get=lambda: object()))
    monkeypatch.setattr(approval, "pause_flow_run", pause)
    with pytest.raises(Refused, match="nobody approved the restore within 24h 00m"):
        approval.approve(plan)


@pytest.fixture
def asked(plan, monkeypatch, tmp_path):
    """Let a restore of `plan` be asked for; return what the plans were for, and the next plan."""
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path / "state"))
    plans, wanted = [plan], []

    def planned(_run, asked):
        wanted.append(asked)
        return plans.pop(), None, {}

    monkeypatch.setattr(flows.restore, "plan", planned)
    monkeypatch.setattr(flows.restore, "reading_cipher", lambda *_: pytest.fail("it goes on"))
    return plans, wanted


def test_a_backup_runs_while_a_person_reads_and_what_has_changed_is_refused(
    plan, answered, asked, monkeypatch, tmp_path
):
    answer, _ = answered
    answer("RG1")
    plans, wanted = asked
    pause = approval.pause_flow_run

    def long_pause(**words):
        with run_of("RG1", "backup", {}):
            plans.append(replace(plan, notes=(*plan.notes, "hdisk30 is a production volume")))
        return pause(**words)

    monkeypatch.setattr(approval, "pause_flow_run", long_pause)
    with pytest.raises(Refused, match=r"no longer the one.*: hdisk30 is a production volume"):
        restore.fn("RG1", to={"hdisk18": "hdisk30"}, at=NOON)
    first, second = wanted
    assert (first.point, first.at) == ("", NOON)
    assert (second.point, second.at) == (plan.point.id, None), "the point that was shown"
    assert not list((tmp_path / "state" / "runs").iterdir())


def test_what_has_not_changed_is_not_asked_for_again(plan, answered, asked):
    answer, _ = answered
    answer("RG1")
    plans, _ = asked
    plans.append(plan)
    with pytest.raises(pytest.fail.Exception, match="it goes on"):
        restore.fn("RG1", to={"hdisk18": "hdisk30"})


def test_a_plan_is_shown_while_a_backup_runs(asked):
    with run_of("RG1", "backup", {}):
        assert restore.fn("RG1", to={"hdisk18": "hdisk30"}, dry_run=True).outcome == "planned"


def test_other_disks_than_those_that_were_approved_are_refused(plan):
    refuse_another(plan, plan)
    (placement,) = plan.placements
    other = replace(placement, disk=replace(placement.disk, uid="6005076400810000000000000000000C"))
    with pytest.raises(Refused, match="other disks would be written"):
        refuse_another(plan, replace(plan, placements=(other,)))


def test_an_approval_outlives_a_server_that_goes_away(plan, answered, monkeypatch):
    """Away while it is asked, away when it is looked for, there and still waiting, and resumed."""
    answer, _ = answered
    answer("RG1")
    resumed = approval.pause_flow_run
    keys = []
    looks = iter([httpx.ReadTimeout("frozen"), states.Paused(), states.Running()])

    def pause(key, **more):
        keys.append(key)
        if len(keys) == 1:
            raise httpx.ConnectError("refused")
        assert next(looks, None) is None, "not before the run is resumed"
        return resumed(**more)

    class Client:
        def read_flow_run(self, _id):
            found = next(looks)
            if isinstance(found, Exception):
                raise found
            return SimpleNamespace(state=found)

    context = SimpleNamespace(flow_run=SimpleNamespace(id="0f"))
    monkeypatch.setattr(approval, "FlowRunContext", SimpleNamespace(get=lambda: context))
    monkeypatch.setattr(approval, "pause_flow_run", pause)
    monkeypatch.setattr(approval, "get_client", lambda **_: nullcontext(Client()))
    monkeypatch.setattr(approval, "LOOK_S", 0)
    approval.approve(plan)
    first, again = keys
    assert first == again, "it is the same question"
    approval.approve(plan)
    assert keys[2] != first, "and that was another"
