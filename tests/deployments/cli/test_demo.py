"""A demo that cannot begin leaves nothing behind."""

import tempfile

from blocks.errors import ConfigError
from deployments.lab import site


def test_a_lab_that_does_not_come_up_leaves_no_directory(flashvault, tmp_path, monkeypatch):
    def up(directory, **how):
        (directory / "volumes").mkdir(parents=True)
        raise ConfigError("no port is free", hint="Stop something.")

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(site, "up", up)
    said = flashvault("demo")
    assert said.status == 2
    assert "no port is free" in said.err
    assert list(temporary.iterdir()) == []
