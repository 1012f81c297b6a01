"""What the array's message codes mean to us: which error, and what an operator can do.

Matched on the code, never on the text, which is localised and reworded between releases.
Source: docs/reference/svc-cli.md §7.
"""

from __future__ import annotations

from blocks.errors import SvcBusy, SvcError, SvcObjectMissing, SvcStateError

_STATE_HINT = "Look at the group with lsfcconsistgrp or lsrcconsistgrp and try again."
_MISSING_HINT = "Check the name in the profile against the array; names are case-sensitive."

MEANINGS: dict[str, tuple[type[SvcError], str]] = {
    "CMMVC5753E": (SvcObjectMissing, _MISSING_HINT),
    "CMMVC5754E": (SvcObjectMissing, _MISSING_HINT),
    "CMMVC5804E": (SvcObjectMissing, _MISSING_HINT),
    "CMMVC8957E": (SvcObjectMissing, _MISSING_HINT),
    "CMMVC5842E": (SvcObjectMissing, "The volume is not mapped to this host (any more)."),
    "CMMVC6065E": (SvcObjectMissing, "The object is in no group."),
    "CMMVC5903E": (SvcStateError, _STATE_HINT),
    "CMMVC5907E": (SvcStateError, "The copy runs already: wait for it or stop it."),
    "CMMVC5912E": (SvcStateError, "The copy is stopped already."),
    "CMMVC5982E": (SvcStateError, _STATE_HINT),
    "CMMVC5963E": (SvcStateError, "The group is idling: say which side is primary."),
    "CMMVC5951E": (SvcStateError, "The relationship belongs to a group: use the group's command."),
    "CMMVC5840E": (SvcStateError, "Remove the volume's host mappings and copies first."),
    "CMMVC6035E": (SvcStateError, "An object of this name exists."),
    "CMMVC5879E": (SvcStateError, "This SCSI id is taken on the host."),
    "CMMVC6071E": (SvcStateError, "The volume is mapped to another host: check who uses it."),
    "CMMVC6466E": (SvcStateError, "The target is the target of another mapping already."),
    "CMMVC5959E": (SvcStateError, "The volumes have a relationship already."),
    "CMMVC5924E": (SvcError, "Make the target volume exactly as large: lsvdisk -bytes."),
    "CMMVC6303E": (SvcError, "Source and target must be two volumes."),
    "CMMVC9012E": (SvcError, "A group holds relationships of one copy type only."),
    "CMMVC6527E": (SvcError, "Choose another name."),
    "CMMVC5701E": (SvcError, ""),
    "CMMVC5707E": (SvcError, ""),
    "CMMVC5709E": (SvcError, "The array's release may be too old for this option."),
    "CMMVC5713E": (SvcError, ""),
    "CMMVC5741E": (SvcError, ""),
    "CMMVC5786E": (SvcBusy, "The array is not in a stable state just now: the run is retried."),
    "CMMVC7205E": (SvcError, "The array's code level does not have this command."),
}

BUSY_STATUS = 11
"""The exit status of an array whose metadata service is busy: ask again."""

LOGIN_FAILED = "CMMVC7017E"


def error_for(status: int, codes: list[str], said: str, command: str) -> SvcError:
    """Build the error for a refused command.

    Args:
        status: its exit status.
        codes: the message codes it printed.
        said: its message, for the operator.
        command: the command line, redacted.
    """
    if status == BUSY_STATUS:
        return SvcBusy(f"the array is busy: {command}", command=command)
    code = next((code for code in codes if code.endswith("E")), "")
    kind, hint = MEANINGS.get(code, (SvcError, ""))
    text = " ".join(said.split())[:300] or f"exit status {status} without a message"
    return kind(f"{command}: {text}", code=code, command=command, hint=hint)
