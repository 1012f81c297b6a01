import fcntl
import os
import threading

import pytest
from lxml import etree

from blocks.errors import ConfigError, ProfileError
from blocks.profile import document
from blocks.profile.base import parse
from blocks.profile.document import (
    config_path,
    editing,
    load_configuration,
    parse_document,
    parse_object,
    print_document,
    print_object,
)
from blocks.profile.model import CLASSES, BackupProfile, BucketConfig, Configuration, StorageSystem

SYSTEM = parse(StorageSystem, "storage1", {"ADDRESSES": "90.90.90.1", "USER": "admin"})
BUCKET = parse(BucketConfig, "pha-bucket", {"REGION": "eu-central-1"})
PROFILE = parse(
    BackupProfile,
    "RG1",
    {
        "ENABLE_BACKUP": "yes",
        "BACKUP_METHOD": "cloud",
        "REPLICATED_RESOURCES": "sample_consistency_group",
        "STORAGE_NAME": "storage1",
        "BUCKET_NAME": "pha-bucket",
        "BACKUP_SCHEDULE": "17:30",
        "PRE_FREEZE": "/usr/bin/env A=<&>",
    },
)
WHOLE = Configuration(
    cluster="prod", storage_systems=(SYSTEM,), buckets=(BUCKET,), profiles=(PROFILE,)
)


def document_of(body: str, version: str = "1") -> str:
    return f'<flashvault format_version="{version}">\n{body}\n</flashvault>'


def faults(text: str | bytes) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parse_document(text)
    return caught.value.faults


def test_what_is_printed_reads_as_the_same_configuration():
    assert parse_document(print_document(WHOLE)) == WHOLE


def test_what_the_operator_did_not_give_is_not_written():
    assert b"COMPRESSION" not in print_document(WHOLE)


def test_every_fault_has_its_line():
    text = document_of(
        '<storage_system name="storage1">\n<ADDRESSES>90.90.90.999</ADDRESSES>\n'
        "<USR>admin</USR>\n</storage_system>\n<bukket/>\n"
        '<bucket name="UPPER"/>'
    )
    assert faults(text) == [
        "line 3: storage_system storage1: ADDRESSES: '90.90.90.999' is not an IPv4 address",
        "line 4: storage_system storage1: USR: no such attribute; did you mean USER?",
        "line 2: storage_system storage1: USER: required",
        "line 6: <bukket> is no object; did you mean bucket?",
        "line 7: bucket UPPER: BUCKET: required, since 'UPPER' is not a bucket name "
        "(3 to 63 lower-case letters, digits, '-' and '.')",
    ]


BILLION_LAUGHS = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<flashvault format_version="1"><bucket name="images"><REGION>&b;</REGION></bucket></flashvault>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>
<flashvault format_version="1"><bucket name="images"><REGION>&f;</REGION></bucket></flashvault>"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: "),
        ("not xml", "line 1: "),
        ("<flashvault format_version='1'>", "line 1: "),
        ("<flashvault format_version='1'><bucket></flashvault>", "mismatch"),
        ("<other/>", "<other> instead of <flashvault>"),
        ("<flashvault/>", "format_version '' is not a number"),
        (document_of("", "2"), "format_version 2 is newer"),
        (document_of("", "one"), "is not a number"),
        (document_of("text"), "line 1: "),
        (document_of("<bucket/>"), "name: '' is not a name"),
        (document_of('<bucket name="images"><REGION><b/></REGION></bucket>'), "holds elements"),
        (
            document_of('<bucket name="images"><REGION>a</REGION><REGION>b</REGION></bucket>'),
            "given twice",
        ),
        (document_of('<bucket name="images" colour="red"/>'), "colour"),
        (document_of('<bucket name="images"/><bucket name="images"/>'), "another of this name"),
        (document_of('<bucket name="images"><region>x</region></bucket>'), "region"),
        (BILLION_LAUGHS, "document type"),
        (EXTERNAL, "document type"),
        (EXTERNAL.replace('version="1.0"', 'version="1.0" encoding="UTF-16"').encode("utf-16"), ""),
        (document_of("<bucket name='images'><REGION>&undefined;</REGION></bucket>"), "undefined"),
        (b'<flashvault format_version="1">\xff\xfe</flashvault>', "line 1: "),
        (document_of("<a>" * 300 + "</a>" * 300), ""),
        (document_of("<!-- -->" + " " * document.MAX_BYTES), "larger than"),
    ],
)
def test_a_malformed_file_is_refused_whole(text, words):
    found = faults(text)
    assert len(found) == 1, found
    assert words in found[0]


