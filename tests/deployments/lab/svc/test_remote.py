"""Global Mirror as docs/reference/svc-cli.md §6 describes it, with real bytes."""

from __future__ import annotations

import os

import pytest

from deployments.lab.svc.states import REMOTE_STATES

GROUP = "sample_remote_cg"
PAIRS = [("Node1_1", "Node2_1"), ("Node1_2", "Node2_2")]
COPY_S = 2 * 4 / 25 + 0.1  # two volumes of 4 MiB at 25 MiB/s
NOT_NOW, NO_DIRECTION = "CMMVC5982E", "CMMVC5963E"


def configure(bench) -> None:
    """Type what the Redpaper types."""
    bench.ask(f"mkrcconsistgrp -name {GROUP} -cluster storage2")
    for master, aux in PAIRS:
        words = f"-master {master} -aux {aux} -cluster storage2 -consistgrp {GROUP} -global"
        bench.ask(f"mkrcrelationship {words}")


def write(bench, volume: str, offset: int, data: bytes, system: str = "storage1") -> None:
    with bench.path(volume, system).open("r+b") as file:
        file.seek(offset)
        file.write(data)


def near_state(bench) -> str:
    return bench.detail(f"lsrcconsistgrp {GROUP}")["state"]


def far_state(bench) -> str:
    return bench.detail(f"lsrcconsistgrp {GROUP}", bench.far)["state"]


def same(bench) -> bool:
    return all(
        bench.path(master).read_bytes() == bench.path(aux, "storage2").read_bytes()
        for master, aux in PAIRS
    )


def synchronize(bench) -> None:
    configure(bench)
    bench.ask(f"startrcconsistgrp {GROUP}")
    bench.clock.sleep(COPY_S)
    assert near_state(bench) == "consistent_synchronized"


def cycle(bench) -> None:
    configure(bench)
    bench.ask(f"chrcconsistgrp -cyclingmode multi {GROUP}")
    bench.ask(f"chrcconsistgrp -cycleperiodseconds 60 {GROUP}")
    bench.ask(f"startrcconsistgrp {GROUP}")
    bench.clock.sleep(COPY_S)
    assert near_state(bench) == "consistent_copying"


def bring_to(bench, state: str) -> None:
    """Bring the group to a state, as seen from storage2 where the halves differ."""
    if state == "empty":
        bench.ask(f"mkrcconsistgrp -name {GROUP} -cluster storage2")
        return
    if state.startswith("inconsistent"):
        configure(bench)
        if state != "inconsistent_stopped":
            bench.ask(f"startrcconsistgrp {GROUP}")
            bench.clock.sleep(COPY_S / 4)
    elif state == "consistent_copying":
        cycle(bench)
    else:
        synchronize(bench)
    if state == "consistent_stopped":
        bench.ask(f"stoprcconsistgrp {GROUP}")
    if state.startswith("idling"):
        bench.ask(f"stoprcconsistgrp -access {GROUP}")
    if state.endswith("_disconnected"):
        bench.arrays.link(is_up=False)


def test_the_redpapers_configuration_starts_stopped_and_inconsistent(bench) -> None:
    bench.ask(f"mkrcconsistgrp -name {GROUP} -cluster storage2")
    assert near_state(bench) == "empty"
    assert bench.detail(f"lsrcconsistgrp {GROUP}")["copy_type"] == "empty_group"
    bench.ask(f"rmrcconsistgrp {GROUP}")
    configure(bench)
    for system in (bench.near, bench.far):
        group = bench.detail(f"lsrcconsistgrp {GROUP}", system)
        assert group["state"] == "inconsistent_stopped"
        assert (group["primary"], group["copy_type"]) == ("master", "global")
        assert group["cycling_mode"] == "none"
        assert group["relationship_count"] == "2"


def test_a_copy_shows_its_progress_and_ends_with_equal_bytes(bench) -> None:
    write(bench, "Node1_1", 1000, os.urandom(3 * 1024 * 1024))
    write(bench, "Node1_2", 5, b"five")
    configure(bench)
    bench.ask(f"startrcconsistgrp {GROUP}")
    seen = []
    for _ in range(8):
        bench.clock.sleep(0.04)
        relationship = bench.detail("lsrcrelationship rcrel0")
        seen.append(relationship["progress"])
    numbers = [int(text) for text in seen if text]
    assert numbers == sorted(numbers)
    assert any(0 < number < 100 for number in numbers)
    bench.clock.sleep(COPY_S)
    assert near_state(bench) == far_state(bench) == "consistent_synchronized"
    assert bench.detail("lsrcrelationship rcrel0")["progress"] == ""
    assert same(bench)


