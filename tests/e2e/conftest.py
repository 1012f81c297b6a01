"""A lab without Prefect: two arrays, nodes and an object store, all real protocols."""

import os
import random
import subprocess
import sys

import pytest

from blocks.units import MIB
from deployments.lab import site as lab

SIZE = 24 * MIB


@pytest.fixture(scope="session")
def lab_site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("lab") / "lab"
    before = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "deployments.cli", "lab"]
    place = ["--dir", str(directory)]
    subprocess.run([*command, "up", *place, "--size", "24M", "--no-prefect"], check=True)
    site = lab.load_site(directory)
    os.environ.update(site.environment())
    yield site
    subprocess.run([*command, "down", *place], check=True)
    os.environ.clear()
    os.environ.update(before)


class Disks:
    """The lab's volumes as files, and what was last written to each."""

    def __init__(self, site):
        self.site = site

    def path(self, name):
        return self.site.volume(name).path

    def fill(self, name, seed, *, share=0.6):
        """Write noise, repetition and zeros; return the bytes."""
        dice = random.Random(seed)
        noise = dice.randbytes(int(SIZE * share / 2))
        text = (b"%d the quick brown fox\n" % seed * (SIZE // 20))[: int(SIZE * share / 2)]
        data = (noise + bytes(MIB) + text).ljust(SIZE, b"\0")[:SIZE]
        return self.write(name, data)

    def write(self, name, data, offset=0):
        with open(self.path(name), "r+b") as file:
            file.seek(offset)
            file.write(data)
        return self.read(name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()


@pytest.fixture
def disks(lab_site):
    return Disks(lab_site)


@pytest.fixture
def blank_spares(disks):
    for name in ("Node1_6", "Node1_7"):
        disks.write(name, bytes(SIZE))
    return disks
