"""How long a restore should take, by those before it."""

from types import SimpleNamespace

import pytest

from tasks.journal import state_directory
from tasks.pace import expected_s, remember_pace

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHVAULT_STATE", str(tmp_path))


def plan(group="RG1", data_bytes=1000 * MIB):
    return SimpleNamespace(point=SimpleNamespace(group=group), data_bytes=data_bytes)


def restored(seconds, group="RG1", data_bytes=100 * MIB, **row):
    volume = {"skipped_bytes": 0, "proven": True, **row}
    remember_pace(
        {"group": group, "data_bytes": data_bytes, "restore_s": seconds, "volumes": [volume]}
    )


def test_without_a_restore_nothing_is_promised():
    assert expected_s(plan()) is None


def test_the_groups_own_restores_count_before_those_of_others():
    restored(2.0, group="RG2")
    assert expected_s(plan()) == 20.0
    restored(5.0)
    assert expected_s(plan()) == 50.0


def test_only_the_last_ones_count_and_one_odd_one_does_not():
    for seconds in [100.0] * 9 + [1.0, 1.0, 50.0, 1.0, 1.0]:
        restored(seconds)
    assert expected_s(plan()) == 10.0


def test_a_restore_that_went_on_or_was_damaged_says_nothing():
    restored(1.0, skipped_bytes=1)
    restored(1.0, proven=False)
    assert expected_s(plan()) is None


def test_a_line_cut_short_by_a_kill_is_passed_over():
    restored(1.0)
    with (state_directory() / "restores" / "pace.jsonl").open("a") as file:
        file.write('{"group": "RG1", "data_by')
    assert expected_s(plan()) == 10.0
