"""Every error the system raises on purpose.

FlashvaultError
├── ConfigError              the request is wrong: fix it and run again            exit 2
│   └── ProfileError         … in the configuration file, all faults at once
├── RemoteError              a machine spoken to over SSH
│   ├── Unreachable          no connection, or it broke                            transient
│   ├── LoginRefused         the key or password is not accepted
│   └── UnknownHostKey       the machine's key is not the pinned one, or none is pinned
├── SvcError                 the array said no, with its CMMVC code
│   ├── SvcStateError        … because an object is in another state
│   ├── SvcObjectMissing     … because there is no such object
│   ├── SvcBusy              … but only for now                                    transient
│   └── SvcAnswerError       it answered something we cannot read
├── HostError                a command on the node failed
│   ├── DiskMissing          no disk of the host is that volume
│   ├── ShortRead            a disk or stream ended before its size
│   └── FreezeExpired        the file system thawed before the snapshot was started
├── StoreError
│   ├── ObjectMissing        the store said clearly that there is no such object
│   ├── BucketMissing
│   ├── AccessDenied         credentials refused or not sufficient
│   ├── CertificateRefused   the store's TLS certificate is not trusted
│   ├── ObjectChanged        not the object that was pinned, or a key exists already
│   └── StoreUnavailable     no answer, 5xx, throttled, truncated: says nothing about the data
│                                                                                  transient
├── ImageError
│   ├── CorruptData          complete bytes whose digest is not the recorded one
│   ├── UnknownFormat        written by a newer version, or not ours
│   └── WrongKey             the key given does not open this image
├── CatalogError
│   ├── PointMissing         no such restore point
│   ├── BrokenChain          a restore point needs something that is gone
│   └── RunFenced            the run was declared dead by another: it must not commit
├── Refused                  safer to say no                                       exit 4
│   ├── TargetTooSmall
│   ├── TargetInUse          mounted, open, or in a varied-on volume group
│   ├── TargetNotEmpty
│   └── GroupBusy            another run holds the resource group
├── DamageFound              done, but some of it is bad; the list says what        exit 3
└── Stopped                  asked to stop: nothing is wrong
"""

from __future__ import annotations


class FlashvaultError(Exception):
    """Base of the tree.

    The message says what happened and where, lowercase, without a full stop. `hint` tells the
    operator what to do next, as a sentence. `transient` says whether another try can help.
    `exit_code` is the command line's answer (docs/reference/cli.md).
    """

    transient = False
    exit_code = 1
    hint = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class ConfigError(FlashvaultError):
    """The request is wrong: fix it and run again."""

    exit_code = 2


class ProfileError(ConfigError):
    """The configuration file or an attribute in it is wrong; lists everything at once."""

    def __init__(self, faults: list[str], *, where: str = "", hint: str = "") -> None:
        self.faults = faults
        prefix = f"{where}: " if where else ""
        super().__init__(prefix + "; ".join(faults), hint=hint)


class RemoteError(FlashvaultError):
    """A machine spoken to over SSH did not do its part."""


class Unreachable(RemoteError):
    """No connection, or it broke."""

    transient = True
    hint = "Check the address, the port and the network; the run is retried."


class LoginRefused(RemoteError):
    """The key or password is not accepted."""

    hint = "Check the user and that its public key is installed on the machine."


class UnknownHostKey(RemoteError):
    """The machine's key is not the pinned one, or none is pinned."""

    hint = "Compare the fingerprint with the machine's console before you accept it."


class SvcError(FlashvaultError):
    """The array said no.

    `code` is its message number (CMMVC5903E; match on this, never on the text, which is localised)
    and `command` the command line that was refused.
    """

    def __init__(self, message: str, *, code: str = "", command: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.command = command


class SvcStateError(SvcError):
    """The array said no because an object is in another state."""


class SvcObjectMissing(SvcError):
    """The array has no such object."""


class SvcBusy(SvcError):
    """The array said no, but only for now."""

    transient = True


class SvcAnswerError(SvcError):
    """The array answered something that cannot be read."""


class HostError(FlashvaultError):
    """A command on the node failed."""


class DiskMissing(HostError):
    """No disk of the host is that volume."""

    hint = "Map the volume to this host and rediscover its disks (cfgmgr, rescan-scsi-bus.sh)."


class ShortRead(HostError):
    """A disk or stream ended before its size. Never treated as the end of the data."""


class FreezeExpired(HostError):
    """The file system thawed before the snapshot was started: the copy is not consistent."""


class StoreError(FlashvaultError):
    """The object store did not do its part."""


class ObjectMissing(StoreError):
    """The store said clearly that there is no such object."""

    hint = (
        "`flashvault verify RG` says which restore points need it: restore another, or with"
        " --allow-bad all that is whole of this one."
    )


class BucketMissing(StoreError):
    """The bucket does not exist."""

    hint = "Create the bucket, or correct its name and endpoint."


class AccessDenied(StoreError):
    """Credentials are refused or not sufficient."""

    hint = "Check the access key and the permissions of the bucket."


class CertificateRefused(StoreError):
    """The store's TLS certificate is not trusted: nothing was sent to it."""

    hint = "Name the authority that signed it with CA_FILE; verification is never switched off."


class ObjectChanged(StoreError):
    """The object is not the one that was pinned, or a key that must be new exists."""

    hint = "Somebody replaced it: find out who writes to this bucket, and restore another point."


class StoreUnavailable(StoreError):
    """No answer, a 5xx, throttled or truncated: it says nothing about the data."""

    transient = True
    hint = "Check the endpoint and the network; the run is retried."


class ImageError(FlashvaultError):
    """Something about the stored bytes."""


class CorruptData(ImageError):
    """Complete bytes whose digest is not the recorded one."""

    hint = (
        "Restore another point, or with --allow-bad all that is whole of this one;"
        " `flashvault verify RG --deep` says what else is damaged."
    )


class UnknownFormat(ImageError):
    """Written by a newer version, or not by this tool."""

    hint = "Use the version of flashvault named in the restore point, or a newer one."


class WrongKey(ImageError):
    """The key given does not open this image."""


class CatalogError(FlashvaultError):
    """Something about what can be restored."""


class PointMissing(CatalogError):
    """There is no such restore point."""

    hint = "List them with `flashvault query restore_points`."


class BrokenChain(CatalogError):
    """A restore point needs something that is gone."""


class RunFenced(CatalogError):
    """The run was declared dead by another process: nothing it stored becomes a restore point."""

    hint = "Start a new run; what this one stored is removed by the next prune."


class Refused(FlashvaultError):
    """Safer to say no."""

    exit_code = 4


class TargetTooSmall(Refused):
    """The target cannot hold the volume."""


class TargetInUse(Refused):
    """The target is mounted, open, or in a varied-on volume group."""


class TargetNotEmpty(Refused):
    """The target holds data."""

    hint = "Use --force if the data on the target may be overwritten."


class GroupBusy(Refused):
    """Another run holds the resource group."""

    transient = False


class DamageFound(FlashvaultError):
    """Done, but some of it is bad; what was printed before lists it."""

    exit_code = 3


class Stopped(FlashvaultError):
    """Asked to stop: nothing is wrong with the data."""
