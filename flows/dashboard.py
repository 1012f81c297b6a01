"""Draw the dashboard of all resource groups: look at the buckets → table and charts."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.endings import Ending, ended
from tasks.dashboard import draw
from tasks.open import configuration


@flow(name="dashboard", flow_run_name="dashboard", persist_result=False)
def dashboard() -> Any:
    """Show how every group stands as the artifact `flashvault-dashboard`, and charts of each."""
    drawn = draw(configuration())
    return ended(
        Ending(
            outcome="drawn",
            summary=drawn.pop("headline"),
            markdown=drawn.pop("markdown"),
            report=drawn,
        )
    )
