"""What the array prints, line by line, and the lines other people's clients send it."""

from __future__ import annotations

import io
import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.lab.daemon import array_shell
from deployments.lab.shell import Io
from deployments.lab.svc.system import COMMANDS

UID = "60050764008101D3F8000000000005F0"

HEADERS = {
    # docs/reference/svc-cli.md §4, word by word
    "lsfcconsistgrp": "id name status start_time",
    "lsfcmap": "id name source_vdisk_id source_vdisk_name target_vdisk_id target_vdisk_name"
    " group_id group_name status progress copy_rate clean_progress incremental partner_FC_id"
    " partner_FC_name restoring start_time rc_controlled",
    "lsrcconsistgrp": "id name master_cluster_id master_cluster_name aux_cluster_id"
    " aux_cluster_name primary state relationship_count copy_type cycling_mode freeze_time",
    "lsrcrelationship": "id name master_cluster_id master_cluster_name master_vdisk_id"
    " master_vdisk_name aux_cluster_id aux_cluster_name aux_vdisk_id aux_vdisk_name primary"
    " consistency_group_id consistency_group_name state bg_copy_priority progress copy_type"
    " cycling_mode freeze_time",
    "lshostvdiskmap": "id name SCSI_id vdisk_id vdisk_name vdisk_UID IO_group_id IO_group_name"
    " mapping_type host_cluster_id host_cluster_name protocol",
    "lsvdiskhostmap Node1_1": "id name SCSI_id host_id host_name vdisk_UID IO_group_id"
    " IO_group_name mapping_type host_cluster_id host_cluster_name protocol",
    "lsvdisk": "id name IO_group_id IO_group_name status mdisk_grp_id mdisk_grp_name capacity type"
    " FC_id FC_name RC_id RC_name vdisk_UID fc_map_count copy_count fast_write_state se_copy_count"
    " RC_change",
    "lssystemip": "cluster_id cluster_name location port_id IP_address subnet_mask gateway"
    " IP_address_6 prefix_6 gateway_6",
    "lspartnership": "id name location partnership type cluster_ip event_log_sequence",
    "lspartnershipcandidate": "id configured name",
    "lshost": "id name port_count iogrp_count status",
    "lsfcmapprogress fcmap0": "id progress",
}

DETAILS = {
    "lsfcconsistgrp sample_consistency_group": "id name status autodelete start_time owner_id"
    " owner_name FC_mapping_id FC_mapping_name FC_mapping_id FC_mapping_name",
    "lsfcmap fcmap0": "id name source_vdisk_id source_vdisk_name target_vdisk_id target_vdisk_name"
    " group_id group_name status progress copy_rate start_time dependent_mappings autodelete"
    " clean_progress clean_rate incremental difference grain_size IO_group_id IO_group_name"
    " partner_FC_id partner_FC_name restoring rc_controlled keep_target type restore_progress"
    " fc_controlled owner_id owner_name",
}


@pytest.mark.parametrize("line", HEADERS)
def test_a_concise_view_has_the_documents_columns_and_may_append(bench, line) -> None:
    header = bench.ask(f"{line} -delim :").splitlines()[0].split(":")
    wanted = HEADERS[line].split(" ")
    assert header[: len(wanted)] == wanted


@pytest.mark.parametrize("line", DETAILS)
def test_a_detailed_view_has_the_documents_attributes(bench, line) -> None:
    lines = bench.ask(f"{line} -delim :").splitlines()
    assert [each.split(":")[0] for each in lines] == DETAILS[line].split(" ")


def test_the_remote_views_have_the_documents_attributes(bench) -> None:
    bench.ask("mkrcconsistgrp -name rg -cluster storage2")
    pair = "-master Node1_1 -aux Node2_1 -cluster storage2"
    bench.ask(f"mkrcrelationship {pair} -consistgrp rg -global -name one")
    for line, wanted in {
        "lsrcconsistgrp rg": "id name master_cluster_id master_cluster_name aux_cluster_id"
        " aux_cluster_name primary state relationship_count freeze_time status sync copy_type"
        " cycling_mode cycle_period_seconds RC_rel_id RC_rel_name",
        "lsrcrelationship one": "id name master_cluster_id master_cluster_name master_vdisk_id"
        " master_vdisk_name aux_cluster_id aux_cluster_name aux_vdisk_id aux_vdisk_name primary"
        " consistency_group_id consistency_group_name state bg_copy_priority progress freeze_time"
        " status sync copy_type cycling_mode cycle_period_seconds master_change_vdisk_id"
        " master_change_vdisk_name aux_change_vdisk_id aux_change_vdisk_name",
    }.items():
        lines = bench.ask(f"{line} -delim :").splitlines()
        assert [each.split(":")[0] for each in lines] == wanted.split(" ")


