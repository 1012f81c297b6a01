"""FlashCopy as docs/reference/svc-cli.md §5 describes it."""

from __future__ import annotations

import os

import pytest

from deployments.lab.svc.states import MAPPING_STATES

GROUP = "sample_consistency_group"
COPY_S = 4 / 2 + 0.1  # 4 MiB at copy rate 50 (2 MiB/s)


def bring_to(bench, state: str) -> None:
    """Bring the sample group to a state, by commands where there are any."""
    if state == "idle_or_copied":
        return
    if state == "suspended":
        for mapping in bench.near.state.mappings.values():
            mapping.status = "suspended"
        return
    bench.ask(f"prestartfcconsistgrp {GROUP}")
    if state == "preparing":
        return
    bench.clock.sleep(0.2)
    if state != "prepared":
        bench.ask(f"startfcconsistgrp {GROUP}")
    if state in {"stopping", "stopped"}:
        bench.ask(f"stopfcconsistgrp {GROUP}")
    if state == "stopped":
        bench.clock.sleep(0.2)


def state_of(bench) -> str:
    return bench.detail(f"lsfcconsistgrp {GROUP}")["status"]


OTHER, STARTED, STOPPED = "CMMVC5903E", "CMMVC5907E", "CMMVC5912E"
MOVES = {
    # state: prestart, start, start -prep, stop (each: the state at once after it, or the refusal)
    "idle_or_copied": ("preparing", OTHER, "copying", "idle_or_copied"),
    "preparing": (OTHER, OTHER, OTHER, OTHER),
    "prepared": (OTHER, "copying", OTHER, "stopping"),
    "copying": (OTHER, STARTED, STARTED, "stopping"),
    "stopping": (OTHER, OTHER, OTHER, "stopping"),
    "suspended": (OTHER, OTHER, OTHER, "stopping"),
    "stopped": ("preparing", OTHER, "copying", STOPPED),
}
COMMANDS = (
    "prestartfcconsistgrp",
    "startfcconsistgrp",
    "startfcconsistgrp -prep",
    "stopfcconsistgrp",
)


@pytest.mark.parametrize("state", MAPPING_STATES)
@pytest.mark.parametrize("place", range(4))
def test_every_command_in_every_state_does_what_the_table_says(bench, state, place) -> None:
    bring_to(bench, state)
    assert state_of(bench) == state
    wanted = MOVES[state][place]
    refused = bench.code(f"{COMMANDS[place]} {GROUP}")
    assert (refused or state_of(bench)) == wanted
    if refused:
        assert state_of(bench) == state


READABLE = {"idle_or_copied", "copying"}


@pytest.mark.parametrize("state", MAPPING_STATES)
def test_a_host_sees_the_target_only_in_states_that_let_it(bench, state) -> None:
    bring_to(bench, state)
    link = bench.arrays.device_directory("backuphost") / f"wwn-0x{uid(bench, 'Node1_4').lower()}"
    bench.arrays.changed()
    assert link.exists() == (state in READABLE)


@pytest.mark.parametrize("state", MAPPING_STATES)
def test_the_source_is_offline_only_while_suspended(bench, state) -> None:
    bring_to(bench, state)
    assert bench.detail("lsvdisk Node1_1")["status"] == (
        "offline" if state == "suspended" else "online"
    )


def uid(bench, volume: str) -> str:
    return bench.detail(f"lsvdisk {volume}")["vdisk_UID"]


def test_the_target_is_the_source_at_the_start_whatever_is_written_later(bench) -> None:
    before = os.urandom(1 << 20)
    bench.path("Node1_1").write_bytes(before + bytes(3 << 20))
    bring_to(bench, "copying")
    bench.path("Node1_1").write_bytes(os.urandom(4 << 20))
    assert bench.path("Node1_4").read_bytes() == before + bytes(3 << 20)


def test_all_targets_are_of_one_instant(bench) -> None:
    bring_to(bench, "prepared")
    for name in ("Node1_1", "Node1_2"):
        bench.path(name).write_bytes(b"one instant".ljust(4 << 20, b"."))
    bench.ask(f"startfcconsistgrp {GROUP}")
    for name in ("Node1_4", "Node1_5"):
        assert bench.path(name).read_bytes().startswith(b"one instant.")


def test_a_copy_that_is_restarted_forgets_the_last_one(bench) -> None:
    bench.path("Node1_1").write_bytes(b"a" * (4 << 20))
    bring_to(bench, "stopped")
    bench.path("Node1_1").write_bytes(bytes(4 << 20))
    bench.ask(f"startfcconsistgrp -prep {GROUP}")
    assert not bench.path("Node1_4").read_bytes().strip(b"\0")


