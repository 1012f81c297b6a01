"""`catxmlspec` and `help`: what the array tells of its own commands.

IBM's SSH library makes its methods from `catxmlspec`. docs/reference/svc-cli.md §1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from deployments.lab.svc.about import CODE_LEVEL
from deployments.lab.svc.commands import COMMANDS, Command, Done, Request, command, usage
from deployments.lab.svc.refusals import Refusal

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

ACTIONS = "svctask"
VIEWS = "svcinfo"


def executable(known: Command) -> str:
    """Return the old prefix of a command: `svcinfo` shows, `svctask` acts."""
    return VIEWS if known.is_view or known.name in {"svqueryclock", "help"} else ACTIONS


@command("catxmlspec", takes_object=False)
def catxmlspec(system: System, request: Request) -> Done:
    """Print an XML description of all commands."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<ArraySyntax version="2.0">']
    lines += ['<ArrayType type="svc">', f'<ArrayVersion type="svc" version="{CODE_LEVEL}"/>']
    lines += ["</ArrayType>", "<Errors>", "<Error>CMMVC</Error>", "</Errors>", "<Commands>"]
    lines.append('<Response type="svc"/>')
    for name in (VIEWS, ACTIONS):
        lines.append(f'<Executable name="{name}">')
        for known in sorted(COMMANDS.values(), key=lambda each: each.name):
            if executable(known) == name:
                lines += _described(known)
        lines.append("</Executable>")
    lines += ["</Commands>", "</ArraySyntax>", ""]
    return Done("\n".join(lines))


def _described(known: Command) -> list[str]:
    told = (known.handler.__doc__ or "").strip().partition("\n")[0]
    lines = [f"<Command name={quoteattr(known.name)} description={quoteattr(told)}>"]
    for option in sorted(known.values):
        required = "true" if option in known.needs else "false"
        lines.append(f'<ValueParam name="-{option}" required="{required}"/>')
    lines += [f'<FlagParam name="-{flag}"/>' for flag in sorted(known.flags)]
    if known.takes_object:
        lines.append('<ValueParam name="object_id" noName="true"/>')
    return [*lines, "</Command>"]


@command("help")
def help_(system: System, request: Request) -> Done:
    """List the commands, or print the help of one."""
    if request.target is None:
        return Done("".join(f"{name}\n" for name in sorted(COMMANDS)))
    if request.target not in COMMANDS:
        raise Refusal("CMMVC5754E")
    return Done(usage(COMMANDS[request.target]))
