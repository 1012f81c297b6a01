"""Who may log in, and what they did. docs/reference/svc-cli.md §1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc.commands import Done, Request, command, one_or_all
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System

ROLES = ("SecurityAdmin", "Administrator", "CopyOperator", "Service", "Monitor", "RestrictedAdmin")
USERS = ((0, "superuser", "yes", "no", 0), (1, "admin", "yes", "yes", 1))
"""Id, name, has a password, has a key, group."""


@command("lscurrentuser", takes_object=False)
def lscurrentuser(system: System, request: Request) -> Detail:
    """Show who is logged in."""
    pairs = [("name", "admin"), ("role", "Administrator"), ("owner_id", ""), ("owner_name", "")]
    return Detail([list(pairs)])


@command("lsuser")
def lsuser(system: System, request: Request) -> Table | Detail:
    """List users, or show one."""
    columns = names(
        "id name password ssh_key remote usergrp_id usergrp_name owner_id owner_name locked"
        " password_change_required"
    )
    rows = [
        (number, name, password, key, "no", group, ROLES[group], "", "", "no", "no")
        for number, name, password, key, group in USERS
    ]
    return one_or_all(columns, rows, request)


@command("lsusergrp")
def lsusergrp(system: System, request: Request) -> Table | Detail:
    """List user groups, or show one."""
    columns = names("id name role remote owner_id owner_name multi_factor")
    rows = [(number, role, role, "no", "", "", "no") for number, role in enumerate(ROLES)]
    return one_or_all(columns, rows, request)


@command("catauditlog", values="first")
def catauditlog(system: System, request: Request) -> Table:
    """List the actions since the lab came up, the newest last; -first N: the last N of them."""
    columns = names(
        "audit_seq_no timestamp cluster_user challenge ssh_ip_address result res_obj_id action_cmd"
    )
    rows = [
        (number, action.at, "admin", "", "127.0.0.1", action.status, action.made, action.line)
        for number, action in enumerate(system.audit)
    ]
    count = request.number("first", len(rows), 0, 10**6)
    return Table(columns, rows[len(rows) - min(count, len(rows)) :])


@command("svcconfig")
def svcconfig(system: System, request: Request) -> Done:
    """Back the configuration up, as `svcconfig backup` says it does; nothing is kept."""
    if request.target != "backup":
        raise Refusal("CMMVC5707E")
    return Done("...\nCMMVC6155I SVCCONFIG processing completed successfully\n")


@command("lsservicenodes")
def lsservicenodes(system: System, request: Request) -> Table:
    """List the nodes as the service assistant (`sainfo`) sees them."""
    columns = names(
        "panel_name cluster_id cluster_name node_id node_name relation node_status error_data"
    )
    state = system.state
    rows = [
        (f"01-{number}", state.id, state.name, number, f"node{number}", relation, "Active", "")
        for number, relation in ((1, "local"), (2, "partner"))
    ]
    return Table(columns, rows)
