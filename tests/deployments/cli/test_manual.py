"""The manual page has every verb, every option and every exit status, and renders."""

import shutil
import subprocess

import pytest

from deployments.cli.manual import EXIT_STATUS, page, verbs


def test_every_verb_and_option_is_in_the_manual_page(flashvault):
    said = flashvault("man")
    assert said.status == 0
    shown = said.out.replace("\\-", "-")
    found = verbs()
    assert len(found) > 40
    for words, command in found.items():
        assert f".SS flashvault {' '.join(words)}" in shown
        for parameter in command.params:
            assert parameter.opts[0] in shown or parameter.param_type_name == "argument"
    for status, _ in EXIT_STATUS:
        assert f".B {status}\n" in shown


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_the_manual_page_renders_without_a_warning():
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"],
        input=page(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
