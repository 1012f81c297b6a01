import contextlib
import string
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import SvcAnswerError
from blocks.svc.model import (
    ArrayHost,
    ConsistencyGroup,
    CopyState,
    Event,
    HostMap,
    Mapping,
    Partnership,
    Relationship,
    RemoteConsistencyGroup,
    System,
    Volume,
)
from blocks.svc.parse import (
    Record,
    parse_clock,
    parse_codes,
    parse_concise,
    parse_created,
    parse_detail,
    parse_time,
)

names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.\-]{0,30}\Z")
values = st.text(st.sampled_from(string.ascii_letters + string.digits + " .:_-/%"), max_size=20)


@given(st.lists(names, min_size=2, max_size=6, unique=True), st.data())
def test_a_concise_view_printed_parses_back(header, data):
    header = [name.lstrip("_") or "x" for name in header]
    cells = st.lists(values.filter(str.strip), min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(cells, max_size=5))
    text = "".join("!".join(fields) + "\n" for fields in [header, *rows])
    if not all(name[0].isalpha() for name in header):
        return
    parsed = parse_concise(text)
    assert [[value for _, value in record.pairs] for record in parsed] == rows


@given(st.lists(st.tuples(names.filter(lambda n: n[0] != "_"), values), min_size=1, max_size=8))
def test_a_detailed_view_printed_parses_back(pairs):
    text = "".join(f"{name}!{value}\n" for name, value in pairs)
    assert list(parse_detail(text).pairs) == pairs


readers = [
    System.from_record,
    Volume.from_record,
    Mapping.from_record,
    ConsistencyGroup.from_record,
    Relationship.from_record,
    RemoteConsistencyGroup.from_record,
    HostMap.from_host_view,
    HostMap.from_volume_view,
    Partnership.from_record,
    ArrayHost.from_record,
    Event.from_record,
]


@given(st.text(max_size=200), st.sampled_from(readers))
def test_junk_gives_a_named_error_and_never_a_traceback(text, read):
    for parse in (parse_concise, lambda told: [parse_detail(told)]):
        try:
            for record in parse(text):
                read(record)
        except SvcAnswerError:
            pass


keys = st.sampled_from(
    """id name status capacity vdisk_UID state primary progress start_time copy_rate SCSI_id
    FC_mapping_id FC_mapping_name RC_rel_id vdisk_id host_id source_vdisk_id master_cluster_id
    freeze_time incremental difference""".split()  # noqa: SIM905
)
junk_values = st.one_of(
    st.sampled_from(["", "0", "100", "idle_or_copied", "copying", "12.5GB", "n/a", "on", "²", "٣"]),
    st.text(max_size=10),
)


@given(st.lists(st.tuples(keys, junk_values), max_size=25), st.sampled_from(readers))
def test_a_plausible_record_reads_or_is_refused_by_name(pairs, read):
    with contextlib.suppress(SvcAnswerError):
        read(Record(tuple(pairs)))


def test_appended_columns_do_no_harm():
    text = "id!name!status!start_time!owner_id!new_thing\n0!g!copying!200506035630!!x\n"
    group = ConsistencyGroup.from_record(parse_concise(text)[0])
    assert group.status is CopyState.COPYING
    assert group.start_time == datetime.fromisoformat("2020-05-06T03:56:30")


def test_an_unknown_state_is_refused_by_name():
    text = "id!name!status!start_time\n0!g!levitating!\n"
    with pytest.raises(SvcAnswerError, match="levitating"):
        ConsistencyGroup.from_record(parse_concise(text)[0])


def test_repeated_keys_are_the_members():
    text = (
        "id!1\nname!FC1\nstatus!idle_or_copied\nautodelete!off\nstart_time!\n"
        "FC_mapping_id!0\nFC_mapping_name!fcmap0\nFC_mapping_id!3\nFC_mapping_name!my map\n"
    )
    group = ConsistencyGroup.from_record(parse_detail(text))
    assert group.mappings == (("0", "fcmap0"), ("3", "my map"))