def test_a_synchronized_group_follows_every_write(bench) -> None:
    synchronize(bench)
    for number in range(5):
        write(bench, "Node1_2", number * 300_000, os.urandom(7000))
        bench.arrays.tick()
        assert same(bench)


def test_an_inconsistent_secondary_is_closed_and_a_consistent_one_is_read_only(bench) -> None:
    configure(bench)
    volume = bench.far.volume("Node2_1")
    assert not bench.far.can_access(volume)
    bench.ask(f"startrcconsistgrp {GROUP}")
    bench.clock.sleep(COPY_S)
    near_state(bench)
    assert bench.far.can_access(volume)
    assert not bench.far.can_write(volume)
    assert bench.near.can_write(bench.near.volume("Node1_1"))
    bench.ask(f"stoprcconsistgrp -access {GROUP}")
    assert bench.far.can_write(volume)


STOPS = {
    # state seen from storage2: (stop, stop -access); the state at once after it, or the refusal
    "empty": (NOT_NOW, NOT_NOW),
    "inconsistent_stopped": ("inconsistent_stopped", NOT_NOW),
    "inconsistent_copying": ("inconsistent_stopped", NOT_NOW),
    "consistent_stopped": ("consistent_stopped", "idling"),
    "consistent_synchronized": ("consistent_stopped", "idling"),
    "consistent_copying": ("consistent_stopped", "idling"),
    "idling": ("idling", "idling"),
    "idling_disconnected": ("idling_disconnected", "idling_disconnected"),
    "inconsistent_disconnected": (NOT_NOW, NOT_NOW),
    "consistent_disconnected": (NOT_NOW, "idling_disconnected"),
}


@pytest.mark.parametrize("state", REMOTE_STATES)
@pytest.mark.parametrize("access", [False, True])
def test_a_stop_in_every_state_does_what_the_table_says(bench, state, access) -> None:
    bring_to(bench, state)
    assert far_state(bench) == state
    expected = STOPS[state][access]
    line = f"stoprcconsistgrp {'-access ' if access else ''}{GROUP}"
    code = bench.code(line, bench.far)
    assert code == (expected if expected.startswith("CMMVC") else "")
    assert far_state(bench) == (state if code else expected)


STARTS = {
    # state: (start, start -primary master, with -force); storage1 was written to meanwhile
    "empty": (NOT_NOW, NOT_NOW, NOT_NOW),
    "inconsistent_stopped": ("inconsistent_copying",) * 3,
    "inconsistent_copying": ("inconsistent_copying",) * 3,
    "consistent_stopped": (NOT_NOW, NOT_NOW, "inconsistent_copying"),
    "consistent_synchronized": ("consistent_synchronized",) * 3,
    "consistent_copying": ("consistent_copying",) * 3,
    "idling": (NO_DIRECTION, NOT_NOW, "inconsistent_copying"),
    "idling_disconnected": (NOT_NOW,) * 3,
    "inconsistent_disconnected": (NOT_NOW,) * 3,
    "consistent_disconnected": (NOT_NOW,) * 3,
}


@pytest.mark.parametrize("state", REMOTE_STATES)
@pytest.mark.parametrize("place", range(3))
def test_a_start_after_writes_does_what_the_table_says(bench, state, place) -> None:
    bring_to(bench, state)
    write(bench, "Node1_1", 4096, os.urandom(512))
    expected = STARTS[state][place]
    words = ("", "-primary master ", "-primary master -force ")[place]
    code = bench.code(f"startrcconsistgrp {words}{GROUP}")
    assert code == (expected if expected.startswith("CMMVC") else "")
    if not code:
        assert near_state(bench) == expected


@pytest.mark.parametrize("state", REMOTE_STATES)
def test_only_a_synchronized_group_switches(bench, state) -> None:
    bring_to(bench, state)
    write(bench, "Node1_1", 0, b"the last write before the switch")
    code = bench.code(f"switchrcconsistgrp -primary aux {GROUP}")
    if state not in {"consistent_synchronized", "consistent_copying"}:
        assert code == NOT_NOW
        return
    assert code == ""
    assert bench.detail(f"lsrcconsistgrp {GROUP}")["primary"] == "aux"
    assert same(bench)
    write(bench, "Node2_2", 77, b"written at the second site", "storage2")
    bench.clock.sleep(61)
    bench.arrays.tick()
    assert same(bench)


