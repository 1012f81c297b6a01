"""A SeaweedFS of a test's own, with one bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.lab import s3
from deployments.lab.keys import Keys
from deployments.lab.processes import Register


@contextmanager
def seaweed_in(directory: Path, bucket: str) -> Iterator[s3.ObjectStore]:
    """Start it below a directory, and stop it whatever happens."""
    (directory / "logs").mkdir()
    register = Register(directory)
    running = s3.start(directory, Keys(directory / "keys"), register, bucket)
    try:
        s3.wait(running, bucket, directory)
        yield running
    finally:
        register.stop()
