"""The few programs of the base system that clients ask for: uname, hostname, oslevel, which, ls."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from deployments.lab.aix.programs import PATH, SAME, Complaint, find, program
from deployments.lab.filters import FILTERS
from deployments.lab.shell import Io

if TYPE_CHECKING:
    from deployments.lab.aix.machine import Machine


@program(
    "/usr/bin/hostname", "/usr/bin/uname", "/usr/bin/oslevel", "/usr/bin/id", "/usr/bin/whoami"
)
def about(machine: Machine, words: list[str], streams: Io) -> int:
    """Print who and what this machine is."""
    name = words[0].rpartition("/")[2]
    answers = {
        "hostname": machine.name,
        "uname": f"AIX {machine.name} 3 7 00F6F5D04C00" if words[1:] == ["-a"] else "AIX",
        "oslevel": "7300-02-01-2346" if words[1:] == ["-s"] else "7.3.0.0",
        "id": "0" if words[1:] == ["-u"] else "uid=0(root) gid=0(system)",
        "whoami": "root",
    }
    answer = machine.name if words[1:] == ["-n"] else answers[name]
    streams.say(f"{answer}\n")
    return 0


@program("/usr/bin/which", "/usr/bin/whence", "/usr/bin/type", "/usr/bin/command")
def which(machine: Machine, words: list[str], streams: Io) -> int:
    """Say where programs are."""
    status = 0
    for name in [word for word in words[1:] if not word.startswith("-")]:
        place = _place(machine, name)
        if place:
            streams.say(f"{place}\n")
        else:
            streams.say(f"no {name} in {' '.join(PATH)}\n")
            status = 1
    return status


def _place(machine: Machine, name: str) -> str:
    if name.rpartition("/")[2] == "python3" and not machine.state.has_python:
        return ""
    if name.startswith("/"):
        return name if find(name) else ""
    for directory in PATH:
        if find(f"{directory}/{name}"):
            return f"{SAME.get(directory, directory)}/{name}"
    return f"/usr/bin/{name}" if name in FILTERS else ""


@program("/usr/bin/ls")
def ls(machine: Machine, words: list[str], streams: Io) -> int:
    """List devices and programs by their paths, and what is in a mounted file system."""
    status = 0
    for path in [word for word in words[1:] if not word.startswith("-")]:
        found = re.fullmatch(r"/dev/r?(hdisk\d+)", path)
        with machine.lock:
            if path in machine.state.mounted and "-d" not in words:
                streams.say("lost+found\n")
                continue
            is_directory = path in machine.state.directories or path in machine.state.mounted
            exists = is_directory or bool(
                machine.hdisk(found[1]) if found else _place(machine, path)
            )
            if is_directory and "-d" not in words:
                continue
        if exists:
            streams.say(f"{path}\n")
        else:
            streams.complain(f"ls: 0653-341 The file {path} does not exist.\n")
            status = 2
    return status


@program("/usr/bin/mkdir")
def mkdir(machine: Machine, words: list[str], streams: Io) -> int:
    """Make directories."""
    with machine.lock:
        for path in [word for word in words[1:] if not word.startswith("-")]:
            if path in machine.state.directories:
                raise Complaint(f"mkdir: 0653-358 Cannot create {path}.\n{path}: File exists", 2)
            machine.state.directories.append(path)
        machine.changed()
    return 0


@program("/usr/bin/rmdir")
def rmdir(machine: Machine, words: list[str], streams: Io) -> int:
    """Remove directories that nothing is mounted on."""
    with machine.lock:
        for path in [word for word in words[1:] if not word.startswith("-")]:
            if path in machine.state.mounted:
                raise Complaint(f"rmdir: 0653-611 Directory {path} is mounted or in use.", 2)
            if path not in machine.state.directories:
                raise Complaint(f"rmdir: 0653-611 Directory {path} does not exist.", 2)
            machine.state.directories.remove(path)
        machine.changed()
    return 0


@program("/usr/bin/sleep")
def sleep(machine: Machine, words: list[str], streams: Io) -> int:
    """Wait."""
    try:
        time.sleep(min(600.0, float(words[1])))
    except (IndexError, ValueError):
        raise Complaint("usage: sleep Seconds", 2) from None
    return 0


@program("/usr/sbin/sync", "/usr/bin/errpt")
def nothing(machine: Machine, words: list[str], streams: Io) -> int:
    """Have nothing to say."""
    return 0
