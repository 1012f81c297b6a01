import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.host.base import GroupState
from blocks.host.powerha import (
    parse_group_states,
    parse_stable,
    parse_volume_groups,
    read_state,
)

CLRGINFO = """\
pdb213rg:ONLINE:pasv0450:non-concurrent:OHN:FNPN:NFB:ignore::: : :::
pdb213rg:OFFLINE:pasv0449:non-concurrent:OHN:FNPN:NFB:ignore::: : :::
other:ONLINE:pasv0449:non-concurrent:OHN:FNPN:NFB:ignore::: : :::
"""


def test_the_recorded_output_is_read_per_node():
    assert parse_group_states(CLRGINFO, "pdb213rg") == {
        "pasv0450": GroupState.ONLINE,
        "pasv0449": GroupState.OFFLINE,
    }


def test_a_permission_problem_on_stdout_is_no_state():
    assert parse_group_states("clRGinfo: permission denied: error\n", "pdb213rg") == {}


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("ONLINE", GroupState.ONLINE),
        ("online", GroupState.ONLINE),
        ("ONLINE SECONDARY", GroupState.UNKNOWN),
        ("OFFLINE DUE TO FALLOVER", GroupState.OFFLINE),
        ("TEMPORARY_ERROR", GroupState.TEMPORARY_ERROR),
        ("", GroupState.UNKNOWN),
    ],
)
def test_states_are_read_or_unknown(word, state):
    assert read_state(word) is state


@given(st.text(max_size=200), st.text(max_size=10))
def test_junk_gives_no_traceback(text, group):
    parse_group_states(text, group)
    parse_volume_groups(text)
    assert parse_stable(text) in {True, False}


def test_only_a_stable_manager_is_stable():
    assert parse_stable("Subsystem...\nCurrent state: ST_STABLE\nsccsid\n")
    assert not parse_stable("Current state: ST_JOINING\n")
    assert not parse_stable("Current state: ST_STABLE_NOT\n")


def test_volume_groups_of_a_group():
    assert parse_volume_groups('NAME="RG1"\nVOLUME_GROUP="VG1 VG2"\nNODES="a b"\n') == [
        "VG1",
        "VG2",
    ]
    assert parse_volume_groups('VOLUME_GROUP=""\n') == []
