"""`flashvault key` and `flashvault store`, as an operator types them."""

import json
import stat

import pytest
import typer
from typer.testing import CliRunner

from deployments.cli import keys, store

PASSPHRASE = "correct horse battery"


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run a command on a bucket that is a folder, with a recipient's secret; return its output."""
    for name in ("FLASHVAULT_PASSPHRASE", "FLASHVAULT_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "recovery").write_text(PASSPHRASE + "\n")
    (tmp_path / "bucket").mkdir()
    app = typer.Typer()
    keys.register(app)
    store.register(app)

    def run(*words, by="", expect=0):
        place = [] if words[1] in ("new", "table") else ["--bucket", f"file://{tmp_path}/bucket"]
        kind = "--passphrase-file" if by == "recovery" else "--private-key-file"
        secret = [kind, str(tmp_path / by)] if by else []
        done = CliRunner().invoke(app, [*words, *place, *secret])
        assert done.exit_code == expect, done.output
        return done.output

    return run


@pytest.fixture
def made(cli, tmp_path):
    """Make a keyring that anna reads and node1 writes. No passphrase: stretching takes time."""
    anna, node1 = (cli("key", "new", str(tmp_path / name)).strip() for name in ("anna", "node1"))
    words = ("--reader", f"anna={anna}", "--writer", f"node1={node1}", "--no-passphrase")
    return json.loads(cli("key", "init", *words, "--json"))


def test_a_new_private_key_is_readable_by_its_owner_only_and_never_overwritten(cli, tmp_path):
    public = cli("key", "new", str(tmp_path / "k"))
    assert public.startswith("fv-public-")
    private = (tmp_path / "k").read_text()
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert private.strip() not in public
    cli("key", "new", str(tmp_path / "k"), expect=2)
    assert (tmp_path / "k").read_text() == private


def test_a_recovery_passphrase_opens_the_keyring(cli):
    assert "recovery" in cli("key", "init", by="recovery")
    assert "opened as reader" in cli("key", "check", "--open", by="recovery")


def test_a_keyring_is_listed_without_and_opened_with_a_key(cli, made):
    assert [(r["name"], r["role"]) for r in made["recipients"]] == [
        ("anna", "reader"),
        ("node1", "writer"),
    ]
    assert made["key_id"] in cli("key", "list")
    assert "opened as reader" in cli("key", "check", "--open", by="anna")
    assert "opened as writer" in cli("key", "check", "--open", by="node1")
    cli("key", "check", "--open", "--key-id", "0" * 32, by="anna", expect=1)


@pytest.mark.usefixtures("made")
def test_a_key_that_is_named_is_tried_without_being_asked_to(cli, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("some other passphrase\n")
    said = cli("key", "check", "--passphrase-file", str(wrong), by="", expect=1)
    assert "does not open" in said


@pytest.mark.usefixtures("made")
def test_a_keyring_without_a_whole_copy_is_not_to_be_rotated(cli, tmp_path):
    for copy in (tmp_path / "bucket").rglob("keyring/*.json"):
        copy.write_bytes(b"x")
    said = cli("key", "check", expect=1)
    assert "no copy of the keyring is whole" in said
    assert "rotate" not in said


@pytest.mark.usefixtures("made")
def test_a_keyring_is_never_made_twice(cli):
    assert "has a keyring already" in cli("key", "init", by="", expect=2)


def test_recipients_come_and_go(cli, made, tmp_path):
    bert = cli("key", "new", str(tmp_path / "bert")).strip()
    cli("key", "add", "bert", bert, by="anna")
    cli("key", "remove", "anna", by="bert")
    assert "does not open" in cli("key", "check", "--open", by="anna", expect=1)
    rotated = json.loads(cli("key", "rotate", "--new-key", "--json", by="bert"))
    assert rotated["key_id"] != made["key_id"]
    assert rotated["generation"] == 4
    assert "only a reader" in cli("key", "rotate", by="node1", expect=1)


@pytest.mark.usefixtures("made")
def test_the_last_reader_stays(cli):
    assert "nobody could read" in cli("key", "remove", "anna", by="anna", expect=4)


@pytest.mark.usefixtures("made")
def test_a_damaged_copy_is_told_and_rotation_heals_it(cli, tmp_path):
    copy = next(path for path in (tmp_path / "bucket").rglob("*00000001-b.json*"))
    copy.write_bytes(copy.read_bytes()[:100])
    assert "not complete" in cli("key", "check", expect=1)
    cli("key", "rotate", by="anna")
    assert "00000002-b.json  whole" in cli("key", "check")


@pytest.mark.usefixtures("made")
def test_without_a_terminal_or_a_secret_nothing_is_asked(cli):
    assert "no passphrase" in cli("key", "rotate", expect=2)


def test_a_directory_is_no_store_to_probe(cli):
    assert "nothing to probe" in cli("store", "probe", expect=2)


def test_a_file_that_is_no_report_is_refused(cli, tmp_path):
    (tmp_path / "r.json").write_text("{}")
    assert "no report" in cli("store", "table", str(tmp_path / "r.json"), expect=2)
