"""`flashvault lab fault`: break the lab on purpose, and mend it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.errors import ConfigError
from deployments.cli.output import out, print_json, reported_errors
from deployments.lab import control
from deployments.lab import site as sites
from deployments.lab.s3 import fault_file
from deployments.lab.s3_proxy import S3Fault, read_fault, write_fault

Directory = Annotated[
    Path | None, typer.Option("--dir", help="The lab's directory.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Array = Annotated[str, typer.Argument(help="The array: storage1 or storage2.")]
Count = Annotated[int, typer.Option(min=1, help="How many times.")]

fault = typer.Typer(no_args_is_help=True, help="Break the lab on purpose; `clear` mends it.")


class Power(StrEnum):
    """What happens to an array."""

    KILL = "kill"
    START = "start"


class Link(StrEnum):
    """What happens to the link between the arrays."""

    CUT = "cut"
    RESTORE = "restore"


class Line(StrEnum):
    """What a volume is."""

    OFFLINE = "offline"
    ONLINE = "online"


class Store(StrEnum):
    """What the object store does."""

    ERROR = "error"
    THROTTLE = "throttle"
    SLOW = "slow"
    FULL = "full"
    FORBIDDEN = "forbidden"
    CUT = "cut"
    NONE = "none"


def _change(directory: Path | None, as_json: bool, action: str, **words: Any) -> None:
    """Ask the daemon for one change and say what is broken now."""
    where = (directory or sites.default_directory()).absolute()
    with reported_errors(as_json=as_json):
        answer = control.ask(where, action, **words)
        suffered = read_fault(fault_file(where))
        broken = [*answer["faults"]]
        if suffered.kind != "none":
            broken.append(f"the object store: {suffered.kind}")
        if as_json:
            print_json({"ok": True, "faults": broken})
        else:
            out().print("\n".join(broken) or "nothing is broken", highlight=False)


@fault.command("list")
def list_faults(directory: Directory = None, as_json: AsJson = False) -> None:
    """Say what is broken."""
    _change(directory, as_json, "ask")


@fault.command()
def clear(directory: Directory = None, as_json: AsJson = False) -> None:
    """Mend everything."""
    where = (directory or sites.default_directory()).absolute()
    if (where / "run").is_dir():
        write_fault(fault_file(where), S3Fault())
    _change(directory, as_json, "clear")


@fault.command()
def array(
    name: Array,
    what: Annotated[Power, typer.Argument(help="kill or start.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Switch an array off with all it was doing, or on again."""
    _change(directory, as_json, "array", name=name, up=what is Power.START)


@fault.command()
def link(
    what: Annotated[Link, typer.Argument(help="cut or restore.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Cut the link between the arrays, or join it again."""
    _change(directory, as_json, "link", up=what is Link.RESTORE)


@fault.command()
def volume(
    name: Annotated[str, typer.Argument(help="The volume, such as Node1_4.")],
    what: Annotated[Line, typer.Argument(help="offline or online.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Take a volume away from all hosts, or give it back."""
    _change(directory, as_json, "volume", name=name, up=what is Line.ONLINE)


@fault.command()
def busy(
    name: Array, count: Count = 1, directory: Directory = None, as_json: AsJson = False
) -> None:
    """Answer the next commands with exit status 11: try again."""
    _change(directory, as_json, "busy", name=name, count=count)


@fault.command()
def flush(
    name: Array, count: Count = 1, directory: Directory = None, as_json: AsJson = False
) -> None:
    """Fail the next cache flushes: a group that was preparing is stopped."""
    _change(directory, as_json, "flush", name=name, count=count)


@fault.command()
def refuse(
    name: Array,
    command: Annotated[str, typer.Argument(help="How the command's name begins.")],
    code: Annotated[str, typer.Argument(help="The answer, such as CMMVC5903E.")],
    count: Count = 1,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Refuse the next commands of one name with a code."""
    words = {"name": name, "command": command, "code": code, "count": count}
    _change(directory, as_json, "refuse", **words)


@fault.command()
def warn(
    name: Array,
    code: Annotated[str, typer.Argument(help="The warning.")] = "CMMVC6372W",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Do the next action, with a warning."""
    _change(directory, as_json, "warn", name=name, code=code)


@fault.command()
def login(
    name: Array, count: Count = 1, directory: Directory = None, as_json: AsJson = False
) -> None:
    """Answer the next commands with CMMVC7017E: too many sessions."""
    _change(directory, as_json, "login", name=name, count=count)


@fault.command()
def slow(
    name: Array,
    seconds: Annotated[float, typer.Argument(min=0, help="Before each command; 0 ends it.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Let an array think before each command."""
    _change(directory, as_json, "slow", name=name, seconds=seconds)


@fault.command()
def speed(
    name: Array,
    factor: Annotated[float, typer.Argument(min=0, help="1 is as fast as a real one.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Set how many times faster than real an array copies in the background."""
    _change(directory, as_json, "speed", name=name, factor=factor)


@fault.command()
def drop(
    name: Annotated[str, typer.Argument(help="An array or a node.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Break the SSH connections of a machine; new ones are answered."""
    _change(directory, as_json, "drop", name=name)


@fault.command()
def suspend(
    name: Array,
    group: Annotated[str, typer.Argument(help="The FlashCopy consistency group.")],
    restore: Annotated[bool, typer.Option(help="Find the bitmaps again.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Lose the bitmaps of a FlashCopy group: sources and targets are offline."""
    _change(directory, as_json, "suspend", name=name, group=group, up=restore)


@fault.command()
def cluster(
    state: Annotated[str, typer.Argument(help="ST_STABLE mends it.")] = "ST_RP_RUNNING",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Make the PowerHA cluster unstable."""
    _change(directory, as_json, "cluster", state=state)


@fault.command()
def python(
    name: Annotated[str, typer.Argument(help="The AIX node.")],
    restore: Annotated[bool, typer.Option(help="Give it back.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Take python3 away from a node."""
    _change(directory, as_json, "python", name=name, up=restore)


@fault.command()
def s3(
    what: Annotated[
        Store, typer.Argument(help="error, throttle, slow, full, forbidden, cut; none mends it.")
    ],
    count: Annotated[int, typer.Option(min=0, help="How many requests; 0: until cleared.")] = 0,
    share: Annotated[float, typer.Option(min=0, max=1, help="Which part of the requests.")] = 1.0,
    delay: Annotated[float, typer.Option(min=0, help="slow: seconds before each.")] = 0.0,
    rate: Annotated[float, typer.Option(min=0, help="slow: bytes a second; 0: no limit.")] = 0.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Break the object store: 500s, 503 SlowDown, slowness, no room, 403s, no connection."""
    where = (directory or sites.default_directory()).absolute()
    with reported_errors(as_json=as_json):
        if not (where / "run" / "daemon.json").exists():
            raise ConfigError(f"no lab is up in {where}", hint=f"flashvault lab up --dir {where}")
        write_fault(fault_file(where), S3Fault(what.value, count, share, delay, rate))
    _change(directory, as_json, "ask")