def test_a_cut_member_list_is_refused():
    text = "id!1\nname!FC1\nstatus!copying\nFC_mapping_id!0\n"
    with pytest.raises(SvcAnswerError, match="FC_mapping"):
        ConsistencyGroup.from_record(parse_detail(text))


def test_the_volume_comes_before_its_copies():
    text = (
        "id!5\nname!v\nstatus!online\ncapacity!1073741824\nvdisk_UID!60050764008101d3\n"
        "mdisk_grp_name!many\n\ncopy_id!0\nstatus!offline\nmdisk_grp_name!p0\n\ncopy_id!1\n"
        "status!online\n"
    )
    record = parse_detail(text)
    assert Volume.from_record(record).status == "online"
    assert [part.text("status") for part in record.sections("copy_id")] == ["offline", "online"]


@pytest.mark.parametrize(
    ("told", "size"), [("4294967296", 4 << 30), ("10.00GB", 10 << 30), ("0.00MB", 0)]
)
def test_capacities_are_binary(told, size):
    assert Record((("capacity", told),)).size_bytes("capacity") == size


def test_a_row_that_does_not_fit_its_header_is_refused():
    with pytest.raises(SvcAnswerError, match="3 fields"):
        parse_concise("id!name\n0!a!b\n")


def test_no_output_means_no_objects():
    assert parse_concise("") == []
    assert parse_concise("id!name\n") == []


def test_the_created_id_is_found():
    assert parse_created("FlashCopy Mapping, id [6], successfully created\n") == "6"
    with pytest.raises(SvcAnswerError):
        parse_created("")


def test_codes_are_found_once_and_in_order():
    text = "CMMVC6372W licence\nCMMVC5903E state CMMVC5903E"
    assert parse_codes(text) == ["CMMVC6372W", "CMMVC5903E"]


@pytest.mark.parametrize(
    ("told", "when"),
    [
        ("200506035630", datetime.fromisoformat("2020-05-06T03:56:30")),
        ("20/05/06/03/56", datetime.fromisoformat("2020-05-06T03:56:00")),
        ("2020/05/06/03/56/30", datetime.fromisoformat("2020-05-06T03:56:30")),
        ("", None),
    ],
)
def test_the_arrays_times(told, when):
    assert parse_time(told) == when


@given(st.text(max_size=20))
def test_what_is_no_time_is_refused_by_name(text):
    with contextlib.suppress(SvcAnswerError):
        parse_time(text)


@given(st.text(max_size=60))
def test_what_tells_of_nothing_created_is_refused_by_name(text):
    with contextlib.suppress(SvcAnswerError):
        assert parse_created(text).isdecimal()


@given(st.integers(0, 10**9), st.sampled_from(["Virtual Disk", "FlashCopy Mapping", "Vdisk [3]"]))
def test_the_id_printed_is_the_id_read(number, kind):
    told = f"{kind}, id [{number}], successfully created\n"
    assert parse_created(told) == str(number)


@given(st.lists(st.sampled_from(["CMMVC5753E", "CMMVC6372W", "CMMVC7017E", "CMMVC61551I"])))
def test_the_codes_printed_are_the_codes_read(codes):
    text = " ".join(f"x {code} why, " for code in codes)
    assert parse_codes(text) == list(dict.fromkeys(codes))


@given(st.text(max_size=15))
def test_what_is_no_capacity_is_refused_by_name(text):
    with contextlib.suppress(SvcAnswerError):
        assert Record((("capacity", text),)).size_bytes("capacity") >= 0


@given(st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)))  # noqa: DTZ001 (the array's zone)
def test_a_time_printed_is_the_time_read(moment):
    whole = moment.replace(microsecond=0)
    assert parse_time(whole.strftime("%y%m%d%H%M%S")) == whole
    assert parse_time(whole.strftime("%y/%m/%d/%H/%M")) == whole.replace(second=0)
    assert parse_clock(whole.strftime("%a %b %d %H:%M:%S CET %Y")) == whole
