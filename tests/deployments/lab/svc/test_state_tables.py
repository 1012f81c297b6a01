"""The tables of docs/reference/svc-cli.md, read from the page itself, against client and lab.

The page is the third witness: a state or a command that somebody adds or drops in one of the three
places is found here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blocks.errors import SvcAnswerError, SvcError
from blocks.svc.flashcopy import NEXT, WAY_BACK
from blocks.svc.model import CopyState, RemoteState, Side
from blocks.svc.parse import DELIMITER, parse_concise, parse_detail
from blocks.svc.replication import ON_START, ON_STOP, ON_STOP_ACCESS, ON_SWITCH, Move
from deployments.lab.svc.commands import COMMANDS
from deployments.lab.svc.states import (
    FLASHCOPY,
    MAPPING_STATES,
    NOT_NOW,
    READABLE_TARGET,
    REMOTE,
    REMOTE_STATES,
)
from tests.deployments.lab.svc import test_remote as remote
from tests.deployments.lab.svc.test_flashcopy import MOVES
from tests.deployments.lab.svc.test_flashcopy import bring_to as bring_mapping_to

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "svc-cli.md").read_text()


def section(number: int) -> str:
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found.group()


def table_after(text: str, words: str) -> list[list[str]]:
    """Return the rows of the first table after some words."""
    rows: list[list[str]] = []
    for line in text[text.index(words) :].splitlines()[1:]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def test_client_and_lab_know_the_documents_flashcopy_states() -> None:
    named = re.findall(r"`(\w+)`", section(5).split("States of a mapping:")[1].split(".")[0])
    assert set(named) == {*MAPPING_STATES, "empty"} == {str(state) for state in CopyState}
    assert set(NEXT) == set(WAY_BACK) == set(CopyState)
    for event, moves in FLASHCOPY.items():
        assert set(moves) == set(MAPPING_STATES), event


def test_the_lab_lets_hosts_read_what_the_document_lets_them_read() -> None:
    rows = {row[0]: row[2] for row in table_after(section(5), "States of a mapping:")}
    assert set(rows) == set(MAPPING_STATES)
    closed = re.compile(r"not accessible|as preparing|offline")
    assert {state for state, told in rows.items() if not closed.search(told)} == READABLE_TARGET


def test_client_and_lab_know_the_documents_remote_states() -> None:
    told = section(6).split("States:")[1].split("\n")[0].split("and `*_disconnected`")
    named = re.findall(r"`(\w+)`", told[0]) + re.findall(r"`(\w+_disconnected)`", told[1])
    assert set(named) == set(REMOTE_STATES) == {str(state) for state in RemoteState}
    for table in (ON_START, ON_STOP, ON_STOP_ACCESS, ON_SWITCH):
        assert set(table) == set(RemoteState)
    for event, moves in REMOTE.items():
        assert set(moves) == set(REMOTE_STATES), event


STOPS = table_after(section(6), "stoprcconsistgrp, complete table")


@pytest.mark.parametrize("row", STOPS, ids=lambda row: row[0])
def test_a_stop_is_in_client_and_lab_what_the_documents_table_says(row: list[str]) -> None:
    state, plain, access = row
    for told, event, ours in ((plain, "stop", ON_STOP), (access, "stop -access", ON_STOP_ACCESS)):
        if told == "—":  # the document does not say
            continue
        next_state = told.split(" ")[0].rstrip(",")
        if next_state == "rejected":
            assert REMOTE[event][state] == NOT_NOW
            assert ours[RemoteState(state)] is Move.REFUSE
        else:
            wanted = state if next_state == "unchanged" else next_state
            assert REMOTE[event][state] == wanted
            is_same = wanted == state
            assert ours[RemoteState(state)] is (Move.NOTHING if is_same else Move.GO)


def test_the_documents_stop_table_has_all_states_but_the_ones_it_names_elsewhere() -> None:
    assert {row[0] for row in STOPS} == set(REMOTE_STATES) - {"empty", "consistent_copying"}


MOVING = {
    "prestartfcmap",
    "startfcmap",
    "stopfcmap",
    "rmfcmap",
    "prestartfcconsistgrp",
    "startfcconsistgrp",
    "stopfcconsistgrp",
    "startrcconsistgrp",
    "stoprcconsistgrp",
    "switchrcconsistgrp",
    "startrcrelationship",
    "stoprcrelationship",
    "switchrcrelationship",
}


def test_every_command_of_the_document_is_in_client_and_lab() -> None:
    from blocks.svc.client import SvcClient

    cells = [row[0] for row in table_after(section(3), "## 3.")]
    verbs = {verb for cell in cells for verb in re.findall(r"\b(?:mk|rm|ch|ls|pre|st)\w+", cell)}
    verbs = {verb for verb in verbs if len(verb) > 5} - {"startrcrelationship"} | {"lshost"}
    beyond = {"mkippartnership"}  # refused by name
    assert verbs - set(COMMANDS) <= beyond
    # What the product needs has a method of its own; partnerships are made by a person.
    by_hand = {"mkfcpartnership", "chpartnership", "lspartnershipcandidate", "lssystemip"}
    assert {verb for verb in verbs if not hasattr(SvcClient, verb)} == by_hand | beyond
    assert set(COMMANDS) >= MOVING
    assert all(hasattr(SvcClient, verb) for verb in MOVING)


# Stand-alone mappings and relationships take the same moves as groups do.

ALONE = {
    "prestart": "prestartfcmap",
    "start": "startfcmap",
    "start -prep": "startfcmap -prep",
    "stop": "stopfcmap",
    "rm": "rmfcmap",
    "rm -force": "rmfcmap -force",
}


REMOVABLE = {"rm": {"idle_or_copied"}, "rm -force": {"idle_or_copied", "stopped"}}
"""By the document's sentence on `rm`, checked below."""


