"""How a plan says no, and what several moves say alike."""

from __future__ import annotations

from dataclasses import replace

from blocks.policy.situation import Activity, Plan, Situation

STOP_HINT = "Take the resource group offline there first (clmgr offline resource_group)."


def refused(plan: Plan, refusal: str, hint: str) -> Plan:
    """Return a plan that does nothing, with why and what to do."""
    return replace(plan, order=None, takes_over=False, refusal=refusal, hint=hint)


def no_members(plan: Plan) -> Plan:
    """Refuse a move of an empty group."""
    return refused(plan, "the group has no relationships", "Create them: mkrcrelationship.")


def not_known(seen: Situation, name: str) -> tuple[str, ...]:
    """Warn that no node could say whether the group runs on a system's volumes."""
    if seen.runs_at(name) is not Activity.UNKNOWN:
        return ()
    return (f"no node could say whether the group runs on {name}: make sure that it does not",)
