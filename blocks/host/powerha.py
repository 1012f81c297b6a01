"""Is the resource group online here, and is the cluster stable: PowerHA's answers, read.

Pure: `aix` and `linux` run the commands. What cannot be told is UNKNOWN, and nothing is backed up
then. Source: docs/reference/aix-host.md §4.
"""

from __future__ import annotations

import re

from blocks.host.base import GroupState

UTILITIES = "/usr/es/sbin/cluster/utilities"
CLRGINFO = f"{UTILITIES}/clRGinfo"
CLMGR = f"{UTILITIES}/clmgr"
LSSRC = "/usr/bin/lssrc"

_STABLE = re.compile(r"^\s*Current state:\s*ST_STABLE\s*$", re.MULTILINE)


def parse_group_states(text: str, group: str) -> dict[str, GroupState]:
    """Read `clRGinfo -s`: the state of a group on each node.

    `RG:state:node:type:…`, one line per group and node; anything else (a warning, a permission
    problem printed to stdout) is passed over.
    """
    states = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(":")]
        if len(fields) < 3 or fields[0] != group or not fields[2]:
            continue
        states[fields[2]] = read_state(fields[1])
    return states


def read_state(word: str) -> GroupState:
    """Read one state; `OFFLINE DUE TO …` is offline, a secondary instance is not online here."""
    text = " ".join(word.upper().replace("_", " ").split())
    if text.startswith("OFFLINE"):
        return GroupState.OFFLINE
    try:
        return GroupState(text)
    except ValueError:
        return GroupState.UNKNOWN


def parse_stable(text: str) -> bool:
    """Read `lssrc -ls clstrmgrES`: whether the cluster manager is stable."""
    return bool(_STABLE.search(text))


def parse_volume_groups(text: str) -> list[str]:
    """Read `clmgr query resource_group`: the volume groups, in its order."""
    found = re.search(r'^\s*VOLUME_GROUP\s*=\s*"([^"]*)"', text, re.MULTILINE)
    return re.split(r"[\s,]+", found[1].strip()) if found and found[1].strip() else []