def test_a_group_and_its_mappings_print_like_this(bench) -> None:
    assert bench.ask("lsfcconsistgrp -delim : sample_consistency_group") == (
        "id:1\nname:sample_consistency_group\nstatus:idle_or_copied\nautodelete:off\nstart_time:\n"
        "owner_id:\nowner_name:\nFC_mapping_id:0\nFC_mapping_name:fcmap0\n"
        "FC_mapping_id:1\nFC_mapping_name:fcmap1\n"
    )
    assert bench.ask("lsfcmap -nohdr -delim ,").splitlines()[0] == (
        "0,fcmap0,0,Node1_1,2,Node1_4,1,sample_consistency_group,idle_or_copied,0,50,100,off,,,no,,"
        "no"
    )


def test_without_a_delimiter_empty_cells_vanish_for_whoever_splits_at_blanks(bench) -> None:
    header, first, *_ = bench.ask("lsfcmap").splitlines()
    assert len(first.split()) < len(header.split())
    assert first[header.index("status") :].startswith("idle_or_copied")


def test_a_detail_without_header_prints_values_only(bench) -> None:
    assert bench.ask("lsfcmap -nohdr -delim : fcmap0").splitlines()[:2] == ["0", "fcmap0"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [("", "4.00MB"), (" -bytes", "4194304")],
)
def test_capacities_are_exact_only_in_bytes(bench, words, shown) -> None:
    assert f"capacity:{shown}\n" in bench.ask(f"lsvdisk -delim :{words} Node1_1")


@pytest.mark.parametrize(
    ("filtered", "names"),
    [
        ("name=Node1_1", ["Node1_1"]),
        (f"vdisk_UID={UID}", ["Node1_1"]),
        ("name=Node1_*:FC_name=fcmap0", ["Node1_1", "Node1_4"]),
        ("name=nothing", []),
    ],
)
def test_filters_are_anded_and_know_the_asterisk(bench, filtered, names) -> None:
    lines = bench.ask(f"lsvdisk -delim : -filtervalue {filtered}").splitlines()
    assert lines[0].startswith("id:name:")
    assert [line.split(":")[1] for line in lines[1:]] == names


def test_a_filter_is_for_lists_and_for_columns_there_are(bench) -> None:
    assert bench.code("lsvdisk -filtervalue name=Node1_1 Node1_1") == "CMMVC5713E"
    assert bench.code("lsvdisk -filtervalue colour=red") == "CMMVC5741E"
    assert "vdisk_UID" in bench.ask("lsvdisk -filtervalue?")


@pytest.mark.parametrize("word", ["0", "Node1_1", UID, UID.lower()])
def test_a_volume_is_found_by_id_name_and_uid(bench, word) -> None:
    assert bench.detail(f"lsvdisk {word}")["name"] == "Node1_1"


def test_a_volume_mapped_to_nobody_prints_nothing(bench) -> None:
    bench.ask("mkvdisk -mdiskgrp Pool0 -size 1 -name lonely")
    assert bench.ask("lsvdiskhostmap -delim : lonely") == ""


# The restricted shell ---------------------------------------------------------------------------