def test_stopped_sides_without_writes_meet_without_a_copy(bench) -> None:
    synchronize(bench)
    bench.ask(f"stoprcconsistgrp -access {GROUP}")
    assert bench.detail(f"lsrcconsistgrp {GROUP}")["sync"] == "in_sync"
    assert bench.detail(f"lsrcconsistgrp {GROUP}")["primary"] == ""
    bench.ask(f"startrcconsistgrp -primary aux {GROUP}")
    assert near_state(bench) == "consistent_synchronized"


def test_a_cut_link_freezes_the_secondary_at_that_minute(bench) -> None:
    synchronize(bench)
    write(bench, "Node1_1", 0, b"before")
    bench.arrays.tick()
    bench.arrays.link(is_up=False)
    write(bench, "Node1_1", 0, b"after!")
    bench.clock.sleep(120)
    assert (near_state(bench), far_state(bench)) == (
        "idling_disconnected",
        "consistent_disconnected",
    )
    far = bench.detail(f"lsrcconsistgrp {GROUP}", bench.far)
    assert far["freeze_time"] == "25/06/15/15/06"
    assert bench.path("Node2_1", "storage2").read_bytes()[:6] == b"before"
    assert bench.ask("lspartnership -delim :").splitlines()[2].split(":")[3] == "not_present"


@pytest.mark.parametrize("is_written", [False, True])
def test_a_joined_link_synchronizes_only_what_was_not_written(bench, is_written) -> None:
    synchronize(bench)
    bench.arrays.link(is_up=False)
    bench.clock.sleep(10)
    if is_written:
        write(bench, "Node1_1", 0, b"meanwhile")
    bench.arrays.link(is_up=True)
    expected = "consistent_stopped" if is_written else "consistent_synchronized"
    assert near_state(bench) == far_state(bench) == expected
    if is_written:
        assert bench.detail(f"lsrcconsistgrp {GROUP}")["sync"] == "out_of_sync"
        bench.ask(f"startrcconsistgrp -force {GROUP}")
        bench.clock.sleep(COPY_S)
        assert near_state(bench) == "consistent_synchronized"
    assert same(bench)


def test_an_array_without_power_copies_nothing_and_comes_back_idling(bench) -> None:
    synchronize(bench)
    write(bench, "Node1_1", 0, b"copied")
    bench.arrays.tick()
    bench.arrays.power("storage1", is_on=False)
    write(bench, "Node1_1", 0, b"lost!!")
    bench.arrays.tick()
    assert not bench.near.can_access(bench.near.volume("Node1_1"))
    assert far_state(bench) == "consistent_disconnected"
    bench.ask(f"stoprcconsistgrp -access {GROUP}", bench.far)
    assert bench.path("Node2_1", "storage2").read_bytes()[:6] == b"copied"
    write(bench, "Node2_2", 0, b"written away", "storage2")
    bench.arrays.power("storage1", is_on=True)
    assert near_state(bench) == far_state(bench) == "idling"
    assert bench.code(f"startrcconsistgrp -primary aux {GROUP}") == NOT_NOW
    bench.ask(f"startrcconsistgrp -primary aux -force {GROUP}", bench.far)
    bench.clock.sleep(COPY_S)
    assert near_state(bench) == "consistent_synchronized"
    assert same(bench)
    assert bench.path("Node1_1").read_bytes()[:6] == b"copied"


def test_a_member_must_match_its_group(bench) -> None:
    configure(bench)
    words = "-master Node1_4 -aux Node2_1 -cluster storage2"
    assert bench.code(f"mkrcrelationship {words}") == "CMMVC5959E"
    assert bench.code("startrcrelationship rcrel0") == "CMMVC5951E"
    bench.ask("chrcrelationship -noconsistgrp rcrel1")
    assert bench.detail("lsrcrelationship rcrel1")["consistency_group_name"] == ""
    bench.ask("startrcrelationship rcrel1")
    assert bench.code(f"chrcrelationship -consistgrp {GROUP} rcrel1") == NOT_NOW
    assert bench.code("rmvdisk -force Node1_2") == "CMMVC5840E"
    assert bench.code(f"rmrcconsistgrp {GROUP}") == "CMMVC5767E"
    bench.ask(f"rmrcconsistgrp -force {GROUP}")
    assert bench.detail("lsrcrelationship rcrel0")["state"] == "inconsistent_stopped"
    bench.ask("rmrcrelationship rcrel0")
    assert bench.ask("lsrcrelationship -delim : -nohdr", bench.far).count("\n") == 1


