"""What a person mistypes, and what is left of it in the bucket: nothing."""

import pytest
from typer.testing import CliRunner

from blocks.errors import HostError
from blocks.store.directory import DirectoryStore
from deployments.cli.image import image


def run(*words: object):
    done = CliRunner().invoke(image, [str(word) for word in words])
    return done.exit_code, done.output


def files(directory) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("extent", "said"),
    [
        ("3", "must be a power of two from 4KiB to 4MiB"),
        ("8MiB", "must be a power of two from 4KiB to 4MiB"),
        ("many", "'many' is not a size"),
    ],
)
def test_an_extent_that_cannot_be_is_refused(tmp_path, extent, said):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 10_000)
    to = f"file://{tmp_path}/store"
    code, output = run("put", disk, "--to", to, "--name", "a", "--extent", extent)
    assert (code, files(tmp_path)) == (2, ["disk.img"])
    assert said in output


@pytest.mark.parametrize("name", ["nosuch.img", "empty.img"])
def test_a_disk_that_cannot_be_read_makes_no_restore_point(tmp_path, name):
    (tmp_path / "empty.img").touch()
    to = f"file://{tmp_path}/store"
    (tmp_path / "store").mkdir()
    code, output = run("put", tmp_path / name, "--to", to, "--name", "a")
    assert code == 1
    assert output.startswith("error: ")
    assert run("ls", "--from", to) == (0, "")
    assert not list(tmp_path.glob("store/objects/claims/*/intents/*"))


@pytest.mark.parametrize("name", ["", "a/b", "claims"])
def test_a_name_that_cannot_be_in_a_bucket_is_refused(tmp_path, name):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 10_000)
    code, output = run("put", disk, "--to", f"file://{tmp_path}/store", "--name", name)
    assert code == 2
    assert "cannot be a name in a bucket" in output


def test_a_directory_that_is_not_there_is_not_an_empty_store(tmp_path):
    code, output = run("ls", "--from", f"file://{tmp_path}/unmounted")
    assert code == 1
    assert "there is no directory" in output


def test_a_store_that_cannot_be_made_is_an_error_of_the_store(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 10_000)
    code, output = run("put", disk, "--to", f"file://{disk}/store", "--name", "a")
    assert code == 1
    assert "cannot be made" in output


@pytest.mark.parametrize("end", [KeyboardInterrupt, HostError("the disk went away")])
def test_what_was_uploaded_of_a_disk_is_gone_when_the_command_ends_early(
    tmp_path, monkeypatch, end
):
    def capture_volume(reader, store, *, folder, **_):
        store.put(f"{folder}whole", b"x")
        store.begin_upload(f"{folder}half").put_part(1, b"x")
        raise end

    monkeypatch.setattr("tasks.pipeline.capture_volume", capture_volume)
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"x" * 10_000)
    to = f"file://{tmp_path}/store"
    code, _ = run("put", disk, "--to", to, "--name", "a")
    assert code == (130 if end is KeyboardInterrupt else 1)
    store = DirectoryStore(tmp_path / "store")
    assert list(store.list("a/")) == list(store.uploads()) == list(store.list("claims/")) == []
    assert run("ls", "--from", to) == (0, "")
