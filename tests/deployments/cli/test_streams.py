"""Where output goes, or does not: one clear error, no traceback, and never into another file."""

import json
import os
import subprocess
import sys

import pytest

OURS = [sys.executable, "-m", "deployments.cli"]
ENVIRONMENT = {
    name: text for name, text in os.environ.items() if name not in {"PYTHONUNBUFFERED", "COLUMNS"}
}


def typed(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line.replace("flashvault", " ".join(OURS))],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", ["man", "--help", "query backup_profile -h"])
def test_output_that_cannot_be_kept_is_a_failure_with_one_error(verb, unbuffered):
    done = typed(f"flashvault {verb} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: stdout: No space left on device"
    assert "Traceback" not in done.stderr


def test_a_document_that_cannot_be_kept_is_told_on_stderr(tmp_path):
    done = typed("flashvault backup RG1 --json > /dev/full", FLASHVAULT_CONFIG=str(tmp_path / "x"))
    assert done.returncode == 1
    assert "error: stdout: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["flashvault man >&-", "flashvault man >&- 2>&- <&-"])
def test_closed_streams_are_no_failure(line):
    done = typed(line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_opened_later_never_gets_the_number_of_a_closed_stream(tmp_path):
    told = tmp_path / "told"
    code = (
        "import os; from deployments.cli.output import prepare_streams; prepare_streams();"
        f" descriptor = os.open({str(told)!r}, os.O_WRONLY | os.O_CREAT);"
        " print('into nowhere'); os.write(descriptor, str(descriptor).encode())"
    )
    subprocess.run(["sh", "-c", f'exec "{sys.executable}" -c "{code}" >&- 2>&- <&-'], check=True)
    assert int(told.read_text()) > 2


@pytest.mark.parametrize("verb", ["man", "--help"])
def test_a_reader_that_goes_away_leaves_no_traceback(verb):
    done = typed(f"flashvault {verb} | true")
    assert done.stderr == ""


def test_a_terminal_without_our_letters_gets_them_escaped():
    done = typed("flashvault restore --help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\\u2026" in done.stdout


def test_a_console_of_no_width_still_shows_everything():
    assert "restore" in typed("flashvault --help", COLUMNS="0").stdout


def test_an_error_nobody_expected_names_the_file(flashvault, tmp_path, monkeypatch):
    (tmp_path / "state").write_text("a file where the directory should be")
    monkeypatch.chdir(tmp_path)
    answer = flashvault(f"verify db --bucket file://{tmp_path} --json")
    assert answer.status == 1
    error = json.loads(answer.out)["error"]
    assert "Not a directory" in error["message"]
    assert str(tmp_path / "state") in error["message"]
    assert error["hint"]
    assert "Traceback" not in answer.err


def test_a_word_that_is_no_text_is_refused():
    done = typed("flashvault restore RG1 --to \"$(printf 'hdisk18=/tmp/\\351')\"")
    assert done.returncode == 2
    assert "is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