def test_a_stopped_partnership_disconnects(bench) -> None:
    synchronize(bench)
    bench.ask("chpartnership -stop storage2")
    assert far_state(bench) == "consistent_disconnected"
    assert "fully_configured_stopped" in bench.ask("lspartnership -delim :")
    assert "remote_stopped" in bench.ask("lspartnership -delim :", bench.far)
    bench.ask("chpartnership -start storage2")
    assert far_state(bench) == "consistent_synchronized"


def test_remote_copy_survives_a_restart_of_the_lab(bench, tmp_path) -> None:
    from deployments.lab.arrays import Arrays

    synchronize(bench)
    again = Arrays(tmp_path, bench.clock)
    assert again.systems["storage2"].state == bench.far.state
    assert again.systems["storage1"].run(["lspartnership"]).status == 0


def test_cycles_bring_the_secondary_forward_now_and_then(bench) -> None:
    cycle(bench)
    first = bench.detail(f"lsrcconsistgrp {GROUP}")["freeze_time"]
    write(bench, "Node1_1", 0, b"cycle")
    bench.clock.sleep(30)
    bench.arrays.tick()
    assert not same(bench)
    bench.clock.sleep(60)
    bench.arrays.tick()
    assert same(bench)
    assert bench.detail(f"lsrcconsistgrp {GROUP}")["freeze_time"] > first


def test_a_cut_cycle_leaves_the_last_whole_one_and_goes_on_by_itself(bench) -> None:
    cycle(bench)
    bench.arrays.link(is_up=False)
    write(bench, "Node1_1", 0, b"apart")
    bench.clock.sleep(200)
    far = bench.detail(f"lsrcconsistgrp {GROUP}", bench.far)
    assert (far["state"], far["cycling_mode"]) == ("consistent_disconnected", "multi")
    assert far["freeze_time"]
    bench.arrays.link(is_up=True)
    bench.arrays.tick()
    assert near_state(bench) == far_state(bench) == "consistent_copying"
    assert same(bench)


def test_cycling_is_changed_only_while_it_stands_still_and_only_of_global_mirrors(bench) -> None:
    synchronize(bench)
    assert bench.code(f"chrcconsistgrp -cyclingmode multi {GROUP}") == NOT_NOW
    bench.ask(f"stoprcconsistgrp {GROUP}")
    bench.ask(f"chrcconsistgrp -cyclingmode multi {GROUP}")
    bench.ask(f"chrcconsistgrp -metro {GROUP}")
    group = bench.detail(f"lsrcconsistgrp {GROUP}", bench.far)
    assert (group["copy_type"], group["cycling_mode"]) == ("metro", "none")
    assert bench.code(f"chrcconsistgrp -cyclingmode multi {GROUP}") == NOT_NOW


def test_change_volumes_are_shown(bench) -> None:
    configure(bench)
    bench.ask("chrcrelationship -masterchange Node1_6 rcrel0")
    shown = bench.detail("lsrcrelationship rcrel0", bench.far)
    assert shown["master_change_vdisk_name"] == "Node1_6"
    bench.ask("chrcrelationship -nomasterchange rcrel0")
    assert bench.detail("lsrcrelationship rcrel0")["master_change_vdisk_name"] == ""


def test_a_mirrored_volume_keeps_its_mirror_under_another_name(bench) -> None:
    synchronize(bench)
    bench.ask("chvdisk -name renamed Node1_1")
    with bench.path("renamed").open("r+b") as file:
        file.write(b"still mirrored")
    bench.arrays.tick()
    assert bench.path("Node2_1", "storage2").read_bytes().startswith(b"still mirrored")
    assert bench.detail("lsrcrelationship rcrel0", bench.far)["master_vdisk_name"] == "renamed"


def test_a_half_without_its_link_is_no_use_to_hosts_until_it_is_opened(bench) -> None:
    synchronize(bench)
    bench.arrays.link(is_up=False)
    volume = bench.far.volume("Node2_1")
    assert not bench.far.can_access(volume)
    bench.ask(f"stoprcconsistgrp -access {GROUP}", bench.far)
    assert bench.far.can_write(volume)


def test_an_offline_volume_is_named_by_its_role(bench) -> None:
    synchronize(bench)
    bench.far.volume("Node2_1").is_offline = True
    assert bench.detail("lsrcrelationship rcrel0")["status"] == "secondary_offline"