def test_the_background_copy_takes_its_time_and_then_rests(bench) -> None:
    bring_to(bench, "copying")
    bench.clock.sleep(1)
    assert bench.detail("lsfcmap fcmap0")["progress"] == "50"
    bench.clock.sleep(COPY_S)
    assert bench.detail("lsfcmap fcmap0")["progress"] == "100"
    assert state_of(bench) == "idle_or_copied"


def test_a_copy_at_rate_zero_never_ends(bench) -> None:
    for name in ("fcmap0", "fcmap1"):
        bench.ask(f"chfcmap -copyrate 0 {name}")
    bring_to(bench, "copying")
    bench.clock.sleep(10**7)
    assert state_of(bench) == "copying"


def test_a_failed_flush_stops_the_group(bench) -> None:
    bench.near.faults.flush_fails = 1
    bench.ask(f"prestartfcconsistgrp {GROUP}")
    bench.clock.sleep(1)
    assert state_of(bench) == "stopped"


def test_a_member_cannot_be_moved_alone(bench) -> None:
    for command in ("prestartfcmap", "startfcmap -prep", "stopfcmap"):
        assert bench.code(f"{command} fcmap0") == OTHER


def test_an_incremental_copy_copies_only_what_changed(bench) -> None:
    bench.ask("svctask mkfcmap -source Node1_6 -target Node1_7 -name inc -incremental -copyrate 50")
    bench.path("Node1_6").write_bytes(os.urandom(4 << 20))
    bench.ask("startfcmap -prep inc")
    assert bench.detail("lsfcmap inc")["difference"] == "100"
    bench.clock.sleep(COPY_S)
    assert bench.detail("lsfcmap inc")["difference"] == "0"
    with bench.path("Node1_6").open("r+b") as volume:
        volume.seek(3 * 256 * 1024)
        volume.write(b"changed")
    assert bench.detail("lsfcmap inc")["difference"] == "6"  # one grain of sixteen
    bench.ask("startfcmap -prep inc")
    assert bench.detail("lsfcmap inc")["progress"] == "93"
    assert bench.path("Node1_7").read_bytes() == bench.path("Node1_6").read_bytes()


def test_a_mapping_that_deletes_itself_is_gone_when_copied(bench) -> None:
    bench.ask("mkfcmap -source Node1_6 -target Node1_7 -name once -autodelete")
    bench.ask("startfcmap -prep once")
    bench.clock.sleep(COPY_S)
    assert bench.code("lsfcmap once") == "CMMVC5754E"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("mkfcmap -source Node1_1 -target Node1_1", "CMMVC6303E"),
        ("mkfcmap -source Node1_1 -target Node1_4", "CMMVC6466E"),
        ("mkfcmap -source Node1_1", "CMMVC5707E"),
        ("mkfcmap -source Node1_1 -target nowhere", "CMMVC5754E"),
        ("mkfcmap -source Node1_1 -target 999", "CMMVC5753E"),
        ("mkfcmap -source Node1_1 -target Node1_6 -colour red", "CMMVC5709E"),
        ("mkfcmap -source Node1_1 -target Node1_6 -copyrate 151", "CMMVC5711E"),
        ("mkfcmap -source Node1_1 -target Node1_6 -consistgrp nowhere", "CMMVC5804E"),
        ("mkfcmap -source Node1_1 -target Node1_6 -name 1st", "CMMVC6527E"),
        ("mkfcmap -source Node1_1 -target Node1_6 -name fcmap0", "CMMVC6035E"),
        ("mkfcconsistgrp -name sample_consistency_group", "CMMVC6035E"),
        ("startfcconsistgrp nowhere", "CMMVC5804E"),
        ("startfcconsistgrp", "CMMVC5701E"),
        ("stopfcmap -force -split fcmap0", "CMMVC5903E"),
        ("rmfcconsistgrp sample_consistency_group", "CMMVC5903E"),
        ("rmvdisk Node1_1", "CMMVC5840E"),
    ],
)
def test_a_wrong_request_is_refused_with_its_code(bench, line, code) -> None:
    assert bench.code(line) == code


def test_sizes_must_be_equal(bench) -> None:
    bench.ask("mkvdisk -mdiskgrp Pool0 -size 5 -unit mb -name other")
    assert bench.code("mkfcmap -source Node1_1 -target other") == "CMMVC5924E"


@pytest.mark.parametrize("state", MAPPING_STATES)
@pytest.mark.parametrize("force", [False, True])
def test_a_mapping_is_removed_only_at_rest(bench, state, force) -> None:
    bring_to(bench, state)
    code = bench.code(f"rmfcmap {'-force ' if force else ''}fcmap0")
    assert (code == "") == (state == "idle_or_copied" or (state == "stopped" and force))


def test_what_the_array_knows_survives_a_restart(bench) -> None:
    bring_to(bench, "copying")
    again = type(bench.arrays)(bench.arrays.directory, bench.clock)
    assert again.systems["storage1"].state == bench.near.state