@pytest.mark.parametrize("state", MAPPING_STATES)
@pytest.mark.parametrize("event", ALONE)
def test_a_mapping_alone_moves_as_the_table_says(bench, state: str, event: str) -> None:
    bring_mapping_to(bench, state)
    bench.near.state.mappings[0].group = None
    if event in REMOVABLE:
        verdict = "" if state in REMOVABLE[event] else "CMMVC5903E"
    else:
        verdict = MOVES[state][list(ALONE).index(event)]
    code = bench.code(f"{ALONE[event]} fcmap0")
    assert code == (verdict if verdict.startswith("CMMVC") else "")
    gone = "fcmap0" not in bench.ask("lsfcmap -delim :").split(":")
    assert gone == (event in REMOVABLE and not code)


def test_what_can_be_removed_is_what_the_document_says() -> None:
    assert "| rm: idle_or_copied, or stopped with `-force`; otherwise stop first." in section(5)


@pytest.mark.parametrize("state", MAPPING_STATES)
@pytest.mark.parametrize("words", ["-split ", "-force ", "-force -split "])
def test_a_stop_with_options_obeys_the_document(bench, state: str, words: str) -> None:
    bring_mapping_to(bench, state)
    code = bench.code(f"stopfcconsistgrp {words}sample_consistency_group")
    if words == "-force -split ":
        assert code == "CMMVC5713E"
    elif words == "-split ":  # "only when every progress is 100"
        assert code
    else:
        verdict = MOVES[state][3]
        assert code == (verdict if verdict.startswith("CMMVC") else "")


@pytest.mark.parametrize("state", [state for state in REMOTE_STATES if state != "empty"])
@pytest.mark.parametrize(
    "line", ["startrcrelationship", "stoprcrelationship", "switchrcrelationship -primary aux"]
)
def test_a_member_of_a_remote_group_never_moves_alone(bench, state: str, line: str) -> None:
    remote.bring_to(bench, state)
    assert bench.code(f"{line} rcrel0") == "CMMVC5951E"


CLEAN = {"idling"}  # `start -clean`: "only from idling"


@pytest.mark.parametrize("state", REMOTE_STATES)
def test_a_clean_start_is_for_idling_groups_only(bench, state: str) -> None:
    remote.bring_to(bench, state)
    moving = {"inconsistent_copying", "consistent_synchronized", "consistent_copying"}
    code = bench.code(f"startrcconsistgrp -clean -primary master {remote.GROUP}")
    if state in CLEAN or state in moving:  # where it copies already, a start has no effect
        assert code == ""
    else:
        assert code == NOT_NOW


@pytest.mark.parametrize("state", REMOTE_STATES)
def test_a_remote_group_with_members_is_removed_by_force_only(bench, state: str) -> None:
    remote.bring_to(bench, state)
    code = bench.code(f"rmrcconsistgrp {remote.GROUP}")
    assert bool(code) == (state != "empty")
    if code:
        assert bench.code(f"rmrcconsistgrp -force {remote.GROUP}") == ""
        assert bench.detail("lsrcrelationship rcrel0")["consistency_group_name"] == ""
        assert bench.code("rmrcrelationship -force rcrel0") == ""


def test_what_is_refused_is_an_error_of_the_client(bench) -> None:
    """Every refusal of the tables has a kind the client can tell from others."""
    from blocks.svc.codes import MEANINGS

    refusals = {
        verdict
        for moves in [*FLASHCOPY.values(), *REMOTE.values()]
        for verdict in moves.values()
        if verdict.startswith("CMMVC")
    }
    for code in refusals | {"CMMVC5951E", "CMMVC5963E", "CMMVC5713E"}:
        kind, _ = MEANINGS[code]
        assert issubclass(kind, SvcError)
    assert Side("master") is Side.MASTER


VIEWS = sorted(name for name, known in COMMANDS.items() if known.is_view and name != "catxmlspec")
OBJECTS = ("Node1_1", "fcmap0", "sample_consistency_group", "node1", "1")


@pytest.mark.parametrize("name", VIEWS)
def test_whatever_the_lab_lists_the_client_reads(bench, name: str) -> None:
    """Both views: a list of rows, or attributes; never an answer the client cannot read."""
    for words in [[], *([word] for word in OBJECTS)]:
        answer = bench.near.run([name, "-delim", DELIMITER, "-bytes", *words])
        if answer.status:
            assert answer.stderr.startswith("CMMVC")
            continue
        lines = answer.stdout.splitlines()
        try:
            read = parse_concise(answer.stdout)
        except SvcAnswerError:
            read = [parse_detail(answer.stdout)]
            lines = ["", *[line for line in lines if line][-1:]]
        assert len(read) == max(0, len(lines) - 1)