def test_the_schema_knows_every_attribute_and_no_other():
    schema = etree.fromstring(
        (document.resources.files("blocks.profile") / "profile.xsd").read_bytes()
    )
    namespaces = {"xs": "http://www.w3.org/2001/XMLSchema"}
    for name, model in CLASSES.items():
        elements = schema.xpath(
            f"//xs:complexType[@name='{name}']//xs:element/@name", namespaces=namespaces
        )
        assert elements == list(model.labels())


def test_comments_and_untouched_objects_survive_a_change(tmp_path):
    path = tmp_path / "flashvault.xml"
    text = print_document(WHOLE).decode()
    path.write_text(text.replace("<bucket ", "<!-- Frankfurt, paid by IT --><bucket "))
    with editing(path) as edit:
        changed = PROFILE.model_copy(update={"enabled": False})
        edit.save(WHOLE.model_copy(update={"profiles": (changed,)}))
    assert "Frankfurt, paid by IT" in path.read_text()
    assert load_configuration(path).profiles == (changed,)


def test_the_previous_version_is_kept(tmp_path):
    path = tmp_path / "sub" / "flashvault.xml"
    with editing(path) as edit:
        edit.save(WHOLE)
        edit.save(WHOLE.model_copy(update={"profiles": ()}))
    assert load_configuration(path).profiles == ()
    assert load_configuration(path.with_name("flashvault.xml.previous")) == WHOLE
    assert sorted(p.name for p in path.parent.iterdir()) == [
        ".flashvault.xml.lock",
        "flashvault.xml",
        "flashvault.xml.previous",
    ]


def test_a_linked_file_stays_a_link(tmp_path):
    real = tmp_path / "real.xml"
    link = tmp_path / "link.xml"
    real.write_bytes(print_document(WHOLE))
    link.symlink_to(real)
    with editing(link) as edit:
        edit.save(Configuration(cluster="other"))
    assert link.is_symlink()
    assert load_configuration(real).cluster == "other"


def test_the_modes_of_the_file_stay(tmp_path):
    path = tmp_path / "flashvault.xml"
    path.write_bytes(print_document(WHOLE))
    path.chmod(0o640)
    with editing(path) as edit:
        edit.save(Configuration())
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_wrong_configuration_is_never_written(tmp_path):
    path = tmp_path / "flashvault.xml"
    path.write_bytes(print_document(WHOLE))
    before = path.read_bytes()
    with editing(path) as edit, pytest.raises(ProfileError, match="another of this name"):
        edit.save(WHOLE.model_copy(update={"buckets": (BUCKET, BUCKET)}))
    assert path.read_bytes() == before


def test_a_file_edited_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "flashvault.xml"
    path.write_bytes(print_document(WHOLE))
    with editing(path) as edit:
        path.write_bytes(print_document(WHOLE) + b"<!-- by hand -->")
        with pytest.raises(ConfigError, match="changed by someone else"):
            edit.save(Configuration())
    assert b"by hand" in path.read_bytes()


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "flashvault.xml"
    path.write_bytes(print_document(WHOLE))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with editing(path) as edit:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left"):
            edit.save(Configuration())
    assert load_configuration(path) == WHOLE
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".flashvault.xml.t")]


def test_a_second_editor_waits_and_then_gives_up(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "LOCK_WAIT_S", 0.2)
    path = tmp_path / "flashvault.xml"
    with (tmp_path / ".flashvault.xml.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is changing"), editing(path):
            pass


def test_changes_side_by_side_all_arrive(tmp_path):
    path = tmp_path / "flashvault.xml"

    def add(number: int) -> None:
        with editing(path) as edit:
            bucket = parse(BucketConfig, f"bucket-{number}", {})
            buckets = (*edit.configuration.buckets, bucket)
            edit.save(edit.configuration.model_copy(update={"buckets": buckets}))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {b.name for b in load_configuration(path).buckets} == {f"bucket-{n}" for n in range(8)}


def test_one_object_is_exported_and_read_again():
    kind, name, attributes = parse_object(print_object(PROFILE), source="export")
    assert (kind, name) == ("backup_profile", "RG1")
    assert parse(BackupProfile, name, attributes) == PROFILE


def test_a_missing_file_says_how_to_begin(tmp_path):
    with pytest.raises(ConfigError, match="there is no configuration") as caught:
        load_configuration(tmp_path / "none.xml")
    assert "flashvault add" in caught.value.hint


def test_the_environment_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("FLASHVAULT_CONFIG", str(tmp_path / "x.xml"))
    assert config_path() == tmp_path / "x.xml"
