"""python3 on a node that has it: really run, on this machine, with the node's disks as its own.

A program's arguments name disks as `/dev/rhdiskN`; they are replaced by links to the volumes. It
has the standard library only, as on a node. Nothing but the lab's own user asks for this.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from deployments.lab.aix.programs import Complaint, program
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine

STEP_BYTES = 256 * 1024


@program("/usr/bin/python3", "/opt/freeware/bin/python3")
def python3(machine: Machine, words: list[str], streams: Io) -> int:
    """Run Python with this program and input."""
    if not machine.state.has_python:
        raise Complaint(f"ksh: {words[0]}:  not found.", 127)
    with tempfile.TemporaryDirectory() as directory:
        devices = Path(directory)
        with machine.lock:
            for name in machine.state.hdisks:
                lun = machine.lun(name)
                if lun and lun.is_readable:
                    (devices / f"r{name}").symlink_to(lun.path)
                    (devices / name).symlink_to(lun.path)
        arguments = [re.sub(r"/dev/(r?hdisk\d+)", rf"{devices}/\1", word) for word in words[1:]]
        child = subprocess.Popen(
            [sys.executable, "-IS", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": "/usr/bin", "LANG": "C.UTF-8"},
        )
        with child:
            try:
                return _serve(child, streams)
            finally:
                child.kill()


def _serve(child: subprocess.Popen[bytes], streams: Io) -> int:
    """Carry the child's streams until it ends, or the client goes away."""
    assert child.stdin
    assert child.stdout
    assert child.stderr
    threading.Thread(target=_feed, args=(streams.stdin, child.stdin), daemon=True).start()
    errors = child.stderr
    told = threading.Thread(
        target=lambda: streams.complain(errors.read().decode(errors="replace")), daemon=True
    )
    told.start()
    while data := child.stdout.read1(STEP_BYTES):  # type: ignore[attr-defined]
        streams.stdout.write(data)
    status = child.wait()
    told.join(10)
    return status if status >= 0 else 128 - status


def _feed(source: BinaryIO, sink: object) -> None:
    """Hand the session's input on, piece by piece, as it comes."""
    with contextlib.suppress(OSError, ValueError):
        while data := _some(source):
            sink.write(data)  # type: ignore[attr-defined]
            sink.flush()  # type: ignore[attr-defined]
        sink.close()  # type: ignore[attr-defined]


def _some(source: BinaryIO) -> bytes:
    read1 = getattr(source, "read1", None)
    data: bytes = read1(STEP_BYTES) if read1 else source.readline(STEP_BYTES)
    return data
