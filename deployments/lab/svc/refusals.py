"""What the array says when it says no: CMMVC codes and their texts.

Texts are IBM's where docs/reference/svc-cli.md §7 has them; the others say the meaning found in
IBM's own client code. Clients must match on the code.
"""

from __future__ import annotations

TEXTS = {
    "CMMVC5701E": "No object ID was specified.",
    "CMMVC5707E": "Required parameters are missing.",
    "CMMVC5709E": "[{0}] is not a supported parameter.",
    "CMMVC5711E": "[{0}] is not valid data.",
    "CMMVC5713E": "Some parameters are mutually exclusive.",
    "CMMVC5738E": "The argument {0} contains too many characters.",
    "CMMVC5741E": "The filter value {0} is not valid.",
    "CMMVC5753E": "The specified object does not exist or is not a suitable candidate.",
    "CMMVC5754E": "The specified object does not exist, or the name supplied does not meet the"
    " naming rules.",
    "CMMVC5767E": "One or more of the parameters specified are invalid or a parameter is missing.",
    "CMMVC5786E": "The action failed because the cluster is not in a stable state.",
    "CMMVC5804E": "The action failed because an object that was specified in the command does not"
    " exist.",
    "CMMVC5860E": "The action failed because there were not enough extents in the storage pool.",
    "CMMVC5867E": "The action failed because the worldwide port name is already assigned or is not"
    " valid.",
    "CMMVC5840E": "The virtual disk (VDisk) was not deleted because it is mapped to a host or"
    " because it is part of a FlashCopy or Remote Copy mapping, or is involved in an image mode"
    " migrate.",
    "CMMVC5842E": "The action failed because an object that was specified in the command is not"
    " mapped to the host.",
    "CMMVC5879E": "The VDisk-to-host mapping was not created because a VDisk is already mapped to"
    " this host with this SCSI LUN.",
    "CMMVC5903E": "The FlashCopy mapping was not changed because the mapping or consistency group"
    " is another state.",
    "CMMVC5907E": "The FlashCopy mapping or consistency group could not be started because it is"
    " already started.",
    "CMMVC5912E": "The FlashCopy mapping or consistency group could not be stopped because it is"
    " already stopped.",
    "CMMVC5924E": "The FlashCopy mapping was not created because the source and target virtual"
    " disks (VDisks) are different sizes.",
    "CMMVC5951E": "The operation cannot be performed because the relationship is not a stand-alone"
    " relationship.",
    "CMMVC5959E": "The relationship was not created because a VDisk is already in a relationship.",
    "CMMVC5963E": "No direction has been defined.",
    "CMMVC5982E": "The operation was not performed because it is not valid given the current"
    " relationship state.",
    "CMMVC6017E": "A parameter contains invalid characters.",
    "CMMVC6035E": "The action failed as the object already exists.",
    "CMMVC6065E": "The action failed as the object is not in a group.",
    "CMMVC6071E": "The VDisk-to-host mapping was not created because the VDisk is already mapped"
    " to a host.",
    "CMMVC6070E": "An invalid or duplicated parameter, unaccompanied argument, or incorrect"
    " argument sequence has been detected. Ensure that the input is as per the help.",
    "CMMVC6303E": "The create failed because the source and target VDisks are the same.",
    "CMMVC6372W": "The virtualized storage capacity that the cluster is using is approaching the"
    " virtualized storage capacity that is licensed.",
    "CMMVC6466E": "The FlashCopy mapping was not created because the target VDisk is already the"
    " target of a FlashCopy mapping.",
    "CMMVC6578E": "The iSCSI name is already assigned or is not valid.",
    "CMMVC6527E": "The name that you have entered is not valid. The name can contain letters,"
    " numbers, spaces, periods, dashes, and underscores. The name must begin with a letter or an"
    " underscore. The name must not begin or end with a space.",
    "CMMVC7017E": "Login has failed because the maximum number of concurrent CLI sessions has been"
    " reached.",
    "CMMVC7205E": "The command failed because it is not supported.",
    "CMMVC8710E": "There is not enough space in the storage pool.",
    "CMMVC8957E": "The command failed because the volume does not exist.",
    "CMMVC9012E": "The copy type differs from other copies already in the consistency group.",
}
"""Code to text; `{0}` takes the offending word."""


class Refusal(Exception):
    """The array's answer on stderr, with its exit status (1; 11 when it is only busy)."""

    def __init__(self, code: str, word: str = "", *, status: int = 1) -> None:
        self.code = code
        self.status = status
        super().__init__(f"{code} {TEXTS.get(code, 'The command failed.').format(word)}")
