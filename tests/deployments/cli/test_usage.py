"""Wrong usage: one clear error, exit 2, and with --json one document all the same."""

import json

import pytest


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("backup RG1 --fulll --json", "No such option: --fulll"),
        ("backup --json", "Missing argument"),
        ("backup RG1 --full --incremental --json", "choose --full or --incremental"),
        ("bakup RG1 --json", "Did you mean 'backup'?"),
        ("verify RG1 --sample 200 --json", "200 is no percentage"),
        ("restore --json", "no resource group given"),
        ("restore RG1 --to =x --json", "'=x' is not DISK=TARGET"),
        ("restore RG1 --to a=x --to a=y --json", "names a twice"),
        ("restore RG1 --to /x --to /y --json", "names a path alone twice"),
        ("restore RG1 --at tomorrow --json", "tomorrow is no moment"),
        ("restore RG1 --at 2999-01-01 --json", "2999-01-01 is in the future"),
        ("restore RG1 --bucket s3:// --json", "'s3://' is no bucket"),
        ("restore RG1 --bucket s3://a+b --json", "'a+b' is no name of a bucket"),
        ("add node n1 --from /no/such/file --json", "cannot read /no/such/file: No such file"),
    ],
)
def test_wrong_usage_is_one_json_document(flashvault, line, said):
    answer = flashvault(line)
    document = json.loads(answer.out)
    assert answer.status == 2
    assert document["ok"] is False
    assert said in document["error"]["message"]
    assert document["error"]["hint"]
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_wrong_usage_without_json_prints_nothing_on_stdout(flashvault):
    answer = flashvault("backup RG1 --fulll")
    assert (answer.status, answer.out) == (2, "")
    assert "--full" in answer.err


def bucket_with(*groups, folder):
    for group in groups:
        (folder / "objects/points" / group).mkdir(parents=True)
        (folder / "objects/points" / group / "01P.json").write_text("{}")
    return f"--bucket file://{folder}"


@pytest.mark.parametrize(
    "verb", ["verify RG9", "drill RG9", "status RG9", "restore RG9 --to a=/tmp/x --dry-run"]
)
def test_a_group_the_bucket_does_not_have_is_an_error_and_leaves_no_trace(
    flashvault, tmp_path, verb
):
    bucket = bucket_with("RG1", folder=tmp_path / "bucket")
    answer = flashvault(f"{verb} {bucket} --json")
    assert answer.status == 1
    error = json.loads(answer.out)["error"]
    assert error["message"].endswith("holds no restore point of RG9")
    assert error["hint"] == "It has those of RG1."
    assert not list((tmp_path / "bucket").rglob("*RG9*"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("AWS_ENDPOINT_URL", "nonsense", "Invalid endpoint: nonsense"),
        ("AWS_REGION", "b@d!region", "doesn't match a supported format"),
        ("AWS_PROFILE", "nope", "(nope) could not be found"),
        ("AWS_CONFIG_FILE", __file__, "Unable to parse config file"),
    ],
)
def test_an_environment_that_names_no_store_is_told_in_one_line(
    flashvault, monkeypatch, name, text, said
):
    for other in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, text)
    answer = flashvault("query restore_points --bucket s3://pha-bucket --json")
    assert answer.status == 2
    error = json.loads(answer.out)["error"]
    assert said in error["message"]
    assert name in error["hint"]
