"""What real arrays do and the lab does not: it is refused, never half done."""

from __future__ import annotations

BEYOND = frozenset(
    {
        "addsnapshot",
        "rmsnapshot",
        "restorefromsnapshot",
        "mkvolumegroup",
        "chvolumegroup",
        "rmvolumegroup",
        "mksnapshotpolicy",
        "mkreplicationpolicy",
        "mkpartition",
        "mkippartnership",
        "addvolumecopy",
        "rmvolumecopy",
        "mkthrottle",
        "chthrottle",
        "rmthrottle",
        "mkmdiskgrp",
        "rmmdiskgrp",
        "mkarray",
        "mkhostcluster",
        "addhostcluster",
        "chsystem",
        "chuser",
        "mkuser",
        "rmuser",
        "splitvdiskcopy",
    }
)
"""Commands answered with CMMVC7205E, as an array does whose release does not have them."""
