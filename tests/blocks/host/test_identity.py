from hypothesis import given
from hypothesis import strategies as st

from blocks.host.identity import PhysicalVolume, parse_lspv, uid_from_udid, uid_from_wwid

UID = "60050764008101D3F8000000000005F6"
SVC = "3321360050764008101D3F8000000000005F604214503IBMfcp"
DS3500 = "3E21360170E50202E5A5A0000025E50A12AB20F1746      FAStT03IBMfcp"
SAS = "2A1135000C5004CE6C7FF0BST914685" + "2SS03IBMsas"
NESTED = f"533E{DS3500}05VDASD03AIXvscsi"

hex32 = st.text("0123456789abcdefABCDEF", min_size=31, max_size=31).map(lambda t: "6" + t)
products = st.text("ABCDEFGHIJ0123456789 ", min_size=1, max_size=20)


def udid(naa, product="2145", vendor="IBM", transport="fcp"):
    body = f"{len(naa) + 1:02X}3{naa}{len(product):02X}{product}{len(vendor):02X}{vendor}"
    return f"{len(body) + len(transport) + 2:02X}{body}{transport}"


def behind_vios(inner):
    body = f"{len(inner):02X}{inner}05VDASD03AIXvscsi"
    return f"{len(body) + 2:02X}{body}"


def test_the_documents_samples_decode():
    assert uid_from_udid(SVC) == UID
    assert uid_from_udid(SVC.removesuffix("IBMfcp")) == UID
    assert uid_from_udid(DS3500) == "60170E50202E5A5A0000025E50A12AB2"
    assert uid_from_udid(SAS) == ""
    assert uid_from_udid(NESTED) == "60170E50202E5A5A0000025E50A12AB2"


@given(hex32, products, st.integers(0, 2))
def test_a_udid_printed_parses_back_however_deep_it_is_nested(naa, product, depth):
    text = udid(naa, product)
    for _ in range(depth):
        text = behind_vios(text)
    assert uid_from_udid(text) == naa.upper()


@given(hex32, products)
def test_a_udid_cut_inside_its_id_is_no_volume(naa, product):
    # Unless the SVC's own number can still be recognised, which needs all of it.
    text = udid(naa, product)[: 4 + 1 + 31]
    assert uid_from_udid(text) == ""


@given(st.text(max_size=120))
def test_junk_is_no_volume_and_no_traceback(text):
    for read in (uid_from_udid, uid_from_wwid):
        found = read(text)
        assert found == "" or (len(found) == 32 and found == found.upper())


@given(
    hex32,
    st.sampled_from(
        ["wwn-0x{}", "scsi-3{}", "dm-uuid-mpath-3{}", "mpath-3{}", "3{}", "0x{}", "naa.{}", "{}"]
    ),
)
def test_every_linux_name_of_a_lun_tells_its_uid(naa, spelling):
    assert uid_from_wwid(spelling.format(naa.lower())) == naa.upper()
    assert uid_from_wwid("/dev/disk/by-id/" + spelling.format(naa)) == naa.upper()


def test_a_partition_is_not_the_volume():
    assert uid_from_wwid(f"wwn-0x{UID.lower()}-part1") == ""


LSPV = f"""\
hdisk0          00f6f5d0a1b2c3d4                    rootvg          active      {SAS}       1f6ab0dd-1d3c-4bd5-4c05-0b35e5d1ed31
hdisk1          00f6f5d0aabbccdd                    VG1             concurrent  {SVC}    a2b4b0dd-1d3c-4bd5-4c05-0b35e5d1ed31
hdisk2          00f6f5d0aabbccde                    VG2                         {DS3500}4be4b0dd-1d3c-4bd5-4c05-0b35e5d1ed31
hdisk3          none                                None                        {SVC}
hdisk4          none                                None
"""  # noqa: E501


def test_lspv_is_read_with_empty_glued_and_missing_fields():
    rows = parse_lspv(LSPV)
    assert [row.name for row in rows] == [f"hdisk{number}" for number in range(5)]
    assert [row.is_varied_on for row in rows] == [True, True, False, False, False]
    assert [uid_from_udid(row.udid) for row in rows] == [
        "",
        UID,
        "60170E50202E5A5A0000025E50A12AB2",
        UID,
        "",
    ]
    assert rows[2].uuid == "4be4b0dd-1d3c-4bd5-4c05-0b35e5d1ed31"
    assert rows[3] == PhysicalVolume("hdisk3", "", "", "", SVC, "")
    assert rows[0].pvid == "00f6f5d0a1b2c3d4"
    assert rows[2].volume_group == "VG2"


def test_a_header_or_a_warning_is_no_disk():
    assert parse_lspv("NAME PVID VG STATUS UDID\nksh: something: not found\n\n") == []


uuids = st.uuids().map(str)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 999).map("hdisk{}".format),
            st.one_of(st.just("none"), st.text("0123456789abcdef", min_size=16, max_size=16)),
            st.one_of(st.just("None"), st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,14}\Z")),
            st.sampled_from(["", "active", "concurrent"]),
            hex32,
            st.one_of(st.just(""), uuids),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_lspv_printed_parses_back(disks):
    lines = []
    for name, pvid, group, state, naa, uuid, is_glued in disks:
        gap = "" if is_glued else "      "
        lines.append(f"{name:16}{pvid:36}{group:16}{state:12}{udid(naa)}{gap}{uuid}")
    rows = parse_lspv("\n".join(lines))
    assert [(row.name, row.state, uid_from_udid(row.udid), row.uuid) for row in rows] == [
        (name, state, naa.upper(), uuid) for name, _, _, state, naa, uuid, _ in disks
    ]
    assert [row.volume_group for row in rows] == [
        "" if disk[2].lower() == "none" else disk[2] for disk in disks
    ]