def shell(bench, line: str) -> tuple[int, str, str]:
    out, err = io.BytesIO(), io.BytesIO()
    status = array_shell(bench.near)(line, Io(io.BytesIO(), out, err))
    return status, out.getvalue().decode(), err.getvalue().decode()


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        # Cinder's storwize driver
        ('svcinfo lsvdisk -bytes -delim ! "Node1_1"', 0, "vdisk_UID!" + UID),
        ("svcinfo lsvdisk -bytes -delim ! -filtervalue name=Node1_1", 0, f"!{UID}!"),
        ("svcinfo lsguicapabilities -delim !", 0, "flashcopy!yes"),
        ("svcinfo lsnode -delim ! 1", 0, "port_status!active"),
        ("svcinfo lsfabric -delim ! -host node1", 0, "!active!node1!"),
        (
            'svctask mkvdisk -name "a b" -mdiskgrp "Pool0" -iogrp 0 -size 1 -unit mb -rsize 2%'
            " -autoexpand -warning 0% -grainsize 256 -easytier on",
            0,
            "Virtual Disk, id [6], successfully created\n",
        ),
        ('svctask mkfcmap -source "Node1_1" -target "Node1_6" -copyrate 0', 0, "id [2], success"),
        # IBM's own library, which wants the status on stdout
        ("svcinfo lssystem -delim , || echo #@#$? ", 0, "code_level,8.7"),
        ("svcinfo lsvdisk -delim , none || echo pysvc-4711 $?", 0, "pysvc-4711 1\n"),
        # the Easy list: a quoted bar
        ("lsfcmap -delim '|' -nohdr", 0, "0|fcmap0|0|Node1_1|"),
        # monitoring scripts
        ("lsvdisk -delim=, -nohdr | grep -v offline | cut -d, -f2 | head -1", 0, "Node1_1\n"),
        ("lshostvdiskmap | grep -w node1 | wc -l", 0, "6\n"),
        ("LANG=C SVC_CLI_LOCALE=C lssystem -delim : | grep -i ^NAME", 0, "name:storage1\n"),
    ],
)
def test_lines_of_other_peoples_clients_are_answered(bench, line, status, said) -> None:
    told, out, err = shell(bench, line)
    assert (told, err) == (status, "" if "none" not in line else err)
    assert said in out


@pytest.mark.parametrize(
    ("line", "status", "complaint"),
    [
        ("lsfcmap -delim |", 2, "rbash: -c: line 0: syntax error: unexpected end of file\n"),
        ("ls -l", 127, "rbash: ls: command not found\n"),
        ("lsvdisk > /tmp/file", 1, "rbash: /tmp/file: restricted: cannot redirect output\n"),
        ("lsvdisk 'Node1_1", 2, "rbash: -c: line 0: unexpected EOF while looking for matching"),
    ],
)
def test_the_shell_is_a_restricted_one(bench, line, status, complaint) -> None:
    told, out, err = shell(bench, line)
    assert (told, out) == (status, "")
    assert err.startswith(complaint)


LIKELY = """
Node1_1 Node2_1 fcmap0 0 1 999 sample_consistency_group node1 storage2 Pool0 on off master mb 10 -1
150 -name -delim -source -target -force -prep -restore -consistgrp -copyrate -host -scsi -size -unit
-mdiskgrp -master -aux -cluster -primary -access -filtervalue -bytes -nohdr -x -- - name=*
-filtervalue? -global -start -stop
"""
WORDS = st.one_of(st.sampled_from(LIKELY.split()), st.text(min_size=1, max_size=8))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(sorted(COMMANDS)), words=st.lists(WORDS, max_size=7))
def test_whatever_is_asked_the_answer_is_text_or_a_code(bench, name, words) -> None:
    output = bench.near.run([name, *words])
    if output.status:
        assert output.stderr.startswith("CMMVC")
        assert output.stdout == ""
    else:
        assert output.stderr == ""


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(line=st.text(alphabet="lsvdik -|&;<>2'\"\\$?{}#\n=:!", max_size=30))
def test_whatever_is_typed_the_shell_answers(bench, line) -> None:
    status, _, _ = shell(bench, line)
    assert 0 <= status <= 255


@given(words=st.lists(st.text(alphabet=st.characters(codec="ascii"), min_size=1), min_size=1))
def test_quoted_words_arrive_as_they_were(words) -> None:
    from deployments.lab.shell import run_line

    seen: list[list[str]] = []

    def note(arguments: list[str], streams: Io) -> int:
        seen.append(arguments)
        return 0

    line = shlex.join(["note", *words]).replace("\0", "")
    run_line(line, lambda name: note, Io(io.BytesIO(), io.BytesIO(), io.BytesIO()))
    assert seen == [["note", *[word.replace("\0", "") for word in words]]]
