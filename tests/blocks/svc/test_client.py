import logging

import pytest

from blocks.errors import (
    LoginRefused,
    SvcAnswerError,
    SvcBusy,
    SvcError,
    SvcObjectMissing,
    SvcStateError,
)
from blocks.runner import Completed
from blocks.svc.codes import MEANINGS


def answers(array, *all_of_them):
    array.next_answers = list(all_of_them)


def test_busy_is_asked_again_three_times(array, client):
    answers(array, Completed(11, "", ""), Completed(11, "", ""), None)
    client.lsfcconsistgrp("FC1")
    assert len(array.lines) == 3
    answers(array, *[Completed(11, "", "")] * 4)
    with pytest.raises(SvcBusy) as caught:
        client.lsfcconsistgrp("FC1")
    assert caught.value.transient
    assert len(array.lines) == 6


def test_a_refused_session_on_stdout_is_a_refused_login(array, client):
    answers(array, Completed(0, "CMMVC7017E Login has failed because ...\n", ""))
    with pytest.raises(LoginRefused, match="CMMVC7017E"):
        client.lsfcmap()


@pytest.mark.parametrize("status", [0, 1])
def test_a_warning_comes_with_success(array, client, caplog, status):
    made = "Virtual Disk, id [7], successfully created\n"
    answers(array, Completed(status, made, "CMMVC6372W The licensed capacity is near.\n"))
    with caplog.at_level(logging.WARNING):
        assert client.mkvdisk(name="v", mdiskgrp="p", size_bytes=1 << 30) == "7"
    assert "CMMVC6372W" in caplog.text


def test_a_warning_instead_of_an_id_looks_the_object_up(array, client):
    answers(
        array,
        Completed(1, "", "CMMVC6372W The licensed capacity is near.\n"),
        Completed(0, "id!name\n9!v\n", ""),
    )
    assert client.mkvdisk(name="v", mdiskgrp="p", size_bytes=1 << 30) == "9"


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_every_known_code_becomes_its_error(array, client, code):
    answers(array, Completed(1, "", f"{code} Der Befehl ist fehlgeschlagen.\n"))
    with pytest.raises(SvcError) as caught:
        client.startfcconsistgrp("FC1")
    assert type(caught.value) is MEANINGS[code][0]
    assert caught.value.code == code
    assert caught.value.command == "startfcconsistgrp FC1"


def test_an_unknown_code_is_still_an_error_of_the_array(array, client):
    answers(array, Completed(1, "", "CMMVC9999E Something new.\n"))
    with pytest.raises(SvcError, match="Something new"):
        client.lsfcmap()


def test_an_error_with_status_0_is_no_success(array, client):
    answers(array, Completed(0, "", "CMMVC5753E The specified object does not exist.\n"))
    with pytest.raises(SvcObjectMissing):
        client.rmfcmap("nope")


def test_a_command_the_array_does_not_have_is_told(array, client):
    with pytest.raises(SvcError, match="command not found"):
        client.lssystem()


def test_a_killed_command_is_not_an_answer(array, client):
    answers(array, Completed(-1, "id!name\n", ""))
    with pytest.raises(SvcAnswerError):
        client.lsfcmap()


def test_the_object_comes_last_and_is_quoted(array, client):
    answers(array, Completed(0, "", ""))
    client.stopfcconsistgrp("my group", force=True)
    assert array.lines == ["stopfcconsistgrp -force 'my group'"]


def test_filters_are_joined_and_quoted(array, client):
    answers(array, Completed(0, "", ""))
    client.lsfcmap(filtervalue={"group_name": "a b", "status": "copying"})
    assert array.lines == ["lsfcmap -filtervalue 'group_name=a b:status=copying' -delim '!'"]


def test_mkfcmap_spells_its_options(array, client):
    answers(array, Completed(0, "FlashCopy Mapping, id [6], successfully created\n", ""))
    made = client.mkfcmap(
        source="a", target="b", consistgrp="g", copyrate=100, incremental=True, options={"x": 1}
    )
    assert made == "6"
    assert array.lines == [
        "mkfcmap -source a -target b -consistgrp g -copyrate 100 -incremental -x 1"
    ]


def test_a_state_error_carries_a_hint(array, client):
    answers(array, Completed(1, "", "CMMVC5907E already copying\n"))
    with pytest.raises(SvcStateError) as caught:
        client.startfcmap("m")
    assert caught.value.hint
