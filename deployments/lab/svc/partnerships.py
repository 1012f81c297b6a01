"""Which other systems this one knows. docs/reference/svc-cli.md §3-4, §6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.lab.svc import mirror
from deployments.lab.svc.commands import Done, Request, command, one_or_all
from deployments.lab.svc.model import Partner
from deployments.lab.svc.refusals import Refusal
from deployments.lab.svc.views import Detail, Table, names

if TYPE_CHECKING:
    from deployments.lab.svc.system import System


def add_partner(system: System, other: System) -> None:
    """Make this array's half of a partnership."""
    system.state.partners[other.state.name] = Partner(other.state.id, other.state.name)


@command("lspartnership")
def lspartnership(system: System, request: Request) -> Table | Detail:
    """List this system and its partners, or show one of them."""
    columns = "id name location partnership type cluster_ip event_log_sequence"
    columns += " link1 link2 link1_ip_id link2_ip_id"
    rows = [(system.state.id, system.state.name, "local", "", "", "", "", "", "", "", "")]
    for partner in system.state.partners.values():
        state = mirror.partnership(system, partner.name)
        rows.append((partner.id, partner.name, "remote", state, "fc", "", "", "", "", "", ""))
    return one_or_all(names(columns), rows, request)


@command("lspartnershipcandidate")
def lspartnershipcandidate(system: System, request: Request) -> Table:
    """List arrays that could become partners; `configured` says that they already wait for us."""
    here = system.state.name
    known = {here, *system.state.partners}
    rows = [
        (other.state.id, "yes" if here in other.state.partners else "no", name)
        for name, other in system.network.systems.items()
        if name not in known and system.network.is_up(system, other)
    ]
    return Table(("id", "configured", "name"), rows)


@command("rmpartnership")
def rmpartnership(system: System, request: Request) -> Done:
    """Remove this array's half of a partnership."""
    name = known(system, request.object).state.name
    if system.state.partners.pop(name, None) is None:
        raise Refusal("CMMVC5753E")
    return Done()


@command("mkfcpartnership", values="linkbandwidthmbits backgroundcopyrate portset")
def mkfcpartnership(system: System, request: Request) -> Done:
    """Make this array's half of a partnership."""
    other = known(system, request.object)
    if other.state.name in system.state.partners:
        raise Refusal("CMMVC6035E")
    add_partner(system, other)
    return Done()


@command("chpartnership", flags="start stop", values="linkbandwidthmbits backgroundcopyrate")
def chpartnership(system: System, request: Request) -> Done:
    """Stop or start this array's half of a partnership."""
    partner = system.state.partners.get(known(system, request.object).state.name)
    if partner is None:
        raise Refusal("CMMVC5753E")
    if request.has("start") or request.has("stop"):
        partner.is_started = request.has("start")
    return Done()


def known(system: System, word: str) -> System:
    """Find another system by id or name."""
    for other in system.network.systems.values():
        if other is not system and word in {other.state.id, other.state.name}:
            return other
    raise Refusal("CMMVC5804E")


def peer(system: System, word: str) -> System:
    """Return a connected partner by id or name, or refuse."""
    other = known(system, word)
    if mirror.partnership(system, other.state.name) != "fully_configured":
        raise Refusal("CMMVC5804E")
    return other
