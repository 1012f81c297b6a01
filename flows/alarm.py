"""Tell a person that a backup is overdue, by the profile's own notify method.

Started by the server's dead man's switch, on the pool of restores: the worker of the backups may
be what is dead.
"""

from __future__ import annotations

from prefect import flow

from tasks.notify import notify
from tasks.open import configuration


@flow(name="alarm", flow_run_name="alarm-{group}", persist_result=False)
def alarm(group: str, detail: str = "", event: str = "backup_overdue") -> None:
    """Run NOTIFY_METHOD of a resource group.

    Args:
        group: the resource group.
        detail: one line for a person.
        event: what happened (docs/reference/powerha-cbm.md §5).
    """
    notify(configuration().profile(group), event, "error", detail)
